package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import io.berth.oci.MediaTypes;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(60)
class ProxiesTest {
  private static final byte[] MANIFEST = "{\"schemaVersion\":2}".getBytes(UTF_8);

  @ParameterizedTest
  @CsvSource({
    "https://quay.io/v2, secure.example",
    "http://quay.io/v2, plain.example",
    "https://localhost:5000/v2, none",
    "http://127.0.0.1:5000/v2, none",
    "https://[::1]:5000/v2, none",
    "https://corp.example/v2, none",
    "https://reg.corp.example/v2, none",
    "https://notcorp.example/v2, secure.example",
    "https://sub.only.example/v2, none",
    "https://only.example/v2, secure.example",
    "https://10.1.2.3/v2, none",
    "https://11.1.2.3/v2, secure.example",
    "https://192.0.2.7:8443/v2, none",
    "https://192.0.2.7/v2, secure.example",
    "https://[2001:db8::5]/v2, none",
    "https://[2001:db9::5]/v2, secure.example",
  })
  void hostsAreReachedAsTheEnvironmentSays(URI target, String proxy) {
    Proxies proxies =
        Proxies.of(
            "",
            List.of("10.0.0.0/8"),
            Map.of(
                "HTTPS_PROXY", "http://secure.example:3128",
                "http_proxy", "plain.example:3128",
                "NO_PROXY", "corp.example, .only.example,192.0.2.7:8443,2001:db8::/32"));

    assertThat(proxies.proxy(target).map(URI::getHost).orElse("none")).isEqualTo(proxy);
  }

  @Test
  void configurationWinsOverTheEnvironmentAndMistakesHideThePassword() {
    Map<String, String> environment = Map.of("HTTPS_PROXY", "http://b.example");

    assertThat(
            Proxies.of("http://a.example:8080", List.of(), environment)
                .proxy(URI.create("http://quay.io")))
        .contains(URI.create("http://a.example:8080"));
    assertThat(Proxies.of("", List.of("*"), environment).proxy(URI.create("https://quay.io")))
        .isEqualTo(Optional.empty());
    assertThatThrownBy(() -> Proxies.of("socks5://me:topsecret@a.example", List.of(), environment))
        .isInstanceOf(ImageException.class)
        .hasMessageContaining("images.proxy")
        .hasMessageNotContaining("topsecret");
  }

  @Test
  void requestsGoThroughTheProxyWithThePasswordItAsksFor(@TempDir Path certs) throws Exception {
    try (ScriptedRegistry proxy = new ScriptedRegistry()) {
      proxy.putManifest("app", "v1", MediaTypes.OCI_MANIFEST, MANIFEST);
      String expected =
          "Basic " + Base64.getEncoder().encodeToString("me:pass word".getBytes(UTF_8));
      proxy.script =
          exchange -> {
            if (expected.equals(exchange.getRequestHeaders().getFirst("Proxy-Authorization"))) {
              return false;
            }
            exchange.getResponseHeaders().set("Proxy-Authenticate", "Basic realm=\"proxy\"");
            return ScriptedRegistry.answer(exchange, 407, "");
          };
      Files.createDirectory(certs.resolve("reg.example"));
      Files.writeString(
          certs.resolve("reg.example/hosts.toml"), "server = \"http://reg.example\"\n");
      try (RegistryClient client =
          new RegistryClient(
              new RegistryHosts(certs),
              new CredentialFiles(List.of()),
              Proxies.of("http://me:pass%20word@" + proxy.address(), List.of(), Map.of()),
              TransferSettings.DEFAULT,
              PartialBlobs.none())) {

        assertThat(
                client
                    .open(ImageReference.parse("reg.example/app:v1"), RegistryCredentials.NONE)
                    .resolve()
                    .digest())
            .isEqualTo(Digest.sha256(MANIFEST));
      }
    }
  }
}
