package io.berth.e2e;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerMetadata;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.LinuxContainerConfig;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.LinuxPodSandboxConfig;
import io.berth.cri.v1.LinuxSandboxSecurityContext;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxMetadata;
import java.nio.file.Path;
import java.util.List;

/** Pods and containers as a kubelet asks for the ordinary ones; a test changes what it is about. */
final class Requests {
  /** Of the fixture images; found by the mirrors of {@link BerthDaemon}. */
  static final String BUSYBOX = "registry.k8s.io/e2e-test-images/busybox:1.29-2";

  /** As {@link #BUSYBOX}; it declares /data, with content, and /fresh as volumes. */
  static final String VOLUMES = "registry.k8s.io/berth/volumes:1";

  /** As {@link #BUSYBOX}, but /etc is a link to a folder that isn't there. */
  static final String LINKED_ETC = "registry.k8s.io/berth/linked-etc:1";

  /** Ignores no signal, so that it ends at once when asked to. */
  static final List<String> SLEEP = List.of("sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait");

  /** Every container has its own processes; network and IPC are the pod's. */
  static final NamespaceOption ORDINARY =
      NamespaceOption.newBuilder()
          .setNetwork(NamespaceMode.POD)
          .setPid(NamespaceMode.CONTAINER)
          .setIpc(NamespaceMode.POD)
          .build();

  private Requests() {}

  static PodSandboxConfig.Builder pod(BerthDaemon daemon, String name) {
    return pod(daemon, name, ORDINARY);
  }

  /** Logs of its containers go to {@link BerthDaemon#logs()}{@code /name}. */
  static PodSandboxConfig.Builder pod(BerthDaemon daemon, String name, NamespaceOption namespaces) {
    return pod(daemon.logs().resolve(name), name, namespaces);
  }

  static PodSandboxConfig.Builder pod(Path logs, String name, NamespaceOption namespaces) {
    return PodSandboxConfig.newBuilder()
        .setMetadata(
            PodSandboxMetadata.newBuilder()
                .setName(name)
                .setNamespace("e2e")
                .setUid("uid-of-" + name))
        .setHostname(namespaces.getNetwork() == NamespaceMode.POD ? name : "")
        .setLogDirectory(logs.toString())
        .setLinux(
            LinuxPodSandboxConfig.newBuilder()
                .setSecurityContext(
                    LinuxSandboxSecurityContext.newBuilder().setNamespaceOptions(namespaces)));
  }

  /** In the namespaces of {@link #ORDINARY}; its log is {@code name.log}. */
  static ContainerConfig.Builder container(String name, String image, List<String> command) {
    return container(name, image, command, ORDINARY);
  }

  static ContainerConfig.Builder container(
      String name, String image, List<String> command, NamespaceOption namespaces) {
    return ContainerConfig.newBuilder()
        .setMetadata(ContainerMetadata.newBuilder().setName(name))
        .setImage(ImageSpec.newBuilder().setImage(image))
        .addAllCommand(command)
        .setLogPath(name + ".log")
        .setLinux(
            LinuxContainerConfig.newBuilder()
                .setSecurityContext(
                    LinuxContainerSecurityContext.newBuilder().setNamespaceOptions(namespaces)));
  }
}
