package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RemoveImageRequest;
import io.berth.linux.Subprocess;
import io.grpc.StatusRuntimeException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Which hosts are asked for an image, what they are shown, and how an administrator sees it. */
@Tag("root")
@ExtendWith(DaemonLogs.class)
class RegistriesIT {
  private static final List<Integer> SMALL = List.of(1000, 2000);
  private static final String REFUSED = "127.0.0.1:1"; // where nobody listens

  @TempDir Path folder = Path.of("");

  private static String pull(BerthDaemon daemon, String image) {
    return daemon.client().images().pullImage(request(image)).getImageRef();
  }

  private static PullImageRequest request(String image) {
    return PullImageRequest.newBuilder().setImage(ImageSpec.newBuilder().setImage(image)).build();
  }

  /** Pulls it as if for the first time. */
  private static void pullAnew(BerthDaemon daemon, String image) {
    assertThat(pull(daemon, image)).startsWith("sha256:");
    var _ =
        daemon
            .client()
            .images()
            .removeImage(
                RemoveImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage(image))
                    .build());
  }

  private static Subprocess.Result berth(BerthDaemon daemon, String... arguments)
      throws InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(BerthDaemon.distribution().resolve("berth").toString());
    command.addAll(List.of(arguments));
    command.addAll(List.of("--socket", daemon.socket().toString()));
    return Commands.attempt(command);
  }

  private static String explain(BerthDaemon daemon, String image) throws InterruptedException {
    Subprocess.Result result = berth(daemon, "registry", "explain", image);
    assertThat(result.exitCode()).as(result.err() + result.out()).isZero();
    return result.out();
  }

  private static void push(Path work, DockerRegistry registry, String... options) throws Exception {
    LargeImage.push(work, SMALL, registry.address() + "/team/app:v1", options);
  }

  private static String auths(String registry, String password) {
    String auth =
        Base64.getEncoder().encodeToString((DockerRegistry.USER + ":" + password).getBytes(UTF_8));
    return "{\"auths\": {\"%s\": {\"auth\": \"%s\"}}}".formatted(registry, auth);
  }

  @Test
  void registryWithAPasswordOpensToCredentialsOfFilesAndHelpersWhichAreNeverShown()
      throws Exception {
    Path auth = folder.resolve("auth.json");
    Path docker = folder.resolve("config.json");
    Path programs = Files.createDirectory(folder.resolve("programs"));
    try (DockerRegistry registry = DockerRegistry.startWithPassword();
        var daemon =
            BerthDaemon.with()
                .config("[images]\nauth_files = [\"%s\", \"%s\"]\n".formatted(auth, docker))
                .privateMounts("mount --bind " + programs + " /usr/local/sbin")
                .start()) {
      String credentials = DockerRegistry.USER + ":" + DockerRegistry.PASSWORD;
      push(folder, registry, "--dest-creds", credentials);
      String image = registry.address() + "/team/app:v1";

      assertThatThrownBy(() -> pull(daemon, image))
          .isInstanceOf(StatusRuntimeException.class)
          .hasMessageContaining("no credentials for it were given");
      Subprocess.Result refused = berth(daemon, "registry", "explain", image);
      assertThat(refused.exitCode()).isEqualTo(1);
      assertThat(refused.out()).contains("credentials: none").contains("HTTP 401");

      Files.writeString(auth, auths(registry.address(), DockerRegistry.PASSWORD));
      pullAnew(daemon, image);
      assertThat(explain(daemon, image))
          .contains("credentials: user \"berth\" from " + auth + " (" + registry.address() + ")")
          .contains("has it: sha256:");

      Files.delete(auth);
      Files.writeString(docker, auths(registry.address() + "/team", DockerRegistry.PASSWORD));
      pullAnew(daemon, image);
      assertThat(explain(daemon, image)).contains(docker + " (" + registry.address() + "/team)");

      Files.writeString(
          docker, "{\"credHelpers\": {\"%s\": \"anchor\"}}".formatted(registry.address()));
      Path helper = programs.resolve("docker-credential-anchor");
      Files.writeString(
          helper,
          """
          #!/bin/sh
          read -r server
          [ "$1 $server" = "get %s" ] || exit 1
          echo '{"ServerURL": "%1$s", "Username": "%s", "Secret": "%s"}'
          """
              .formatted(registry.address(), DockerRegistry.USER, DockerRegistry.PASSWORD));
      Files.setPosixFilePermissions(helper, PosixFilePermissions.fromString("rwx------"));
      pullAnew(daemon, image);
      String explained = explain(daemon, image);
      assertThat(explained).contains("user \"berth\" from " + docker + " (helper anchor)");

      String secret = Base64.getEncoder().encodeToString(credentials.getBytes(UTF_8));
      assertThat(explained + Files.readString(daemon.log()))
          .doesNotContain(DockerRegistry.PASSWORD)
          .doesNotContain(secret);
    }
  }

  @Test
  void passwordThatHasChangedCountsAtTheNextPullOfTheSameProcess() throws Exception {
    Path auth = folder.resolve("auth.json");
    try (DockerRegistry registry = DockerRegistry.startWithPassword();
        var daemon =
            BerthDaemon.with()
                .config("[images]\nauth_files = [\"%s\"]\n".formatted(auth))
                .start()) {
      push(folder, registry, "--dest-creds", DockerRegistry.USER + ":" + DockerRegistry.PASSWORD);
      String image = registry.address() + "/team/app:v1";
      Files.writeString(auth, auths(registry.address(), DockerRegistry.PASSWORD));
      long pid = daemon.pid();
      pullAnew(daemon, image);

      registry.changePassword();
      assertThatThrownBy(() -> pull(daemon, image)).hasMessageContaining("check the credentials");

      Files.writeString(auth, auths(registry.address(), DockerRegistry.NEXT_PASSWORD));
      pullAnew(daemon, image);
      assertThat(daemon.pid()).isEqualTo(pid);
    }
  }

  @Test
  void foldersOfContainerdAreReadAsTheyAreAndAnewAtEachPull() throws Exception {
    Path certs = Files.createDirectories(folder.resolve("etc/containerd/certs.d"));
    try (DockerRegistry registry = DockerRegistry.start();
        DockerRegistry other = DockerRegistry.start();
        var daemon =
            BerthDaemon.with()
                .config("[images]\nregistry_config_dir = \"%s\"\n".formatted(certs))
                .start()) {
      push(folder, registry);
      Path hosts = Files.createDirectory(certs.resolve("images.example")).resolve("hosts.toml");
      Files.writeString(
          hosts,
          """
          server = "http://%s"

          [host."http://%s"]
            capabilities = ["pull", "resolve"]
            dial_timeout = "3s"

          [host."http://%s"]
            capabilities = ["pull"]
            skip_verify = true
            [host."http://%3$s".header]
              x-node = ["anchor"]
          """
              .formatted(registry.address(), REFUSED, other.address()));
      String image = "images.example/team/app:v1";

      String id = pull(daemon, image);

      assertThat(id).startsWith("sha256:");
      assertThat(
              explain(daemon, image)
                  .replace(registry.address(), "REGISTRY")
                  .replace(other.address(), "OTHER")
                  .replace(hosts.toString(), "FILE")
                  .replaceAll("sha256:[0-9a-f]{64} in [0-9]+ ms", "DIGEST"))
          .isEqualTo(
              """
              1. http://127.0.0.1:1/v2 (mirror, FILE:3)
                 may: pull, resolve; credentials: none; proxy: none
                 no: cannot reach http://127.0.0.1:1: connection refused; see that it runs and \
              that this machine can connect to it, or name a mirror
              2. http://OTHER/v2 (mirror, FILE:7)
                 may: pull; credentials: none; proxy: none
                 no: not asked: it may not resolve
              3. http://REGISTRY/v2 (the registry itself, FILE:1)
                 may: pull, resolve; credentials: none; proxy: none
                 has it: DIGEST
              """);
      JsonNode stops =
          new JsonMapper()
              .readTree(berth(daemon, "registry", "explain", image, "-o", "json").out());
      assertThat(stops).hasSize(3);
      assertThat(stops.get(2).get("serves").booleanValue()).isTrue();

      Files.writeString(hosts, "server = \"http://" + REFUSED + "\"\n");
      assertThatThrownBy(() -> pull(daemon, "images.example/team/app:v2"))
          .hasMessageContaining("cannot reach http://" + REFUSED);
      assertThat(berth(daemon, "registry", "explain", image).exitCode()).isEqualTo(1);

      Files.writeString(hosts, "server = \"http://" + REFUSED + "\"\nmirrors = []\n");
      assertThatThrownBy(() -> pull(daemon, image)).hasMessageContaining(hosts + ":2: mirrors");

      Files.move(certs.resolve("images.example"), certs.resolve("_default"));
      Files.writeString(
          certs.resolve("_default/hosts.toml"), "[host.\"%s\"]\n".formatted(registry.address()));
      assertThat(pull(daemon, "elsewhere.example/team/app:v1")).isEqualTo(id);
    }
  }
}
