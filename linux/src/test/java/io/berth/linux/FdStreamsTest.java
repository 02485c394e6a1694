package io.berth.linux;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class FdStreamsTest {
  private static final Duration SOON = Duration.ofSeconds(30);

  private static byte[] readAll(FdReader reader) throws InterruptedException {
    var all = new ByteArrayOutputStream();
    byte[] buffer = new byte[7000];
    for (int n = reader.read(buffer); n > 0; n = reader.read(buffer)) {
      all.write(buffer, 0, n);
    }
    return all.toByteArray();
  }

  @Test
  void moreThanAPipeHoldsArrivesWholeAndInOrder() throws Exception {
    byte[] sent = new byte[1_000_003];
    new Random(1).nextBytes(sent);
    Fd[] pipe = Fd.pipe();
    var wrote = new CompletableFuture<Boolean>();
    Thread writer =
        Thread.ofVirtual()
            .start(() -> {
              try (FdWriter to = new FdWriter(pipe[1])) {
                wrote.complete(to.write(sent, sent.length));
              } catch (InterruptedException e) {
                wrote.completeExceptionally(e);
              }
            });
    try (FdReader from = new FdReader(pipe[0])) {
      assertThat(readAll(from)).isEqualTo(sent);
    }
    assertThat(writer.join(SOON)).isTrue();
    assertThat(wrote).isCompletedWithValue(true);
  }

  @Test
  void writerIsToldThatNobodyWillEverRead() throws Exception {
    Fd[] pipe = Fd.pipe();
    pipe[0].close();
    try (FdWriter to = new FdWriter(pipe[1])) {
      assertThat(to.write(new byte[] {1}, 1)).isFalse();
    }
  }

  @Test
  void readerInterruptedWhileItWaitsLetsGo() throws Exception {
    Fd[] pipe = Fd.pipe();
    try (Fd held = pipe[1];
        FdReader from = new FdReader(pipe[0])) {
      var ended = new CompletableFuture<String>();
      Thread reader =
          Thread.ofVirtual()
              .start(() -> {
                try {
                  ended.complete("read " + from.read(new byte[1]));
                } catch (InterruptedException e) {
                  ended.complete("interrupted");
                }
              });
      Await.until("it waits", () -> reader.getState() == Thread.State.WAITING);
      reader.interrupt();
      assertThat(reader.join(SOON)).isTrue();
      assertThat(ended).isCompletedWithValue("interrupted");
      assertThat(held.number()).isPositive();
    }
  }

  @Test
  void whatIsThereIsReadToTheEndAlthoughAnotherHoldsThePipe() throws Exception {
    Fd[] pipe = Fd.pipe();
    try (Fd held = pipe[1];
        FdReader from = new FdReader(pipe[0])) {
      held.write("the last words".getBytes(UTF_8));
      from.endWithWhatIsThere();
      assertThat(new String(readAll(from), UTF_8)).isEqualTo("the last words");
    }
  }

  @Test
  void whatIsWrittenAfterTheEndWasAskedForIsLeft() throws Exception {
    Fd[] pipe = Fd.pipe();
    try (Fd held = pipe[1];
        FdReader from = new FdReader(pipe[0])) {
      held.write("before".getBytes(UTF_8));
      from.endWithWhatIsThere();
      byte[] buffer = new byte[3];
      assertThat(from.read(buffer)).isEqualTo(3);
      held.write("after".getBytes(UTF_8));
      assertThat(new String(readAll(from), UTF_8)).isEqualTo("ore");
    }
  }

  @Test
  void waitingReaderEndsWhenToldTo() throws Exception {
    Fd[] pipe = Fd.pipe();
    try (Fd held = pipe[1];
        FdReader from = new FdReader(pipe[0])) {
      var read = new CompletableFuture<Integer>();
      Thread reader =
          Thread.ofVirtual()
              .start(() -> {
                try {
                  read.complete(from.read(new byte[1]));
                } catch (InterruptedException e) {
                  read.completeExceptionally(e);
                }
              });
      Await.until("it waits", () -> reader.getState() == Thread.State.WAITING);
      from.endWithWhatIsThere();
      assertThat(reader.join(SOON)).isTrue();
      assertThat(read).isCompletedWithValue(-1);
      assertThat(held.number()).isPositive();
    }
  }
}
