package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.berth.oci.Digest;
import io.berth.oci.MediaTypes;
import java.net.Inet6Address;
import java.net.NetworkInterface;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class RegistryRouteTest {
  private static final byte[] MANIFEST = "{\"schemaVersion\":2}".getBytes(UTF_8);

  @Test
  void everyHostIsTriedAndToldWithFileLineCredentialsAndAnswer(@TempDir Path folder)
      throws Exception {
    Path auth = folder.resolve("auth.json");
    String password = Base64.getEncoder().encodeToString("bob:topsecret".getBytes(UTF_8));
    Files.writeString(auth, "{\"auths\": {\"reg.example\": {\"auth\": \"" + password + "\"}}}");
    Path file = Files.createDirectory(folder.resolve("reg.example")).resolve("hosts.toml");
    try (ScriptedRegistry mirror = new ScriptedRegistry();
        ScriptedRegistry upstream = new ScriptedRegistry();
        RegistryClient client =
            new RegistryClient(
                new RegistryHosts(folder),
                new CredentialFiles(List.of(auth)),
                Proxies.none(),
                ImageHouse.TRANSFERS,
                PartialBlobs.none())) {
      upstream.putManifest("team/app", "v1", MediaTypes.OCI_MANIFEST, MANIFEST);
      upstream.script =
          exchange -> {
            if (exchange.getRequestHeaders().containsKey("Authorization")) {
              return false;
            }
            exchange.getResponseHeaders().set("WWW-Authenticate", "Basic realm=\"x\"");
            return ScriptedRegistry.answer(exchange, 401, "");
          };
      Files.writeString(
          file,
          """
          server = "http://%s"

          [host."http://%s"]
          [host."http://127.0.0.1:1"]
            capabilities = ["pull"]
          """
              .formatted(upstream.address(), mirror.address()));

      List<RouteStop> route = client.explain("reg.example/team/app:v1");

      assertThat(route)
          .extracting(RouteStop::url)
          .containsExactly(
              "http://" + mirror.address() + "/v2",
              "http://127.0.0.1:1/v2",
              "http://" + upstream.address() + "/v2");
      assertThat(route)
          .extracting(RouteStop::source)
          .containsExactly(file + ":3", file + ":4", file + ":1");
      assertThat(route).extracting(RouteStop::mirror).containsExactly(true, true, false);
      assertThat(route)
          .extracting(RouteStop::may)
          .containsExactly("pull, resolve", "pull", "pull, resolve");
      assertThat(route)
          .extracting(RouteStop::credentials)
          .containsExactly("none", "none", "user \"bob\" from " + auth + " (reg.example)");
      assertThat(route).extracting(RouteStop::serves).containsExactly(false, false, true);
      assertThat(route.get(0).answer()).contains("HTTP 404");
      assertThat(route.get(1).answer()).isEqualTo("not asked: it may not resolve");
      assertThat(route.get(2).answer()).startsWith(Digest.sha256(MANIFEST) + " in ");
      assertThat(route.toString()).doesNotContain("topsecret").doesNotContain(password);
      assertThat(mirror.requests).allMatch(request -> request.authorization() == null);

      assertThatThrownBy(() -> client.explain("UPPER"))
          .isInstanceOf(ImageException.class)
          .hasMessageStartingWith("explain: ");
    }
  }

  private static boolean hasIpv6() throws Exception {
    return NetworkInterface.networkInterfaces()
        .flatMap(NetworkInterface::inetAddresses)
        .anyMatch(address -> address instanceof Inet6Address && address.isLoopbackAddress());
  }

  @Test
  void registryAtAnAddressOfIpv6IsReached(@TempDir Path folder) throws Exception {
    assumeTrue(hasIpv6(), "the loopback interface has no IPv6 address");
    try (ScriptedRegistry six = new ScriptedRegistry("::1");
        RegistryClient client =
            new RegistryClient(
                new RegistryHosts(folder),
                new CredentialFiles(List.of()),
                Proxies.none(),
                ImageHouse.TRANSFERS,
                PartialBlobs.none())) {
      six.putManifest("app", "v1", MediaTypes.OCI_MANIFEST, MANIFEST);

      assertThat(client.explain(six.address() + "/app:v1"))
          .singleElement()
          .satisfies(stop -> assertThat(stop.serves()).as(stop.answer()).isTrue());
    }
  }
}
