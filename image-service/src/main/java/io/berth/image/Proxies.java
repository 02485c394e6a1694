package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.image.ImageException.Reason;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.SocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Through which HTTP proxy a host is reached. What the configuration says wins over the variables
 * HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in either case of letters. This machine itself is never
 * reached through a proxy.
 */
public final class Proxies extends ProxySelector {
  private static final String DISABLED_SCHEMES = "jdk.http.auth.tunneling.disabledSchemes";
  private static final int DEFAULT_PORT = 80;
  private static final Pattern WITH_PORT = Pattern.compile("(\\[[0-9a-f:.]+]|[^:]+):([0-9]{1,5})");

  static {
    // The JDK's client shows a proxy no password on the way to https, unless it is told to.
    if (System.getProperty(DISABLED_SCHEMES) == null) {
      System.setProperty(DISABLED_SCHEMES, "");
    }
  }

  private final @Nullable URI secure; // for https
  private final @Nullable URI plain; // for http
  private final List<String> exceptions;

  private Proxies(@Nullable URI secure, @Nullable URI plain, List<String> exceptions) {
    this.secure = secure;
    this.plain = plain;
    this.exceptions = exceptions;
  }

  /**
   * By configuration, or else by environment.
   *
   * @param proxy URL for all hosts, "" for what the environment says
   * @param exceptions hosts reached without a proxy, see {@link #direct}; added to the
   *     environment's
   * @throws ImageException CONFIGURATION naming the variable or key; the message shows no password
   */
  public static Proxies of(String proxy, List<String> exceptions, Map<String, String> environment) {
    String https = proxy.isEmpty() ? variable(environment, "https_proxy") : proxy;
    String http = proxy.isEmpty() ? variable(environment, "http_proxy") : proxy;
    String where = proxy.isEmpty() ? "the environment's proxy" : "images.proxy";
    List<String> direct = new ArrayList<>(exceptions);
    Arrays.stream(variable(environment, "no_proxy").split(","))
        .map(String::strip)
        .filter(entry -> !entry.isEmpty())
        .forEach(direct::add);
    return new Proxies(
        parse(https, where),
        parse(http, where),
        direct.stream().map(entry -> entry.toLowerCase(Locale.ROOT)).toList());
  }

  static Proxies none() {
    return new Proxies(null, null, List.of());
  }

  private static String variable(Map<String, String> environment, String name) {
    String small = environment.getOrDefault(name, "");
    return small.isEmpty()
        ? environment.getOrDefault(name.toUpperCase(Locale.ROOT), "").strip()
        : small.strip();
  }

  private static @Nullable URI parse(String text, String where) {
    if (text.isEmpty()) {
      return null;
    }
    try {
      URI uri = URI.create(text.contains("://") ? text : "http://" + text);
      if ("http".equals(uri.getScheme()) && uri.getHost() != null) {
        return uri;
      }
    } catch (IllegalArgumentException e) {
      // Told below, without the password that may be in it.
    }
    throw new ImageException(
        Reason.CONFIGURATION, where + " is not of the form http://[USER:PASSWORD@]HOST[:PORT]");
  }

  /** Whether this can be configured as a proxy; "" can. */
  public static boolean isValid(String proxy) {
    try {
      var _ = parse(proxy, "");
      return true;
    } catch (ImageException e) {
      return false;
    }
  }

  /** The proxy for a URL, empty when it is reached directly. */
  Optional<URI> proxy(URI target) {
    URI proxy = RegistryClient.isSecure(target) ? secure : plain;
    return proxy == null || direct(target) ? Optional.empty() : Optional.of(proxy);
  }

  /**
   * Exceptions are {@code *}, a host or domain (with its subdomains; only these if it begins with a
   * dot), an address or a CIDR block, each with an optional port.
   */
  private boolean direct(URI target) {
    String host = String.valueOf(target.getHost()).toLowerCase(Locale.ROOT);
    if (RegistryHosts.isLoopback(host)) {
      return true;
    }
    int port =
        target.getPort() >= 0 ? target.getPort() : RegistryClient.isSecure(target) ? 443 : 80;
    String bare = host.replaceAll("[\\[\\]]", "");
    return exceptions.stream().anyMatch(entry -> matches(entry, bare, port));
  }

  private static boolean matches(String entry, String host, int port) {
    if (entry.equals("*")) {
      return true;
    }
    String name = entry;
    Matcher withPort = WITH_PORT.matcher(entry);
    if (withPort.matches()) {
      if (Integer.parseInt(withPort.group(2)) != port) {
        return false;
      }
      name = withPort.group(1);
    }
    name = name.replaceAll("[\\[\\]]", "").replaceFirst("^\\*(?=\\.)", "");
    if (isAddress(host)) {
      int slash = name.indexOf('/');
      String network = slash < 0 ? name : name.substring(0, slash);
      return isAddress(network)
          && within(bytes(host), bytes(network), slash < 0 ? "" : name.substring(slash + 1));
    }
    return name.startsWith(".")
        ? host.endsWith(name)
        : host.equals(name) || host.endsWith("." + name);
  }

  private static boolean isAddress(String text) {
    return text.contains(":") || text.matches("[0-9]{1,3}(\\.[0-9]{1,3}){3}");
  }

  private static byte[] bytes(String address) {
    try {
      return InetAddress.ofLiteral(address).getAddress(); // which never asks a name server
    } catch (IllegalArgumentException e) {
      return new byte[0];
    }
  }

  private static boolean within(byte[] address, byte[] network, String prefix) {
    if (address.length != network.length || !prefix.matches("[0-9]{0,3}")) {
      return false;
    }
    int bits = prefix.isEmpty() ? 8 * address.length : Integer.parseInt(prefix);
    for (int i = 0; i < Math.min(bits, 8 * address.length); i++) {
      int mask = 0x80 >> (i % 8);
      if (((address[i / 8] ^ network[i / 8]) & mask) != 0) {
        return false;
      }
    }
    return true;
  }

  @Override
  public List<Proxy> select(URI target) {
    return proxy(target)
        .map(uri ->
            new Proxy(
                Proxy.Type.HTTP, InetSocketAddress.createUnresolved(uri.getHost(), port(uri))))
        .map(List::of)
        .orElse(List.of(Proxy.NO_PROXY));
  }

  private static int port(URI proxy) {
    return proxy.getPort() < 0 ? DEFAULT_PORT : proxy.getPort();
  }

  @Override
  public void connectFailed(URI uri, SocketAddress address, IOException failure) {
    // The request's own failure tells.
  }

  /** What the proxy for a URL is to be shown, empty when none needs anything. */
  Optional<String> authorization(URI target) {
    return proxy(target)
        .map(URI::getRawUserInfo)
        .map(text -> {
          String[] parts = text.split(":", 2);
          String plain = decode(parts[0]) + ":" + decode(parts.length > 1 ? parts[1] : "");
          return "Basic " + Base64.getEncoder().encodeToString(plain.getBytes(UTF_8));
        });
  }

  private static String decode(String text) {
    return URLDecoder.decode(text.replace("+", "%2B"), UTF_8);
  }

  /** For people: without a password. */
  static String show(URI proxy) {
    return "http://" + proxy.getHost() + ":" + port(proxy);
  }
}
