package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ListImagesRequest;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RemoveImageRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** What berthd takes of the disk: all of it comes back, and a full one can be emptied. */
@Tag("root")
@Tag("slow")
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

  @Test
  void onAFullDiskTheDaemonStartsAndContainersPodsAndImagesCanBeRemoved(@TempDir Path folder)
      throws Exception {
    try (var daemon = BerthDaemon.with().registry(registry.address()).start();
        var life = new PodLife(daemon.socket(), () -> 60_000)) {
      daemon.stop();
      try (var disk = new LoopDisk(folder, daemon.rootFolder(), 96)) {
        daemon.restart();
        var _ = daemon.client().images().pullImage(pull(Requests.BUSYBOX));
        PodSandboxConfig pod = Requests.pod(daemon, "full").build();
        String podId = life.run(pod);
        List<String> ids = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
          String id =
              life.create(
                  podId,
                  pod,
                  Requests.container("c" + i, Requests.BUSYBOX, Requests.SLEEP).build());
          life.start(id);
          ids.add(id);
        }
        life.stop(ids.get(0), 10);
        Path filler = disk.fill();

        assertThatThrownBy(() ->
                life.create(
                    podId,
                    pod,
                    Requests.container("more", Requests.BUSYBOX, Requests.SLEEP).build()))
            .hasMessageContaining("No space left");
        daemon.kill9();
        daemon.restart();
        assertThat(life.status(ids.get(1)).getState()).isEqualTo(ContainerState.CONTAINER_RUNNING);
        assertThat(life.exec(ids.get(1), "echo", "alive")).isEqualTo("alive\n");
        disk.fillUp(filler);
        for (String id : ids) {
          life.stop(id, 10);
          disk.fillUp(filler); // whatever came free belongs to somebody else at once
          life.remove(id);
          disk.fillUp(filler);
        }
        life.stopPod(podId);
        disk.fillUp(filler);
        life.removePod(podId);
        disk.fillUp(filler);
        var _ =
            daemon
                .client()
                .images()
                .removeImage(
                    RemoveImageRequest.newBuilder()
                        .setImage(ImageSpec.newBuilder().setImage(Requests.BUSYBOX))
                        .build());
        assertThat(
                daemon
                    .client()
                    .images()
                    .listImages(ListImagesRequest.getDefaultInstance())
                    .getImagesCount())
            .isZero();
        daemon.stop();
        disk.fillUp(filler);
        daemon.restart();
        Files.delete(filler);
        var _ = daemon.client().images().pullImage(pull(Requests.BUSYBOX));
        daemon.stop();
      }
      daemon.restart();
      daemon.assertNothingLeft(SETTLED); // the disk itself was a mount
    }
  }

  /** A small ext4 of its own in a file, mounted over a folder. */
  private static final class LoopDisk implements AutoCloseable {
    private final Path mountPoint;

    LoopDisk(Path folder, Path mountPoint, int mebibytes) throws Exception {
      this.mountPoint = mountPoint;
      Path image = folder.resolve("disk.img");
      String mkfs = TestTools.installed("mkfs.ext4", "e2fsprogs").toString();
      Commands.run(List.of("/usr/bin/truncate", "-s", mebibytes + "M", image.toString()));
      Commands.run(List.of(mkfs, "-q", "-m", "0", image.toString()));
      Commands.run(
          List.of(
              TestTools.installed("mount", "mount").toString(),
              "-o",
              "loop",
              image.toString(),
              mountPoint.toString()));
    }

    Path fill() throws IOException {
      Path filler = mountPoint.resolve("filler");
      fillUp(filler);
      return filler;
    }

    void fillUp(Path filler) throws IOException {
      byte[] chunk = new byte[1 << 20];
      try (var out = new java.io.FileOutputStream(filler.toFile(), true)) {
        while (chunk.length > 0) {
          try {
            out.write(chunk);
            out.getFD().sync();
          } catch (IOException e) {
            chunk = new byte[chunk.length / 2];
          }
        }
      }
    }

    @Override
    public void close() throws IOException {
      try {
        Commands.run(
            List.of(TestTools.installed("umount", "mount").toString(), mountPoint.toString()));
      } catch (InterruptedException stopped) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
