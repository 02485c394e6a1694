package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class ChunkPoolTest {
  @Test
  void buffersGoRoundWhileOthersAreInUseAndNoneIsKeptInTheEnd() {
    ChunkPool pool = new ChunkPool();
    byte[] one = pool.take(8);
    byte[] two = pool.take(8);

    pool.give(one);
    assertThat(pool.take(16)).hasSize(16).satisfies(pool::give);
    assertThat(pool.take(8)).isSameAs(one);

    pool.give(one);
    pool.give(two);
    assertThat(pool.kept()).isZero();
  }

  @Test
  void streamGivesItsChunksBackOnceHoweverOftenItIsClosed() throws IOException {
    ChunkPool pool = new ChunkPool();
    byte[] other = pool.take(8);
    Readahead read =
        new Readahead("test", () -> new ByteArrayInputStream(new byte[100]), pool, 8, 3);
    assertThat(read.readNBytes(50)).hasSize(50);

    read.close();
    read.close();

    assertThat(pool.kept()).isEqualTo(3);
    assertThat(read.read()).isEqualTo(-1);
    pool.give(other);
    assertThat(pool.kept()).isZero();
  }
}
