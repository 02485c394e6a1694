package io.berth.runtime;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.linux.MountInfo;
import io.berth.oci.RuntimeSpec;
import io.berth.runtime.ContainerConfig.Device;
import io.berth.runtime.ContainerConfig.Mount;
import io.berth.runtime.ContainerConfig.Propagation;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.LinuxResources;
import io.berth.sandbox.NamespaceMode;
import io.berth.sandbox.NamespaceModes;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SpecBuilderTest {
  @TempDir Path folder;
  private final SpecBuilder builder = RequestFixture.specs(SpecSettings.PLAIN);
  private final RequestFixture pod = new RequestFixture();

  // ---- process

  @Test
  void commandReplacesEntrypointAndDropsCmd() {
    pod.image = RequestFixture.image(List.of("/e"), List.of("c"), List.of(), "");
    pod.command = List.of("/x");
    assertThat(process().args()).containsExactly("/x");
  }

  @Test
  void argsAloneReplaceCmdOnly() {
    pod.image = RequestFixture.image(List.of("/e"), List.of("c"), List.of(), "");
    pod.args = List.of("a");
    assertThat(process().args()).containsExactly("/e", "a");
  }

  @Test
  void nothingToRunIsRefused() {
    pod.image = RequestFixture.image(List.of(), List.of(), List.of(), "");
    assertRefused(Reason.INVALID, "neither the request nor the image names a command");
  }

  @Test
  void laterEnvironmentReplacesInPlace() {
    pod.tty = true;
    pod.image = RequestFixture.image(List.of(), List.of("sh"), List.of("A=1", "B=2", "broken"), "");
    pod.envs = List.of("A=x=y", "C=", "HOSTNAME=mine");
    assertThat(process().env())
        .containsExactly(
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=xterm",
            "HOSTNAME=mine",
            "A=x=y",
            "B=2",
            "C=");
  }

  @Test
  void environmentThatJsonCannotCarryIsRefused() {
    pod.envs = List.of("RAW=\udcff");
    assertRefused(Reason.UNSUPPORTED, "environment variable RAW isn't valid UTF-8");
  }

  @ParameterizedTest
  @ValueSource(strings = {"HOME=/x\nroot::0:0::/:/bin/sh", "HOME=/x\r", "HOME=/x:/bin/sh"})
  void homeThatWouldForgeAPasswdLineIsRefused(String home) {
    pod.envs = List.of(home);
    assertRefused(Reason.INVALID, "variable HOME holds a line break or a colon");
  }

  @Test
  void workingDirectoryOfTheRequestWinsAndIsCleaned() {
    pod.image = RequestFixture.image(List.of(), List.of("sh"), List.of(), "/image");
    assertThat(process().cwd()).isEqualTo("/image");
    pod.workingDir = "/a//b/../c/";
    assertThat(process().cwd()).isEqualTo("/a/c");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/proc/self/fd/7",
        "/proc/self/fd",
        "/proc//self/./fd/8/../..",
        "/proc/1/cwd",
        "/proc/thread-self/task/1/root/etc",
        "/dev/fd/7",
        "/x/../proc/self/fd/7"
      })
  void workingDirectoryThroughOpenFilesIsRefused(String directory) {
    pod.workingDir = directory;
    if (directory.endsWith("..")) {
      assertThat(process().cwd()).isEqualTo("/proc/self");
    } else {
      assertRefused(Reason.INVALID, "leads to open files");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"relative", "/a\nb", "/a:b", "/nul\0"})
  void workingDirectoryThatIsNoneIsRefused(String directory) {
    pod.workingDir = directory;
    assertRefused(Reason.INVALID, "working directory");
  }

  @Test
  void oomScoreIsClampedToWhatTheKernelAllows() {
    pod.lowestOomScoreAdj = 0;
    pod.resources = RequestFixture.resources(0, 0, -997);
    assertThat(process().oomScoreAdj()).isZero();
    pod.resources = RequestFixture.resources(0, 0, 1001);
    assertRefused(Reason.INVALID, "oom_score_adj 1001");
  }

  // ---- capabilities

  @Test
  void defaultCapabilitiesAreContainerds() {
    assertThat(capabilities().bounding())
        .containsExactlyInAnyOrder(
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_FSETID",
            "CAP_FOWNER",
            "CAP_MKNOD",
            "CAP_NET_RAW",
            "CAP_SETGID",
            "CAP_SETUID",
            "CAP_SETFCAP",
            "CAP_SETPCAP",
            "CAP_NET_BIND_SERVICE",
            "CAP_SYS_CHROOT",
            "CAP_KILL",
            "CAP_AUDIT_WRITE");
    assertThat(capabilities().inheritable()).isEmpty();
    assertThat(capabilities().ambient()).isEmpty();
  }

  @Test
  void addAllDropOneLeavesTheOthers() {
    pod.add = List.of("all");
    pod.drop = List.of("Sys_Admin");
    assertThat(capabilities().effective())
        .hasSize(pod.hostCapabilities.size() - 1)
        .doesNotContain("CAP_SYS_ADMIN");
  }

  @Test
  void dropAllAddOneLeavesOne() {
    pod.drop = List.of("ALL");
    pod.add = List.of("CAP_KILL");
    assertThat(capabilities().permitted()).containsExactly("CAP_KILL");
  }

  @Test
  void ambientCapabilitiesAreInheritableToo() {
    pod.ambient = List.of("NET_ADMIN");
    RuntimeSpec.Capabilities granted = capabilities();
    assertThat(granted.ambient()).containsExactly("CAP_NET_ADMIN");
    assertThat(granted.inheritable()).containsExactly("CAP_NET_ADMIN");
    assertThat(granted.permitted()).contains("CAP_NET_ADMIN");
  }

  @Test
  void capabilityThatTheDaemonLacksIsRefusedByNameAndLeftOutOfAll() {
    pod.hostCapabilities.remove("CAP_SYS_RESOURCE");
    pod.add = List.of("ALL");
    assertThat(capabilities().bounding())
        .contains("CAP_SYS_ADMIN")
        .doesNotContain("CAP_SYS_RESOURCE");
    pod.add = List.of("SYS_RESOURCE");
    assertRefused(Reason.INVALID, "capability CAP_SYS_RESOURCE can't be given");
    pod.add = List.of("FLY");
    assertRefused(Reason.INVALID, "capability \"FLY\" doesn't exist");
  }

  // ---- resources

  @Test
  void swapIsLimitedToMemoryUnlessAsked() {
    pod.resources = RequestFixture.resources(100, 0, 0);
    assertThat(memory()).returns(100L, RuntimeSpec.Memory::swap);
    pod.resources = RequestFixture.resources(100, 150, 0);
    assertThat(memory()).returns(150L, RuntimeSpec.Memory::swap);
    pod.resources = RequestFixture.resources(100, 50, 0);
    assertRefused(Reason.INVALID, "must not be below memory_limit_in_bytes 100");
  }

  @Test
  void swapWithoutAccountingIsRefusedOnlyWhereItMatters() {
    pod.swapAccounting = false;
    pod.resources = RequestFixture.resources(100, 100, 0);
    assertThat(memory().swap()).isNull();
    pod.resources = RequestFixture.resources(100, 150, 0);
    assertRefused(Reason.INVALID, "doesn't account swap");
  }

  @Test
  void hugepagesWithoutControllerAreRefusedOnlyWhenLimitsAreSet() {
    pod.hugetlb = false;
    pod.resources = hugepages(Map.of("2MB", 0L));
    assertThat(requireNonNull(resources()).hugepageLimits()).isNull();
    pod.resources = hugepages(Map.of("2MB", 1L << 21));
    assertRefused(Reason.INVALID, "no hugetlb controller");
  }

  private static LinuxResources hugepages(Map<String, Long> limits) {
    return new LinuxResources(0, 0, 0, 0, 0, 0, "", "", limits, Map.of());
  }

  @Test
  void unifiedResourcesNeedTheUnifiedHierarchy() {
    pod.cgroupV2 = false;
    pod.resources =
        new LinuxResources(0, 0, 0, 0, 0, 0, "", "", Map.of(), Map.of("memory.high", "1"));
    assertRefused(Reason.INVALID, "unified resources need cgroup v2");
    pod.cgroupV2 = true;
    pod.resources =
        new LinuxResources(0, 0, 0, 0, 0, 0, "", "", Map.of(), Map.of("../cgroup.procs", "1"));
    assertRefused(Reason.INVALID, "isn't a cgroup file");
  }

  @Test
  void malformedCpusetIsRefused() {
    pod.resources = new LinuxResources(0, 0, 0, 0, 0, 0, "0-", "", Map.of(), Map.of());
    assertRefused(Reason.INVALID, "cpuset_cpus \"0-\"");
  }

  // ---- namespaces

  @Test
  void targetPidNamespaceIsJoined() {
    pod.namespaces =
        new NamespaceModes(NamespaceMode.POD, NamespaceMode.TARGET, NamespaceMode.POD, null, "x");
    assertRefused(Reason.INVALID, "isn't running in the same pod");
    pod.targetPidNamespace = Path.of("/proc/42/ns/pid");
    assertThat(namespace("pid")).returns("/proc/42/ns/pid", RuntimeSpec.Namespace::path);
  }

  @Test
  void podPidsOfAPodOnTheMachinesPidsAreTheMachines() {
    pod.podNamespaces =
        RequestFixture.modes(NamespaceMode.POD, NamespaceMode.NODE, NamespaceMode.POD);
    pod.namespaces = RequestFixture.modes(NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.POD);
    assertThat(namespace("pid")).isNull();
  }

  @Test
  void sharedPidsNeedAPodThatShares() {
    pod.namespaces = RequestFixture.modes(NamespaceMode.POD, NamespaceMode.POD, NamespaceMode.POD);
    assertRefused(Reason.INVALID, "which has none");
  }

  @Test
  void leavingThePodsNetworkIsRefused() {
    pod.namespaces =
        RequestFixture.modes(NamespaceMode.NODE, NamespaceMode.CONTAINER, NamespaceMode.POD);
    assertRefused(Reason.INVALID, "asks for the machine's network");
  }

  @ParameterizedTest
  @ValueSource(strings = {"POD", "CONTAINER", "TARGET"})
  void userNamespaceThatIsNotThePodsIsRefused(String mode) {
    pod.namespaces =
        new NamespaceModes(
            NamespaceMode.POD,
            NamespaceMode.CONTAINER,
            NamespaceMode.POD,
            new NamespaceModes.UserNamespace(NamespaceMode.valueOf(mode), List.of(), List.of()),
            "");
    assertRefused(Reason.INVALID, "user namespace");
  }

  // ---- mounts

  @Test
  void missingSourceBecomesAFolder() {
    pod.mounts.add(RequestFixture.mount(folder.resolve("a/b"), "/data"));
    spec();
    assertThat(folder.resolve("a/b")).isDirectory();
  }

  @Test
  void linkedSourceIsResolvedAndDanglingOneRefused() throws IOException {
    Path real = existing("real");
    Path link = Files.createSymbolicLink(folder.resolve("link"), real);
    pod.mounts.add(RequestFixture.mount(link, "/data"));
    assertThat(mountAt("/data").source()).isEqualTo(real.toRealPath().toString());

    Path dangling = Files.createSymbolicLink(folder.resolve("dangling"), folder.resolve("gone"));
    pod.mounts.add(RequestFixture.mount(dangling, "/other"));
    assertRefused(Reason.INVALID, "can't be used or made");
  }

  @Test
  void requestedMountsOverrideDefaultsAtTheSamePath() throws IOException {
    Path shm = existing("shm");
    pod.mounts.add(RequestFixture.mount(shm, "/dev//shm/"));
    assertThat(spec().mounts()).filteredOn(m -> m.destination().equals("/dev/shm")).hasSize(1);
    assertThat(mountAt("/dev/shm").source()).isEqualTo(shm.toRealPath().toString());
  }

  @Test
  void requestedDevDropsDefaultsBeneath() throws IOException {
    pod.mounts.add(RequestFixture.mount(existing("dev"), "/dev"));
    assertThat(spec().mounts())
        .extracting(RuntimeSpec.Mount::destination)
        .contains("/dev", "/proc", "/sys")
        .noneMatch(path -> path.startsWith("/dev/"));
  }

  @Test
  void parentsAreMountedBeforeWhatLiesBeneath() throws IOException {
    pod.mounts.add(RequestFixture.mount(existing("deep"), "/data/x/y"));
    pod.mounts.add(RequestFixture.mount(existing("first"), "/data"));
    pod.mounts.add(RequestFixture.mount(existing("second"), "/data"));
    assertThat(spec().mounts())
        .extracting(RuntimeSpec.Mount::source)
        .containsSubsequence(
            folder.toRealPath().resolve("first").toString(),
            folder.toRealPath().resolve("second").toString(),
            folder.toRealPath().resolve("deep").toString());
  }

  @Test
  void mountOptionsAreAddedAndOthersRefused() throws IOException {
    Path source = existing("x");
    pod.mounts.add(options(source, "noexec", "nosuid"));
    assertThat(mountAt("/data").options())
        .containsExactly("rbind", "rprivate", "rw", "noexec", "nosuid");
    pod.mounts.add(options(source, "suid"));
    assertRefused(Reason.INVALID, "mount option \"suid\"");
  }

  private static Mount options(Path source, String... options) {
    return new Mount(
        "/data",
        source.toString(),
        false,
        false,
        false,
        Propagation.PRIVATE,
        List.of(),
        List.of(),
        "",
        "",
        List.of(options));
  }

  @Test
  void recursiveReadOnlyIsCheckedThreeWays() throws IOException {
    Path source = existing("x");
    pod.mounts.add(rro(source, false, Propagation.PRIVATE));
    assertRefused(Reason.INVALID, "recursively read-only");
    pod.mounts.set(0, rro(source, true, Propagation.HOST_TO_CONTAINER));
    pod.recursiveReadOnly = false;
    pod.mounts.set(0, rro(source, true, Propagation.PRIVATE));
    assertThatThrownBy(this::spec).hasMessageStartingWith("RROUnsupported: ");
    pod.recursiveReadOnly = true;
    assertThat(mountAt("/data").options()).containsExactly("rbind", "rprivate", "rro");
  }

  private static Mount rro(Path source, boolean readonly, Propagation propagation) {
    return new Mount(
        "/data",
        source.toString(),
        readonly,
        true,
        false,
        propagation,
        List.of(),
        List.of(),
        "",
        "",
        List.of());
  }

  @Test
  void propagationIsCheckedAgainstTheMountOfTheSource() throws Exception {
    Path source = existing("x").toRealPath();
    String text = source.toString();
    pod.mounts.add(RequestFixture.mount(text, "/data", false, Propagation.HOST_TO_CONTAINER));
    assertThatThrownBy(() -> plan(source)).hasMessageContaining("isn't shared or slave");
    assertThat(plan(source, "master:1").rootfsPropagation()).isEqualTo("rslave");
    pod.mounts.add(RequestFixture.mount(text, "/both", true, Propagation.BIDIRECTIONAL));
    assertThatThrownBy(() -> plan(source, "master:1")).hasMessageContaining("isn't shared;");
    ContainerMounts.Plan plan = plan(source, "shared:1");
    assertThat(plan.rootfsPropagation()).isEqualTo("rshared");
    assertThat(plan.mounts())
        .filteredOn(m -> m.destination().equals("/both"))
        .singleElement()
        .returns(List.of("rbind", "rshared", "ro"), RuntimeSpec.Mount::options);
  }

  private ContainerMounts.Plan plan(Path mountPoint, String... tags) throws InterruptedException {
    Path root = Path.of("/");
    List<MountInfo> table =
        List.of(
            new MountInfo(root, root, "rw", List.of("shared:9"), "ext4", "/dev/vda"),
            new MountInfo(root, mountPoint, "rw", List.of(tags), "tmpfs", "tmpfs"));
    return ContainerMounts.plan(pod.request(), () -> table);
  }

  @Test
  void imageIsMountedReadOnlyFromWhereThePodHasIt() {
    pod.mounts.add(
        new Mount(
            "/data",
            "",
            true,
            false,
            false,
            Propagation.PRIVATE,
            List.of(),
            List.of(),
            "img",
            "sub",
            List.of()));
    assertThat(mountAt("/data"))
        .returns("/image/img/sub", RuntimeSpec.Mount::source)
        .returns(List.of("rbind", "rprivate", "ro"), RuntimeSpec.Mount::options);
  }

  // ---- devices

  @Test
  void deviceIsMappedWithItsRule() {
    pod.devices.add(new Device("/dev/nothing", "/dev/null", "rw"));
    RuntimeSpec.Linux linux = linux();
    assertThat(linux.devices())
        .singleElement()
        .returns("/dev/nothing", RuntimeSpec.Device::path)
        .returns("c", RuntimeSpec.Device::type)
        .returns(1L, RuntimeSpec.Device::major)
        .returns(3L, RuntimeSpec.Device::minor)
        .returns(0666, RuntimeSpec.Device::fileMode);
    assertThat(requireNonNull(resources()).devices())
        .containsExactly(
            new RuntimeSpec.DeviceRule(false, null, null, null, "rwm"),
            new RuntimeSpec.DeviceRule(true, "c", 1L, 3L, "rw"));
  }

  @Test
  void linkedDeviceIsFollowed() throws IOException {
    Path link = Files.createSymbolicLink(folder.resolve("link"), Path.of("/dev/zero"));
    pod.devices.add(new Device("/dev/mine", link.toString(), "r"));
    assertThat(linux().devices()).singleElement().returns(5L, RuntimeSpec.Device::minor);
  }

  @Test
  void folderOfDevicesIsMappedRecursively() {
    pod.devices.add(new Device("/dev/all", "/dev", "rwm"));
    assertThat(linux().devices())
        .extracting(RuntimeSpec.Device::path)
        .contains("/dev/all/null", "/dev/all/zero")
        .noneMatch(path -> path.startsWith("/dev/all/pts"));
  }

  @Test
  void whatIsNoDeviceIsRefused() throws IOException {
    pod.devices.add(new Device("/dev/x", folder.resolve("gone").toString(), "r"));
    assertRefused(Reason.INVALID, "doesn't exist on this machine");
    pod.devices.set(
        0, new Device("/dev/x", Files.createFile(folder.resolve("file")).toString(), "r"));
    assertRefused(Reason.INVALID, "is neither a device nor a folder");
    pod.devices.set(0, new Device("/dev/x", "/dev/null", "rx"));
    assertRefused(Reason.INVALID, "permissions \"rx\"");
  }

  @Test
  void privilegedContainerSeesTheMachinesDevices() {
    pod.privileged = true;
    pod.privilegedPod = true;
    assertThat(linux().devices())
        .extracting(RuntimeSpec.Device::path)
        .contains("/dev/null", "/dev/tty")
        .noneMatch(path -> path.startsWith("/dev/pts"));
    assertThat(linux().seccomp()).isNull();
  }

  // ---- what isn't there

  @Test
  void privilegedContainerNeedsAPrivilegedPod() {
    pod.privileged = true;
    assertRefused(Reason.INVALID, "no privileged container is allowed");
  }

  @Test
  void selinuxLabelsReachProcessFilesAndWhatThePodBrings() throws Exception {
    pod.labels = new Selinux.Labels("u:r:t:s0:c1,c2", "u:r:f:s0:c1,c2", "u:r:f:s0");
    Path volume = existing("volume");
    pod.mounts.add(
        new ContainerConfig.Mount(
            "/volume",
            volume.toString(),
            false,
            false,
            true,
            ContainerConfig.Propagation.PRIVATE,
            List.of(),
            List.of(),
            "",
            "",
            List.of()));
    RuntimeSpec spec = spec();
    assertThat(requireNonNull(spec.process()).selinuxLabel()).isEqualTo("u:r:t:s0:c1,c2");
    assertThat(requireNonNull(spec.linux()).mountLabel()).isEqualTo("u:r:f:s0:c1,c2");
    assertThat(pod.relabelled)
        .extracting(path -> path.getFileName().toString())
        .containsExactlyInAnyOrder("volume", "shm", "hostname", "hosts", "resolv.conf");
  }

  @Test
  void deviceNodesBelongToTheNamedUserWhereConfigured() {
    pod.devices.add(new ContainerConfig.Device("/dev/mine", "/dev/null", "rw"));
    pod.runAsUser = 1000L;
    pod.user = new ImageUser.Resolved(1000, 5, List.of(5L));
    assertThat(requireNonNull(requireNonNull(spec().linux()).devices()))
        .singleElement()
        .satisfies(device -> assertThat(device.uid()).isNotEqualTo(1000));
    var owning =
        RequestFixture.specs(
            new SpecSettings(List.of(), List.of(), List.of(), Path.of("/none"), true));
    assertThat(requireNonNull(requireNonNull(pod.built(owning).linux()).devices()))
        .singleElement()
        .satisfies(device -> {
          assertThat(device.uid()).isEqualTo(1000);
          assertThat(device.gid()).as("no group was named").isNotEqualTo(5);
        });
  }

  @Test
  void annotationsOfRequestAndImageStayOutside() {
    assertThat(requireNonNull(spec().annotations()).keySet())
        .isEqualTo(
            Set.of(
                "io.kubernetes.cri.container-type",
                "io.kubernetes.cri.container-name",
                "io.kubernetes.cri.image-name",
                "io.kubernetes.cri.sandbox-id",
                "io.kubernetes.cri.sandbox-name",
                "io.kubernetes.cri.sandbox-namespace",
                "io.kubernetes.cri.sandbox-uid"));
  }

  @Test
  void annotationsOfPodAndContainerPassOnlyByTheHandlersConfiguration() {
    pod.annotations =
        Map.of(
            "run.oci.keep_original_groups", "1",
            "io.katacontainers.config.x", "container's",
            "org.systemd.property.ExecStart", "/bin/evil",
            "io.kubernetes.cri.sandbox-id", "forged");
    pod.policy =
        new HandlerPolicy(List.of("io.katacontainers.*", "run.oci.keep", "io.kubernetes.*"), false);
    assertThat(requireNonNull(spec().annotations()))
        .containsEntry("io.katacontainers.config.x", "container's")
        .doesNotContainKeys("run.oci.keep_original_groups", "org.systemd.property.ExecStart")
        .containsEntry("io.kubernetes.cri.sandbox-id", "ab".repeat(32));
  }

  @Test
  void privilegedContainerGetsTheMachinesDevicesUnlessTheHandlerSaysOtherwise() {
    pod.privileged = true;
    pod.privilegedPod = true;
    assertThat(requireNonNull(requireNonNull(spec().linux()).devices())).isNotEmpty();
    pod.policy = new HandlerPolicy(List.of(), true);
    assertThat(requireNonNull(requireNonNull(spec().linux()).devices())).isEmpty();
  }

  // ---- short hands

  private RuntimeSpec spec() {
    return pod.built(builder);
  }

  private RuntimeSpec.ContainerProcess process() {
    return requireNonNull(spec().process());
  }

  private RuntimeSpec.Capabilities capabilities() {
    return requireNonNull(process().capabilities());
  }

  private RuntimeSpec.Linux linux() {
    return requireNonNull(spec().linux());
  }

  private RuntimeSpec.@Nullable Resources resources() {
    return linux().resources();
  }

  private RuntimeSpec.Memory memory() {
    return requireNonNull(requireNonNull(resources()).memory());
  }

  private RuntimeSpec.@Nullable Namespace namespace(String type) {
    return requireNonNull(linux().namespaces()).stream()
        .filter(n -> n.type().equals(type))
        .findFirst()
        .orElse(null);
  }

  private RuntimeSpec.Mount mountAt(String path) {
    return requireNonNull(spec().mounts()).stream()
        .filter(m -> m.destination().equals(path))
        .findFirst()
        .orElseThrow();
  }

  private Path existing(String name) throws IOException {
    return Files.createDirectories(folder.resolve(name));
  }

  private void assertRefused(Reason reason, String text) {
    assertThatThrownBy(this::spec)
        .isInstanceOf(ContainerException.class)
        .hasMessageContaining("create container " + "cd".repeat(32))
        .hasMessageContaining(text)
        .extracting(e -> ((ContainerException) e).reason())
        .isEqualTo(reason);
  }
}
