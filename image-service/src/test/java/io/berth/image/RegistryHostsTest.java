package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.image.ImageException.Reason;
import io.berth.image.RegistryHost.Capability;
import io.berth.image.RegistryHost.PemFile;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RegistryHostsTest {
  @TempDir private Path folder;
  private RegistryHosts hosts;

  @BeforeEach
  void open() {
    hosts = new RegistryHosts(folder);
  }

  private Path write(String registry, String text) throws Exception {
    Path file = Files.createDirectories(folder.resolve(registry)).resolve("hosts.toml");
    return Files.writeString(file, text);
  }

  @ParameterizedTest
  @CsvSource({
    "docker.io, https://registry-1.docker.io/v2",
    "quay.io, https://quay.io/v2",
    "quay.io:8443, https://quay.io:8443/v2",
    "localhost:5000, http://localhost:5000/v2",
    "127.0.0.1:5000, http://127.0.0.1:5000/v2",
    "127.0.0.1:443, https://127.0.0.1:443/v2",
    "[::1]:5000, http://[::1]:5000/v2",
    "[2001:db8::1]:5000, https://[2001:db8::1]:5000/v2",
    "localhost.evil.example, https://localhost.evil.example/v2",
  })
  void registryItselfIsAskedWithoutConfiguration(String registry, URI root) {
    assertThat(hosts.of(registry)).singleElement().extracting(RegistryHost::root).isEqualTo(root);
  }

  @Test
  void mirrorsComeInTheOrderOfTheFileAndTheRegistryLast() throws Exception {
    write(
        "quay.io",
        """
        server = "https://quay.io"

        [host."https://z.example/cache"]
          capabilities = ["pull"]
          ca = "ca.pem"
          dial_timeout = "1500ms"
          [host."https://z.example/cache".header]
            x-team = ["a", "b"]

        [host."http://a.example:5000/own/v2"]
          override_path = true
          skip_verify = true
        """);
    Path ca = Files.writeString(folder.resolve("quay.io/ca.pem"), "not read yet");

    var found = hosts.of("quay.io");

    assertThat(found)
        .extracting(host -> host.root().toString())
        .containsExactly(
            "https://z.example/cache/v2", "http://a.example:5000/own/v2", "https://quay.io/v2");
    assertThat(found).extracting(RegistryHost::mirror).containsExactly(true, true, false);
    assertThat(found.getFirst().capabilities()).containsExactly(Capability.PULL);
    assertThat(found.getFirst().headers()).isEqualTo(Map.of("x-team", "a, b"));
    assertThat(found.getFirst().connection().authorities())
        .containsExactly(
            new PemFile(
                ca, Files.getLastModifiedTime(ca), folder.resolve("quay.io/hosts.toml") + ":5"));
    assertThat(found.getFirst().connection().dialTimeout()).isEqualTo(Duration.ofMillis(1500));
    assertThat(found.get(1).connection().skipVerify()).isTrue();
    assertThat(found.get(1).source()).endsWith("quay.io/hosts.toml:10");
  }

  @Test
  void defaultFolderServesRegistriesWithoutTheirOwn() throws Exception {
    write("_default", "[host.\"mirror.example\"]\n");
    write("quay.io", "");

    assertThat(hosts.of("ghcr.io"))
        .extracting(RegistryHost::origin)
        .containsExactly("https://mirror.example", "https://ghcr.io");
    assertThat(hosts.of("quay.io"))
        .extracting(RegistryHost::origin)
        .containsExactly("https://quay.io");
  }

  @Test
  void folderWithDockersCertificatesServesTheRegistryItself() throws Exception {
    write("_default", "[host.\"mirror.example\"]\n");
    Path own = Files.createDirectory(folder.resolve("reg.example_8443_"));
    Path authority = Files.createFile(own.resolve("ca.crt"));
    Path certificate = Files.createFile(own.resolve("me.cert"));

    assertThatThrownBy(() -> hosts.of("reg.example:8443")).hasMessageContaining("me.key");

    Path key = Files.createFile(own.resolve("me.key"));
    assertThat(hosts.of("reg.example:8443"))
        .singleElement()
        .satisfies(host -> {
          assertThat(host.origin()).isEqualTo("https://reg.example:8443");
          assertThat(host.source()).isEqualTo(own.toString());
          assertThat(host.connection().authorities())
              .extracting(PemFile::path)
              .containsExactly(authority);
          assertThat(host.connection().clients())
              .singleElement()
              .satisfies(client -> {
                assertThat(client.certificate().path()).isEqualTo(certificate);
                assertThat(client.key().path()).isEqualTo(key);
              });
        });
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          server = "https://a"\\nserver = 1                     | 2
          \\n[host."https://m"                                  | 2
          [host."https://m"]\\n  capabilites = ["pull"]         | 2
          [host."https://m"]\\n  capabilities = ["fly"]         | 2
          [host."https://m"]\\n\\n  skip_verify = "yes"         | 3
          [host."https://m"]\\n  ca = "absent.pem"              | 2
          [host."https://m"]\\n  client = "me.pem"              | 2
          [host."https://m"]\\n  dial_timeout = "0s"          | 2
          [host."https://m"]\\n  dial_timeout = 5             | 2
          server = "ftp://a"                                    | 1
          \\nserver = 5                                         | 2
          [host."https://m"]\\n[host."https://m".header]\\nhost = "x" | 3
          mirror = "x"                                          | 1
          """)
  void mistakesNameFileAndLine(String text, int line) throws Exception {
    Path file = write("quay.io", text.replace("\\n", "\n"));

    assertThatThrownBy(() -> hosts.of("quay.io"))
        .isInstanceOf(ImageException.class)
        .hasMessageStartingWith("registry configuration " + file + ":" + line + ": ")
        .extracting(e -> ((ImageException) e).reason())
        .isEqualTo(Reason.CONFIGURATION);
  }
}
