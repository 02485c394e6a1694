package io.berth.runtime;

import io.berth.linux.CgroupDriver;
import io.berth.oci.ImageConfig;
import io.berth.oci.RuntimeSpec;
import io.berth.runtime.ContainerConfig.Device;
import io.berth.runtime.ContainerConfig.Mount;
import io.berth.runtime.ContainerConfig.Propagation;
import io.berth.sandbox.LinuxResources;
import io.berth.sandbox.NamespaceMode;
import io.berth.sandbox.NamespaceModes;
import io.berth.sandbox.PodCgroup;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxConfig;
import io.berth.sandbox.SandboxId;
import io.berth.sandbox.SandboxLayout;
import io.berth.sandbox.SandboxName;
import io.berth.sandbox.SandboxSecurity;
import io.berth.sandbox.SandboxSecurity.GroupsPolicy;
import io.berth.sandbox.SandboxSecurity.SecurityProfile;
import io.berth.sandbox.SandboxSecurity.SelinuxOptions;
import io.berth.sandbox.SandboxState;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** A container of an ordinary pod, of which a test changes what it is about. */
final class RequestFixture {
  private static final SandboxId POD = new SandboxId("ab".repeat(32));

  List<String> command = List.of();
  List<String> args = List.of();
  String workingDir = "";
  List<String> envs = List.of();
  final List<Mount> mounts = new ArrayList<>();
  final List<Device> devices = new ArrayList<>();
  List<String> cdiDevices = List.of();
  Map<String, String> annotations = Map.of("org.systemd.property.ExecStart", "/bin/evil");
  Map<String, String> podAnnotations = Map.of();
  boolean tty;
  @Nullable LinuxResources resources;

  List<String> add = List.of();
  List<String> drop = List.of();
  List<String> ambient = List.of();
  boolean privileged;
  @Nullable Long runAsUser;
  boolean privilegedPod;
  NamespaceModes namespaces = NamespaceModes.ordinary();
  NamespaceModes podNamespaces = NamespaceModes.ordinary();
  @Nullable SelinuxOptions selinux;
  @Nullable SelinuxOptions podSelinux;
  boolean readonlyRootfs;
  boolean noNewPrivileges;
  List<String> maskedPaths = List.of();
  List<String> readonlyPaths = List.of();
  @Nullable SecurityProfile seccomp;
  @Nullable SecurityProfile apparmor;

  ImageConfig.Execution image = image(List.of(), List.of("/bin/sh"), List.of(), "");
  ImageUser.Resolved user = new ImageUser.Resolved(0, 0, List.of(0L));
  Path rootfs = Path.of("/run/berth/containers/c/rootfs");
  Path stateDir = Path.of("/run/berth");
  String cgroupsPath = "/kubepods/pod1/c";
  @Nullable Integer initPid;
  @Nullable Path targetPidNamespace;

  boolean cgroupV2 = true;
  boolean swapAccounting = true;
  boolean hugetlb = true;
  int lowestOomScoreAdj = -1000;
  Set<String> hostCapabilities = new LinkedHashSet<>(Capabilities.named(-1));
  @Nullable Path apparmorProfiles;
  boolean recursiveReadOnly = true;
  Selinux.Labels labels = Selinux.Labels.NONE;

  /** What was to be given another SELinux label. */
  final List<Path> relabelled = new ArrayList<>();

  RuntimeFeatures features = new RuntimeFeatures(Set.of("rro"), Set.of("user"), true, true);
  HandlerPolicy policy = HandlerPolicy.STRICT;

  /** On a machine without AppArmor. */
  static SpecBuilder specs(SpecSettings settings) {
    return new SpecBuilder(
        settings,
        new SeccompProfiles(),
        new AppArmor(null, Optional::empty, Path.of("/nonexistent")),
        0);
  }

  static ImageConfig.Execution image(
      List<String> entrypoint, List<String> cmd, List<String> env, String workingDir) {
    return new ImageConfig.Execution(
        "", null, env, entrypoint, cmd, Map.of(), workingDir, Map.of("io.kubernetes.x", "y"), "");
  }

  static Mount mount(Path source, String target) {
    return mount(source.toString(), target, false, Propagation.PRIVATE);
  }

  static Mount mount(String source, String target, boolean readonly, Propagation propagation) {
    return new Mount(
        target,
        source,
        readonly,
        false,
        false,
        propagation,
        List.of(),
        List.of(),
        "",
        "",
        List.of());
  }

  static LinuxResources resources(long memory, long swap, long oomScoreAdj) {
    return new LinuxResources(0, 0, 0, memory, swap, oomScoreAdj, "", "", Map.of(), Map.of());
  }

  static NamespaceModes modes(NamespaceMode network, NamespaceMode pid, NamespaceMode ipc) {
    return new NamespaceModes(network, pid, ipc, null, "");
  }

  HostFeatures host() {
    return new HostFeatures(
        cgroupV2,
        swapAccounting,
        hugetlb,
        lowestOomScoreAdj,
        hostCapabilities,
        apparmorProfiles,
        null,
        recursiveReadOnly);
  }

  ContainerConfig.Security security() {
    return new ContainerConfig.Security(
        add,
        drop,
        ambient,
        privileged,
        namespaces,
        selinux,
        runAsUser,
        null,
        "",
        readonlyRootfs,
        List.of(),
        GroupsPolicy.MERGE,
        noNewPrivileges,
        maskedPaths,
        readonlyPaths,
        seccomp,
        apparmor);
  }

  SpecBuilder.Request request() {
    Sandbox sandbox =
        new Sandbox(
            POD,
            new SandboxConfig(
                new SandboxName("web", "shop", "uid-1", 0),
                "web-0",
                "",
                null,
                List.of(),
                Map.of(),
                podAnnotations,
                "/kubepods/pod1",
                Map.of(),
                podNamespaces,
                new SandboxSecurity(
                    privilegedPod,
                    false,
                    null,
                    null,
                    List.of(),
                    GroupsPolicy.MERGE,
                    podSelinux,
                    null,
                    null),
                null,
                null),
            "",
            SandboxState.READY,
            1,
            "boot",
            "web-0",
            new PodCgroup(CgroupDriver.CGROUPFS, "/kubepods/pod1", null),
            List.of(),
            null,
            initPid);
    return new SpecBuilder.Request(
        new ContainerId("cd".repeat(32)),
        new ContainerConfig(
            "nginx",
            0,
            "sha256:1234",
            "registry.example/nginx:1",
            command,
            args,
            workingDir,
            envs,
            mounts,
            devices,
            cdiDevices,
            Map.of("app", "web"),
            new LinkedHashMap<>(annotations),
            "",
            false,
            false,
            tty,
            "",
            resources,
            security()),
        sandbox,
        new SandboxLayout(stateDir, stateDir).paths(sandbox),
        new ImageConfig(
            null, null, null, null, null, image, new ImageConfig.RootFs("layers", List.of()), null),
        rootfs,
        user,
        cgroupsPath,
        host(),
        features,
        policy,
        targetPidNamespace,
        labels,
        new NamedVolumes());
  }

  /** The whole specification; the volumes of these requests wait for nothing. */
  RuntimeSpec built(SpecBuilder builder) {
    try {
      return builder.build(request());
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  /** Says what was asked for instead of making it. */
  private final class NamedVolumes implements VolumeSources {
    @Override
    public Path image(Mount mount) {
      return Path.of("/image", mount.image(), mount.imageSubPath());
    }

    @Override
    public Path withMappedIds(Path source, Mount mount) {
      return Path.of("/mapped" + source);
    }

    @Override
    public Path readOnly(Path source) {
      return Path.of("/read-only" + source);
    }

    @Override
    public void relabel(Path source) {
      relabelled.add(source);
    }

    @Override
    public void relabelOne(Path source) {
      relabelled.add(source);
    }

    @Override
    public Path declared(String path) {
      return Path.of("/declared" + path);
    }
  }
}
