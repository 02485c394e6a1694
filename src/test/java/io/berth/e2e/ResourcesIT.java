package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.HugepageLimit;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.berth.linux.Cgroups;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A container's limits as it sees them itself, on cgroup v1 and v2, by the file system's driver.
 */
@Tag("root")
@TestInstance(Lifecycle.PER_CLASS)
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class ResourcesIT {
  private static final Path CGROUPS = Path.of("/sys/fs/cgroup");
  private static final boolean V2 = Files.exists(CGROUPS.resolve("cgroup.controllers"));
  private static final Duration SOON = Duration.ofSeconds(60);
  private static final int PIDS = 333;
  private static final long MIB = 1 << 20;

  private final BerthDaemon daemon;
  private final PodLife life;

  ResourcesIT(DockerRegistry registry) throws IOException, InterruptedException {
    daemon = start(registry);
    life = new PodLife(daemon.socket(), () -> 60_000);
    var _ =
        daemon
            .client()
            .images()
            .pullImage(
                PullImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage(Requests.BUSYBOX))
                    .build());
  }

  @SuppressWarnings("MustBeClosedChecker") // after the last test
  private static BerthDaemon start(DockerRegistry registry)
      throws IOException, InterruptedException {
    return BerthDaemon.with()
        .registry(registry.address())
        .config("containers.pids_limit = " + PIDS)
        .start();
  }

  @AfterEach
  void removePods() {
    daemon.removePods();
  }

  @AfterAll
  void end() throws IOException {
    life.close();
    daemon.close();
  }

  private static LinuxContainerResources.Builder resources() {
    return LinuxContainerResources.newBuilder();
  }

  private static ContainerConfig container(
      List<String> command, LinuxContainerResources.Builder resources) {
    ContainerConfig.Builder container = Requests.container("c", Requests.BUSYBOX, command);
    container.getLinuxBuilder().setResources(resources);
    return container.build();
  }

  private String started(LinuxContainerResources.Builder resources) throws InterruptedException {
    PodSandboxConfig pod = Requests.pod(daemon, "limited").build();
    String id = life.create(life.run(pod), pod, container(Requests.SLEEP, resources));
    life.start(id);
    return id;
  }

  private String read(String container, String file) throws InterruptedException {
    return life.exec(container, "cat", file).strip();
  }

  /** A cgroup file of its own, which has one name for each version. */
  private String limit(String container, String v1, String v2) throws InterruptedException {
    return read(container, "/sys/fs/cgroup/" + (V2 ? v2 : v1));
  }

  private void refused(LinuxContainerResources.Builder resources, String... words)
      throws InterruptedException {
    PodSandboxConfig pod = Requests.pod(daemon, "refused").build();
    String podId = life.run(pod);
    assertThatThrownBy(() -> life.create(podId, pod, container(Requests.SLEEP, resources)))
        .isInstanceOfSatisfying(
            StatusRuntimeException.class,
            e -> {
              assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.INVALID_ARGUMENT);
              assertThat(e.getMessage()).contains(words);
            });
    // Nothing of it is left: the name is free.
    life.start(life.create(podId, pod, container(Requests.SLEEP, resources())));
  }

  private static boolean swapIsAccounted() throws IOException {
    if (!V2) {
      return Files.exists(CGROUPS.resolve("memory/memory.memsw.limit_in_bytes"));
    }
    try (var groups = Files.list(CGROUPS)) {
      return groups.anyMatch(group -> Files.exists(group.resolve("memory.swap.max")));
    }
  }

  @Test
  void processorTimeSharesAndSet() throws Exception {
    String id =
        started(
            resources()
                .setCpuPeriod(50_000)
                .setCpuQuota(20_000)
                .setCpuShares(512)
                .setCpusetCpus("0")
                .setCpusetMems("0"));
    if (V2) {
      assertThat(read(id, "/sys/fs/cgroup/cpu.max")).isEqualTo("20000 50000");
      assertThat(Integer.parseInt(read(id, "/sys/fs/cgroup/cpu.weight"))).isBetween(1, 99);
    } else {
      assertThat(read(id, "/sys/fs/cgroup/cpu/cpu.cfs_period_us")).isEqualTo("50000");
      assertThat(read(id, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us")).isEqualTo("20000");
      assertThat(read(id, "/sys/fs/cgroup/cpu/cpu.shares")).isEqualTo("512");
    }
    assertThat(limit(id, "cpuset/cpuset.cpus", "cpuset.cpus")).isEqualTo("0");
    assertThat(limit(id, "cpuset/cpuset.mems", "cpuset.mems")).isEqualTo("0");
    assertThat(life.exec(id, "grep", "Cpus_allowed_list", "/proc/1/status")).endsWith("\t0\n");
  }

  @Test
  void aQuotaOfMinusOneIsUnlimited() throws Exception {
    String id = started(resources().setCpuPeriod(100_000).setCpuQuota(-1));
    assertThat(limit(id, "cpu/cpu.cfs_quota_us", "cpu.max")).isEqualTo(V2 ? "max 100000" : "-1");
  }

  @Test
  void memoryAloneMeansNoSwap() throws Exception {
    String id = started(resources().setMemoryLimitInBytes(64 * MIB));
    assertThat(limit(id, "memory/memory.limit_in_bytes", "memory.max")).isEqualTo("" + 64 * MIB);
    if (swapIsAccounted()) {
      assertThat(limit(id, "memory/memory.memsw.limit_in_bytes", "memory.swap.max"))
          .isEqualTo(V2 ? "0" : "" + 64 * MIB);
    }
  }

  @Test
  void swapCountsMemoryAndSwapTogether() throws Exception {
    if (!swapIsAccounted()) {
      refused(
          resources().setMemoryLimitInBytes(64 * MIB).setMemorySwapLimitInBytes(96 * MIB),
          "doesn't account swap");
      return;
    }
    String id =
        started(resources().setMemoryLimitInBytes(64 * MIB).setMemorySwapLimitInBytes(96 * MIB));
    assertThat(limit(id, "memory/memory.memsw.limit_in_bytes", "memory.swap.max"))
        .isEqualTo("" + (V2 ? 32 : 96) * MIB);
  }

  @Test
  void swapBelowMemoryIsRefused() throws Exception {
    refused(
        resources().setMemoryLimitInBytes(64 * MIB).setMemorySwapLimitInBytes(32 * MIB),
        "must not be below memory_limit_in_bytes " + 64 * MIB);
  }

  @Test
  void swapWithoutMemoryIsRefused() throws Exception {
    refused(resources().setMemorySwapLimitInBytes(32 * MIB), "memory_limit_in_bytes is needed too");
  }

  @ParameterizedTest
  @CsvSource({"0-, isn't a list", "'0;rm', isn't a list", "../../memory, isn't a list"})
  void aProcessorSetOfAnotherFormIsRefused(String cpus, String words) throws Exception {
    refused(resources().setCpusetCpus(cpus), "cpuset_cpus \"" + cpus + "\"", words);
  }

  @Test
  void aProcessorThatIsNotThereFailsWithTheRuntimesWordsAndLeavesNothing() throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "many-cpus").build();
    String podId = life.run(pod);
    assertThatThrownBy(() ->
            life.create(
                podId, pod, container(Requests.SLEEP, resources().setCpusetCpus("1022-1023"))))
        .isInstanceOf(StatusRuntimeException.class)
        .hasMessageContaining("runtime runc")
        .hasMessageContaining("cpuset.cpus");
    life.removePod(podId);
    daemon.assertNothingLeft();
  }

  @Test
  void oomScoreIsRaisedAsAsked() throws Exception {
    assertThat(read(started(resources().setOomScoreAdj(999)), "/proc/1/oom_score_adj"))
        .isEqualTo("999");
  }

  @Test
  void oomScoreIsZeroWhenNobodyAskedWhateverTheDaemonHas() throws Exception {
    int lowest = lowestOomScore();
    assertThat(read(started(resources()), "/proc/1/oom_score_adj"))
        .isEqualTo("" + Math.max(0, lowest));
  }

  @Test
  void oomScoreIsLoweredAsFarAsTheKernelLetsAndDoctorSaysHowFar() throws Exception {
    int lowest = lowestOomScore();
    assertThat(read(started(resources().setOomScoreAdj(-998)), "/proc/1/oom_score_adj"))
        .isEqualTo("" + Math.max(-998, lowest));
  }

  private int lowestOomScore() throws InterruptedException {
    String findings =
        Commands.attempt(List.of(BerthDaemon.distribution().resolve("berth").toString(), "doctor"))
            .out();
    Matcher lowest = Pattern.compile("lowered (below|to) (-?\\d+)").matcher(findings);
    assertThat(lowest.find()).as(findings).isTrue();
    return Integer.parseInt(lowest.group(2));
  }

  @ParameterizedTest
  @ValueSource(longs = {1001, -1001})
  void oomScoreOutOfRangeIsRefused(long score) throws Exception {
    refused(resources().setOomScoreAdj(score), "oom_score_adj " + score, "-1000 and 1000");
  }

  @Test
  void hugePagesAreLimitedOrRefusedWhereNothingCounts() throws Exception {
    var wanted =
        resources()
            .addHugepageLimits(HugepageLimit.newBuilder().setPageSize("2MB").setLimit(4 * MIB));
    boolean counted =
        V2
            ? Files.readString(CGROUPS.resolve("cgroup.controllers")).contains("hugetlb")
            : Files.exists(CGROUPS.resolve("hugetlb/cgroup.procs"));
    if (counted) {
      assertThat(limit(started(wanted), "hugetlb/hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"))
          .isEqualTo("" + 4 * MIB);
    } else {
      refused(wanted, "2MB pages can't be enforced", "no hugetlb controller");
    }
  }

  @Test
  void pageSizesThatNobodyWantsAreNoMatterAsTheKubeletNamesThemAll() throws Exception {
    String id =
        started(
            resources()
                .addHugepageLimits(HugepageLimit.newBuilder().setPageSize("2MB"))
                .addHugepageLimits(HugepageLimit.newBuilder().setPageSize("1GB")));
    assertThat(life.exec(id, "echo", "alive")).isEqualTo("alive\n");
  }

  @Test
  void processesAreLimitedAsConfigured() throws Exception {
    assertThat(limit(started(resources()), "pids/pids.max", "pids.max")).isEqualTo("" + PIDS);
  }

  @Test
  void unifiedFilesAreSetOnVersionTwoAndRefusedOnOne() throws Exception {
    var wanted = resources().putUnified("memory.high", "" + 64 * MIB);
    if (V2) {
      assertThat(read(started(wanted), "/sys/fs/cgroup/memory.high")).isEqualTo("" + 64 * MIB);
    } else {
      refused(wanted, "unified resources need cgroup v2");
    }
  }

  /** The contract with small pods: conmon and the OCI runtime are charged to the node. */
  @Test
  void aHundredContainersOfTenMegabytesStartInAPodOfTen(TestInfo test) throws Exception {
    String parent = "/" + daemon.networkName() + "-small";
    Path folder = (V2 ? CGROUPS : CGROUPS.resolve("memory")).resolve(parent.substring(1));
    Files.createDirectory(folder); // as the kubelet does
    try {
      Files.writeString(folder.resolve(V2 ? "memory.max" : "memory.limit_in_bytes"), "" + 10 * MIB);
      PodSandboxConfig.Builder pod = Requests.pod(daemon, "small");
      pod.getLinuxBuilder().setCgroupParent(parent);
      String podId = life.run(pod.build());
      var small = container(Requests.SLEEP, resources().setMemoryLimitInBytes(10 * MIB));
      for (int i = 0; i < 100; i++) {
        String id = life.create(podId, pod.build(), small);
        life.start(id);
        assertThat(life.status(id).getState())
            .as("container " + i)
            .isEqualTo(ContainerState.CONTAINER_RUNNING);
        if (i == 0) {
          String monitor =
              Files.readString(daemon.runFolder().resolve("containers/" + id + "/conmon.pid"));
          assertThat(Files.readString(Path.of("/proc", monitor.strip(), "cgroup")))
              .isEqualTo(Files.readString(Path.of("/proc/" + daemon.pid() + "/cgroup")));
        }
        life.stop(id, 0);
        life.remove(id);
      }
      daemon.removePods();
      assertThat(folder).as("the kubelet's, not the pod's").exists();
    } finally {
      Await.until(test.getDisplayName() + " removes its cgroup", SOON, () -> removed(parent));
    }
  }

  /** The OCI runtime has made it in every hierarchy. */
  private static boolean removed(String cgroup) {
    try {
      Cgroups.detect(CGROUPS).remove(cgroup);
      return true;
    } catch (UncheckedIOException stillInUse) {
      return false;
    }
  }
}
