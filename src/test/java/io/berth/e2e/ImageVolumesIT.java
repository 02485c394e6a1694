package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Images that pods use as volumes. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class ImageVolumesIT {
  private final BerthDaemon daemon;
  private final Crictl crictl;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  ImageVolumesIT(DockerRegistry registry) throws Exception {
    daemon = Runtimes.node(registry).start();
    crictl = daemon.crictl();
  }

  @BeforeEach
  void imagesAreThere() throws Exception {
    crictl.run("pull", Requests.BUSYBOX);
    crictl.run("pull", Requests.VOLUMES);
  }

  @AfterEach
  void nothingIsLeft() throws Exception {
    daemon.removePods();
    daemon.assertNothingLeft();
    assertThat(Leftovers.entries(daemon.runFolder().resolve("image-volumes"))).isEmpty();
  }

  @AfterAll
  void end() throws Exception {
    daemon.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void imageIsMountedOnceForAllContainersOfThePod(String handler) throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "shared");
    String podId = crictl.runPod(pod, handler);
    String whole = crictl.start(podId, with("whole", image(Requests.VOLUMES, "")), pod);
    String part = crictl.start(podId, with("part", image(Requests.VOLUMES, "/tools/")), pod);

    assertThat(in(whole, "/volume/tools/hello")).isEqualTo("hello from the image");
    assertThat(in(part, "/volume/hello")).isEqualTo("hello from the image");
    assertThat(in(whole, "cat /volume/data/seed")).isEqualTo("seed of the image");
    for (String container : List.of(whole, part)) {
      assertThat(crictl.attempt("exec", "-s", container, "touch", "/volume/x").err())
          .contains("Read-only file system");
    }
    assertThat(Leftovers.entries(daemon.runFolder().resolve("image-volumes").resolve(podId)))
        .hasSize(1);

    JsonNode mount = crictl.json("inspect", part).at("/status/mounts/0");
    assertThat(mount.at("/image/image").asText()).isEqualTo(Requests.VOLUMES);
    assertThat(mount.at("/image/imageRef").asText())
        .isEqualTo(crictl.json("inspecti", Requests.VOLUMES).at("/status/id").asText());
    assertThat(mount.at("/imageSubPath").asText()).isEqualTo("/tools/");

    crictl.run("stopp", podId);
    assertThat(daemon.runFolder().resolve("image-volumes").resolve(podId)).doesNotExist();
  }

  @Test
  void volumeOutlivesTheDaemonAndItsImage() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "outliving");
    String podId = crictl.runPod(pod);
    String container = crictl.start(podId, with("main", image(Requests.VOLUMES, "")), pod);

    daemon.kill9();
    daemon.restart();

    assertThat(in(container, "/volume/tools/hello")).isEqualTo("hello from the image");
    String later = crictl.start(podId, with("later", image(Requests.VOLUMES, "tools")), pod);
    assertThat(in(later, "/volume/hello")).isEqualTo("hello from the image");

    crictl.run("rmi", Requests.VOLUMES);
    daemon.kill9();
    daemon.restart();
    assertThat(in(container, "cat /volume/data/seed")).isEqualTo("seed of the image");
    assertThat(in(container, "ls /volume/bin")).contains("busybox");
  }

  @Test
  void podThatEndedWithoutTheDaemonLeavesNoVolume() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "ended");
    String podId = crictl.runPod(pod);
    String _ = crictl.start(podId, with("main", image(Requests.VOLUMES, "")), pod);

    daemon.kill9();
    Path ipc = daemon.runFolder().resolve("sandboxes").resolve(podId).resolve("ns/ipc");
    String _ =
        Commands.run(
            daemon.inItsMounts(
                List.of(TestTools.installed("umount", "mount").toString(), "-l", ipc.toString())));
    daemon.restart();

    assertThat(crictl.json("inspectp", podId).at("/status/state").asText())
        .isEqualTo("SANDBOX_NOTREADY");
    crictl.run("rmp", "--force", podId);
    assertThat(daemon.runFolder().resolve("image-volumes").resolve(podId)).doesNotExist();
  }

  /** Within the image, wherever its links would lead outside. */
  @Test
  void subPathStaysInTheImage() throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "within");
    String podId = crictl.runPod(pod);
    String up = crictl.start(podId, with("up", image(Requests.VOLUMES, "up")), pod);
    assertThat(in(up, "cat /volume/passwd")).contains("default-user").doesNotContain("systemd");
    String dots = crictl.start(podId, with("dots", image(Requests.VOLUMES, "../../..")), pod);
    assertThat(in(dots, "/volume/tools/hello")).isEqualTo("hello from the image");
  }

  @ParameterizedTest
  @CsvSource({
    "out, doesn't exist in the image",
    "nowhere, doesn't exist in the image",
    "data/seed, isn't a folder"
  })
  void subPathMustBeAFolderOfTheImage(String subPath, String why) throws Exception {
    refused(image(Requests.VOLUMES, subPath), why);
  }

  @Test
  void whatIsNoImageVolumeIsRefused() throws Exception {
    refused(image("registry.k8s.io/berth/absent:1", ""), "pull it first");
    refused(image(Requests.VOLUMES, "").setReadonly(false), "set readonly");
    refused(image(Requests.VOLUMES, "").setHostPath("/tmp"), "host path too");
  }

  private void refused(Mount.Builder mount, String why) throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "refused");
    String podId = crictl.runPod(pod);
    assertThat(crictl.attemptCreate(podId, with("main", mount), pod).err())
        .contains("desc = ImageVolumeMountFailed: ", why);
    assertThat(crictl.run("ps", "-a", "-q")).isEmpty();
    crictl.run("rmp", "--force", podId);
  }

  private static ContainerConfig.Builder with(String name, Mount.Builder mount) {
    return Requests.container(name, Requests.BUSYBOX, Requests.SLEEP).addMounts(mount);
  }

  private static Mount.Builder image(String name, String subPath) {
    return Mount.newBuilder()
        .setContainerPath("/volume")
        .setReadonly(true)
        .setImage(ImageSpec.newBuilder().setImage(name))
        .setImageSubPath(subPath);
  }

  private String in(String container, String script) throws InterruptedException {
    return crictl.run("exec", "-s", container, "sh", "-c", script);
  }
}
