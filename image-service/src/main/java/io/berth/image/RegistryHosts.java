package io.berth.image;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.dataformat.toml.TomlMapper;
import io.berth.image.ImageException.Reason;
import io.berth.image.RegistryHost.AuthorityFile;
import io.berth.image.RegistryHost.Capability;
import io.berth.image.RegistryHost.ClientFiles;
import io.berth.image.RegistryHost.Tls;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpRequest;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Which hosts serve a registry's content: {@code HOST[:PORT]/hosts.toml} in a folder, or {@code
 * HOST_PORT_/hosts.toml}, in containerd's format, else {@code _default/hosts.toml}, else the
 * registry itself. Files are read at every pull, since that costs less than a round trip and an
 * edit can't be missed.
 *
 * <pre>
 * server = "https://registry-1.docker.io"        # the registry itself, asked last
 *
 * [host."https://mirror.example.com"]            # mirrors, in the order of the file
 *   capabilities = ["pull", "resolve"]           # default: both
 *   override_path = false                        # true: the URL's path replaces /v2
 *   skip_verify = false
 *   ca = "ca.pem"                                # one or several, relative to the file
 *   client = [["me.cert", "me.key"]]             # likewise; or files that hold both
 *   [host."https://mirror.example.com".header]
 *     x-team = "blue"
 * </pre>
 */
public final class RegistryHosts {

  private static final TomlMapper TOML = new TomlMapper();
  private static final String DOCKER_HUB = "https://registry-1.docker.io";
  private static final Set<String> HOST_KEYS =
      Set.of("capabilities", "ca", "client", "skip_verify", "override_path", "header");

  private final Path folder;

  /**
   * @param folder holds one folder per registry; need not exist
   */
  public RegistryHosts(Path folder) {
    this.folder = folder;
  }

  /** The folder an administrator would add a mirror to. */
  Path folder(String registry) {
    return folder.resolve(registry);
  }

  /**
   * The hosts to ask, in order; the last one is the registry itself.
   *
   * @param registry in the form of {@link io.berth.oci.ImageReference#registry}
   * @throws ImageException CONFIGURATION naming file and line
   */
  List<RegistryHost> of(String registry) {
    for (String name : List.of(registry, portless(registry), "_default")) {
      Path file = folder.resolve(name).resolve("hosts.toml");
      try {
        return new HostsFile(file, Files.readString(file)).hosts(registry);
      } catch (NoSuchFileException absent) {
        // The next one counts.
      } catch (IOException e) {
        throw new ImageException(
            Reason.CONFIGURATION, "registry configuration " + file + " can't be read: " + e, e);
      }
    }
    return List.of(
        new RegistryHost(
            root(defaultServer(registry), false),
            false,
            EnumSet.allOf(Capability.class),
            Tls.SYSTEM,
            Map.of(),
            "default"));
  }

  /** Containerd's other form of HOST:PORT, for file systems that don't like colons. */
  private static String portless(String registry) {
    return registry.replaceFirst(":([0-9]+)$", "_$1_");
  }

  private static String defaultServer(String registry) {
    return registry.equals("docker.io") ? DOCKER_HUB : withScheme(registry);
  }

  /** Registries on this machine speak plain HTTP unless a scheme or the port of HTTPS is given. */
  private static String withScheme(String address) {
    if (address.contains("://")) {
      return address;
    }
    String authority = address.contains("/") ? address.substring(0, address.indexOf('/')) : address;
    boolean plain = isLoopback(authority) && !authority.endsWith(":443");
    return (plain ? "http://" : "https://") + address;
  }

  static boolean isLoopback(String authority) {
    String host = authority.replaceFirst(":[0-9]+$", "");
    return host.equals("localhost")
        || host.equals("[::1]")
        || host.matches("127\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}");
  }

  private static URI root(String address, boolean overridePath) {
    String url = withScheme(address).replaceFirst("/+$", "");
    URI uri = URI.create(url);
    String scheme = uri.getScheme();
    if (uri.getHost() == null
        || !(scheme.equals("http") || scheme.equals("https"))
        || uri.getRawQuery() != null
        || uri.getRawFragment() != null
        || uri.getRawUserInfo() != null) {
      throw new IllegalArgumentException("not an http or https URL of a host");
    }
    return overridePath || url.endsWith("/v2") ? uri : URI.create(url + "/v2");
  }

  /** One file. The parser keeps no positions, so lines are searched for once there is a mistake. */
  private static final class HostsFile {
    private final Path file;
    private final String text;
    private final JsonNode tree;

    HostsFile(Path file, String text) {
      this.file = file;
      this.text = text;
      try {
        JsonNode read = TOML.readTree(text);
        tree = read.isObject() ? read : JsonNodeFactory.instance.objectNode();
      } catch (JsonProcessingException e) {
        int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
        throw new ImageException(
            Reason.CONFIGURATION,
            "registry configuration " + file + ":" + line + ": " + e.getOriginalMessage(),
            e);
      }
    }

    List<RegistryHost> hosts(String registry) {
      for (var property : tree.properties()) {
        String key = property.getKey();
        if (!key.equals("server") && !key.equals("host") && !HOST_KEYS.contains(key)) {
          throw unknownKey("", key);
        }
      }
      List<RegistryHost> hosts = new ArrayList<>();
      JsonNode mirrors = tree.path("host");
      if (!mirrors.isMissingNode() && !mirrors.isObject()) {
        throw mistake("", "host", "is a table per mirror: [host.\"https://mirror\"]");
      }
      for (var mirror : mirrors.properties()) {
        for (var property : mirror.getValue().properties()) {
          if (!HOST_KEYS.contains(property.getKey())) {
            throw unknownKey(mirror.getKey(), property.getKey());
          }
        }
        hosts.add(host(mirror.getKey(), mirror.getKey(), mirror.getValue(), true));
      }
      String server = text(tree.path("server"), "", "server");
      hosts.add(
          host(
              "",
              server == null || server.isEmpty() ? defaultServer(registry) : server,
              tree,
              false));
      return List.copyOf(hosts);
    }

    private RegistryHost host(String table, String address, JsonNode settings, boolean mirror) {
      URI root;
      try {
        root = root(address, bool(settings, table, "override_path"));
      } catch (IllegalArgumentException e) {
        throw mistake(
            table, mirror ? "host" : "server", "\"" + address + "\" is " + e.getMessage());
      }
      return new RegistryHost(
          root,
          mirror,
          capabilities(settings, table),
          new Tls(
              bool(settings, table, "skip_verify"),
              authorities(settings, table),
              clients(settings, table)),
          headers(settings, table),
          file + ":" + line(table, mirror ? "" : "server"));
    }

    private Set<Capability> capabilities(JsonNode settings, String table) {
      JsonNode node = settings.path("capabilities");
      if (node.isMissingNode()) {
        return EnumSet.allOf(Capability.class);
      }
      Set<Capability> found = EnumSet.noneOf(Capability.class);
      for (String name : texts(node, table, "capabilities")) {
        switch (name) {
          case "pull" -> found.add(Capability.PULL);
          case "resolve" -> found.add(Capability.RESOLVE);
          case "push" -> {} // legal in the format; Berth never pushes
          default ->
              throw mistake(
                  table, "capabilities", "has \"" + name + "\": only pull, resolve and push exist");
        }
      }
      return found;
    }

    private List<AuthorityFile> authorities(JsonNode settings, String table) {
      List<AuthorityFile> files = new ArrayList<>();
      for (String name : texts(settings.path("ca"), table, "ca")) {
        files.add(file(name, table, "ca"));
      }
      return List.copyOf(files);
    }

    private AuthorityFile file(String name, String table, String key) {
      Path path = file.resolveSibling(name);
      try {
        return new AuthorityFile(path, Files.getLastModifiedTime(path));
      } catch (IOException e) {
        throw mistake(table, key, "names " + path + ", which can't be read: " + e);
      }
    }

    /** A file with both, a list of such files, or a list of pairs of certificate and key. */
    private List<ClientFiles> clients(JsonNode settings, String table) {
      List<ClientFiles> clients = new ArrayList<>();
      JsonNode node = settings.path("client");
      for (JsonNode item :
          node.isArray() ? node : node.isMissingNode() ? List.<JsonNode>of() : List.of(node)) {
        List<String> names = texts(item, table, "client");
        if (names.isEmpty() || names.size() > 2) {
          throw mistake(table, "client", "is a file, or pairs of a certificate and a key");
        }
        clients.add(
            new ClientFiles(
                file(names.getFirst(), table, "client"), file(names.getLast(), table, "client")));
      }
      return List.copyOf(clients);
    }

    private Map<String, String> headers(JsonNode settings, String table) {
      Map<String, String> headers = new HashMap<>();
      for (var property : settings.path("header").properties()) {
        String name = property.getKey();
        String value = String.join(", ", texts(property.getValue(), table, name));
        try {
          HttpRequest.newBuilder().header(name, value);
        } catch (IllegalArgumentException e) {
          throw mistake(table, name, "can't be sent as a header: " + e.getMessage());
        }
        headers.put(name, value);
      }
      return Map.copyOf(headers);
    }

    private boolean bool(JsonNode settings, String table, String key) {
      JsonNode node = settings.path(key);
      if (!node.isMissingNode() && !node.isBoolean()) {
        throw mistake(table, key, "is true or false");
      }
      return node.asBoolean();
    }

    /** A string or a list of strings; missing is empty. */
    private List<String> texts(JsonNode node, String table, String key) {
      List<String> found = new ArrayList<>();
      if (node.isArray()) {
        for (JsonNode item : node) {
          found.add(String.valueOf(text(item, table, key)));
        }
      } else {
        String one = text(node, table, key);
        if (one != null) {
          found.add(one);
        }
      }
      return found;
    }

    private @Nullable String text(JsonNode node, String table, String key) {
      if (node instanceof MissingNode) {
        return null;
      }
      if (!node.isTextual()) {
        throw mistake(table, key, "has a value that isn't text");
      }
      return node.textValue();
    }

    private ImageException unknownKey(String table, String key) {
      return mistake(
          table,
          key,
          "no such key; known are server and, for it or a host, "
              + String.join(", ", HOST_KEYS.stream().sorted().toList()));
    }

    private ImageException mistake(String table, String key, String what) {
      return new ImageException(
          Reason.CONFIGURATION,
          "registry configuration " + file + ":" + line(table, key) + ": " + key + ": " + what);
    }

    /** The line of a key beneath a host's table, of the table itself for "", else 1. */
    private int line(String table, String key) {
      String[] lines = text.split("\n", -1);
      int from = 0;
      if (!table.isEmpty()) {
        while (from < lines.length && !lines[from].contains(table)) {
          from++;
        }
      }
      String quoted = Pattern.quote(key);
      for (String form : List.of("\"?" + quoted + "\"?\\s*=.*", "\\[\\s*" + quoted + "\\b.*")) {
        for (int i = from; i < lines.length && !key.isEmpty(); i++) {
          if (lines[i].strip().matches(form)) {
            return i + 1;
          }
        }
      }
      return Math.min(from, lines.length - 1) + 1;
    }
  }
}
