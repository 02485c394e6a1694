package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ImageFsInfoRequest;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ListImagesRequest;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.linux.Subprocess;
import io.berth.oci.Json;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** `berth image` against a running daemon, beside crictl. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class ImageCommandsIT {
  private static final String BUSYBOX = "/e2e-test-images/busybox:1.29-2";

  @Test
  void administratorListsExplainsAndRemovesImages(DockerRegistry registry) throws Exception {
    String image = registry.address() + BUSYBOX;
    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      String id = pull(daemon, image);
      String container = container(daemon, image);

      assertThat(run(daemon, "list").out()).contains("IMAGE ID", id.substring(7, 20), image);
      JsonNode listed = json(run(daemon, "list", "-o", "json").out()).get(0);
      assertThat(listed.get("id").asText()).isEqualTo(id);
      assertThat(listed.get("used_by").toString()).contains("container " + container);
      assertThat(listed.get("bytes").asLong()).isPositive();

      JsonNode inspected = json(run(daemon, "inspect", image).out()).get(0);
      assertThat(inspected.get("config").get("rootfs").get("diff_ids").size())
          .isEqualTo(inspected.get("layers").size());
      assertThat(inspected.get("layers").get(0).get("blob").asText()).startsWith("sha256:");
      assertThat(run(daemon, "history", image).out()).contains("LAYER", "SIZE");
      assertThat(json(run(daemon, "history", "-o", "json", id).out()).size()).isPositive();
      assertThat(run(daemon, "du").out()).contains("UNIQUE", image, " inodes");
      assertThat(run(daemon, "du", "--layers").out()).contains("container " + container);

      assertThat(berth(daemon, "gc", "--explain").out())
          .contains("image " + image + ": used by container " + container)
          .contains("held by ");
      assertRoomIsWhatDuCounts(daemon);

      Subprocess.Result refused = run(daemon, "remove", image);
      assertThat(refused.exitCode()).isEqualTo(1);
      assertThat(refused.err()).contains("it is used by container " + container, "--force");
      assertThat(run(daemon, "prune").out()).contains("of 0 images");

      daemon.removePods();
      assertThat(run(daemon, "prune", "--dry-run").out()).contains("would remove " + image);
      assertThat(images(daemon)).isEqualTo(1);
      assertThat(run(daemon, "remove", image).out()).contains("removed " + id);
      assertThat(images(daemon)).isZero();
      Subprocess.Result missing = run(daemon, "inspect", image);
      assertThat(missing.exitCode()).isEqualTo(1);
      assertThat(missing.err()).contains("there is no image " + image);
      assertThat(run(daemon, "list", "-o", "json").out().strip()).isEqualTo("[ ]");
      daemon.assertNothingLeft();
    }
  }

  @Test
  void damagedImageIsNoticedAndMendedWhileItsContainerRuns(DockerRegistry registry)
      throws Exception {
    String image = registry.address() + BUSYBOX;
    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      pull(daemon, image);
      assertThat(container(daemon, image)).isNotEmpty();
      Subprocess.Result whole = run(daemon, "verify", image);
      assertThat(whole.exitCode()).as(whole.out() + whole.err()).isZero();
      assertThat(whole.out()).contains("ok, ", "0 damaged");

      Path file = anyFile(daemon);
      byte[] before = Files.readAllBytes(file);
      Files.write(file, new byte[0]);
      Subprocess.Result damaged = run(daemon, "verify");
      assertThat(damaged.exitCode()).isEqualTo(1);
      assertThat(damaged.out())
          .contains("DAMAGED, of " + image, " has 0 bytes instead of " + before.length);

      Subprocess.Result mended = run(daemon, "verify", "--repair");
      assertThat(mended.exitCode()).as(mended.out() + mended.err()).isZero();
      assertThat(mended.out()).contains("was damaged", "fetched anew from", "1 repaired");
      assertThat(file).hasBinaryContent(before);
      assertThat(json(run(daemon, "verify", "-o", "json").out()))
          .allMatch(layer -> layer.get("sound").asBoolean());
      daemon.removePods();
      daemon.assertNothingLeft();
    }
  }

  @Test
  void storeMendsItselfAfterAPowerLoss(DockerRegistry registry) throws Exception {
    String image = registry.address() + BUSYBOX;
    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      pull(daemon, image);
      Path file = anyFile(daemon);
      byte[] before = Files.readAllBytes(file);
      daemon.kill9();
      Files.write(file, new byte[0]);
      Path mark = daemon.layers().resolveSibling("scrub.json");
      // The mark of a berthd of another boot that nobody stopped.
      Files.writeString(
          mark, Files.readString(mark).replaceFirst("bootId\":\"[^\"]*", "bootId\":\"x"));
      daemon.restart();
      Await.until(
          "the file is mended",
          Duration.ofMinutes(1),
          () -> Arrays.equals(Files.readAllBytes(file), before));
      assertThat(container(daemon, image)).isNotEmpty();
      daemon.removePods();
      daemon.assertNothingLeft();
    }
  }

  @Test
  void layersOfALostRecordStayForAWhileAndGcSaysHowLong(DockerRegistry registry) throws Exception {
    String image = registry.address() + BUSYBOX;
    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      pull(daemon, image);
      daemon.stop();
      for (Path record : Leftovers.entries(daemon.rootFolder().resolve("images"))) {
        Files.delete(record);
      }
      daemon.restart();
      assertThat(images(daemon)).isZero();
      assertThat(berth(daemon, "gc", "--explain").out())
          .containsPattern("nothing refers to it; it goes in \\d+ (s|min), berth gc removes it");

      pull(daemon, image);
      assertThat(berth(daemon, "gc", "--explain").out()).doesNotContain("nothing refers");

      daemon.stop();
      for (Path record : Leftovers.entries(daemon.rootFolder().resolve("images"))) {
        Files.delete(record);
      }
      daemon.restart();
      assertThat(new BerthCli(daemon).run("gc")).contains(" freed").doesNotStartWith("0 B");
      assertThat(berth(daemon, "gc", "--explain").out()).contains("no images and no layers");
    }
  }

  private static Path anyFile(BerthDaemon daemon) throws Exception {
    try (var files = Files.walk(daemon.layers())) {
      return files
          .filter(file -> file.toString().contains("/fs/"))
          .filter(file -> Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS))
          .filter(file -> file.toFile().length() > 0)
          .sorted()
          .findFirst()
          .orElseThrow();
    }
  }

  private static String pull(BerthDaemon daemon, String image) {
    return daemon
        .client()
        .images()
        .pullImage(
            PullImageRequest.newBuilder().setImage(ImageSpec.newBuilder().setImage(image)).build())
        .getImageRef();
  }

  private static int images(BerthDaemon daemon) {
    return daemon
        .client()
        .images()
        .listImages(ListImagesRequest.getDefaultInstance())
        .getImagesCount();
  }

  private static String container(BerthDaemon daemon, String image) throws Exception {
    PodSandboxConfig pod = Requests.pod(daemon, "images").build();
    String podId =
        daemon
            .client()
            .runtime()
            .runPodSandbox(RunPodSandboxRequest.newBuilder().setConfig(pod).build())
            .getPodSandboxId();
    return daemon
        .client()
        .runtime()
        .createContainer(
            CreateContainerRequest.newBuilder()
                .setPodSandboxId(podId)
                .setConfig(Requests.container("c", image, Requests.SLEEP))
                .setSandboxConfig(pod)
                .build())
        .getContainerId();
  }

  private static Subprocess.Result run(BerthDaemon daemon, String... arguments)
      throws InterruptedException {
    List<String> command =
        new ArrayList<>(
            List.of(BerthDaemon.distribution().resolve("berth").toString(), "image", arguments[0]));
    command.addAll(List.of("--socket", daemon.socket().toString()));
    command.addAll(List.of(arguments).subList(1, arguments.length));
    return Commands.attempt(command);
  }

  private static void assertRoomIsWhatDuCounts(BerthDaemon daemon) throws Exception {
    long told =
        daemon
            .client()
            .images()
            .imageFsInfo(ImageFsInfoRequest.getDefaultInstance())
            .getImageFilesystems(0)
            .getUsedBytes()
            .getValue();
    String du =
        Commands.run(
            List.of(
                "/usr/bin/du",
                "-s",
                "-c",
                "-B1",
                daemon.layers().toString(),
                daemon.layers().resolveSibling("images").toString()));
    long counted = Long.parseLong(du.strip().lines().toList().getLast().split("\\s")[0]);
    // The folders that hold everything, three blocks, are nobody's.
    assertThat(told).isBetween((long) ((counted - 3 * 4096) * 0.99), (long) (counted * 1.01));
    for (var image :
        daemon
            .client()
            .images()
            .listImages(ListImagesRequest.getDefaultInstance())
            .getImagesList()) {
      assertThat(image.getSize()).isBetween((long) (told * 0.99), (long) (told * 1.01));
    }
  }

  @Test
  void crictlPrunesImages(DockerRegistry registry) throws Exception {
    String image = registry.address() + BUSYBOX;
    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      pull(daemon, image);
      daemon.crictl().run("rmi", "--prune");
      assertThat(images(daemon)).isZero();
    }
  }

  private static Subprocess.Result berth(BerthDaemon daemon, String command, String argument)
      throws InterruptedException {
    List<String> words = new ArrayList<>();
    words.add(BerthDaemon.distribution().resolve("berth").toString());
    words.add(command);
    words.add(argument);
    words.addAll(List.of("--socket", daemon.socket().toString()));
    return Commands.attempt(words);
  }

  private static JsonNode json(String text) {
    return Json.read(text.getBytes(StandardCharsets.UTF_8), JsonNode.class, "berth's answer");
  }
}
