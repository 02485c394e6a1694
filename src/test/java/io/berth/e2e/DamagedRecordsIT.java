package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ListImagesRequest;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxState;
import io.berth.cri.v1.PodSandboxStatusRequest;
import io.berth.cri.v1.PullImageRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * Bits flip in what berthd keeps, and files lose their end: it starts, says which record it was,
 * and what runs goes on. {@code -Dberth.damages=200} is the number of {@code ./dev soak}.
 */
@Tag("root")
@Tag("slow")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class DamagedRecordsIT {
  private static final int DAMAGES = Integer.getInteger("berth.damages", 60);

  private final DockerRegistry registry;

  DamagedRecordsIT(DockerRegistry registry) {
    this.registry = registry;
  }

  @Test
  void noDamageToRecordsEndsAContainerLosesAnImageOrKeepsTheDaemonFromStarting() throws Exception {
    long seed = Long.getLong("berth.seed", System.nanoTime());
    System.out.println("DamagedRecordsIT: -Dberth.seed=" + seed);
    Random random = new Random(seed);
    try (var daemon = BerthDaemon.with().registry(registry.address()).start();
        var life = new PodLife(daemon.socket(), () -> 60_000)) {
      String image =
          daemon
              .client()
              .images()
              .pullImage(
                  PullImageRequest.newBuilder()
                      .setImage(ImageSpec.newBuilder().setImage(Requests.BUSYBOX))
                      .build())
              .getImageRef();
      PodSandboxConfig pod = Requests.pod(daemon, "damaged").build();
      String podId = life.run(pod);
      String running =
          life.create(
              podId, pod, Requests.container("runs", Requests.BUSYBOX, Requests.SLEEP).build());
      life.start(running);
      life.exec(running, "sh", "-c", "echo mine > /written");
      String ended =
          life.create(
              podId, pod, Requests.container("ended", Requests.BUSYBOX, Requests.SLEEP).build());
      life.start(ended);
      life.stop(ended, 10);
      long pid = daemon.pid(running);

      for (int damaged = 0; damaged < DAMAGES; ) {
        if (random.nextBoolean()) {
          daemon.kill9();
        } else {
          daemon.stop();
        }
        long logged = Files.size(daemon.log());
        List<Path> records = records(daemon);
        assertThat(records).hasSizeGreaterThan(6);
        List<Path> emptied = new ArrayList<>();
        for (Path record : records) {
          if (damage(record, random)) {
            emptied.add(record);
          }
          damaged++;
        }
        daemon.restart();

        String said = Files.readString(daemon.log()).substring((int) logged);
        for (Path record : emptied) { // a flip of one bit may be in a place that says nothing
          assertThat(said).as("the log names what was cut").contains(record.toString());
        }
        assertThat(daemon.pid(running)).isEqualTo(pid);
        assertThat(ProcessHandle.of(pid)).isPresent();
        assertThat(life.exec(running, "cat", "/written")).isEqualTo("mine\n");
        assertThat(life.status(running).getState()).isEqualTo(ContainerState.CONTAINER_RUNNING);
        assertThat(life.status(ended).getState()).isEqualTo(ContainerState.CONTAINER_EXITED);
        assertThat(
                daemon
                    .client()
                    .runtime()
                    .podSandboxStatus(
                        PodSandboxStatusRequest.newBuilder().setPodSandboxId(podId).build())
                    .getStatus()
                    .getState())
            .isEqualTo(PodSandboxState.SANDBOX_READY);
        assertThat(
                daemon
                    .client()
                    .images()
                    .listImages(ListImagesRequest.getDefaultInstance())
                    .getImagesList())
            .anyMatch(found -> found.getId().equals(image));
      }
      life.stop(running, 10);
      life.remove(running);
      life.remove(ended);
      life.stopPod(podId);
      life.removePod(podId);
      for (Path aside : asides(daemon)) {
        Files.delete(aside);
      }
      daemon.assertNothingLeft();
    }
  }

  /** Every file that a start reads and that isn't content. */
  private static List<Path> records(BerthDaemon daemon) throws IOException {
    List<Path> records = new ArrayList<>();
    for (String folder : List.of("sandboxes", "containers", "images", "debts", "preloaded")) {
      records.addAll(Leftovers.entries(daemon.rootFolder().resolve(folder)));
    }
    for (Path layer : Leftovers.entries(daemon.layers())) {
      records.add(layer.resolve("layer.json"));
    }
    for (Path snapshot : Leftovers.entries(daemon.rootFolder().resolve("snapshots"))) {
      records.add(snapshot.resolve("snapshot.json"));
    }
    records.add(daemon.rootFolder().resolve("scrub.json"));
    return records.stream()
        .filter(file -> file.toString().endsWith(".json"))
        .filter(file -> Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS))
        .toList();
  }

  private static List<Path> asides(BerthDaemon daemon) throws IOException {
    try (Stream<Path> files = Files.walk(daemon.rootFolder(), 2)) {
      return files.filter(file -> file.toString().endsWith(".corrupt")).toList();
    }
  }

  /**
   * @return whether everything but the beginning is gone, so that nobody can miss it
   */
  private static boolean damage(Path record, Random random) throws IOException {
    byte[] whole = Files.readAllBytes(record);
    if (random.nextBoolean()) {
      Files.write(record, Arrays.copyOf(whole, random.nextInt(whole.length)));
      return true;
    }
    whole[random.nextInt(whole.length)] ^= (byte) (1 << random.nextInt(8));
    Files.write(record, whole);
    return false;
  }
}
