package io.berth.oci;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DigestTest {

  private static final String EMPTY =
      "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

  @Test
  void digestOfNothingIsTheKnownOne() {
    assertThat(Digest.sha256(new byte[0])).hasToString(EMPTY).isEqualTo(Digest.parse(EMPTY));
    assertThat(Digest.parse(EMPTY).matches(new byte[0])).isTrue();
    assertThat(Digest.parse(EMPTY).matches("x".getBytes(UTF_8))).isFalse();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "sha256",
        "sha256:",
        "sha256:12",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        "sha256:../../../../../../../../../../../../../../../../../../../etc/pass"
      })
  void whatIsNoDigestIsRefused(String text) {
    assertThatThrownBy(() -> Digest.parse(text)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void chainIdOfOneLayerIsItsDiffIdAndOfMoreTheHashOfBoth() {
    Digest first = Digest.sha256("a".getBytes(UTF_8));
    Digest second = Digest.sha256("b".getBytes(UTF_8));

    List<ChainId> chain = ChainId.of(List.of(first, second));

    assertThat(chain.getFirst().digest()).isEqualTo(first);
    assertThat(chain.getLast().digest())
        .isEqualTo(Digest.sha256((first + " " + second).getBytes(UTF_8)));
    assertThat(ChainId.of(List.of())).isEmpty();
  }
}
