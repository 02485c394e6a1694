package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.oci.Digest;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** An OCI artifact from a registry as a pod's volume: a model, say, with its licence. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class ArtifactIT {
  private static final String TYPE = "application/vnd.berth.test.model.v1";

  @TempDir Path layout;

  private String blob(String mediaType, String content, String annotations) throws Exception {
    byte[] bytes = content.getBytes(UTF_8);
    Digest digest = Digest.sha256(bytes);
    Path folder = Files.createDirectories(layout.resolve("blobs/sha256"));
    Files.write(folder.resolve(digest.hex()), bytes);
    return "{\"mediaType\": \"%s\", \"digest\": \"%s\", \"size\": %d%s}"
        .formatted(mediaType, digest, bytes.length, annotations);
  }

  private static String title(String name) {
    return ", \"annotations\": {\"org.opencontainers.image.title\": \"" + name + "\"}";
  }

  @Test
  void artifactsAreMountedAndNotRun(DockerRegistry registry) throws Exception {
    String manifest =
        """
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "artifactType": "%s", "config": %s, "layers": [%s, %s]}
        """
            .formatted(
                TYPE,
                blob("application/vnd.oci.empty.v1+json", "{}", ""),
                blob("application/octet-stream", "weights", title("model.bin")),
                blob("text/plain", "free for all", title("docs/LICENSE")));
    String entry =
        blob(
            "application/vnd.oci.image.manifest.v1+json",
            manifest,
            ", \"annotations\": {\"org.opencontainers.image.ref.name\": \"model\"}");
    Files.writeString(layout.resolve("oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}");
    Files.writeString(
        layout.resolve("index.json"), "{\"schemaVersion\": 2, \"manifests\": [" + entry + "]}");
    String name = registry.address() + "/ml/model:1";
    String _ =
        Commands.run(
            List.of(
                "/usr/bin/skopeo",
                "--insecure-policy",
                "copy",
                "--preserve-digests",
                "--dest-tls-verify=false",
                "oci:" + layout + ":model",
                "docker://" + name));

    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      Crictl crictl = daemon.crictl();
      crictl.run("pull", name);
      crictl.run("pull", Requests.BUSYBOX);
      JsonNode shown = new BerthCli(daemon).json("image", "list");
      assertThat(shown.toString()).contains(TYPE);
      String inspected = new BerthCli(daemon).run("image", "inspect", name);
      assertThat(inspected).contains("\"artifact_type\" : \"" + TYPE + "\"", "\"manifest\" :");

      PodSandboxConfig.Builder pod = Requests.pod(daemon, "model");
      String podId = crictl.runPod(pod);
      var volume =
          Mount.newBuilder()
              .setContainerPath("/volume")
              .setReadonly(true)
              .setImage(ImageSpec.newBuilder().setImage(name));
      String container =
          crictl.start(
              podId,
              Requests.container("main", Requests.BUSYBOX, Requests.SLEEP).addMounts(volume),
              pod);
      assertThat(
              crictl.run(
                  "exec",
                  container,
                  "sh",
                  "-c",
                  "cat /volume/model.bin /volume/docs/LICENSE; ls /volume"))
          .isEqualTo("weightsfree for alldocs\nmodel.bin");
      assertThat(
              crictl
                  .attemptCreate(podId, Requests.container("no", name, Requests.SLEEP), pod)
                  .err())
          .contains("is an OCI artifact of type " + TYPE + " and no image that can be run");
      daemon.removePods();
      daemon.assertNothingLeft();
    }
  }
}
