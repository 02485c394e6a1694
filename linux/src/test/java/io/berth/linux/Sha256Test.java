package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.security.MessageDigest;
import java.util.Random;
import org.junit.jupiter.api.Test;

class Sha256Test {

  @Test
  void agreesWithTheJdkWhateverThePieces() {
    Random random = new Random(42);
    for (int round = 0; round < 50; round++) {
      byte[] data = new byte[random.nextInt(300_000)];
      random.nextBytes(data);
      MessageDigest ours = Sha256.start();
      for (int at = 0; at < data.length; ) {
        int part = Math.min(1 + random.nextInt(100_000), data.length - at);
        ours.update(data, at, part);
        at += part;
      }
      assertThat(ours.digest()).isEqualTo(Sha256.jdk().digest(data));
    }
  }

  @Test
  void canBeUsedAgainAfterADigest() {
    MessageDigest digest = Sha256.start();
    digest.update((byte) 1);
    byte[] first = digest.digest();
    digest.update((byte) 1);
    assertThat(digest.digest()).isEqualTo(first);
    assertThat(digest.digest()).isEqualTo(Sha256.jdk().digest());
  }
}
