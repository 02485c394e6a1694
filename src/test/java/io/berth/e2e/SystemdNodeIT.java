package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatsRequest;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.HugepageLimit;
import io.berth.cri.v1.IDMapping;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.SecurityProfile.ProfileType;
import io.berth.cri.v1.UserNamespace;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A node as most are: Debian's kernel, systemd, cgroup v2, AppArmor, and berthd run by its unit
 * file. In the machine of {@code ./dev vm-test}.
 */
@Tag("vm")
@TestInstance(Lifecycle.PER_CLASS)
class SystemdNodeIT {
  private static final Path CGROUPS = Path.of("/sys/fs/cgroup");
  private static final int PIDS = 300;

  private final InstalledBerth berth;
  private final InstalledPods pods;
  private final PodLife life;

  SystemdNodeIT() throws IOException, InterruptedException {
    berth = install();
    pods = new InstalledPods(berth);
    life = pods.life();
  }

  private static InstalledBerth install() throws IOException, InterruptedException {
    return InstalledBerth.start(
        """
        [containers]
        pids_limit = %d
        [runtimes.debian-runc]
        path = "/usr/sbin/runc"
        type = "runc"
        """
            .formatted(PIDS),
        Path.of("busybox.tar"),
        InstalledPods.IMAGE);
  }

  @BeforeAll
  void thisIsTheMachineMeant() {
    assertThat(CGROUPS.resolve("cgroup.controllers")).exists();
    assertThat(Path.of("/run/systemd/system")).isDirectory();
  }

  @AfterEach
  void nothingIsLeftOfThePods(TestInfo test) throws InterruptedException {
    pods.removeAll(test);
  }

  @AfterAll
  void end() {
    pods.close();
  }

  private static PodSandboxConfig inSlice(String name, String path) {
    PodSandboxConfig.Builder pod = InstalledPods.pod(name);
    pod.getLinuxBuilder().setCgroupParent(path);
    return pod.build();
  }

  private static String cgroupOf(long pid) throws IOException {
    return Files.readString(Path.of("/proc/" + pid + "/cgroup")).strip().replace("0::", "");
  }

  private static long conmon(String container) throws IOException {
    return Long.parseLong(
        Files.readString(Path.of("/run/berth/containers", container, "conmon.pid")).strip());
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "debian-runc", "crun"})
  void aPodLivesInItsSliceAndLeavesNothing(String handler) throws Exception {
    PodSandboxConfig pod =
        inSlice("life-" + handler, "/node.slice/node-burstable.slice/node-burstable-pod1.slice");
    String podId = pods.run(pod, handler);
    String id =
        pods.started(
            podId, pod, InstalledPods.container("c", LinuxContainerResources.getDefaultInstance()));

    assertThat(cgroupOf(InstalledPods.pid(id)))
        .isEqualTo(
            "/node.slice/node-burstable.slice/node-burstable-pod1.slice/berth-" + id + ".scope");
    assertThat(InstalledBerth.property("berth-" + id + ".scope", "Slice"))
        .isEqualTo("node-burstable-pod1.slice");
    assertThat(cgroupOf(conmon(id))).isEqualTo("/system.slice/berthd.service");
    assertThat(life.exec(id, "cat", "/proc/self/cgroup")).isEqualTo("0::/\n");
    assertThat(life.exec(id, "sh", "-c", "ip -o -4 address show eth0")).contains("10.92.8.");
    assertThat(life.exec(id, "cat", "/sys/fs/cgroup/pids.max")).isEqualTo(PIDS + "\n");

    life.stop(id, 30);
    ContainerStatus status = pods.ended(id);
    assertThat(status.getExitCode()).isZero();
    assertThat(status.getReason()).isEqualTo("Completed");
    life.remove(id);
    assertThat(InstalledPods.units()).noneMatch(unit -> unit.contains(id));
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void resourcesAreWhatTheContainerSees(String handler) throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("resources-" + handler).build();
    String podId = pods.run(pod, handler);
    String id =
        pods.started(
            podId,
            pod,
            InstalledPods.container(
                "c",
                LinuxContainerResources.newBuilder()
                    .setCpuPeriod(50_000)
                    .setCpuQuota(20_000)
                    .setCpuShares(512)
                    .setCpusetCpus("1")
                    .setCpusetMems("0")
                    .setMemoryLimitInBytes(96 << 20)
                    .setMemorySwapLimitInBytes(128 << 20)
                    .setOomScoreAdj(-500)
                    .addHugepageLimits(
                        HugepageLimit.newBuilder().setPageSize("2MB").setLimit(4 << 20))
                    .putUnified("memory.high", Integer.toString(64 << 20))
                    .putUnified("memory.oom.group", "1")
                    .build()));
    assertThat(cgroupOf(InstalledPods.pid(id)))
        .isEqualTo("/berth.slice/berth-" + podId + ".slice/berth-" + id + ".scope");
    for (var file :
        Map.of(
                "cpu.max",
                "20000 50000",
                "cpuset.cpus",
                "1",
                "cpuset.mems",
                "0",
                "memory.max",
                Integer.toString(96 << 20),
                "memory.swap.max",
                Integer.toString(32 << 20),
                "hugetlb.2MB.max",
                Integer.toString(4 << 20),
                "memory.high",
                Integer.toString(64 << 20),
                "memory.oom.group",
                "1")
            .entrySet()) {
      assertThat(life.exec(id, "cat", "/sys/fs/cgroup/" + file.getKey()).strip())
          .as(file.getKey())
          .isEqualTo(file.getValue());
    }
    // Runtimes map shares to weights differently; half of the default stays below the default.
    assertThat(Integer.parseInt(life.exec(id, "cat", "/sys/fs/cgroup/cpu.weight").strip()))
        .isBetween(1, 99);
    assertThat(life.exec(id, "cat", "/proc/1/oom_score_adj")).isEqualTo("-500\n");
    assertThat(life.exec(id, "grep", "Cpus_allowed_list", "/proc/1/status")).contains("\t1\n");
  }

  @Test
  void withoutASwapLimitNothingIsSwapped() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("no-swap").build();
    String podId = pods.run(pod, "runc");
    String id =
        pods.started(
            podId,
            pod,
            InstalledPods.container(
                "c", LinuxContainerResources.newBuilder().setMemoryLimitInBytes(64 << 20).build()));
    assertThat(life.exec(id, "cat", "/sys/fs/cgroup/memory.swap.max")).isEqualTo("0\n");
  }

  @ParameterizedTest
  @ValueSource(strings = {"tail /dev/zero", "tail /dev/zero; exit 3"})
  void whoeverOfAContainerIsKilledForMemoryItIsSaid(String script) throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("oom").build();
    String podId = pods.run(pod, "runc");
    String id =
        pods.started(
            podId,
            pod,
            InstalledPods.container(
                "c",
                List.of("sh", "-c", script),
                LinuxContainerResources.newBuilder().setMemoryLimitInBytes(24 << 20).build()));
    assertThat(pods.ended(id).getReason()).isEqualTo("OOMKilled");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void podsOfTenMegabytesStartAsMonitorAndRuntimeAreNotCharged(String handler) throws Exception {
    String slice = "node-small" + handler + ".slice";
    InstalledBerth.systemctl("start", slice);
    InstalledBerth.systemctl("set-property", "--runtime", slice, "MemoryMax=10M");
    try {
      PodSandboxConfig pod = inSlice("small-" + handler, "/node.slice/" + slice);
      String podId = pods.run(pod, handler);
      LinuxContainerResources small =
          LinuxContainerResources.newBuilder().setMemoryLimitInBytes(10 << 20).build();
      for (int i = 0; i < 5; i++) {
        String id = pods.started(podId, pod, InstalledPods.container("c" + i, small));
        assertThat(life.exec(id, "echo", "alive")).isEqualTo("alive\n");
        life.stop(id, 30);
        life.remove(id);
      }
      // As the kubelet, which made it, does.
      life.stopPod(podId);
      assertThat(InstalledBerth.property(slice, "ActiveState")).isEqualTo("active");
    } finally {
      InstalledBerth.systemctl("revert", slice);
      InstalledBerth.systemctl("stop", slice, "node.slice");
    }
  }

  @Test
  void containersOutliveTheServiceHoweverItEnds() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("outlives").build();
    String podId = pods.run(pod, "runc");
    LinuxContainerResources none = LinuxContainerResources.getDefaultInstance();
    String lasting = pods.started(podId, pod, InstalledPods.container("lasting", none));
    String ending =
        pods.started(
            podId,
            pod,
            InstalledPods.container(
                "ending", List.of("sh", "-c", "trap 'exit 42' TERM; sleep 3600 & wait"), none));
    long process = InstalledPods.pid(lasting);
    long first = berth.pid();

    berth.systemd("restart");
    assertThat(berth.pid()).isNotEqualTo(first);
    assertThat(InstalledPods.pid(lasting)).isEqualTo(process);
    assertThat(life.exec(lasting, "echo", "alive")).isEqualTo("alive\n");

    long second = berth.pid();
    var _ = Commands.run(List.of("/bin/sh", "-c", "kill -9 " + second));
    Await.until(
        "systemd starts it again",
        InstalledBerth.PATIENCE,
        () -> berth.pid() != second && berth.pid() != 0);
    berth.awaitServing();
    assertThat(InstalledPods.pid(lasting)).isEqualTo(process);

    long end = InstalledPods.pid(ending);
    berth.systemd("stop");
    assertThat(ProcessHandle.of(process)).isPresent();
    var _ = Commands.run(List.of("/bin/sh", "-c", "kill -TERM " + end));
    Await.until("its end", InstalledBerth.PATIENCE, () -> ProcessHandle.of(end).isEmpty());
    berth.systemd("start");
    assertThat(life.status(ending).getState()).isEqualTo(ContainerState.CONTAINER_EXITED);
    assertThat(life.status(ending).getExitCode()).isEqualTo(42);
    assertThat(life.exec(lasting, "echo", "alive")).isEqualTo("alive\n");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void profilesOfAppArmorConfineAsAsked(String handler) throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("apparmor-" + handler).build();
    String podId = pods.run(pod, handler);
    String usual = pods.started(podId, pod, confined("usual", null));
    assertThat(profile(usual)).isEqualTo("berth-default (enforce)");
    assertThat(life.exec(usual, "cat", "/proc/self/attr/current"))
        .as("an exec's")
        .isEqualTo("berth-default (enforce)\n");
    // Of what the profile forbids, something that nothing else does.
    assertThat(life.exec(usual, "sh", "-c", "cat /proc/kcore 2>&1 | head -c 60; true"))
        .contains("Permission denied");
    assertThat(profile(pods.started(podId, pod, confined("default", ProfileType.RuntimeDefault))))
        .isEqualTo("berth-default (enforce)");
    assertThat(profile(pods.started(podId, pod, confined("unconfined", ProfileType.Unconfined))))
        .isEqualTo("unconfined");

    Path text =
        Files.writeString(
            Path.of("/tmp/berth-e2e-mine"),
            """
            profile berth-e2e-mine flags=(attach_disconnected,mediate_deleted) {
              file, capability, network, mount, umount, signal, ptrace,
              deny /etc/forbidden w,
            }
            """);
    Commands.run(List.of("/usr/sbin/apparmor_parser", "--replace", text.toString()));
    ContainerConfig.Builder mine = confined("mine", ProfileType.Localhost).toBuilder();
    mine.getLinuxBuilder()
        .getSecurityContextBuilder()
        .getApparmorBuilder()
        .setLocalhostRef("berth-e2e-mine");
    String own = pods.started(podId, pod, mine.build());
    assertThat(profile(own)).isEqualTo("berth-e2e-mine (enforce)");
    assertThat(life.exec(own, "sh", "-c", "(: > /etc/forbidden) 2>&1; : > /etc/allowed && echo ok"))
        .contains("Permission denied", "ok");

    mine.getMetadataBuilder().setName("missing");
    mine.getLinuxBuilder()
        .getSecurityContextBuilder()
        .getApparmorBuilder()
        .setLocalhostRef("berth-e2e-missing");
    assertThatThrownBy(() -> life.create(podId, pod, mine.build()))
        .hasMessageContaining("AppArmor profile \"berth-e2e-missing\" isn't loaded");
  }

  private static ContainerConfig confined(String name, @Nullable ProfileType kind) {
    ContainerConfig.Builder container =
        Requests.container(name, InstalledPods.IMAGE, Requests.SLEEP);
    if (kind != null) {
      container
          .getLinuxBuilder()
          .getSecurityContextBuilder()
          .getApparmorBuilder()
          .setProfileType(kind);
    }
    return container.build();
  }

  /** As the machine sees it. */
  private static String profile(String container) throws IOException {
    return Files.readString(Path.of("/proc/" + InstalledPods.pid(container) + "/attr/current"))
        .strip();
  }

  @Test
  @SuppressWarnings("deprecation") // which is what it is about
  void theOldFieldOfAppArmorCountsUnlessThereIsTheNewOneAndPrivilegedIsUnconfined()
      throws Exception {
    PodSandboxConfig.Builder pod = InstalledPods.pod("apparmor-old");
    pod.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    String podId = pods.run(pod.build(), "runc");
    ContainerConfig.Builder old = confined("old", null).toBuilder();
    old.getLinuxBuilder().getSecurityContextBuilder().setApparmorProfile("unconfined");
    assertThat(profile(pods.started(podId, pod.build(), old.build()))).isEqualTo("unconfined");
    ContainerConfig.Builder both = confined("both", ProfileType.RuntimeDefault).toBuilder();
    both.getLinuxBuilder().getSecurityContextBuilder().setApparmorProfile("unconfined");
    assertThat(profile(pods.started(podId, pod.build(), both.build())))
        .isEqualTo("berth-default (enforce)");
    ContainerConfig.Builder missing = confined("missing", null).toBuilder();
    missing
        .getLinuxBuilder()
        .getSecurityContextBuilder()
        .setApparmorProfile("localhost/berth-e2e-missing");
    assertThatThrownBy(() -> pods.life().create(podId, pod.build(), missing.build()))
        .hasMessageContaining("AppArmor profile \"berth-e2e-missing\" isn't loaded");

    ContainerConfig.Builder privileged =
        confined("privileged", ProfileType.RuntimeDefault).toBuilder();
    privileged.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
    String all = pods.started(podId, pod.build(), privileged.build());
    assertThat(profile(all)).isEqualTo("unconfined");
    assertThat(life.exec(all, "cat", "/proc/self/cgroup"))
        .as("it sees the machine's cgroups, and may make its own")
        .contains("/berth-" + all + ".scope");
    assertThat(life.exec(all, "sh", "-c", "mkdir /sys/fs/cgroup/berth-e2e && echo made"))
        .isEqualTo("made\n");
    Files.delete(CGROUPS.resolve("berth-e2e"));
  }

  @Test
  void usersOfAPodAreNobodyOnTheMachine() throws Exception {
    int root = 231072;
    IDMapping ids =
        IDMapping.newBuilder().setContainerId(0).setHostId(root).setLength(65536).build();
    NamespaceOption own =
        Requests.ORDINARY.toBuilder()
            .setUsernsOptions(
                UserNamespace.newBuilder().setMode(NamespaceMode.POD).addUids(ids).addGids(ids))
            .build();
    PodSandboxConfig pod = Requests.pod(InstalledBerth.LOGS.resolve("users"), "users", own).build();
    String podId = pods.run(pod, "runc");
    String id =
        pods.started(
            podId, pod, Requests.container("c", InstalledPods.IMAGE, Requests.SLEEP, own).build());
    assertThat(life.exec(id, "cat", "/proc/self/uid_map").strip().split(" +"))
        .containsExactly("0", Integer.toString(root), "65536");
    assertThat(life.exec(id, "sh", "-c", "id -u && touch /new && stat -c %u /bin /new"))
        .isEqualTo("0\n0\n0\n");
    assertThat(Files.getAttribute(Path.of("/proc/" + InstalledPods.pid(id)), "unix:uid"))
        .isEqualTo(root);
    assertThat(cgroupOf(InstalledPods.pid(id))).endsWith("/berth-" + id + ".scope");
  }

  @Test
  void pressureOfAContainerIsTold() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("pressure").build();
    String podId = pods.run(pod, "runc");
    String id =
        pods.started(
            podId,
            pod,
            InstalledPods.container(
                "c",
                List.of("sh", "-c", "while :; do :; done"),
                // A tenth of a processor, which it waits for most of the time.
                LinuxContainerResources.newBuilder()
                    .setCpuPeriod(100_000)
                    .setCpuQuota(10_000)
                    .build()));
    assertThat(life.exec(id, "cat", "/sys/fs/cgroup/cpu.pressure")).contains("some avg10=");
    try (var client = new CriClient(InstalledBerth.SOCKET)) {
      var asked = ContainerStatsRequest.newBuilder().setContainerId(id).build();
      Await.until(
          "it has waited",
          InstalledBerth.PATIENCE,
          () ->
              client
                      .runtime()
                      .containerStats(asked)
                      .getStats()
                      .getCpu()
                      .getPsi()
                      .getSome()
                      .getTotal()
                  > 0);
    }
  }

  @Test
  void aParentInTheFormOfTheOtherDriverIsRefused() {
    assertThatThrownBy(() -> pods.run(inSlice("wrong", "/kubepods/burstable/pod1"), "runc"))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e -> {
              assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.INVALID_ARGUMENT);
              assertThat(e.getMessage()).contains("doesn't end in .slice", "cgroupDriver");
            });
  }

  @Test
  void doctorFindsWhatThisMachineHas() throws Exception {
    String findings = InstalledBerth.berth("doctor");
    System.out.println(findings);
    assertThat(findings)
        .contains("version 2, driver systemd")
        .contains("cpu, cpuset, memory and pids")
        .contains("may be lowered to -1000")
        .contains("layers are passed in one mount(2) call")
        .containsPattern("AppArmor +enabled")
        .contains("available, with idmapped mounts")
        .contains("PSI is on");
  }
}
