package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.linux.FileTree;
import io.berth.linux.Subprocess;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Images that skopeo signed with a key of gpg, under a policy beside a running daemon. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class OpenPgpTrustIT {
  private Path folder;

  @BeforeEach
  void makeKey() throws Exception {
    folder =
        Files.createTempDirectory(
            Path.of("/tmp"),
            "gpg-",
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    for (String name : List.of("team", "other")) {
      String _ =
          run(
              "/usr/bin/gpg",
              "--batch",
              "--passphrase",
              "",
              "--quick-gen-key",
              name + "@berth.test",
              "rsa2048",
              "sign",
              "never");
      String _ =
          run(
              "/usr/bin/gpg",
              "--batch",
              "--output",
              folder.resolve(name + ".gpg").toString(),
              "--export",
              name + "@berth.test");
    }
  }

  @AfterEach
  void endAgent() throws Exception {
    String _ = run("/usr/bin/gpgconf", "--kill", "all");
    FileTree.delete(folder);
  }

  private String run(String... command) throws InterruptedException {
    Subprocess.Result result =
        Subprocess.command(List.of(command))
            .environment(
                Map.of(
                    "GNUPGHOME",
                    folder.toString(),
                    "PATH",
                    "/usr/sbin:/usr/bin:/sbin:/bin",
                    "HOME",
                    folder.toString()))
            .outputLimit(1 << 20)
            .run(Duration.ofMinutes(2));
    assertThat(result.ok()).as("%s: %s", String.join(" ", command), result.err()).isTrue();
    return result.out();
  }

  /** Copies an image within the registry, and lays its signature into the store. */
  private void copySigned(DockerRegistry registry, String from, String to, String signer)
      throws Exception {
    List<String> command = new ArrayList<>(List.of("/usr/bin/skopeo", "--insecure-policy"));
    command.addAll(List.of("--registries.d", folder.resolve("registries.d").toString()));
    command.addAll(List.of("copy", "--src-tls-verify=false", "--dest-tls-verify=false"));
    command.addAll(List.of("--remove-signatures", "--sign-by", signer + "@berth.test"));
    command.add("docker://" + registry.address() + "/" + from);
    command.add("docker://" + registry.address() + "/" + to);
    String _ = run(command.toArray(String[]::new));
  }

  private static String pull(BerthDaemon daemon, String image) throws Exception {
    return daemon
        .client()
        .images()
        .pullImage(
            PullImageRequest.newBuilder().setImage(ImageSpec.newBuilder().setImage(image)).build())
        .getImageRef();
  }

  private static String create(
      BerthDaemon daemon, String podId, PodSandboxConfig pod, String name, String image)
      throws Exception {
    ContainerConfig container = Requests.container(name, image, Requests.SLEEP).build();
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

  @Test
  void whatSkopeoSignedComesAndRunsAndNothingElse(DockerRegistry registry) throws Exception {
    String source = "e2e-test-images/busybox:1.29-2";
    String store = "file://" + folder.resolve("store");
    Path stores = Files.createDirectories(folder.resolve("registries.d"));
    Files.writeString(
        stores.resolve("team.yaml"),
        """
        docker:
          %s/signed:
            lookaside: %s
            sigstore: %s
            sigstore-staging: %s
        """
            .formatted(registry.address(), store, store, store));
    copySigned(registry, source, "signed/team:1", "team");
    copySigned(registry, source, "signed/other:1", "other");
    String team = registry.address() + "/signed/team:1";
    String other = registry.address() + "/signed/other:1";

    try (var daemon =
        BerthDaemon.with()
            .registry(registry.address())
            .config("[images]\nlookaside_config_dir = \"" + stores + "\"")
            .start()) {
      Files.writeString(
          daemon.trustPolicy(),
          """
          {"default": [{"type": "reject"}], "transports": {"docker": {"%s/signed": [
             {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "%s"}]}}}
          """
              .formatted(registry.address(), folder.resolve("team.gpg")));
      String id = pull(daemon, team);
      assertThatThrownBy(() -> pull(daemon, other))
          .hasMessageStartingWith("UNKNOWN: SignatureValidationFailed: pull " + other)
          .hasMessageContaining("no key of the policy made it");

      // Nobody is asked from here on: neither store nor registry.
      FileTree.delete(folder.resolve("store"));
      PodSandboxConfig pod = Requests.pod(daemon, "openpgp").build();
      String podId =
          daemon
              .client()
              .runtime()
              .runPodSandbox(RunPodSandboxRequest.newBuilder().setConfig(pod).build())
              .getPodSandboxId();
      assertThat(create(daemon, podId, pod, "first", id)).isNotEmpty();
      assertThat(new BerthCli(daemon).run("image", "trust", team))
          .contains("signed (OpenPGP) by " + folder.resolve("team.gpg"))
          .contains("signatures kept with the image: 1");

      Files.copy(
          folder.resolve("other.gpg"),
          folder.resolve("team.gpg"),
          java.nio.file.StandardCopyOption.REPLACE_EXISTING);
      assertThatThrownBy(() -> create(daemon, podId, pod, "second", id))
          .hasMessageContaining("SignatureValidationFailed: image " + team)
          .hasMessageContaining("no key of the policy made it");
      daemon.removePods();
      daemon.assertNothingLeft();
    }
  }
}
