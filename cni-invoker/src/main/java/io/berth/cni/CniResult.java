package io.berth.cni;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.Inet4Address;
import java.net.InetAddress;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * What ADD made, in the terms of version 1.1.0 whatever version the plugin spoke.
 *
 * @param network name of the network
 * @param ifName the pod's interface, whose addresses {@link #addresses} gives
 * @param raw the last plugin's answer as it was printed; {@code cniVersion} is filled in when it
 *     has none
 */
public record CniResult(
    String network,
    String ifName,
    List<Interface> interfaces,
    List<IpConfig> ips,
    List<Route> routes,
    Dns dns,
    ObjectNode raw) {

  /**
   * @param sandbox path of the network namespace it is in; empty on the host
   * @param mtu in bytes
   */
  public record Interface(
      String name,
      String mac,
      String sandbox,
      @Nullable Long mtu,
      @Nullable String socketPath,
      @Nullable String pciId) {}

  /**
   * @param prefix length of the network part in bits
   * @param interfaceIndex into {@link CniResult#interfaces}; null when the plugin doesn't say
   */
  public record IpConfig(
      InetAddress address,
      int prefix,
      @Nullable InetAddress gateway,
      @Nullable Integer interfaceIndex) {
    String cidr() {
      return format(address) + "/" + prefix;
    }

    boolean v4() {
      return address instanceof Inet4Address;
    }
  }

  /**
   * @param dst a network in CIDR notation
   * @param gw next hop; null when the gateway of the address is meant
   */
  public record Route(
      String dst,
      @Nullable String gw,
      @Nullable Long mtu,
      @Nullable Long advmss,
      @Nullable Long priority,
      @Nullable Long table,
      @Nullable Long scope) {}

  public record Dns(
      List<String> nameservers, String domain, List<String> search, List<String> options) {
    boolean isEmpty() {
      return nameservers.isEmpty() && domain.isEmpty() && search.isEmpty() && options.isEmpty();
    }
  }

  /**
   * The pod's addresses in the order the plugin gave them: those on its interface, and those that
   * no interface is named for (before 0.3.0 results had no interfaces).
   */
  public List<InetAddress> addresses() {
    return ips.stream().filter(this::onPodInterface).map(IpConfig::address).toList();
  }

  /**
   * The text form of an address, IPv6 shortened as RFC 5952 wants it: what the CRI shows and
   * kubelet compares.
   */
  public static String format(InetAddress address) {
    if (address instanceof Inet4Address) {
      return address.getHostAddress();
    }
    byte[] bytes = address.getAddress();
    int[] groups = new int[8];
    for (int i = 0; i < 8; i++) {
      groups[i] = (bytes[2 * i] & 0xff) << 8 | (bytes[2 * i + 1] & 0xff);
    }
    // The longest run of two or more zero groups, the first among equals, becomes "::".
    int start = -1;
    int length = 1;
    for (int i = 0; i < 8; i++) {
      int end = i;
      while (end < 8 && groups[end] == 0) {
        end++;
      }
      if (end - i > length) {
        start = i;
        length = end - i;
      }
      i = Math.max(i, end - 1);
    }
    if (start < 0) {
      return hex(groups, 0, 8);
    }
    return hex(groups, 0, start) + "::" + hex(groups, start + length, 8);
  }

  private static String hex(int[] groups, int from, int to) {
    return Arrays.stream(groups, from, to)
        .mapToObj(Integer::toHexString)
        .collect(Collectors.joining(":"));
  }

  private boolean onPodInterface(IpConfig ip) {
    Integer index = ip.interfaceIndex();
    return index == null
        || (interfaces.get(index).name().equals(ifName)
            && !interfaces.get(index).sandbox().isEmpty());
  }

  /**
   * Reads a plugin's answer.
   *
   * @param spoken the version asked for; what an answer without {@code cniVersion} is taken as
   * @throws IllegalArgumentException telling the field that is wrong
   */
  static CniResult parse(String network, String ifName, ObjectNode raw, CniVersion spoken) {
    List<IpConfig> ips = new ArrayList<>();
    List<Route> routes = new ArrayList<>();
    List<Interface> interfaces = new ArrayList<>();
    if (raw.path("cniVersion").asText("").isEmpty()) {
      raw.put("cniVersion", spoken.toString());
    }
    if (versionOf(raw).atLeast(CniVersion.V0_3_0)) {
      raw.path("interfaces").forEach(i -> interfaces.add(readInterface(i)));
      for (JsonNode ip : raw.path("ips")) {
        ips.add(readIp(ip, "address", interfaces.size()));
      }
      raw.path("routes").forEach(r -> routes.add(readRoute(r)));
    } else {
      for (String family : new String[] {"ip4", "ip6"}) {
        JsonNode ip = raw.path(family);
        if (ip.isObject()) {
          ips.add(readIp(ip, "ip", 0));
          ip.path("routes").forEach(r -> routes.add(readRoute(r)));
        }
      }
    }
    JsonNode dns = raw.path("dns");
    return new CniResult(
        network,
        ifName,
        List.copyOf(interfaces),
        List.copyOf(ips),
        List.copyOf(routes),
        new Dns(
            CniJson.strings(dns.path("nameservers")),
            dns.path("domain").asText(""),
            CniJson.strings(dns.path("search")),
            CniJson.strings(dns.path("options"))),
        raw);
  }

  /**
   * The result as a plugin of {@code version} reads it; the answer itself, unknown fields included,
   * when it is of that version already. A version before 0.3.0 keeps the first address of each
   * family, as it has room for no more.
   */
  ObjectNode asVersion(CniVersion version) {
    if (versionOf(raw).equals(version)) {
      return raw;
    }
    ObjectNode result = CniJson.newObject().put("cniVersion", version.toString());
    if (version.atLeast(CniVersion.V0_3_0)) {
      writeLists(result, version);
    } else {
      writeFamily(result, "ip4", true);
      writeFamily(result, "ip6", false);
    }
    if (!dns.isEmpty()) {
      ObjectNode node = result.putObject("dns");
      putStrings(node, "nameservers", dns.nameservers());
      put(node, "domain", dns.domain().isEmpty() ? null : dns.domain());
      putStrings(node, "search", dns.search());
      putStrings(node, "options", dns.options());
    }
    return result;
  }

  private static CniVersion versionOf(ObjectNode raw) {
    return CniVersion.parse(raw.path("cniVersion").asText(""));
  }

  private void writeLists(ObjectNode result, CniVersion version) {
    boolean detailed = version.atLeast(CniVersion.V1_1_0);
    ArrayNode interfaceList = result.putArray("interfaces");
    for (Interface i : interfaces) {
      ObjectNode node = interfaceList.addObject().put("name", i.name());
      put(node, "mac", i.mac().isEmpty() ? null : i.mac());
      put(node, "sandbox", i.sandbox().isEmpty() ? null : i.sandbox());
      if (detailed) {
        put(node, "mtu", i.mtu());
        put(node, "socketPath", i.socketPath());
        put(node, "pciID", i.pciId());
      }
    }
    ArrayNode ipList = result.putArray("ips");
    for (IpConfig ip : ips) {
      ObjectNode node = ipList.addObject();
      if (!version.atLeast(CniVersion.V1_0_0)) {
        node.put("version", ip.v4() ? "4" : "6");
      }
      node.put("address", ip.cidr());
      put(node, "gateway", ip.gateway() == null ? null : format(ip.gateway()));
      put(
          node,
          "interface",
          ip.interfaceIndex() == null ? null : Long.valueOf(ip.interfaceIndex()));
    }
    ArrayNode routeList = result.putArray("routes");
    for (Route r : routes) {
      ObjectNode node = routeList.addObject().put("dst", r.dst());
      put(node, "gw", r.gw());
      if (detailed) {
        put(node, "mtu", r.mtu());
        put(node, "advmss", r.advmss());
        put(node, "priority", r.priority());
        put(node, "table", r.table());
        put(node, "scope", r.scope());
      }
    }
  }

  private void writeFamily(ObjectNode result, String field, boolean v4) {
    ips.stream()
        .filter(ip -> ip.v4() == v4)
        .findFirst()
        .ifPresent(ip -> {
          ObjectNode node = result.putObject(field).put("ip", ip.cidr());
          put(node, "gateway", ip.gateway() == null ? null : format(ip.gateway()));
          ArrayNode list = node.putArray("routes");
          for (Route r : routes) {
            if (r.dst().contains(":") != v4) {
              put(list.addObject().put("dst", r.dst()), "gw", r.gw());
            }
          }
        });
  }

  private static Interface readInterface(JsonNode node) {
    return new Interface(
        node.path("name").asText(""),
        node.path("mac").asText(""),
        node.path("sandbox").asText(""),
        number(node.path("mtu")),
        text(node.path("socketPath")),
        text(node.path("pciID")));
  }

  private static IpConfig readIp(JsonNode node, String field, int interfaces) {
    String cidr = node.path(field).asText("");
    int slash = cidr.indexOf('/');
    if (slash < 0) {
      throw new IllegalArgumentException("address \"" + cidr + "\" is not in CIDR notation");
    }
    InetAddress address = literal(cidr.substring(0, slash));
    String prefix = cidr.substring(slash + 1);
    if (!prefix.matches("\\d{1,3}") || Integer.parseInt(prefix) > address.getAddress().length * 8) {
      throw new IllegalArgumentException("address \"" + cidr + "\" has no valid prefix length");
    }
    String gateway = text(node.path("gateway"));
    JsonNode index = node.path("interface");
    // The index was signed before 1.0.0: -1 is none.
    Integer interfaceIndex = index.isInt() && index.intValue() >= 0 ? index.intValue() : null;
    if (interfaceIndex != null && interfaceIndex >= interfaces) {
      throw new IllegalArgumentException(
          "address \"" + cidr + "\" is on interface " + interfaceIndex + " of " + interfaces);
    }
    return new IpConfig(
        address,
        Integer.parseInt(prefix),
        gateway == null ? null : literal(gateway),
        interfaceIndex);
  }

  private static Route readRoute(JsonNode node) {
    return new Route(
        node.path("dst").asText(""),
        text(node.path("gw")),
        number(node.path("mtu")),
        number(node.path("advmss")),
        number(node.path("priority")),
        number(node.path("table")),
        number(node.path("scope")));
  }

  /** Never asks a name server. */
  private static InetAddress literal(String address) {
    try {
      return InetAddress.ofLiteral(address);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("\"" + address + "\" is not an IP address", e);
    }
  }

  private static @Nullable String text(JsonNode node) {
    return node.isTextual() && !node.textValue().isEmpty() ? node.textValue() : null;
  }

  private static @Nullable Long number(JsonNode node) {
    return node.isIntegralNumber() ? Long.valueOf(node.longValue()) : null;
  }

  private static void put(ObjectNode node, String field, @Nullable String value) {
    if (value != null) {
      node.put(field, value);
    }
  }

  private static void put(ObjectNode node, String field, @Nullable Long value) {
    if (value != null) {
      node.put(field, value);
    }
  }

  private static void putStrings(ObjectNode node, String field, List<String> values) {
    if (!values.isEmpty()) {
      ArrayNode array = node.putArray(field);
      values.forEach(array::add);
    }
  }
}
