package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ListImagesRequest;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What berthd takes of the disk: all of it comes back, and a full one can be emptied. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class DiskIT {
  /** {@code ./dev soak} does 300. */
  private static final int CYCLES = Integer.getInteger("berth.cycles", 12);

  private static final Duration SETTLED = Duration.ofSeconds(60);

  private final DockerRegistry registry;

  DiskIT(DockerRegistry registry) {
    this.registry = registry;
  }

  private static PullImageRequest pull(String image) {
    return PullImageRequest.newBuilder().setImage(ImageSpec.newBuilder().setImage(image)).build();
  }

  @Test
  void podsRunFromAnEmptyStoreWithoutAnyRegistry() throws Exception {
    try (var daemon = BerthDaemon.with().start();
        var life = new PodLife(daemon.socket(), () -> 60_000)) {
      assertThat(
              daemon
                  .client()
                  .images()
                  .listImages(ListImagesRequest.getDefaultInstance())
                  .getImagesCount())
          .isZero();
      String podId = life.run(Requests.pod(daemon, "from-nothing").build());
      life.stopPod(podId);
      life.removePod(podId);
    }
  }

  /** A container is made; at any moment of that, or of its removal, the daemon is killed. */
  @Test
  void creationsAndRemovalsCutShortByAKillLeaveNothingOnTheDisk() throws Exception {
    long seed = Long.getLong("berth.seed", System.nanoTime());
    System.out.println("DiskIT: -Dberth.seed=" + seed);
    Random random = new Random(seed);
    try (var daemon = BerthDaemon.with().registry(registry.address()).start();
        var life = new PodLife(daemon.socket(), () -> 60_000);
        ExecutorService client = Executors.newVirtualThreadPerTaskExecutor()) {
      var _ = daemon.client().images().pullImage(pull(Requests.BUSYBOX));
      cycle(daemon, life, client, "warm-up", random);
      daemon.assertNothingLeft(SETTLED);
      long before = du(daemon);

      for (int i = 0; i < CYCLES; i++) {
        cycle(daemon, life, client, "cycle-" + i, random);
      }

      daemon.assertNothingLeft(SETTLED);
      for (String folder :
          List.of("snapshots", "layers/.staging", ".trash", ".retired", "partial", "debts")) {
        Await.until(
            folder + " is empty",
            SETTLED,
            () -> Leftovers.entries(daemon.rootFolder().resolve(folder)).isEmpty());
      }
      assertThat(new BerthCli(daemon).run("gc", "--explain")).doesNotContain("nothing refers");
      // A folder keeps the blocks that its longest list of names took.
      assertThat(du(daemon)).isBetween(before - 65_536, before + 65_536);
    }
  }

  private static void cycle(
      BerthDaemon daemon, PodLife life, ExecutorService client, String name, Random random)
      throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, name).build();
    String podId = life.run(pod);
    Future<String> created =
        client.submit(() ->
            life.create(
                podId, pod, Requests.container("c", Requests.BUSYBOX, Requests.SLEEP).build()));
    TimeUnit.MICROSECONDS.sleep(random.nextInt(80_000));
    daemon.kill9();
    daemon.restart();
    String id = created.get(60, TimeUnit.SECONDS);
    life.start(id);
    life.exec(id, "sh", "-c", "head -c 100000 /dev/zero > /written");
    Future<?> removed =
        client.submit(() -> {
          life.stop(id, 5);
          life.remove(id);
          return id;
        });
    TimeUnit.MICROSECONDS.sleep(random.nextInt(80_000));
    daemon.kill9();
    daemon.restart();
    removed.get(60, TimeUnit.SECONDS);
    life.stopPod(podId);
    life.removePod(podId);
  }

  /** Of everything that lasts but the recorder, which is as large as it is. */
  private static long du(BerthDaemon daemon) throws Exception {
    String said =
        Commands.run(
            List.of(
                "/usr/bin/du", "-s", "-B1", "--exclude=recorder", daemon.rootFolder().toString()));
    return Long.parseLong(said.split("\\s")[0]);
  }
}
