package io.berth.runtime;

import io.berth.cri.v1.ContainerMetadata;
import io.berth.cri.v1.ContainerResources;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ContainerUser;
import io.berth.cri.v1.HugepageLimit;
import io.berth.cri.v1.IDMapping;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.LinuxContainerUser;
import io.berth.cri.v1.LinuxPodSandboxStatus;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.MountPropagation;
import io.berth.cri.v1.Namespace;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodIP;
import io.berth.cri.v1.PodSandbox;
import io.berth.cri.v1.PodSandboxMetadata;
import io.berth.cri.v1.PodSandboxNetworkStatus;
import io.berth.cri.v1.PodSandboxState;
import io.berth.cri.v1.PodSandboxStatus;
import io.berth.cri.v1.RuntimeHandlerFeatures;
import io.berth.cri.v1.UserNamespace;
import io.berth.sandbox.LinuxResources;
import io.berth.sandbox.NamespaceModes;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxName;
import io.berth.sandbox.SandboxState;
import java.util.List;

/** From the records of this module and of the sandbox's to CRI's messages. */
final class GrpcAnswers {
  private GrpcAnswers() {}

  /** What pods of one handler can have, as far as both its program and the kernel go. */
  static RuntimeHandlerFeatures features(
      RuntimeFeatures runtime, HostFeatures host, boolean userNamespaces) {
    return RuntimeHandlerFeatures.newBuilder()
        .setRecursiveReadOnlyMounts(runtime.recursiveReadOnly() && host.recursiveReadOnly())
        .setUserNamespaces(runtime.userNamespaces() && userNamespaces)
        .build();
  }

  static PodSandbox sandbox(Sandbox sandbox) {
    return PodSandbox.newBuilder()
        .setId(sandbox.id().value())
        .setMetadata(metadata(sandbox.name()))
        .setState(state(sandbox))
        .setCreatedAt(sandbox.createdAtNanos())
        .putAllLabels(sandbox.config().labels())
        .putAllAnnotations(sandbox.config().annotations())
        .setRuntimeHandler(sandbox.handler())
        .build();
  }

  static PodSandboxStatus sandboxStatus(Sandbox sandbox) {
    PodSandboxNetworkStatus.Builder network = PodSandboxNetworkStatus.newBuilder();
    List<String> ips = sandbox.ips();
    if (!ips.isEmpty()) {
      network.setIp(ips.getFirst());
      ips.stream().skip(1).forEach(ip -> network.addAdditionalIps(PodIP.newBuilder().setIp(ip)));
    }
    return PodSandboxStatus.newBuilder()
        .setId(sandbox.id().value())
        .setMetadata(metadata(sandbox.name()))
        .setState(state(sandbox))
        .setCreatedAt(sandbox.createdAtNanos())
        .setNetwork(network)
        .setLinux(
            LinuxPodSandboxStatus.newBuilder()
                .setNamespaces(
                    Namespace.newBuilder().setOptions(namespaces(sandbox.config().namespaces()))))
        .putAllLabels(sandbox.config().labels())
        .putAllAnnotations(sandbox.config().annotations())
        .setRuntimeHandler(sandbox.handler())
        .build();
  }

  private static PodSandboxMetadata metadata(SandboxName name) {
    return PodSandboxMetadata.newBuilder()
        .setName(name.name())
        .setNamespace(name.namespace())
        .setUid(name.uid())
        .setAttempt(name.attempt())
        .build();
  }

  static PodSandboxState state(Sandbox sandbox) {
    return sandbox.state() == SandboxState.READY
        ? PodSandboxState.SANDBOX_READY
        : PodSandboxState.SANDBOX_NOTREADY;
  }

  private static NamespaceOption namespaces(NamespaceModes modes) {
    NamespaceOption.Builder options =
        NamespaceOption.newBuilder()
            .setNetwork(mode(modes.network()))
            .setPid(mode(modes.pid()))
            .setIpc(mode(modes.ipc()))
            .setTargetId(modes.targetId());
    NamespaceModes.UserNamespace user = modes.user();
    if (user != null) {
      options.setUsernsOptions(
          UserNamespace.newBuilder()
              .setMode(mode(user.mode()))
              .addAllUids(mappings(user.uids()))
              .addAllGids(mappings(user.gids())));
    }
    return options.build();
  }

  private static NamespaceMode mode(io.berth.sandbox.NamespaceMode mode) {
    return switch (mode) {
      case POD -> NamespaceMode.POD;
      case CONTAINER -> NamespaceMode.CONTAINER;
      case NODE -> NamespaceMode.NODE;
      case TARGET -> NamespaceMode.TARGET;
    };
  }

  private static List<IDMapping> mappings(List<NamespaceModes.IdMapping> mappings) {
    return mappings.stream()
        .map(m ->
            IDMapping.newBuilder()
                .setContainerId((int) m.containerId())
                .setHostId((int) m.hostId())
                .setLength((int) m.length())
                .build())
        .toList();
  }

  static io.berth.cri.v1.Container container(Container container) {
    return io.berth.cri.v1.Container.newBuilder()
        .setId(container.id().value())
        .setPodSandboxId(container.sandboxId().value())
        .setMetadata(metadata(container))
        .setImage(image(container, container.config().image()))
        .setImageRef(container.imageRef())
        .setImageId(container.imageId().toString())
        .setState(state(container))
        .setCreatedAt(container.createdAt())
        .putAllLabels(container.config().labels())
        .putAllAnnotations(container.config().annotations())
        .build();
  }

  static ContainerStatus containerStatus(Container container) {
    ContainerConfig config = container.config();
    ContainerStatus.Builder status =
        ContainerStatus.newBuilder()
            .setId(container.id().value())
            .setMetadata(metadata(container))
            .setState(state(container))
            .setCreatedAt(container.createdAt())
            .setStartedAt(container.startedAt())
            .setImage(image(container, container.imageName()))
            .setImageRef(container.imageRef())
            .setImageId(container.imageId().toString())
            .putAllLabels(config.labels())
            .putAllAnnotations(config.annotations())
            .addAllMounts(config.mounts().stream().map(m -> mount(m, container)).toList())
            .setLogPath(container.logPath())
            .setStopSignal(GrpcRequests.signalOf(container.stopSignal()));
    Container.Exit exit = container.exit();
    if (exit != null) {
      status
          .setFinishedAt(exit.finishedAt())
          .setExitCode(exit.code())
          .setReason(exit.reason())
          .setMessage(exit.message());
    }
    LinuxResources limits = container.resources();
    if (limits != null) {
      status.setResources(ContainerResources.newBuilder().setLinux(resources(limits)));
    }
    Container.User user = container.user();
    if (user != null) {
      status.setUser(
          ContainerUser.newBuilder()
              .setLinux(
                  LinuxContainerUser.newBuilder()
                      .setUid(user.uid())
                      .setGid(user.gid())
                      .addAllSupplementalGroups(user.groups())));
    }
    return status.build();
  }

  private static ContainerMetadata metadata(Container container) {
    return ContainerMetadata.newBuilder()
        .setName(container.config().name())
        .setAttempt(container.config().attempt())
        .build();
  }

  private static ImageSpec image(Container container, String name) {
    return ImageSpec.newBuilder()
        .setImage(name)
        .setUserSpecifiedImage(container.config().userImage())
        .build();
  }

  static io.berth.cri.v1.ContainerState state(Container container) {
    return switch (container.state()) {
      case CREATING, CREATED, STARTING -> io.berth.cri.v1.ContainerState.CONTAINER_CREATED;
      case RUNNING -> io.berth.cri.v1.ContainerState.CONTAINER_RUNNING;
      case EXITED -> io.berth.cri.v1.ContainerState.CONTAINER_EXITED;
      // It has no process any more or is about to lose it; CRI has no word for it.
      case REMOVING -> io.berth.cri.v1.ContainerState.CONTAINER_EXITED;
    };
  }

  private static Mount mount(ContainerConfig.Mount mount, Container container) {
    Mount.Builder answer =
        Mount.newBuilder()
            .setContainerPath(mount.containerPath())
            .setHostPath(mount.hostPath())
            .setReadonly(mount.readonly())
            .setRecursiveReadOnly(mount.recursiveReadOnly())
            .setSelinuxRelabel(mount.selinuxRelabel())
            .setPropagation(
                switch (mount.propagation()) {
                  case PRIVATE -> MountPropagation.PROPAGATION_PRIVATE;
                  case HOST_TO_CONTAINER -> MountPropagation.PROPAGATION_HOST_TO_CONTAINER;
                  case BIDIRECTIONAL -> MountPropagation.PROPAGATION_BIDIRECTIONAL;
                })
            .addAllUidMappings(mappings(mount.uidMappings()))
            .addAllGidMappings(mappings(mount.gidMappings()))
            .setImageSubPath(mount.imageSubPath())
            .addAllMountOptions(mount.options());
    if (!mount.image().isEmpty()) {
      answer.setImage(
          ImageSpec.newBuilder()
              .setImage(mount.image())
              .setImageRef(container.volumeImages().getOrDefault(mount.image(), "")));
    }
    return answer.build();
  }

  private static LinuxContainerResources resources(LinuxResources r) {
    return LinuxContainerResources.newBuilder()
        .setCpuPeriod(r.cpuPeriod())
        .setCpuQuota(r.cpuQuota())
        .setCpuShares(r.cpuShares())
        .setMemoryLimitInBytes(r.memoryLimit())
        .setMemorySwapLimitInBytes(r.memorySwapLimit())
        .setOomScoreAdj(r.oomScoreAdj())
        .setCpusetCpus(r.cpusetCpus())
        .setCpusetMems(r.cpusetMems())
        .addAllHugepageLimits(
            r.hugepageLimits().entrySet().stream()
                .map(e ->
                    HugepageLimit.newBuilder()
                        .setPageSize(e.getKey())
                        .setLimit(e.getValue())
                        .build())
                .toList())
        .putAllUnified(r.unified())
        .build();
  }
}
