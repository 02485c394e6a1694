package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.cri.v1.HugepageLimit;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.UpdateContainerResourcesRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Limits that are changed under a living container on cgroup v2 with systemd, which has an opinion
 * of its own on some of them. In the machine of {@code ./dev vm-test}.
 */
@Tag("vm")
@TestInstance(Lifecycle.PER_CLASS)
class SystemdUpdateIT {
  private static final long MIB = 1 << 20;
  private static final List<String> FILES =
      List.of(
          "cpu.max",
          "cpu.weight",
          "cpuset.cpus",
          "hugetlb.2MB.max",
          "memory.high",
          "memory.max",
          "memory.swap.max",
          "pids.max");

  private final InstalledPods pods;

  SystemdUpdateIT() throws IOException, InterruptedException {
    pods = new InstalledPods(InstalledBerth.start("", Path.of("busybox.tar"), InstalledPods.IMAGE));
  }

  @AfterEach
  void nothingIsLeftOfThePods(TestInfo test) throws InterruptedException {
    pods.removeAll(test);
  }

  @AfterAll
  void end() {
    pods.close();
  }

  private static LinuxContainerResources.Builder first() {
    return LinuxContainerResources.newBuilder()
        .setCpuPeriod(100_000)
        .setCpuQuota(50_000)
        .setCpuShares(512)
        .setMemoryLimitInBytes(64 * MIB)
        .setMemorySwapLimitInBytes(80 * MIB)
        .setCpusetCpus("0-1")
        .addHugepageLimits(HugepageLimit.newBuilder().setPageSize("2MB").setLimit(2 * MIB))
        .putUnified("memory.high", Long.toString(48 * MIB));
  }

  private static LinuxContainerResources.Builder second() {
    return LinuxContainerResources.newBuilder()
        .setCpuPeriod(100_000)
        .setCpuQuota(70_000)
        .setCpuShares(2048)
        .setMemoryLimitInBytes(96 * MIB)
        .setMemorySwapLimitInBytes(128 * MIB)
        .setCpusetCpus("1")
        .addHugepageLimits(HugepageLimit.newBuilder().setPageSize("2MB").setLimit(4 * MIB))
        .putUnified("memory.high", Long.toString(80 * MIB));
  }

  private static LinuxContainerResources.Builder memory(long bytes) {
    return LinuxContainerResources.newBuilder()
        .setMemoryLimitInBytes(bytes)
        .setMemorySwapLimitInBytes(bytes);
  }

  private static void update(String id, LinuxContainerResources.Builder wanted) {
    try (var client = new CriClient(InstalledBerth.SOCKET)) {
      var _ =
          client
              .runtime()
              .updateContainerResources(
                  UpdateContainerResourcesRequest.newBuilder()
                      .setContainerId(id)
                      .setLinux(wanted)
                      .build());
    }
  }

  private static Status refused(String id, LinuxContainerResources.Builder wanted) {
    return catchThrowableOfType(StatusRuntimeException.class, () -> update(id, wanted)).getStatus();
  }

  /** As the container itself sees them. */
  private Map<String, String> limits(String id) throws InterruptedException {
    Map<String, String> limits = new TreeMap<>();
    for (String file : FILES) {
      limits.put(file, pods.life().exec(id, "cat", "/sys/fs/cgroup/" + file).strip());
    }
    return limits;
  }

  /** Makes systemd apply again what it believes. */
  private static void reload() throws InterruptedException {
    InstalledBerth.systemctl("daemon-reload");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void limitsAreInForceAndStayWhenSystemdReloads(String handler) throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("updated-" + handler).build();
    String podId = pods.run(pod, handler);
    String id = pods.started(podId, pod, InstalledPods.container("main", first().build()));
    Map<String, String> before = limits(id);
    assertThat(before)
        .containsEntry("cpu.max", "50000 100000")
        .containsEntry("memory.swap.max", Long.toString(16 * MIB));
    reload();
    assertThat(limits(id)).as("of a container that was never updated").isEqualTo(before);

    update(id, second());
    reload();

    Map<String, String> after = limits(id);
    assertThat(after)
        .containsEntry("cpu.max", "70000 100000")
        .containsEntry("cpuset.cpus", "1")
        .containsEntry("hugetlb.2MB.max", Long.toString(4 * MIB))
        .containsEntry("memory.high", Long.toString(80 * MIB))
        .containsEntry("memory.max", Long.toString(96 * MIB))
        .containsEntry("memory.swap.max", Long.toString(32 * MIB));
    assertThat(Integer.parseInt(after.get("cpu.weight")))
        .isGreaterThan(Integer.parseInt(before.get("cpu.weight")));
    assertThat(pods.life().status(id).getResources().getLinux()).isEqualTo(second().build());
    assertThat(pods.life().exec(id, "grep", "Cpus_allowed_list", "/proc/1/status"))
        .contains("\t1\n");
  }

  @ParameterizedTest
  @ValueSource(strings = {"runc", "crun"})
  void afterARefusalTheOldLimitsAreInForceAlsoWhenSystemdReloads(String handler) throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("refused-" + handler).build();
    String podId = pods.run(pod, handler);
    String id = pods.started(podId, pod, InstalledPods.container("main", first().build()));
    Map<String, String> before = limits(id);

    Status refused = refused(id, second().putUnified("memory.oom.group", "7"));

    assertThat(refused.getDescription())
        .contains("update container " + id, "the old limits are in force");
    assertThat(limits(id)).isEqualTo(before);
    reload();
    assertThat(limits(id)).isEqualTo(before);
    assertThat(pods.life().status(id).getResources().getLinux()).isEqualTo(first().build());
    update(id, second());
    assertThat(limits(id)).containsEntry("memory.max", Long.toString(96 * MIB));
  }

  @Test
  void memoryBelowWhatIsHeldIsRefusedWithTheFiguresAndNobodyIsKilled() throws Exception {
    PodSandboxConfig pod = InstalledPods.pod("shrunk").build();
    String podId = pods.run(pod, "runc");
    String id =
        pods.started(
            podId,
            pod,
            InstalledPods.container(
                "main",
                List.of(
                    "sh",
                    "-c",
                    "dd if=/dev/zero of=/dev/shm/held bs=1M count=32; touch /done;"
                        + " trap 'exit 0' TERM; sleep 3600 & wait"),
                memory(64 * MIB).build()));
    Await.until(
        "32 MiB are held",
        InstalledBerth.PATIENCE,
        () -> pods.life().exec(id, "ls", "/").contains("done"));

    Status refused = refused(id, memory(16 * MIB));

    assertThat(refused.getCode()).isEqualTo(Status.Code.FAILED_PRECONDITION);
    assertThat(refused.getDescription())
        .contains("a memory limit of " + 16 * MIB + " bytes is below the ")
        .containsPattern("below the 3[0-9]{7} bytes");
    var kernel = new KernelCounters(InstalledPods.pid(id));
    assertThat(kernel.file("memory.max")).isEqualTo(Long.toString(64 * MIB));
    assertThat(kernel.line("memory.events", "oom_kill")).isZero();

    // The same amount as page cache is no obstacle.
    pods.life()
        .exec(
            id,
            "sh",
            "-c",
            "rm /dev/shm/held; dd if=/dev/zero of=/file bs=1M count=32 conv=fsync 2> /dev/null");
    assertThat(Long.parseLong(kernel.file("memory.current"))).isGreaterThan(16 * MIB);
    update(id, memory(16 * MIB));
    assertThat(kernel.file("memory.max")).isEqualTo(Long.toString(16 * MIB));
    assertThat(kernel.file("memory.swap.max")).isEqualTo("0");
    assertThat(kernel.line("memory.events", "oom_kill")).isZero();
  }
}
