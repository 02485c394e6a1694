package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class FileNameTest {

  @ParameterizedTest
  @ValueSource(strings = {"", "plain", "grün", "日本", "\uD83D\uDE80 rocket"})
  void validTextIsItself(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    assertThat(FileName.decode(bytes)).isEqualTo(text);
    assertThat(FileName.encode(text)).isEqualTo(bytes);
  }

  /**
   * Latin-1, a sequence cut short, an encoded surrogate, an overlong slash, a byte that is never
   * valid.
   */
  @ParameterizedTest
  @ValueSource(strings = {"6772fc6e", "61e697", "edb280", "c0af", "ff", "f09f9a80ff41"})
  void otherBytesComeBackUnchanged(String hex) {
    byte[] bytes = HexFormat.of().parseHex(hex);
    assertThat(FileName.encode(FileName.decode(bytes))).isEqualTo(bytes);
  }

  @Test
  void anyBytesComeBackUnchanged() {
    Random random = new Random(7);
    for (int i = 0; i < 20_000; i++) {
      byte[] bytes = new byte[random.nextInt(12)];
      random.nextBytes(bytes);
      assertThat(FileName.encode(FileName.decode(bytes)))
          .as(HexFormat.of().formatHex(bytes))
          .isEqualTo(bytes);
    }
  }
}
