package io.berth.sandbox;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/// What the kubelet asks for: CRI's `PodSandboxConfig` without protobuf.
///
/// @param hostname empty: the machine's name on the network of the machine, else the short form of
///   the id
/// @param logDirectory where the logs of the containers go; empty when they have no log
/// @param dns absent: the machine's resolver
/// @param labels stored and given back unchanged
/// @param annotations stored and given back unchanged; the two bandwidth ones are passed to CNI
/// @param cgroupParent in cgroupfs form whatever the driver; see [PodCgroup]
/// @param sysctls names with `.` or `/`
/// @param overhead for information; the kubelet sets the limits on the pod's cgroup itself
/// @param resources likewise
public record SandboxConfig(
    SandboxName name,
    String hostname,
    String logDirectory,
    @Nullable DnsConfig dns,
    List<PortMapping> portMappings,
    Map<String, String> labels,
    Map<String, String> annotations,
    String cgroupParent,
    Map<String, String> sysctls,
    NamespaceModes namespaces,
    SandboxSecurity security,
    @Nullable LinuxResources overhead,
    @Nullable LinuxResources resources) {
  public SandboxConfig {
    hostname = Copies.of(hostname);
    logDirectory = Copies.of(logDirectory);
    portMappings = Copies.of(portMappings);
    labels = Copies.of(labels);
    annotations = Copies.of(annotations);
    cgroupParent = Copies.of(cgroupParent);
    sysctls = Copies.of(sysctls);
  }

  SandboxConfig withResources(
      @Nullable LinuxResources newOverhead, @Nullable LinuxResources newResources) {
    return new SandboxConfig(
        name,
        hostname,
        logDirectory,
        dns,
        portMappings,
        labels,
        annotations,
        cgroupParent,
        sysctls,
        namespaces,
        security,
        newOverhead,
        newResources);
  }
}
