package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
class StallGuardTest {

  /** Sends pieces at intervals until it is closed or has sent enough. */
  private static final class Trickle extends InputStream {
    private final int piece;
    private final long pauseMillis;
    private int left;
    private volatile boolean closed;

    Trickle(int piece, long pauseMillis, int total) {
      this.piece = piece;
      this.pauseMillis = pauseMillis;
      this.left = total;
    }

    @Override
    public int read() throws IOException {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] buffer, int offset, int length) throws IOException {
      try {
        TimeUnit.MILLISECONDS.sleep(pauseMillis);
      } catch (InterruptedException e) {
        throw new IOException(e);
      }
      if (closed) {
        throw new IOException("closed");
      }
      if (length == 0) {
        return 0;
      }
      int count = Math.min(left, Math.min(piece, length));
      left -= count;
      return count == 0 ? -1 : count;
    }

    @Override
    public void close() {
      closed = true;
    }
  }

  @Test
  void transferThatBringsTooLittleIsEnded() throws Exception {
    try (var guarded = new StallGuard(new Trickle(1, 5, 1 << 20), Duration.ofSeconds(1), 10_000)) {
      assertThatThrownBy(guarded::readAllBytes)
          .isInstanceOf(StallGuard.StalledException.class)
          .hasMessage("less than 10000 bytes a second for 1 s");
    }
  }

  @Test
  void transferThatIsSlowButNotTooSlowArrives() throws Exception {
    // At a fifth of the speed intended it still brings five times the floor.
    try (var guarded =
        new StallGuard(new Trickle(20_000, 100, 500_000), Duration.ofSeconds(2), 8_000)) {
      assertThat(guarded.readAllBytes()).hasSize(500_000);
    }
  }

  @Test
  void readerThatTakesItsTimeIsNoStall() throws Exception {
    try (var guarded = new StallGuard(new Trickle(100, 0, 500), Duration.ofSeconds(2), 100_000)) {
      byte[] buffer = new byte[100];
      for (int read = guarded.read(buffer); read > 0; read = guarded.read(buffer)) {
        TimeUnit.MILLISECONDS.sleep(700); // unpacking
      }
    }
  }
}
