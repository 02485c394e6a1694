package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.linux.Subprocess;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Images that go from machine to machine as files. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class AirGapIT {
  private static final String SOURCE = "e2e-test-images/busybox:1.29-2";

  @TempDir Path folder;

  private static String id(BerthDaemon daemon, String image) throws Exception {
    return daemon.crictl().json("inspecti", image).at("/status/id").asText();
  }

  private static String berth(BerthDaemon daemon, String command) {
    return "%s %s --socket %s"
        .formatted(BerthDaemon.distribution().resolve("berth"), command, daemon.socket());
  }

  private static Subprocess.Result shell(String script) throws InterruptedException {
    return Commands.attempt(
        List.of("/bin/bash", "-o", "pipefail", "-c", script), Duration.ofMinutes(5));
  }

  @Test
  void anExportedImageIsTheSameFromARegistryOnAnArchiveOrAPipe(DockerRegistry registry)
      throws Exception {
    String image = registry.address() + "/" + SOURCE;
    Path file = folder.resolve("busybox.tar");
    String id;
    try (var source = BerthDaemon.with().registry(registry.address()).start();
        var target = BerthDaemon.with().start()) {
      source.crictl().run("pull", image);
      id = id(source, image);
      String _ = new BerthCli(source).run("export", image, "-o", file.toString());
      assertThat(Leftovers.entries(folder)).containsExactly(file);

      // Another tool reads it, and a registry takes what it makes of it.
      String copy = registry.address() + "/exported/busybox:1";
      String _ =
          Commands.run(
              List.of(
                  "/usr/bin/skopeo",
                  "--insecure-policy",
                  "copy",
                  "--dest-tls-verify=false",
                  "oci-archive:" + file + ":1.29-2",
                  "docker://" + copy));
      target.crictl().run("pull", copy);
      assertThat(id(target, copy)).isEqualTo(id);
      target.crictl().run("rmi", copy);

      // Straight from one daemon into another.
      Subprocess.Result piped =
          shell(
              berth(source, "export --format docker --compression zstd " + image)
                  + " | "
                  + berth(target, "import -"));
      assertThat(piped.ok()).as(piped.err()).isTrue();
      assertThat(piped.out().strip()).isEqualTo(image);
      assertThat(piped.err()).contains("layer 1 of ");
      assertThat(id(target, image)).isEqualTo(id);
    }

    // Where no registry is, a container runs from it.
    try (var lonely = BerthDaemon.with().start()) {
      Subprocess.Result imported = shell("cat " + file + " | " + berth(lonely, "import -"));
      assertThat(imported.ok()).as(imported.err()).isTrue();
      assertThat(id(lonely, image)).isEqualTo(id);
      PodSandboxConfig.Builder pod = Requests.pod(lonely, "lonely");
      String podId = lonely.crictl().runPod(pod);
      String container =
          lonely.crictl().start(podId, Requests.container("c", image, Requests.SLEEP), pod);
      assertThat(lonely.crictl().run("exec", container, "echo", "here")).isEqualTo("here");
      lonely.removePods();
      lonely.assertNothingLeft();
    }
  }

  @Test
  void anExportThatFailsLeavesNoFileAndSaysWhatHelps(DockerRegistry registry) throws Exception {
    String image = registry.address() + "/" + SOURCE;
    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      daemon.crictl().run("pull", image);
      JsonNode inspected =
          new JsonMapper().readTree(new BerthCli(daemon).run("image", "inspect", image));
      String chain = inspected.at("/0/layers/0/chain_id").asText();
      Path tree =
          daemon.rootFolder().resolve("layers/" + chain.substring(chain.indexOf(':') + 1) + "/fs");
      Files.writeString(tree.resolve("bin/busybox"), "no busybox");
      Path file = folder.resolve("busybox.tar");
      Subprocess.Result failed =
          new BerthCli(daemon).attempt("export", image, "-o", file.toString());
      assertThat(failed.exitCode()).isEqualTo(1);
      assertThat(failed.err()).contains("layer " + chain, "image verify --repair");
      assertThat(Leftovers.entries(folder)).isEmpty();

      String _ = new BerthCli(daemon).run("image", "verify", "--repair", image);
      String _ = new BerthCli(daemon).run("export", image, "-o", file.toString());
      assertThat(Leftovers.entries(folder)).containsExactly(file);
    }
  }

  @Test
  void archivesOfThePreloadFolderAreThereAfterAStart(DockerRegistry registry) throws Exception {
    String image = registry.address() + "/" + SOURCE;
    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      daemon.crictl().run("pull", image);
      String id = id(daemon, image);
      Path preload = Files.createDirectories(daemon.folder().resolve("preload"));
      Files.writeString(preload.resolve("a-broken.tar"), "no archive");
      String _ =
          new BerthCli(daemon)
              .run("export", image, "-o", preload.resolve("busybox.tar").toString());
      daemon.crictl().run("rmi", image);
      daemon.kill9();
      daemon.restart();
      Await.until(
          "the preloaded image is there", Duration.ofMinutes(2), () -> present(daemon, image));
      assertThat(id(daemon, image)).isEqualTo(id);
    }
  }

  private static boolean present(BerthDaemon daemon, String image) throws Exception {
    return daemon.crictl().run("images", "-q", image).strip().length() > 0;
  }
}
