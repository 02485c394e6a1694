package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.linux.Subprocess;
import io.berth.oci.Digest;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Signature;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A policy laid beside a running daemon, and signatures laid beside an image as cosign does. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class ImageTrustIT {
  private static final String REPOSITORY = "e2e-test-images/busybox";
  private static final String MANIFEST = "application/vnd.oci.image.manifest.v1+json";

  @Test
  void unsignedImagesNeitherComeNorRunUntilSomebodyWhoIsTrustedSignsThem(DockerRegistry registry)
      throws Exception {
    String image = registry.address() + "/" + REPOSITORY + ":1.29-2";
    try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
      String id = pull(daemon, image);
      PodSandboxConfig pod = Requests.pod(daemon, "trust").build();
      String podId =
          daemon
              .client()
              .runtime()
              .runPodSandbox(RunPodSandboxRequest.newBuilder().setConfig(pod).build())
              .getPodSandboxId();

      KeyPair key = KeyPairGenerator.getInstance("Ed25519").generateKeyPair();
      Path file = daemon.folder().resolve("team.pub");
      Files.writeString(
          file,
          "-----BEGIN PUBLIC KEY-----\n"
              + Base64.getMimeEncoder().encodeToString(key.getPublic().getEncoded())
              + "\n-----END PUBLIC KEY-----\n");
      Files.writeString(
          daemon.trustPolicy(),
          """
          {"default": [{"type": "insecureAcceptAnything"}],
           "transports": {"docker": {"%s/e2e-test-images": [
             {"type": "sigstoreSigned", "keyPath": "%s",
              "signedIdentity": {"type": "matchRepository"}}]}}}
          """
              .formatted(registry.address(), file));

      assertThatThrownBy(() -> pull(daemon, image))
          .hasMessageStartingWith("UNKNOWN: SignatureValidationFailed: pull " + image);
      // The image is here, and the registry isn't asked.
      assertThatThrownBy(() -> create(daemon, podId, pod, id))
          .hasMessageContaining("SignatureValidationFailed: image " + image)
          .hasMessageContaining(daemon.trustPolicy().toString());
      String trusted = pull(daemon, registry.address() + "/berth/volumes:1");
      assertThatThrownBy(() -> create(daemon, podId, pod, trusted, volume(image)))
          .as("as a volume")
          .hasMessageContaining("SignatureValidationFailed: image " + image);
      Subprocess.Result verdict = trust(daemon, image);
      assertThat(verdict.exitCode()).isEqualTo(1);
      assertThat(verdict.out())
          .contains(image + " may not be used", "team.pub", "no sigstore signature was found");

      sign(registry, key);
      assertThat(pull(daemon, image)).isEqualTo(id);
      assertThat(create(daemon, podId, pod, id, volume(image))).isNotEmpty();
      assertThat(trust(daemon, image).out()).contains("signatures kept with the image: 1");
      daemon.removePods();
      daemon.assertNothingLeft();
    }
  }

  private static String pull(BerthDaemon daemon, String image) throws Exception {
    return daemon
        .client()
        .images()
        .pullImage(
            PullImageRequest.newBuilder().setImage(ImageSpec.newBuilder().setImage(image)).build())
        .getImageRef();
  }

  private static Mount volume(String image) {
    return Mount.newBuilder()
        .setContainerPath("/volume")
        .setReadonly(true)
        .setImage(ImageSpec.newBuilder().setImage(image))
        .build();
  }

  private static String create(
      BerthDaemon daemon, String podId, PodSandboxConfig pod, String image, Mount... mounts)
      throws Exception {
    ContainerConfig container =
        Requests.container("c", image, Requests.SLEEP).addAllMounts(List.of(mounts)).build();
    return daemon
        .client()
        .runtime()
        .createContainer(
            CreateContainerRequest.newBuilder()
                .setPodSandboxId(podId)
                .setConfig(container)
                .setSandboxConfig(pod)
                .build())
        .getContainerId();
  }

  private static Subprocess.Result trust(BerthDaemon daemon, String image) throws Exception {
    return Commands.attempt(
        List.of(
            BerthDaemon.distribution().resolve("berth").toString(),
            "image",
            "trust",
            "--socket",
            daemon.socket().toString(),
            image),
        Duration.ofMinutes(1));
  }

  /** What cosign pushes, and where. */
  private static void sign(DockerRegistry registry, KeyPair key) throws Exception {
    try (var http = HttpClient.newHttpClient()) {
      String base = "http://" + registry.address() + "/v2/" + REPOSITORY;
      String digest =
          http.send(
                  HttpRequest.newBuilder(URI.create(base + "/manifests/1.29-2"))
                      .header(
                          "Accept",
                          MANIFEST
                              + ", application/vnd.oci.image.index.v1+json,"
                              + " application/vnd.docker.distribution.manifest.v2+json")
                      .method("HEAD", HttpRequest.BodyPublishers.noBody())
                      .build(),
                  HttpResponse.BodyHandlers.discarding())
              .headers()
              .firstValue("Docker-Content-Digest")
              .orElseThrow();
      byte[] payload =
          """
          {"critical": {"identity": {"docker-reference": "%s/%s"},
                        "image": {"docker-manifest-digest": "%s"},
                        "type": "cosign container image signature"}, "optional": null}
          """
              .formatted(registry.address(), REPOSITORY, digest)
              .getBytes(UTF_8);
      Signature signer = Signature.getInstance("Ed25519");
      signer.initSign(key.getPrivate());
      signer.update(payload);
      String signature = Base64.getEncoder().encodeToString(signer.sign());
      Digest config = push(http, base, "{}".getBytes(UTF_8));
      Digest layer = push(http, base, payload);
      String manifest =
          """
          {"schemaVersion": 2, "mediaType": "%s",
           "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 2, "digest": "%s"},
           "layers": [{"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                       "size": %d, "digest": "%s",
                       "annotations": {"dev.cosignproject.cosign/signature": "%s"}}]}
          """
              .formatted(MANIFEST, config, payload.length, layer, signature);
      expect(
          201,
          http.send(
              HttpRequest.newBuilder(
                      URI.create(base + "/manifests/" + digest.replace(':', '-') + ".sig"))
                  .header("Content-Type", MANIFEST)
                  .PUT(HttpRequest.BodyPublishers.ofString(manifest))
                  .build(),
              HttpResponse.BodyHandlers.ofString()));
    }
  }

  private static Digest push(HttpClient http, String base, byte[] blob) throws Exception {
    var begun =
        http.send(
            HttpRequest.newBuilder(URI.create(base + "/blobs/uploads/"))
                .POST(HttpRequest.BodyPublishers.noBody())
                .build(),
            HttpResponse.BodyHandlers.ofString());
    expect(202, begun);
    Digest digest = Digest.sha256(blob);
    String place = begun.headers().firstValue("Location").orElseThrow();
    URI upload =
        URI.create(base).resolve(place + (place.contains("?") ? "&" : "?") + "digest=" + digest);
    expect(
        201,
        http.send(
            HttpRequest.newBuilder(upload)
                .PUT(HttpRequest.BodyPublishers.ofByteArray(blob))
                .build(),
            HttpResponse.BodyHandlers.ofString()));
    return digest;
  }

  private static void expect(int status, HttpResponse<String> answer) {
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(status);
  }
}
