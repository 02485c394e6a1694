package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class MessagePipeTest {
  private static String said(String script) throws InterruptedException {
    try (MessagePipe pipe = MessagePipe.open()) {
      Subprocess child =
          Subprocess.command("/bin/sh", "-c", script).pass(pipe.writeEnd(), 3).start();
      pipe.handOver();
      try {
        return String.valueOf(pipe.await());
      } finally {
        child.kill(9);
      }
    }
  }

  @Test
  void firstLineIsTheMessage() throws Exception {
    assertThat(said("echo first >&3; echo second >&3; sleep 100")).isEqualTo("first");
  }

  @Test
  void longLineInPiecesArrivesWhole() throws Exception {
    assertThat(said("head -c 200000 /dev/zero | tr '\\0' x >&3; echo end >&3"))
        .hasSize(200_003)
        .endsWith("xend");
  }

  @Test
  void endWithoutAWholeLineIsNoMessage() throws Exception {
    assertThat(said("exit 0")).isEqualTo("null");
    assertThat(said("printf part >&3")).isEqualTo("null");
  }

  @Test
  void whatHasNoEndIsCut() throws Exception {
    assertThat(said("tr '\\0' x </dev/zero >&3")).hasSizeGreaterThan(1 << 20);
  }

  @Test
  void closingEndsTheWait() throws Exception {
    MessagePipe pipe = MessagePipe.open();
    CompletableFuture<Optional<String>> waited = new CompletableFuture<>();
    Thread.startVirtualThread(() -> {
      try {
        waited.complete(Optional.ofNullable(pipe.await()));
      } catch (InterruptedException e) {
        waited.completeExceptionally(e);
      }
    });
    pipe.close();
    pipe.close();
    assertThat(waited.get()).isEmpty();
  }

  /** The writer is busy while the owner closes: what is read must not be somebody else's file. */
  @Test
  void closingWhileItIsWrittenToIsClean() throws Exception {
    for (int i = 0; i < 300; i++) {
      MessagePipe pipe = MessagePipe.open();
      Thread writer =
          Thread.startVirtualThread(() -> {
            try {
              pipe.writeEnd().write("part".getBytes(StandardCharsets.UTF_8));
            } catch (IllegalStateException | ErrnoException e) {
              // closed already
            }
          });
      pipe.close();
      writer.join();
      assertThat(pipe.await()).isNull();
    }
  }
}
