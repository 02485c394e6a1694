package io.berth.oci;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PlatformTest {

  private static final String V2 = "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3";
  private static final String V3 = V2 + " avx avx2 bmi1 bmi2 f16c fma abm movbe xsave";

  @ParameterizedTest
  @CsvSource({
    "amd64/v3, linux/386 linux/amd64 linux/amd64/v2 linux/amd64/v4, linux/amd64/v2",
    "amd64/v3, linux/amd64/v3 linux/amd64, linux/amd64/v3",
    "amd64/v1, linux/amd64/v2 linux/386, linux/386",
    "amd64/v1, linux/arm64 linux/x86_64, linux/x86_64",
    "amd64/v1, linux/arm64 windows/amd64, none",
    "arm64/v8, linux/arm linux/arm64, linux/arm64",
    "arm64/v8, linux/arm/v6 linux/arm/v7, linux/arm/v7",
    "arm/v7, linux/arm/v5 linux/arm/v6 linux/arm/v8, linux/arm/v6",
    "arm/v7, linux/arm64 linux/arm, linux/arm",
    "s390x, linux/amd64 linux/s390x, linux/s390x",
    "amd64/v1, unknown/unknown, none",
  })
  void bestMatchWinsWhateverTheOrder(String machine, String offered, String expected) {
    String[] host = machine.split("/", -1);
    List<Descriptor> manifests =
        Arrays.stream(offered.split(" ", -1)).map(PlatformTest::entry).toList();

    Optional<Descriptor> chosen =
        Platform.linux(host[0], host.length > 1 ? host[1] : null).choose(manifests);

    assertThat(chosen.map(entry -> String.valueOf(entry.platform())).orElse("none"))
        .isEqualTo(expected);
  }

  @Test
  void firstOfEqualsIsTakenAndAttestationsNever() {
    Descriptor attestation =
        new Descriptor(
            MediaTypes.OCI_MANIFEST,
            Digest.sha256(new byte[0]),
            1,
            null,
            null,
            Map.of("vnd.docker.reference.type", "attestation-manifest"),
            Platform.linux("amd64", null));
    Descriptor first = entry("linux/amd64");

    assertThat(
            Platform.linux("amd64", null)
                .choose(List.of(attestation, first, entry("linux/amd64/v1"))))
        .containsSame(first);
  }

  @Test
  void entryWithoutPlatformIsTakenWhenNothingElseFits() {
    Descriptor bare = Descriptor.of(MediaTypes.OCI_MANIFEST, Digest.sha256(new byte[0]), 1);

    assertThat(Platform.linux("amd64", null).choose(List.of(entry("linux/arm64"), bare)))
        .contains(bare);
  }

  @Test
  void levelOfAmd64ComesFromTheProcessorsFlags() {
    assertThat(Platform.machine("amd64", "")).hasToString("linux/amd64/v1");
    assertThat(Platform.machine("x86_64", V2)).hasToString("linux/amd64/v2");
    assertThat(Platform.machine("amd64", "fpu " + V3)).hasToString("linux/amd64/v3");
    assertThat(Platform.machine("aarch64", "")).hasToString("linux/arm64/v8");
  }

  private static Descriptor entry(String platform) {
    String[] parts = platform.split("/", -1);
    @Nullable String variant = parts.length > 2 ? parts[2] : null;
    return new Descriptor(
        MediaTypes.OCI_MANIFEST,
        Digest.sha256(platform.getBytes(UTF_8)),
        1,
        null,
        null,
        null,
        new Platform(parts[1], parts[0], variant, null, null));
  }
}
