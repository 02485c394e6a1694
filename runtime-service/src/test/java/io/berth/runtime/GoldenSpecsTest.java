package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.linux.MountInfo;
import io.berth.oci.ImageConfig;
import io.berth.oci.Json;
import io.berth.runtime.ContainerConfig.Device;
import io.berth.runtime.ContainerConfig.Propagation;
import io.berth.sandbox.LinuxResources;
import io.berth.sandbox.NamespaceMode;
import io.berth.sandbox.NamespaceModes;
import io.berth.sandbox.SandboxSecurity.SecurityProfile;
import io.berth.sandbox.SandboxSecurity.SecurityProfile.Kind;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Whole specifications of pods as they are met, kept as readable text in {@code
 * src/test/resources/io/berth/runtime/spec}. To write the files anew: {@code mvn test
 * -Dtest=GoldenSpecsTest -Dberth.goldens=write}, then read the difference.
 */
class GoldenSpecsTest {
  private static final Path GOLDENS = Path.of("src/test/resources/io/berth/runtime/spec");

  /** Those that the kubelet sends. */
  private static final List<String> MASKED =
      List.of("/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware");

  private static final List<String> READONLY =
      List.of("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger");

  @TempDir Path folder;
  private final SpecBuilder builder = RequestFixture.specs(SpecSettings.PLAIN);
  private final RequestFixture pod = new RequestFixture();

  @Test
  void ordinaryPodMatchesItsGolden() throws Exception {
    pod.image =
        RequestFixture.image(
            List.of("/entrypoint.sh"),
            List.of("nginx", "-g", "daemon off;"),
            List.of("NGINX_VERSION=1.27", "PATH=/usr/sbin:/usr/bin"),
            "/srv");
    pod.envs = List.of("NGINX_VERSION=pinned", "PORT=80");
    pod.mounts.add(RequestFixture.mount(existing("hosts"), "/etc/hosts"));
    pod.mounts.add(RequestFixture.mount(existing("token"), "/var/run/secrets/token"));
    pod.maskedPaths = List.of("/proc/acpi", "/proc/kcore");
    pod.readonlyPaths = List.of("/proc/sys");
    pod.resources = RequestFixture.resources(64 << 20, 0, 1000);
    assertGolden("ordinary");
  }

  @Test
  void hardenedPodMatchesItsGolden() throws Exception {
    pod.command = List.of("/app");
    pod.user = new ImageUser.Resolved(1000, 2000, List.of(2000L, 3000L));
    pod.drop = List.of("ALL");
    pod.add = List.of("net_bind_service");
    pod.readonlyRootfs = true;
    pod.noNewPrivileges = true;
    pod.tty = true;
    pod.cgroupV2 = false;
    assertGolden("hardened");
  }

  @Test
  void privilegedAgentMatchesItsGolden() throws Exception {
    pod.command = List.of("/agent");
    pod.privileged = true;
    pod.privilegedPod = true;
    pod.maskedPaths = List.of("/proc/kcore");
    pod.seccomp = new SecurityProfile(Kind.RUNTIME_DEFAULT, "");
    NamespaceModes node =
        RequestFixture.modes(NamespaceMode.NODE, NamespaceMode.NODE, NamespaceMode.NODE);
    pod.namespaces = node;
    pod.podNamespaces = node;
    assertGolden("privileged-agent");
  }

  @Test
  void guaranteedPodMatchesItsGolden() throws Exception {
    pod.resources =
        new LinuxResources(
            100_000,
            200_000,
            2048,
            1 << 30,
            1 << 30,
            -997,
            "2-3",
            "0",
            Map.of("2MB", 4L << 20, "1GB", 0L),
            Map.of("memory.high", "900000000", "memory.oom.group", "1"));
    NamespaceModes shared =
        RequestFixture.modes(NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.POD);
    pod.namespaces = shared;
    pod.podNamespaces = shared;
    pod.initPid = 4711;
    assertGolden("guaranteed");
  }

  @Test
  void hostNetworkPod() throws Exception {
    ordinaryPaths();
    pod.command = List.of("/kube-proxy", "--config=/etc/kube-proxy");
    NamespaceModes host =
        RequestFixture.modes(NamespaceMode.NODE, NamespaceMode.CONTAINER, NamespaceMode.POD);
    pod.namespaces = host;
    pod.podNamespaces = host;
    pod.add = List.of("NET_ADMIN");
    assertGolden("host-network");
  }

  /** No shell, no passwd, a user by number; the image's entry point and environment are all. */
  @Test
  void distrolessPod() throws Exception {
    ordinaryPaths();
    pod.image =
        RequestFixture.image(
            List.of("/server"),
            List.of("--listen=:8080"),
            List.of("SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"),
            "/home/nonroot");
    pod.user = new ImageUser.Resolved(65532, 65532, List.of(65532L));
    pod.drop = List.of("ALL");
    pod.noNewPrivileges = true;
    assertGolden("distroless");
  }

  @Test
  void sidecarInTheProcessesOfItsPod() throws Exception {
    ordinaryPaths();
    pod.command = List.of("/proxy");
    NamespaceModes shared =
        RequestFixture.modes(NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.POD);
    pod.namespaces = shared;
    pod.podNamespaces = shared;
    pod.initPid = 4711;
    pod.add = List.of("SYS_PTRACE");
    assertGolden("sidecar-shared-pid");
  }

  @Test
  void readonlyRootWithAWritableVolume() throws Exception {
    ordinaryPaths();
    pod.readonlyRootfs = true;
    pod.mounts.add(RequestFixture.mount(existing("cache"), "/var/cache/app"));
    pod.mounts.add(
        RequestFixture.mount(existing("config").toString(), "/etc/app", true, Propagation.PRIVATE));
    assertGolden("readonly-root");
  }

  @Test
  void seccompProfileOfTheNode() throws Exception {
    ordinaryPaths();
    Path profile =
        Files.writeString(
            folder.resolve("audit.json"),
            """
            {"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86_64"],
             "syscalls": [{"names": ["ptrace", "keyctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}
            """);
    pod.seccomp = new SecurityProfile(Kind.LOCALHOST, profile.toString());
    assertGolden("seccomp-localhost");
  }

  /** fsGroup and supplementalGroups arrive as groups of the process. */
  @Test
  void nonRootWithGroupsOfItsVolumes() throws Exception {
    ordinaryPaths();
    pod.user = new ImageUser.Resolved(1000, 1000, List.of(1000L, 2000L, 3000L));
    pod.noNewPrivileges = true;
    pod.mounts.add(RequestFixture.mount(existing("data"), "/data"));
    assertGolden("non-root-with-groups");
  }

  @Test
  void debugShellAtAnotherContainersProcesses() throws Exception {
    ordinaryPaths();
    pod.command = List.of("sh");
    pod.tty = true;
    pod.namespaces =
        RequestFixture.modes(NamespaceMode.POD, NamespaceMode.TARGET, NamespaceMode.POD);
    pod.targetPidNamespace = Path.of("/proc/815/ns/pid");
    pod.add = List.of("SYS_PTRACE");
    assertGolden("debug-shell");
  }

  @Test
  void nodeAgentAmongTheMachinesProcesses() throws Exception {
    ordinaryPaths();
    pod.command = List.of("/node-exporter", "--path.rootfs=/host");
    NamespaceModes host =
        RequestFixture.modes(NamespaceMode.NODE, NamespaceMode.NODE, NamespaceMode.POD);
    pod.namespaces = host;
    pod.podNamespaces = host;
    pod.user = new ImageUser.Resolved(65534, 65534, List.of(65534L));
    pod.mounts.add(
        RequestFixture.mount(
            existing("root").toString(), "/host", true, Propagation.HOST_TO_CONTAINER));
    assertGolden("host-pid-agent");
  }

  @Test
  void initContainerWithoutCapabilities() throws Exception {
    ordinaryPaths();
    pod.command = List.of("sh", "-c", "cp /defaults/* /work");
    pod.drop = List.of("ALL");
    pod.mounts.add(RequestFixture.mount(existing("work"), "/work"));
    assertGolden("init-drops-all");
  }

  @Test
  void burstablePod() throws Exception {
    ordinaryPaths();
    pod.resources =
        new LinuxResources(100_000, 50_000, 256, 256 << 20, 0, 998, "", "", Map.of(), Map.of());
    assertGolden("burstable");
  }

  @Test
  void hugePagesAsAVolumeAndALimit() throws Exception {
    ordinaryPaths();
    pod.resources =
        new LinuxResources(
            0,
            0,
            1024,
            1 << 30,
            1 << 30,
            -997,
            "",
            "",
            Map.of("2MB", 512L << 20, "1GB", 0L),
            Map.of());
    pod.mounts.add(RequestFixture.mount(existing("hugepages"), "/dev/hugepages"));
    assertGolden("hugepages");
  }

  @Test
  void podWithADeviceOfAPlugin() throws Exception {
    ordinaryPaths();
    pod.devices.add(new Device("/dev/accelerator0", "/dev/null", "rw"));
    pod.envs = List.of("ACCELERATOR_VISIBLE=0");
    assertGolden("device-plugin");
  }

  @Test
  void storageDriverThatMountsForOthers() throws Exception {
    ordinaryPaths();
    pod.command = List.of("/csi-node");
    pod.privileged = true;
    pod.privilegedPod = true;
    pod.mounts.add(
        RequestFixture.mount(
            existing("kubelet").toString(), "/var/lib/kubelet", false, Propagation.BIDIRECTIONAL));
    assertGolden("storage-driver");
  }

  @Test
  void podThatSeesMountsAppear() throws Exception {
    ordinaryPaths();
    pod.mounts.add(
        RequestFixture.mount(
            existing("media").toString(), "/media", false, Propagation.HOST_TO_CONTAINER));
    assertGolden("rslave-mount");
  }

  /** A vendor's device by its CDI file: nodes, libraries, a hook, groups. */
  @Test
  void acceleratorByCdi() throws Exception {
    ordinaryPaths();
    Path files = Files.createDirectories(folder.resolve("cdi"));
    Files.writeString(
        files.resolve("vendor.yaml"),
        """
        cdiVersion: "0.8.0"
        kind: vendor.example/gpu
        containerEdits:
          env: [VENDOR_VISIBLE_DEVICES=void]
          hooks:
            - {hookName: createContainer, path: /usr/bin/vendor-hook, args: [vendor-hook, ldcache]}
        devices:
          - name: gpu0
            containerEdits:
              deviceNodes:
                - {path: /dev/vendor0, type: c, major: 195, minor: 0, permissions: rw}
              mounts:
                - {hostPath: /usr/lib/vendor, containerPath: /usr/lib/vendor, options: [ro, nosuid]}
              additionalGIDs: [44]
        """);
    pod.command = List.of("/train");
    pod.cdiDevices = List.of("vendor.example/gpu=gpu0");
    assertGolden(
        "gpu-by-cdi",
        RequestFixture.specs(
            new SpecSettings(List.of(), List.of(files), List.of(), Path.of("/none"), false)));
  }

  @Test
  void podWithUsersOfItsOwn() throws Exception {
    ordinaryPaths();
    NamespaceModes users =
        new NamespaceModes(
            NamespaceMode.POD,
            NamespaceMode.CONTAINER,
            NamespaceMode.POD,
            new NamespaceModes.UserNamespace(NamespaceMode.POD, ids(), ids()),
            "");
    pod.namespaces = users;
    pod.podNamespaces = users;
    pod.features = new RuntimeFeatures(Set.of("rro"), Set.of("user"), false, false);
    pod.mounts.add(
        new ContainerConfig.Mount(
            "/data",
            existing("data").toString(),
            false,
            false,
            false,
            Propagation.PRIVATE,
            ids(),
            ids(),
            "",
            "",
            List.of()));
    assertGolden("user-namespace");
  }

  private static List<NamespaceModes.IdMapping> ids() {
    return List.of(new NamespaceModes.IdMapping(0, 231072, 65536));
  }

  /** A model beside its server, and a volume that the server's image declares. */
  @Test
  void imagesAsVolumes() throws Exception {
    ordinaryPaths();
    pod.image =
        new ImageConfig.Execution(
            "",
            null,
            List.of(),
            List.of("/serve"),
            List.of(),
            Map.of("/var/cache/serve", Json.MAPPER.createObjectNode()),
            "",
            Map.of(),
            "");
    pod.mounts.add(
        new ContainerConfig.Mount(
            "/models",
            "",
            true,
            false,
            false,
            Propagation.PRIVATE,
            List.of(),
            List.of(),
            "registry.example/model:7",
            "weights",
            List.of("noexec")));
    assertGolden("image-volume");
  }

  @Test
  void confinedBySelinux() throws Exception {
    ordinaryPaths();
    pod.labels =
        new Selinux.Labels(
            "system_u:system_r:container_t:s0:c12,c345",
            "system_u:object_r:container_file_t:s0:c12,c345",
            "system_u:object_r:container_file_t:s0");
    assertGolden("selinux");
  }

  @Test
  void unmaskedProc() throws Exception {
    pod.command = List.of("/builder");
    pod.maskedPaths = List.of();
    pod.readonlyPaths = List.of();
    assertGolden("unmasked-proc");
  }

  private void ordinaryPaths() {
    pod.maskedPaths = MASKED;
    pod.readonlyPaths = READONLY;
  }

  private Path existing(String name) throws Exception {
    return Files.createDirectories(folder.resolve(name));
  }

  /** The temporary folder stands as ${tmp}; the machine's devices are left out. */
  private void assertGolden(String name) throws Exception {
    assertGolden(name, builder);
  }

  private void assertGolden(String name, SpecBuilder builder) throws Exception {
    Path root = Path.of("/");
    var sharedRoot =
        List.of(new MountInfo(root, root, "rw", List.of("shared:1"), "ext4", "/dev/vda"));
    ObjectNode tree = Json.MAPPER.valueToTree(builder.build(pod.request(), () -> sharedRoot));
    if (pod.privileged) {
      ((ObjectNode) tree.get("linux")).put("devices", "those of the machine");
    }
    String text =
        Json.MAPPER
                .writerWithDefaultPrettyPrinter()
                .writeValueAsString(tree)
                .replace(folder.toRealPath().toString(), "${tmp}")
            + "\n";
    Path golden = GOLDENS.resolve(name + ".json");
    if ("write".equals(System.getProperty("berth.goldens"))) {
      Files.createDirectories(GOLDENS);
      Files.writeString(golden, text);
    }
    JsonNode expected = Json.MAPPER.readTree(Files.readString(golden));
    assertThat(text)
        .as(golden + "; -Dberth.goldens=write writes it anew")
        .isEqualTo(
            Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(expected) + "\n");
  }
}
