package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.errorprone.annotations.CanIgnoreReturnValue;
import io.berth.cri.v1.CgroupDriver;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.DNSConfig;
import io.berth.cri.v1.IDMapping;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.NetworkConfig;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxStatus;
import io.berth.cri.v1.PodSandboxStatusRequest;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RuntimeCondition;
import io.berth.cri.v1.RuntimeConfigRequest;
import io.berth.cri.v1.RuntimeHandler;
import io.berth.cri.v1.SELinuxOption;
import io.berth.cri.v1.SecurityProfile;
import io.berth.cri.v1.StatusRequest;
import io.berth.cri.v1.UpdateRuntimeConfigRequest;
import io.berth.cri.v1.UserNamespace;
import io.berth.cri.v1.VersionRequest;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * What a request says about a pod, and what every container has, read from inside containers with
 * each OCI runtime; and what the node says of itself.
 */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.Random.class)
class PodFieldsIT {
  private static final Duration SOON = Duration.ofSeconds(60);

  private final BerthDaemon daemon;
  private final PodLife life;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  PodFieldsIT(DockerRegistry registry) throws Exception {
    daemon =
        BerthDaemon.with()
            .registry(registry.address())
            .runtime("runc", TestTools.installed("runc", "runc"))
            .withoutUnifiedCgroups()
            .start();
    life = new PodLife(daemon.socket(), SOON::toMillis);
  }

  @BeforeEach
  void imageIsThere() {
    var _ =
        daemon
            .client()
            .images()
            .pullImage(
                PullImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage(Requests.BUSYBOX))
                    .build());
  }

  @AfterEach
  void nothingIsLeft() throws Exception {
    daemon.removePods();
    daemon.assertNothingLeft();
  }

  @AfterAll
  void end() throws Exception {
    life.close();
    daemon.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void kernelParametersOfThePodAreSeenInItsContainers(String handler) throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, handler);
    pod.getLinuxBuilder()
        .putSysctls("net.core.somaxconn", "1234")
        .putSysctls("net/ipv4/ip_local_port_range", "20000 30000")
        .putSysctls("kernel.shm_rmid_forced", "1")
        .putSysctls("fs.mqueue.msg_max", "17");
    String id = start(pod.build(), handler, sleeper("main"));
    assertThat(
            life.exec(
                id,
                "sh",
                "-c",
                "cd /proc/sys && cat net/core/somaxconn net/ipv4/ip_local_port_range"
                    + " kernel/shm_rmid_forced fs/mqueue/msg_max"
                    + " net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range"))
        .isEqualTo("1234\n20000\t30000\n1\n17\n0\n0\t2147483647\n");
    assertThat(Files.readString(Path.of("/proc/sys/kernel/shm_rmid_forced")).strip())
        .as("the machine's")
        .isEqualTo("0");
  }

  @Test
  void kernelParametersThatThePodShareWithTheMachineAreRefused() {
    for (var wrong :
        Map.of(
                "vm.swappiness", "once for the whole machine",
                "kernel.hostname", "once for the whole machine",
                "net..ipv4", "malformed",
                "nodots", "no part before a dot")
            .entrySet()) {
      PodSandboxConfig.Builder pod = Requests.pod(daemon, "refused");
      pod.getLinuxBuilder().putSysctls(wrong.getKey(), "1");
      assertRefused(pod.build(), wrong.getKey(), wrong.getValue());
    }
    PodSandboxConfig.Builder shared =
        Requests.pod(
            daemon,
            "refused",
            Requests.ORDINARY.toBuilder().setNetwork(NamespaceMode.NODE).build());
    shared.getLinuxBuilder().putSysctls("net.core.somaxconn", "1");
    assertRefused(shared.build(), "shares with the machine");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void everyContainerHasTheFileSystemsThatProgramsExpect(String handler) throws Exception {
    String id = start(Requests.pod(daemon, handler).build(), handler, sleeper("main"));
    String mounts = life.exec(id, "cat", "/proc/mounts");
    assertMounted(mounts, "/proc", "proc", "nosuid", "nodev", "noexec");
    assertMounted(mounts, "/dev", "tmpfs", "nosuid", "size=65536k", "mode=755");
    assertMounted(mounts, "/dev/pts", "devpts", "nosuid", "noexec", "gid=5", "mode=620");
    assertMounted(mounts, "/dev/mqueue", "mqueue", "nosuid", "nodev", "noexec");
    assertMounted(mounts, "/dev/shm", "tmpfs", "rw", "nosuid", "nodev", "noexec", "size=65536k");
    assertMounted(mounts, "/sys", "sysfs", "ro", "nosuid", "nodev", "noexec");
    assertThat(mounts.lines().filter(line -> line.split(" ")[2].startsWith("cgroup")))
        .isNotEmpty()
        .allMatch(line -> List.of(line.split(" ")[3].split(",")).contains("ro"));
    assertThat(mounts.lines().map(line -> line.split(" ")[1])).doesNotContain("/run");
    assertThat(life.exec(id, "stat", "-c", "%a", "/dev/shm")).isEqualTo("1777\n");
    assertThat(life.exec(id, "sh", "-c", "ls /dev/null /dev/zero /dev/full /dev/random /dev/tty"))
        .isNotEmpty();
  }

  private static void assertMounted(String mounts, String target, String type, String... options) {
    String line =
        mounts
            .lines()
            .filter(mount -> mount.split(" ")[1].equals(target))
            .reduce((_, last) -> last)
            .orElseThrow(() -> new AssertionError("nothing on " + target + " in " + mounts));
    assertThat(line.split(" ")[2]).as(line).isEqualTo(type);
    assertThat(line.split(" ")[3].split(",")).as(line).contains(options);
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void podWithoutANameForItsHostHasTheBeginningOfItsId(String handler) throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, handler).setHostname("").build();
    String podId = life.run(pod, handler);
    String id = started(podId, pod, sleeper("main"));
    assertThat(life.exec(id, "sh", "-c", "hostname && cat /etc/hostname && echo $HOSTNAME"))
        .isEqualTo((podId.substring(0, 12) + "\n").repeat(3));
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void resolverIsTheMachinesUnlessThePodHasOneAndReadOnlyWithItsRoot(String handler)
      throws Exception {
    PodSandboxConfig ofMachine = Requests.pod(daemon, handler).build();
    String id = start(ofMachine, handler, sleeper("main"));
    assertThat(life.exec(id, "cat", "/etc/resolv.conf"))
        .isEqualTo(Files.readString(Path.of("/etc/resolv.conf")));
    life.exec(id, "sh", "-c", "echo '# mine' >> /etc/resolv.conf");

    PodSandboxConfig none =
        Requests.pod(daemon, handler + "-none").setDnsConfig(DNSConfig.newBuilder()).build();
    ContainerConfig.Builder fixed = sleeper("main");
    security(fixed).setReadonlyRootfs(true);
    String without = start(none, handler, fixed);
    assertThat(life.exec(without, "cat", "/etc/resolv.conf")).isEmpty();
    assertThat(life.exec(without, "cat", "/etc/hosts"))
        .isEqualTo(Files.readString(Path.of("/etc/hosts")));
    for (String file : List.of("/etc/resolv.conf", "/etc/hosts", "/etc/hostname")) {
      assertThat(life.exec(without, "sh", "-c", "(echo x >> " + file + ") 2>&1 || true"))
          .contains("Read-only");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void podInTheMachinesIpcHasItsSharedMemory(String handler) throws Exception {
    NamespaceOption machine = Requests.ORDINARY.toBuilder().setIpc(NamespaceMode.NODE).build();
    PodSandboxConfig pod = Requests.pod(daemon, handler, machine).build();
    Path letter = Files.createTempFile(Path.of("/dev/shm"), "berth-e2e-", ".txt");
    try {
      Files.writeString(letter, "from the machine");
      String id =
          start(
              pod, handler, Requests.container("main", Requests.BUSYBOX, Requests.SLEEP, machine));
      assertThat(life.exec(id, "cat", letter.toString())).isEqualTo("from the machine");
      assertThat(life.exec(id, "readlink", "/proc/self/ns/ipc").strip())
          .isEqualTo(Files.readSymbolicLink(Path.of("/proc/self/ns/ipc")).toString());
    } finally {
      Files.delete(letter);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void terminalIsOneAndItsOutputGoesToStdoutAlone(String handler) throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, handler).build();
    String id =
        start(
            pod,
            handler,
            Requests.container(
                    "terminal",
                    Requests.BUSYBOX,
                    List.of(
                        "sh",
                        "-c",
                        "test -t 0 && test -t 1 && test -t 2 && echo on a $TERM;"
                            + " echo and here >&2; sleep 3600"))
                .setTty(true)
                .setStdin(true));
    Path log = daemon.logs().resolve(handler).resolve("terminal.log");
    Await.until("output", SOON, () -> Files.readString(log).contains("and here"));
    assertThat(Files.readString(log))
        .contains("stdout F on a xterm\r\n", "stdout F and here\r\n")
        .doesNotContain("stderr");
    assertThat(life.exec(id, "readlink", "/proc/1/fd/0")).startsWith("/dev/pts/");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void defaultFilterOfCallsRefusesWidensAndDoesNotKnow(String handler) throws Exception {
    // unshare(CLONE_NEWUSER) is for those alone who have CAP_SYS_ADMIN, which it itself doesn't
    // ask.
    PodSandboxConfig pod = Requests.pod(daemon, handler).build();
    ContainerConfig.Builder confined = withPerl("confined");
    SecurityProfile usual =
        SecurityProfile.newBuilder()
            .setProfileType(SecurityProfile.ProfileType.RuntimeDefault)
            .build();
    security(confined).setSeccomp(usual);
    ContainerConfig.Builder admin = withPerl("admin");
    security(admin).setSeccomp(usual).getCapabilitiesBuilder().addAddCapabilities("SYS_ADMIN");
    ContainerConfig.Builder unconfined = withPerl("unconfined");
    security(unconfined)
        .setSeccomp(
            SecurityProfile.newBuilder().setProfileType(SecurityProfile.ProfileType.Unconfined));
    String confinedId = start(pod, handler, confined);
    assertThat(errno(confinedId, "272, 0x10000000")).isEqualTo("1"); // EPERM
    assertThat(errno(confinedId, "999")).as("a call of the future").isEqualTo("38"); // ENOSYS
    assertThat(errno(start(pod, handler, admin), "272, 0x10000000")).isEqualTo("0");
    assertThat(errno(start(pod, handler, unconfined), "272, 0x10000000")).isEqualTo("0");
  }

  /** The machine's, as the image has nothing that makes calls by their numbers. */
  private static ContainerConfig.Builder withPerl(String name) {
    return sleeper(name)
        .addMounts(
            Mount.newBuilder()
                .setHostPath("/usr")
                .setContainerPath("/machine/usr")
                .setReadonly(true));
  }

  private String errno(String id, String call) throws InterruptedException {
    return life.exec(
        id,
        "/machine/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
        "--library-path",
        "/machine/usr/lib/x86_64-linux-gnu",
        "/machine/usr/bin/perl",
        "-e",
        "print syscall(" + call + ") == -1 ? $! + 0 : 0");
  }

  @Test
  void userNamespacesThatAreNoneAreRefused() {
    IDMapping good = mapping(0);
    for (UserNamespace.Builder wrong :
        List.of(
            users(NamespaceMode.POD),
            users(NamespaceMode.POD).addUids(good).addUids(good).addGids(good),
            users(NamespaceMode.POD).addUids(mapping(1)).addGids(good),
            users(NamespaceMode.POD).addUids(good).addGids(mapping(1)),
            users(NamespaceMode.NODE).addUids(good).addGids(good),
            users(NamespaceMode.CONTAINER).addUids(good).addGids(good),
            users(NamespaceMode.TARGET).addUids(good).addGids(good))) {
      NamespaceOption namespaces = Requests.ORDINARY.toBuilder().setUsernsOptions(wrong).build();
      assertRefused(Requests.pod(daemon, "refused", namespaces).build(), "user namespace");
    }
  }

  private static UserNamespace.Builder users(NamespaceMode mode) {
    return UserNamespace.newBuilder().setMode(mode);
  }

  private static IDMapping mapping(int inside) {
    return IDMapping.newBuilder().setContainerId(inside).setHostId(231072).setLength(65536).build();
  }

  /** On machines without SELinux and AppArmor; those with them are met in the test VM. */
  @Test
  void labelsAndProfilesThatTheKernelLacksAreRefusedByNameAlone() throws Exception {
    Assumptions.assumeFalse(Files.exists(Path.of("/sys/fs/selinux/enforce")));
    Assumptions.assumeFalse(Files.exists(Path.of("/sys/kernel/security/apparmor/profiles")));
    SELinuxOption label = SELinuxOption.newBuilder().setLevel("s0:c1,c2").build();
    PodSandboxConfig.Builder labelled = Requests.pod(daemon, "refused");
    labelled.getLinuxBuilder().getSecurityContextBuilder().setSelinuxOptions(label);
    assertRefused(labelled.build(), "SELinux isn't enabled", "remove its seLinuxOptions");

    PodSandboxConfig pod = Requests.pod(daemon, "machine").build();
    ContainerConfig.Builder withLabel = sleeper("label");
    security(withLabel).setSelinuxOptions(label);
    ContainerConfig.Builder withProfile = sleeper("profile");
    security(withProfile)
        .setApparmor(
            SecurityProfile.newBuilder()
                .setProfileType(SecurityProfile.ProfileType.Localhost)
                .setLocalhostRef("mine"));
    String podId = life.run(pod);
    for (var wrong : Map.of(withLabel, "SELinux", withProfile, "AppArmor").entrySet()) {
      assertThatThrownBy(() -> life.create(podId, pod, wrong.getKey().build()))
          .isInstanceOfSatisfying(
              StatusRuntimeException.class,
              e -> assertThat(e.getStatus().getCode()).isEqualTo(Code.INVALID_ARGUMENT))
          .hasMessageContaining(wrong.getValue() + " isn't enabled on this machine");
    }
    ContainerConfig.Builder unnamed = sleeper("unnamed");
    security(unnamed)
        .setSelinuxOptions(SELinuxOption.getDefaultInstance())
        .setApparmor(
            SecurityProfile.newBuilder()
                .setProfileType(SecurityProfile.ProfileType.RuntimeDefault));
    started(podId, pod, unnamed);
  }

  @Test
  void statusOfAPodRepeatsWhatWasAsked() throws Exception {
    NamespaceOption shared = Requests.ORDINARY.toBuilder().setPid(NamespaceMode.POD).build();
    PodSandboxConfig pod =
        Requests.pod(daemon, "status", shared)
            .putLabels("a/label", "of it")
            .putAnnotations("an/annotation", "of it")
            .build();
    PodSandboxStatus status = status(life.run(pod, "crun"));
    assertThat(status.getLinux().getNamespaces().getOptions()).isEqualTo(shared);
    assertThat(status.getLabelsMap()).isEqualTo(pod.getLabelsMap());
    assertThat(status.getAnnotationsMap()).isEqualTo(pod.getAnnotationsMap());
    assertThat(status.getRuntimeHandler()).isEqualTo("crun");
    assertThat(status.getNetwork().getIp()).startsWith("10.91.");
    assertThat(status.getNetwork().getAdditionalIpsList())
        .noneMatch(ip -> ip.getIp().equals(status.getNetwork().getIp()));
    assertThat(status.getCreatedAt()).isPositive();
  }

  @Test
  void laterAttemptsStandBesideEarlierOnesAndAreRepeated() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "attempts");
    String first = life.run(pod.build());
    pod.getMetadataBuilder().setAttempt(1);
    String second = life.run(pod.build());
    assertThat(second).isNotEqualTo(first);
    assertThat(status(first).getMetadata().getAttempt()).isZero();
    assertThat(status(second).getMetadata()).isEqualTo(pod.getMetadata());

    ContainerConfig.Builder container =
        sleeper("main").putLabels("a.label/of-it", "x").putAnnotations("an.annotation/of-it", "y");
    String one = started(second, pod.build(), container);
    container.getMetadataBuilder().setAttempt(1);
    String other = started(second, pod.build(), container);
    assertThat(life.status(one).getMetadata().getAttempt()).isZero();
    var status = life.status(other);
    assertThat(status.getMetadata()).isEqualTo(container.getMetadata());
    assertThat(status.getLabelsMap()).isEqualTo(container.getLabelsMap());
    assertThat(status.getAnnotationsMap()).isEqualTo(container.getAnnotationsMap());
  }

  @Test
  void scriptsFindNamespacesAndProcessesWhereTheyLook() throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "scripts").build();
    String podId = life.run(pod);
    String id = started(podId, pod, sleeper("main"));
    var container = daemon.crictl().json("inspect", id).get("info");
    assertThat(container.get("sandboxID").asText()).isEqualTo(podId);
    assertThat(container.at("/runtimeSpec/process/args/0").asText()).isEqualTo("sh");
    String net = life.exec(id, "readlink", "/proc/self/ns/net").strip();
    assertThat(
            Files.readSymbolicLink(Path.of("/proc/" + container.get("pid").asText() + "/ns/net")))
        .hasToString(net);

    var sandbox = daemon.crictl().json("inspectp", podId).get("info");
    List<String> paths = new ArrayList<>();
    sandbox
        .at("/runtimeSpec/linux/namespaces")
        .forEach(namespace -> {
          if (namespace.get("type").asText().equals("network")) {
            paths.add(namespace.get("path").asText());
          }
        });
    assertThat(paths).hasSize(1);
    Object inode =
        Files.getAttribute(
            Path.of("/proc/" + daemon.processWithMounts() + "/root" + paths.getFirst()),
            "unix:ino");
    assertThat("net:[" + inode + "]").isEqualTo(net);
  }

  @Test
  void nodeSaysWhatItIsAndCanDo() {
    var runtime = daemon.client().runtime();
    var version = runtime.version(VersionRequest.getDefaultInstance());
    assertThat(version.getVersion()).isEqualTo("0.1.0");
    assertThat(version.getRuntimeApiVersion()).isEqualTo("v1");
    assertThat(version.getRuntimeName()).isEqualTo("berth");
    var status = runtime.status(StatusRequest.newBuilder().setVerbose(true).build());
    assertThat(status.getStatus().getConditionsList())
        .filteredOn(c -> List.of("RuntimeReady", "NetworkReady").contains(c.getType()))
        .hasSize(2)
        .allMatch(RuntimeCondition::getStatus);
    assertThat(status.getRuntimeHandlersList())
        .extracting(RuntimeHandler::getName)
        .containsExactly("", "crun", "runc");
    assertThat(status.getRuntimeHandlersList().getFirst().getFeatures())
        .as("the default's, which is runc")
        .isEqualTo(status.getRuntimeHandlersList().getLast().getFeatures());
    assertThat(status.getFeatures().getSupplementalGroupsPolicy()).isTrue();
    assertThat(status.getFeatures().getMountOptions()).isTrue();
    assertThat(status.getFeatures().getUserNamespacesHostNetwork())
        .as("as user namespaces, which runc has")
        .isEqualTo(status.getRuntimeHandlersList().getLast().getFeatures().getUserNamespaces());
    assertThat(status.getInfoMap().get("config")).startsWith("{").contains("stateDir");
    var _ =
        runtime.updateRuntimeConfig(
            UpdateRuntimeConfigRequest.newBuilder()
                .setRuntimeConfig(
                    io.berth.cri.v1.RuntimeConfig.newBuilder()
                        .setNetworkConfig(NetworkConfig.newBuilder().setPodCidr("10.1.2.0/24")))
                .build());
    var config = runtime.runtimeConfig(RuntimeConfigRequest.getDefaultInstance());
    assertThat(config.hasLinux()).isTrue();
    assertThat(config.getLinux().getCgroupDriver()).isEqualTo(CgroupDriver.CGROUPFS);
  }

  private PodSandboxStatus status(String podId) {
    return daemon
        .client()
        .runtime()
        .podSandboxStatus(PodSandboxStatusRequest.newBuilder().setPodSandboxId(podId).build())
        .getStatus();
  }

  private void assertRefused(PodSandboxConfig pod, String... words) {
    assertThatThrownBy(() -> life.run(pod))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e -> assertThat(e.getStatus().getCode()).isEqualTo(Code.INVALID_ARGUMENT))
        .hasMessageContainingAll(words);
  }

  @CanIgnoreReturnValue
  private String start(PodSandboxConfig pod, String handler, ContainerConfig.Builder container)
      throws InterruptedException {
    // The same request gives the same pod.
    return started(life.run(pod, handler), pod, container);
  }

  @CanIgnoreReturnValue
  private String started(String podId, PodSandboxConfig pod, ContainerConfig.Builder container)
      throws InterruptedException {
    String id = life.create(podId, pod, container.build());
    life.start(id);
    return id;
  }

  private static ContainerConfig.Builder sleeper(String name) {
    return Requests.container(name, Requests.BUSYBOX, Requests.SLEEP);
  }

  private static LinuxContainerSecurityContext.Builder security(ContainerConfig.Builder container) {
    return container.getLinuxBuilder().getSecurityContextBuilder();
  }
}
