package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import org.junit.jupiter.api.Test;

/** The fixture itself: other tests blame Berth for what goes wrong in it. */
class DockerRegistryTest {

  @Test
  void openRegistryServesFixtureImagesAndLeavesNothingBehind() throws Exception {
    Path storage;
    try (var registry = DockerRegistry.start()) {
      storage = registry.storage();
      registry.pushFixtureImages();

      assertThat(get(registry, "e2e-test-images/busybox/manifests/1.29-2", "").statusCode())
          .isEqualTo(200);
      assertThat(get(registry, "k8s-staging-cri-tools/test-image-tags/tags/list", "").body())
          .contains("\"1\"", "\"2\"", "\"3\"");
      assertThat(storage).isDirectory();
    }
    assertThat(Files.exists(storage.getParent())).isFalse();
  }

  @Test
  void registryWithPasswordRefusesOthers() throws Exception {
    String good = DockerRegistry.USER + ":" + DockerRegistry.PASSWORD;
    try (var registry = DockerRegistry.startWithPassword()) {
      assertThat(get(registry, "", "").statusCode()).isEqualTo(401);
      assertThat(get(registry, "", DockerRegistry.USER + ":wrong").statusCode()).isEqualTo(401);
      assertThat(get(registry, "", good).statusCode()).isEqualTo(200);
    }
  }

  @Test
  void twoRegistriesRunSideBySide() throws Exception {
    try (var one = DockerRegistry.start();
        var other = DockerRegistry.start()) {
      assertThat(one.address()).isNotEqualTo(other.address());
    }
  }

  private static HttpResponse<String> get(DockerRegistry registry, String path, String login)
      throws Exception {
    var request =
        HttpRequest.newBuilder(URI.create("http://" + registry.address() + "/v2/" + path))
            .header("Accept", "application/vnd.oci.image.manifest.v1+json");
    if (!login.isEmpty()) {
      String encoded = Base64.getEncoder().encodeToString(login.getBytes(UTF_8));
      request.header("Authorization", "Basic " + encoded);
    }
    try (var client = HttpClient.newHttpClient()) {
      return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }
  }
}
