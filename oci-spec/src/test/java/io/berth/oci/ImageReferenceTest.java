package io.berth.oci;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ImageReferenceTest {

  private static final String HEX = "0123456789abcdef".repeat(4);

  @ParameterizedTest
  @CsvSource({
    "busybox, docker.io/library/busybox:latest, busybox:latest",
    "busybox:1.36, docker.io/library/busybox:1.36, busybox:1.36",
    "grafana/grafana, docker.io/grafana/grafana:latest, grafana/grafana:latest",
    "index.docker.io/busybox, docker.io/library/busybox:latest, busybox:latest",
    "localhost/a, localhost/a:latest, localhost/a:latest",
    "localhost:5000/a/b:c, localhost:5000/a/b:c, localhost:5000/a/b:c",
    "[::1]:5000/a, [::1]:5000/a:latest, [::1]:5000/a:latest",
    "registry.k8s.io/pause:3.9, registry.k8s.io/pause:3.9, registry.k8s.io/pause:3.9",
    "Host/a, Host/a:latest, Host/a:latest",
    "a__b/c-d---e.f, docker.io/a__b/c-d---e.f:latest, a__b/c-d---e.f:latest",
  })
  void namesAreCompletedAsDockerDoes(String given, String full, String familiar) {
    ImageReference reference = ImageReference.parse(given);

    assertThat(reference).hasToString(full);
    assertThat(reference.familiar()).isEqualTo(familiar);
    assertThat(ImageReference.parse(full)).isEqualTo(reference);
    assertThat(ImageReference.parse(familiar)).isEqualTo(reference);
  }

  @Test
  void tagBesideDigestIsDropped() {
    ImageReference reference = ImageReference.parse("quay.io/x/y:1@sha256:" + HEX);

    assertThat(reference.tag()).isNull();
    assertThat(reference.tagOrDigest()).isEqualTo("sha256:" + HEX);
    assertThat(reference).hasToString("quay.io/x/y@sha256:" + HEX);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "UPPER",
        "a//b",
        "/a",
        "a/",
        "a:",
        "a:-x",
        "a@sha256:12",
        "a@md5:" + "0",
        "-a",
        "a..b",
        "a b",
        "../etc",
        "host.io/../a",
        "a:b/c:d:e",
        "http://host.io/a",
        "host.io:port/a",
        "a\n"
      })
  void malformedNamesAreRefusedWithTheNameInTheMessage(String given) {
    assertThatThrownBy(() -> ImageReference.parse(given))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("invalid image reference \"" + given + "\": ");
  }

  @Test
  void imageIdsAreNoReferences() {
    assertThatThrownBy(() -> ImageReference.parse(HEX)).hasMessageContaining("image id");
  }

  @Test
  void overlongNamesAreRefused() {
    assertThatThrownBy(() -> ImageReference.parse("host.io/" + "a".repeat(250)))
        .hasMessageContaining("255");
  }

  @Test
  void endlessTextIsRefusedWithoutBeingShown() {
    assertThatThrownBy(() -> ImageReference.parse("host.io/" + "a/".repeat(1 << 20)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("longer than 1024 characters")
        .satisfies(e -> assertThat(e.getMessage()).hasSizeLessThan(200));
  }
}
