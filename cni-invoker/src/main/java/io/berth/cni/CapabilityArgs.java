package io.berth.cni;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.annotation.JsonValue;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What the runtime offers plugins about one pod, by capability (CNI's CONVENTIONS.md). A plugin
 * gets those it declares, as {@code runtimeConfig}. Immutable; each method returns a copy with one
 * capability more:
 *
 * <pre>CapabilityArgs.none().portMappings(ports).dns(dns)</pre>
 */
public final class CapabilityArgs {
  private static final CapabilityArgs NONE = new CapabilityArgs(CniJson.newObject());

  private final ObjectNode values;

  /**
   * @param hostPort 1 to 65535
   * @param protocol tcp, udp or sctp
   * @param hostIP null for all addresses of the host
   */
  @JsonInclude(JsonInclude.Include.NON_NULL)
  public record PortMapping(
      int hostPort, int containerPort, String protocol, @Nullable String hostIP) {}

  /** Name servers, search domains and resolver options of the pod. */
  @JsonInclude(JsonInclude.Include.NON_EMPTY)
  public record DnsArgs(List<String> servers, List<String> searches, List<String> options) {}

  /** One pool that an address may come from; what is null is for the plugin to choose. */
  @JsonInclude(JsonInclude.Include.NON_NULL)
  public record IpRange(
      String subnet,
      @Nullable String rangeStart,
      @Nullable String rangeEnd,
      @Nullable String gateway) {}

  private CapabilityArgs(ObjectNode values) {
    this.values = values;
  }

  public static CapabilityArgs none() {
    return NONE;
  }

  /** Reads back what {@link #toJson} wrote, as for a record on disk. */
  @JsonCreator(mode = JsonCreator.Mode.DELEGATING)
  public static CapabilityArgs fromJson(ObjectNode values) {
    return new CapabilityArgs(values.deepCopy());
  }

  @JsonValue
  public ObjectNode toJson() {
    return values.deepCopy();
  }

  /** Ports of the host that lead to the pod; an empty list offers nothing. */
  public CapabilityArgs portMappings(List<PortMapping> mappings) {
    return mappings.isEmpty() ? this : with("portMappings", CniJson.tree(mappings));
  }

  public CapabilityArgs bandwidth(Bandwidth bandwidth) {
    return with("bandwidth", CniJson.tree(bandwidth));
  }

  public CapabilityArgs dns(DnsArgs dns) {
    return with("dns", CniJson.tree(dns));
  }

  /** Addresses the pod asks for, with or without a prefix length. */
  public CapabilityArgs ips(List<String> addresses) {
    return with("ips", CniJson.tree(addresses));
  }

  public CapabilityArgs mac(String address) {
    return with("mac", CniJson.tree(address));
  }

  /** For each address to be given, the pools it may come from. */
  public CapabilityArgs ipRanges(List<List<IpRange>> ranges) {
    return with("ipRanges", CniJson.tree(ranges));
  }

  public CapabilityArgs aliases(List<String> names) {
    return with("aliases", CniJson.tree(names));
  }

  public CapabilityArgs cgroupPath(String path) {
    return with("cgroupPath", CniJson.tree(path));
  }

  public CapabilityArgs podAnnotations(Map<String, String> annotations) {
    return with("io.kubernetes.cri.pod-annotations", CniJson.tree(annotations));
  }

  /** Any other capability, such as {@code infinibandGUID} or {@code deviceID}. */
  public CapabilityArgs with(String capability, JsonNode value) {
    ObjectNode copy = values.deepCopy();
    copy.set(capability, value);
    return new CapabilityArgs(copy);
  }

  boolean isEmpty() {
    return values.isEmpty();
  }

  /** The part of it that a plugin declares. */
  ObjectNode declared(Set<String> capabilities) {
    return values.deepCopy().retain(capabilities);
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof CapabilityArgs args && values.equals(args.values);
  }

  @Override
  public int hashCode() {
    return values.hashCode();
  }

  @Override
  public String toString() {
    return values.toString();
  }
}
