package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.errorprone.annotations.MustBeClosed;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.HugepageLimit;
import io.berth.cri.v1.LinuxContainerResources;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.UpdateContainerResourcesRequest;
import io.berth.cri.v1.UpdatePodSandboxResourcesRequest;
import io.berth.linux.Cgroups;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Limits that are changed under a living container, as by a kubelet's in-place resize. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class UpdateIT {
  private static final long MIB = 1 << 20;
  private static final Cgroups CGROUPS = Cgroups.detect(Path.of("/sys/fs/cgroup"));

  private static final LinuxContainerResources FIRST =
      LinuxContainerResources.newBuilder()
          .setCpuPeriod(100_000)
          .setCpuQuota(50_000)
          .setCpuShares(512)
          .setMemoryLimitInBytes(64 * MIB)
          .setMemorySwapLimitInBytes(64 * MIB)
          .setOomScoreAdj(500)
          .build();

  /** What both sides say of a container: the kernel first, then the status. */
  private record Limits(
      String memory, String swap, String cpu, String cpus, LinuxContainerResources told) {}

  @TempDir Path folder = Path.of("");
  private final DockerRegistry registry;

  UpdateIT(DockerRegistry registry) {
    this.registry = registry;
  }

  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // closed by the world, or below when there is none
  private World world() throws Exception {
    return world("sleep 3600");
  }

  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // likewise
  private World world(String script) throws Exception {
    var saboteur =
        new Saboteur(
            Files.createDirectory(folder.resolve("programs")),
            TestTools.installed("runc", "runc"),
            Path.of("/usr/lib/cni"));
    BerthDaemon daemon = saboteur.daemon().registry(registry.address()).start();
    try {
      daemon.crictl().run("pull", Requests.BUSYBOX);
      var life = new PodLife(daemon.socket(), () -> 60_000);
      PodSandboxConfig config = Requests.pod(daemon, "resized").build();
      String pod = life.run(config);
      ContainerConfig.Builder main =
          Requests.container("main", Requests.BUSYBOX, List.of("sh", "-c", script));
      main.getLinuxBuilder().setResources(FIRST);
      return new World(saboteur, daemon, life, pod, life.create(pod, config, main.build()));
    } catch (Throwable failure) {
      daemon.close();
      throw failure;
    }
  }

  /** A daemon whose programs a test can disturb, with one pod that has one container. */
  private record World(
      Saboteur saboteur, BerthDaemon daemon, PodLife life, String pod, String container)
      implements AutoCloseable {
    void update(LinuxContainerResources.Builder wanted) {
      var _ =
          daemon
              .client()
              .runtime()
              .updateContainerResources(
                  UpdateContainerResourcesRequest.newBuilder()
                      .setContainerId(container)
                      .setLinux(wanted)
                      .build());
    }

    Status refused(LinuxContainerResources.Builder wanted) {
      return catchThrowableOfType(StatusRuntimeException.class, () -> update(wanted)).getStatus();
    }

    JsonNode info() throws InterruptedException {
      return daemon.crictl().json("inspect", container).at("/info");
    }

    Limits limits() throws Exception {
      String cgroup = info().at("/cgroup").asText();
      boolean v2 = CGROUPS.unified();
      return new Limits(
          limit(cgroup, v2 ? "memory.max" : "memory.limit_in_bytes"),
          limit(cgroup, v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes"),
          limit(cgroup, v2 ? "cpu.max" : "cpu.cfs_quota_us"),
          limit(cgroup, "cpuset.cpus"),
          life.status(container).getResources().getLinux());
    }

    @Override
    public void close() throws IOException {
      life.close();
      daemon.close();
    }
  }

  private static String limit(String cgroup, String file) throws IOException {
    String controller = file.substring(0, file.indexOf('.'));
    Path path = CGROUPS.folder(controller, cgroup).resolve(file);
    return Files.exists(path) ? Files.readString(path).strip() : "this machine has none";
  }

  private static LinuxContainerResources.Builder memory(long bytes) {
    return LinuxContainerResources.newBuilder()
        .setMemoryLimitInBytes(bytes)
        .setMemorySwapLimitInBytes(bytes);
  }

  private static LinuxContainerResources.Builder everything() {
    return memory(96 * MIB)
        .setCpuPeriod(100_000)
        .setCpuQuota(70_000)
        .setCpuShares(2048)
        .setCpusetCpus("0")
        .setOomScoreAdj(700);
  }

  @Test
  void whatIsAskedForIsInForceIsToldAndOutlivesTheDaemon() throws Exception {
    try (var world = world()) {
      world.life().start(world.container());
      world.update(everything());

      Limits after = world.limits();
      assertThat(after.memory()).isEqualTo(Long.toString(96 * MIB));
      assertThat(after.cpu()).startsWith("70000");
      assertThat(after.cpus()).isEqualTo("0");
      assertThat(after.told()).isEqualTo(everything().build());
      assertThat(world.info().at("/runtimeSpec/linux/resources/memory/limit").asLong())
          .isEqualTo(96 * MIB);
      assertThat(world.info().at("/runtimeSpec/linux/resources/devices"))
          .as("of which an update says nothing")
          .isNotEmpty();
      long pid = world.info().at("/pid").asLong();
      assertThat(Files.readString(Path.of("/proc/" + pid + "/oom_score_adj")).strip())
          .isEqualTo("700");

      world.daemon().kill9();
      world.daemon().restart();
      assertThat(world.limits()).isEqualTo(after);

      world.update(LinuxContainerResources.newBuilder().setCpuQuota(80_000));
      assertThat(world.limits().told())
          .as("what is left out stays")
          .isEqualTo(everything().setCpuQuota(80_000).build());
      assertThat(world.limits().memory()).isEqualTo(after.memory());
    }
  }

  @Test
  void aValueThatTheKernelRefusesLeavesAllOthersAsTheyWere() throws Exception {
    try (var world = world()) {
      world.life().start(world.container());
      Limits before = world.limits();

      Status refused = world.refused(everything().setCpusetCpus("0-4000"));

      assertThat(refused.getCode()).isEqualTo(Status.Code.UNKNOWN);
      assertThat(refused.getDescription())
          .contains("update container " + world.container(), "the old limits are in force");
      assertThat(world.limits()).isEqualTo(before);
      world.update(everything());
      assertThat(world.limits().told()).isEqualTo(everything().build());
    }
  }

  @Test
  void aRuntimeThatFailsHavingSetAllLeavesTheOldLimits() throws Exception {
    try (var world = world()) {
      world.life().start(world.container());
      Limits before = world.limits();
      world.saboteur().once("runtime-update-after", "echo no more >&2; code=1");

      Status refused = world.refused(everything());

      assertThat(world.saboteur().struck("runtime-update-after")).isTrue();
      assertThat(refused.getDescription()).contains("no more", "the old limits are in force");
      assertThat(world.limits()).isEqualTo(before);
    }
  }

  @Test
  void anUpdateCutShortByTheDaemonsEndIsUndoneAtItsReturn() throws Exception {
    try (var world = world()) {
      world.life().start(world.container());
      Limits before = world.limits();
      world.saboteur().killAt("runtime-update-after", world.daemon());

      assertThat(world.refused(everything()).getCode()).isEqualTo(Status.Code.UNAVAILABLE);
      world.daemon().kill9();
      world.daemon().restart();

      assertThat(world.limits()).isEqualTo(before);
      world.update(everything());
      assertThat(world.limits().told()).isEqualTo(everything().build());
    }
  }

  @Test
  void memoryBelowWhatIsHeldIsRefusedWithTheFigures() throws Exception {
    try (var world = world("dd if=/dev/zero of=/dev/shm/held bs=1M count=40; sleep 3600")) {
      world.life().start(world.container());
      Await.until(
          "40 MiB are held",
          Duration.ofSeconds(60),
          () ->
              world
                  .life()
                  .exec(world.container(), "stat", "-c", "%s", "/dev/shm/held")
                  .strip()
                  .equals(Long.toString(40 * MIB)));
      Limits before = world.limits();

      Status refused = world.refused(memory(16 * MIB));

      assertThat(refused.getCode()).isEqualTo(Status.Code.FAILED_PRECONDITION);
      assertThat(refused.getDescription())
          .contains("a memory limit of " + 16 * MIB + " bytes is below the ")
          .containsPattern("below the 4[0-9]{7} bytes");
      assertThat(world.limits()).isEqualTo(before);

      var _ = world.life().exec(world.container(), "rm", "/dev/shm/held");
      world.update(memory(16 * MIB));
      assertThat(world.limits().memory()).isEqualTo(Long.toString(16 * MIB));
    }
  }

  @Test
  void aCreatedContainerTakesNewLimitsAndOneThatHasEndedDoesNot() throws Exception {
    try (var world = world()) {
      world.update(memory(96 * MIB));
      world.life().start(world.container());
      assertThat(world.limits().memory()).isEqualTo(Long.toString(96 * MIB));
      world.life().stop(world.container(), 0);

      Status refused = world.refused(memory(64 * MIB));
      assertThat(refused.getCode()).isEqualTo(Status.Code.FAILED_PRECONDITION);
      assertThat(refused.getDescription()).contains("it is EXITED");
    }
  }

  @Test
  void wrongValuesAreRefusedBeforeAnythingIsTouched() throws Exception {
    try (var world = world()) {
      world.life().start(world.container());
      Limits before = world.limits();
      for (var wrong :
          List.of(
              everything().setCpusetCpus("zero"),
              everything().setMemorySwapLimitInBytes(MIB),
              everything().setCpuShares(-5),
              everything()
                  .addHugepageLimits(
                      HugepageLimit.newBuilder().setPageSize("2 MB").setLimit(2 * MIB)))) {
        assertThat(world.refused(wrong).getCode()).isEqualTo(Status.Code.INVALID_ARGUMENT);
      }
      assertThat(world.limits()).isEqualTo(before);
    }
  }

  @Test
  void whatTheKubeletMadeOfAPodsOwnLimitsIsKeptAndShown() throws Exception {
    try (var world = world()) {
      var _ =
          world
              .daemon()
              .client()
              .runtime()
              .updatePodSandboxResources(
                  UpdatePodSandboxResourcesRequest.newBuilder()
                      .setPodSandboxId(world.pod())
                      .setOverhead(LinuxContainerResources.newBuilder().setCpuShares(100))
                      .setResources(memory(200 * MIB))
                      .build());
      world.daemon().kill9();
      world.daemon().restart();

      JsonNode info = world.daemon().crictl().json("inspectp", world.pod()).at("/info");
      assertThat(info.at("/overhead/linux/cpu_shares").asLong()).isEqualTo(100);
      assertThat(info.at("/resources/linux/memory_limit_in_bytes").asLong()).isEqualTo(200 * MIB);

      Status unknown =
          catchThrowableOfType(
                  StatusRuntimeException.class,
                  () ->
                      world
                          .daemon()
                          .client()
                          .runtime()
                          .updatePodSandboxResources(
                              UpdatePodSandboxResourcesRequest.newBuilder()
                                  .setPodSandboxId("f00d")
                                  .build()))
              .getStatus();
      assertThat(unknown.getCode()).isEqualTo(Status.Code.NOT_FOUND);
    }
  }
}
