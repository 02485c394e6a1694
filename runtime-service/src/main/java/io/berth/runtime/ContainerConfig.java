package io.berth.runtime;

import io.berth.sandbox.LinuxResources;
import io.berth.sandbox.NamespaceModes;
import io.berth.sandbox.SandboxSecurity.GroupsPolicy;
import io.berth.sandbox.SandboxSecurity.SecurityProfile;
import io.berth.sandbox.SandboxSecurity.SelinuxOptions;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What the kubelet asks for: CRI's {@code ContainerConfig} without protobuf.
 *
 * @param name the container's name in its pod
 * @param attempt counts the containers made under that name
 * @param image as the request names it, kept for the status
 * @param userImage what the user wrote in the pod's specification; empty when the request doesn't
 *     say
 * @param command replaces the image's entry point and drops its command; empty: the image's
 * @param args empty: the image's command, if the entry point is the image's too
 * @param workingDir empty: the image's
 * @param envs {@code NAME=value} in the order of the request
 * @param logPath relative to the sandbox's log folder; empty: no log
 * @param stopSignal as in {@code SIGTERM}; empty: the image's, else SIGTERM
 * @param resources absent: no limits
 */
public record ContainerConfig(
    String name,
    int attempt,
    String image,
    String userImage,
    List<String> command,
    List<String> args,
    String workingDir,
    List<String> envs,
    List<Mount> mounts,
    List<Device> devices,
    List<String> cdiDevices,
    Map<String, String> labels,
    Map<String, String> annotations,
    String logPath,
    boolean stdin,
    boolean stdinOnce,
    boolean tty,
    String stopSignal,
    @Nullable LinuxResources resources,
    Security security) {
  public ContainerConfig {
    command = List.copyOf(command);
    args = List.copyOf(args);
    envs = List.copyOf(envs);
    mounts = List.copyOf(mounts);
    devices = List.copyOf(devices);
    cdiDevices = List.copyOf(cdiDevices);
    labels = Collections.unmodifiableMap(new LinkedHashMap<>(labels));
    annotations = Collections.unmodifiableMap(new LinkedHashMap<>(annotations));
  }

  /** CRI's {@code MountPropagation}. */
  public enum Propagation {
    PRIVATE,
    HOST_TO_CONTAINER,
    BIDIRECTIONAL
  }

  /**
   * CRI's {@code Mount}.
   *
   * @param hostPath empty exactly when an image is mounted
   * @param image the image to mount, else empty
   * @param imageSubPath a folder within that image, else empty
   * @param options noexec, nodev and nosuid
   */
  public record Mount(
      String containerPath,
      String hostPath,
      boolean readonly,
      boolean recursiveReadOnly,
      boolean selinuxRelabel,
      Propagation propagation,
      List<NamespaceModes.IdMapping> uidMappings,
      List<NamespaceModes.IdMapping> gidMappings,
      String image,
      String imageSubPath,
      List<String> options) {
    public Mount {
      uidMappings = List.copyOf(uidMappings);
      gidMappings = List.copyOf(gidMappings);
      options = List.copyOf(options);
    }
  }

  /**
   * CRI's {@code Device}.
   *
   * @param permissions some of {@code rwm}
   */
  public record Device(String containerPath, String hostPath, String permissions) {}

  /**
   * CRI's {@code LinuxContainerSecurityContext}.
   *
   * @param addCapabilities without the prefix {@code CAP_}, any case, {@code ALL} allowed; likewise
   *     the others
   * @param runAsUser absent is not the same as 0
   * @param runAsUsername empty: {@code runAsUser}
   * @param maskedPaths as given; empty masks nothing
   * @param seccomp absent means unconfined
   * @param apparmor absent means the default profile where the kernel has AppArmor
   */
  public record Security(
      List<String> addCapabilities,
      List<String> dropCapabilities,
      List<String> addAmbientCapabilities,
      boolean privileged,
      NamespaceModes namespaces,
      @Nullable SelinuxOptions selinux,
      @Nullable Long runAsUser,
      @Nullable Long runAsGroup,
      String runAsUsername,
      boolean readonlyRootfs,
      List<Long> supplementalGroups,
      GroupsPolicy supplementalGroupsPolicy,
      boolean noNewPrivileges,
      List<String> maskedPaths,
      List<String> readonlyPaths,
      @Nullable SecurityProfile seccomp,
      @Nullable SecurityProfile apparmor) {
    public Security {
      addCapabilities = List.copyOf(addCapabilities);
      dropCapabilities = List.copyOf(dropCapabilities);
      addAmbientCapabilities = List.copyOf(addAmbientCapabilities);
      supplementalGroups = List.copyOf(supplementalGroups);
      maskedPaths = List.copyOf(maskedPaths);
      readonlyPaths = List.copyOf(readonlyPaths);
    }
  }
}
