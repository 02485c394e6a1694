package io.berth.runtime;

import com.google.protobuf.ByteString;
import io.berth.cri.v1.DNSConfig;
import io.berth.cri.v1.HugepageLimit;
import io.berth.cri.v1.IDMapping;
import io.berth.cri.v1.Int64Value;
import io.berth.cri.v1.KeyValue;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.LinuxPodSandboxConfig;
import io.berth.cri.v1.LinuxSandboxSecurityContext;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.SELinuxOption;
import io.berth.cri.v1.Signal;
import io.berth.cri.v1.UpdateContainerResourcesRequest;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.DnsConfig;
import io.berth.sandbox.LinuxResources;
import io.berth.sandbox.NamespaceMode;
import io.berth.sandbox.NamespaceModes;
import io.berth.sandbox.PortMapping;
import io.berth.sandbox.SandboxConfig;
import io.berth.sandbox.SandboxName;
import io.berth.sandbox.SandboxSecurity;
import io.berth.sandbox.SandboxSecurity.GroupsPolicy;
import io.berth.sandbox.SandboxSecurity.SecurityProfile;
import io.berth.sandbox.SandboxSecurity.SelinuxOptions;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * From CRI's messages to the terms of this module and of the sandbox's. Refuses what can't be said
 * in them.
 */
final class GrpcRequests {
  private static final String SIGNAL_PREFIX = "SIGNAL_";

  private GrpcRequests() {}

  /**
   * The configuration of a sandbox.
   *
   * @throws ContainerException INVALID when metadata is missing or a value is unknown
   */
  static SandboxConfig sandbox(PodSandboxConfig config) {
    if (!config.hasMetadata()) {
      throw invalid("run a sandbox: its metadata is missing; set name, namespace and uid");
    }
    if (config.hasWindows()) {
      throw invalid("run a sandbox: it has a Windows part, and this is Linux; remove it");
    }
    LinuxPodSandboxConfig linux = config.getLinux();
    LinuxSandboxSecurityContext security = linux.getSecurityContext();
    var metadata = config.getMetadata();
    return new SandboxConfig(
        new SandboxName(
            metadata.getName(), metadata.getNamespace(), metadata.getUid(), metadata.getAttempt()),
        config.getHostname(),
        config.getLogDirectory(),
        config.hasDnsConfig() ? dns(config.getDnsConfig()) : null,
        config.getPortMappingsList().stream().map(GrpcRequests::port).toList(),
        new TreeMap<>(config.getLabelsMap()),
        new TreeMap<>(config.getAnnotationsMap()),
        linux.getCgroupParent(),
        new TreeMap<>(linux.getSysctlsMap()),
        namespaces(security.getNamespaceOptions()),
        new SandboxSecurity(
            security.getPrivileged(),
            security.getReadonlyRootfs(),
            security.hasRunAsUser() ? security.getRunAsUser().getValue() : null,
            group(
                "run a sandbox",
                security.hasRunAsUser(),
                security.hasRunAsGroup(),
                security.getRunAsGroup()),
            security.getSupplementalGroupsList(),
            policy(security.getSupplementalGroupsPolicyValue()),
            security.hasSelinuxOptions() ? selinux(security.getSelinuxOptions()) : null,
            seccomp(security.hasSeccomp(), security.getSeccomp(), oldSeccomp(security)),
            security.hasApparmor() ? profile(security.getApparmor()) : null),
        linux.hasOverhead() ? resources(linux.getOverhead()) : null,
        linux.hasResources() ? resources(linux.getResources()) : null);
  }

  /**
   * The configuration of a container.
   *
   * @throws ContainerException INVALID when metadata or image are missing or a value is unknown
   */
  static ContainerConfig container(io.berth.cri.v1.ContainerConfig config) {
    if (!config.hasMetadata() || config.getMetadata().getName().isEmpty()) {
      throw invalid("create a container: its metadata is missing; set its name");
    }
    String name = config.getMetadata().getName();
    if (config.getImage().getImage().isEmpty()) {
      throw invalid("create container " + name + ": it names no image; set image.image");
    }
    if (config.hasWindows()) {
      throw invalid(
          "create container " + name + ": it has a Windows part, and this is Linux; remove it");
    }
    LinuxContainerSecurityContext security = config.getLinux().getSecurityContext();
    return new ContainerConfig(
        name,
        config.getMetadata().getAttempt(),
        config.getImage().getImage(),
        config.getImage().getUserSpecifiedImage(),
        config.getCommandList(),
        config.getArgsList(),
        config.getWorkingDir(),
        config.getEnvsList().stream().map(e -> variable(name, e)).toList(),
        config.getMountsList().stream().map(m -> mount(name, m)).toList(),
        config.getDevicesList().stream()
            .map(d ->
                new ContainerConfig.Device(
                    d.getContainerPath(), d.getHostPath(), d.getPermissions()))
            .toList(),
        config.getCDIDevicesList().stream().map(io.berth.cri.v1.CDIDevice::getName).toList(),
        new TreeMap<>(config.getLabelsMap()),
        new TreeMap<>(config.getAnnotationsMap()),
        config.getLogPath(),
        config.getStdin(),
        config.getStdinOnce(),
        config.getTty(),
        signal(config.getStopSignal()),
        config.getLinux().hasResources() ? resources(config.getLinux().getResources()) : null,
        new ContainerConfig.Security(
            security.getCapabilities().getAddCapabilitiesList(),
            security.getCapabilities().getDropCapabilitiesList(),
            security.getCapabilities().getAddAmbientCapabilitiesList(),
            security.getPrivileged(),
            namespaces(security.getNamespaceOptions()),
            security.hasSelinuxOptions() ? selinux(security.getSelinuxOptions()) : null,
            security.hasRunAsUser() ? security.getRunAsUser().getValue() : null,
            security.hasRunAsGroup() ? security.getRunAsGroup().getValue() : null,
            security.getRunAsUsername(),
            security.getReadonlyRootfs(),
            security.getSupplementalGroupsList(),
            policy(security.getSupplementalGroupsPolicyValue()),
            security.getNoNewPrivs(),
            security.getMaskedPathsList(),
            security.getReadonlyPathsList(),
            seccomp(security.hasSeccomp(), security.getSeccomp(), oldSeccomp(security)),
            apparmor(security)));
  }

  private static DnsConfig dns(DNSConfig dns) {
    return new DnsConfig(dns.getServersList(), dns.getSearchesList(), dns.getOptionsList());
  }

  private static PortMapping port(io.berth.cri.v1.PortMapping port) {
    PortMapping.Protocol protocol =
        switch (port.getProtocol()) {
          case TCP -> PortMapping.Protocol.TCP;
          case UDP -> PortMapping.Protocol.UDP;
          case SCTP -> PortMapping.Protocol.SCTP;
          case UNRECOGNIZED -> throw unknown("protocol", port.getProtocolValue());
        };
    return new PortMapping(protocol, port.getContainerPort(), port.getHostPort(), port.getHostIp());
  }

  private static NamespaceModes namespaces(NamespaceOption options) {
    NamespaceModes.UserNamespace user = null;
    if (options.hasUsernsOptions()) {
      var userns = options.getUsernsOptions();
      user =
          new NamespaceModes.UserNamespace(
              mode(userns.getMode()),
              mappings(userns.getUidsList()),
              mappings(userns.getGidsList()));
    }
    return new NamespaceModes(
        mode(options.getNetwork()),
        mode(options.getPid()),
        mode(options.getIpc()),
        user,
        options.getTargetId());
  }

  private static NamespaceMode mode(io.berth.cri.v1.NamespaceMode mode) {
    return switch (mode) {
      case POD -> NamespaceMode.POD;
      case CONTAINER -> NamespaceMode.CONTAINER;
      case NODE -> NamespaceMode.NODE;
      case TARGET -> NamespaceMode.TARGET;
      case UNRECOGNIZED -> throw invalid("read a namespace mode: it is none that CRI v1 knows");
    };
  }

  private static List<NamespaceModes.IdMapping> mappings(List<IDMapping> mappings) {
    return mappings.stream()
        .map(m ->
            new NamespaceModes.IdMapping(
                Integer.toUnsignedLong(m.getContainerId()),
                Integer.toUnsignedLong(m.getHostId()),
                Integer.toUnsignedLong(m.getLength())))
        .toList();
  }

  private static @Nullable Long group(
      String operation, boolean hasUser, boolean hasGroup, Int64Value group) {
    if (hasGroup && !hasUser) {
      throw invalid(operation + ": run_as_group is set without run_as_user; set both or neither");
    }
    return hasGroup ? group.getValue() : null;
  }

  private static GroupsPolicy policy(int value) {
    return switch (value) {
      case 0 -> GroupsPolicy.MERGE;
      case 1 -> GroupsPolicy.STRICT;
      default -> throw unknown("supplemental groups policy", value);
    };
  }

  private static SelinuxOptions selinux(SELinuxOption options) {
    return new SelinuxOptions(
        options.getUser(), options.getRole(), options.getType(), options.getLevel());
  }

  private static SecurityProfile profile(io.berth.cri.v1.SecurityProfile profile) {
    SecurityProfile.Kind kind =
        switch (profile.getProfileType()) {
          case RuntimeDefault -> SecurityProfile.Kind.RUNTIME_DEFAULT;
          case Unconfined -> SecurityProfile.Kind.UNCONFINED;
          case Localhost -> SecurityProfile.Kind.LOCALHOST;
          case UNRECOGNIZED ->
              throw unknown("security profile type", profile.getProfileTypeValue());
        };
    return new SecurityProfile(kind, profile.getLocalhostRef());
  }

  private static @Nullable SecurityProfile seccomp(
      boolean present, io.berth.cri.v1.SecurityProfile profile, String old) {
    return present ? profile(profile) : fromText(old, "localhost/");
  }

  @SuppressWarnings("deprecation") // older kubelets set it
  private static String oldSeccomp(LinuxSandboxSecurityContext security) {
    return security.getSeccompProfilePath();
  }

  @SuppressWarnings("deprecation") // older kubelets set it
  private static String oldSeccomp(LinuxContainerSecurityContext security) {
    return security.getSeccompProfilePath();
  }

  @SuppressWarnings("deprecation") // older kubelets set the text
  private static @Nullable SecurityProfile apparmor(LinuxContainerSecurityContext security) {
    return security.hasApparmor()
        ? profile(security.getApparmor())
        : fromText(security.getApparmorProfile(), "localhost/");
  }

  /**
   * The forms {@code runtime/default}, {@code docker/default}, {@code unconfined} and {@code
   * localhost/X}.
   */
  private static @Nullable SecurityProfile fromText(String text, String localPrefix) {
    return switch (text) {
      case "" -> null;
      case "runtime/default", "docker/default" ->
          new SecurityProfile(SecurityProfile.Kind.RUNTIME_DEFAULT, "");
      case "unconfined" -> new SecurityProfile(SecurityProfile.Kind.UNCONFINED, "");
      default ->
          new SecurityProfile(
              SecurityProfile.Kind.LOCALHOST,
              text.startsWith(localPrefix) ? text.substring(localPrefix.length()) : text);
    };
  }

  /**
   * New limits of a container.
   *
   * @throws ContainerException INVALID when the request has no Linux part
   */
  static LinuxResources update(String container, UpdateContainerResourcesRequest request) {
    if (request.hasWindows() || !request.hasLinux()) {
      throw invalid(
          "update container " + container + ": this is Linux; set linux, and nothing in windows");
    }
    return resources(request.getLinux());
  }

  static LinuxResources resources(LinuxContainerResources r) {
    Map<String, Long> pages =
        r.getHugepageLimitsList().stream()
            .collect(
                Collectors.toMap(
                    HugepageLimit::getPageSize,
                    HugepageLimit::getLimit,
                    (a, b) -> b,
                    TreeMap::new));
    return new LinuxResources(
        r.getCpuPeriod(),
        r.getCpuQuota(),
        r.getCpuShares(),
        r.getMemoryLimitInBytes(),
        r.getMemorySwapLimitInBytes(),
        r.getOomScoreAdj(),
        r.getCpusetCpus(),
        r.getCpusetMems(),
        pages,
        new TreeMap<>(r.getUnifiedMap()));
  }

  /** Bytes that aren't UTF-8 can't be written into config.json: refused rather than changed. */
  private static String variable(String container, KeyValue variable) {
    ByteString value = variable.getValue();
    try {
      return variable.getKey()
          + "="
          + StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(value.toByteArray()));
    } catch (CharacterCodingException e) {
      throw new ContainerException(
          Reason.UNSUPPORTED,
          "create container "
              + container
              + ": the value of the environment variable "
              + variable.getKey()
              + " isn't UTF-8, which config.json can't carry; encode it, as in base64",
          e);
    }
  }

  private static ContainerConfig.Mount mount(String container, io.berth.cri.v1.Mount mount) {
    ContainerConfig.Propagation propagation =
        switch (mount.getPropagation()) {
          case PROPAGATION_PRIVATE -> ContainerConfig.Propagation.PRIVATE;
          case PROPAGATION_HOST_TO_CONTAINER -> ContainerConfig.Propagation.HOST_TO_CONTAINER;
          case PROPAGATION_BIDIRECTIONAL -> ContainerConfig.Propagation.BIDIRECTIONAL;
          case UNRECOGNIZED ->
              throw invalid(
                  "create container "
                      + container
                      + ": the propagation of mount "
                      + mount.getContainerPath()
                      + " is none that CRI v1 knows");
        };
    return new ContainerConfig.Mount(
        mount.getContainerPath(),
        mount.getHostPath(),
        mount.getReadonly(),
        mount.getRecursiveReadOnly(),
        mount.getSelinuxRelabel(),
        propagation,
        mappings(mount.getUidMappingsList()),
        mappings(mount.getGidMappingsList()),
        mount.getImage().getImage(),
        mount.getImageSubPath(),
        mount.getMountOptionsList());
  }

  /** CRI numbers signals by its own list; the names say which. */
  private static String signal(Signal signal) {
    return switch (signal) {
      case SIGNAL_RUNTIME_DEFAULT -> "";
      case UNRECOGNIZED -> throw invalid("read a stop signal: it is none that CRI v1 knows");
      default ->
          signal
              .name()
              .substring(SIGNAL_PREFIX.length())
              .replace("PLUS", "+")
              .replace("MINUS", "-");
    };
  }

  /**
   * The reverse of {@link #signal}.
   *
   * @param name in any form that {@link Signals#canonical} takes
   */
  static Signal signalOf(String name) {
    String canonical = Signals.canonical(name);
    return Signal.valueOf(SIGNAL_PREFIX + canonical.replace("+", "PLUS").replace("-", "MINUS"));
  }

  private static ContainerException unknown(String what, int value) {
    return invalid("read a " + what + ": " + value + " is none that CRI v1 knows");
  }

  private static ContainerException invalid(String message) {
    return new ContainerException(Reason.INVALID, message);
  }
}
