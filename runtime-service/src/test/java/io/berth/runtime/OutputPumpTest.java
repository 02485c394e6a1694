package io.berth.runtime;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Fd;
import io.berth.linux.FdReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class OutputPumpTest {
  private static final Duration SOON = Duration.ofSeconds(30);

  @Test
  void everythingIsCarriedUntilTheEnd() throws Exception {
    Fd[] pipe = Fd.pipe();
    var got = new ByteArrayOutputStream();
    OutputPump pump = OutputPump.start(new FdReader(pipe[0]), got);
    try (Fd command = pipe[1]) {
      command.write("one ".getBytes(UTF_8));
      command.write("two".getBytes(UTF_8));
    }
    pump.join();
    assertThat(got.toString(UTF_8)).isEqualTo("one two");
  }

  @Test
  void commandGoesOnWhenItsClientHasGone() throws Exception {
    Fd[] pipe = Fd.pipe();
    var gone =
        new OutputStream() {
          @Override
          public void write(int b) throws IOException {
            throw new IOException("gone");
          }
        };
    OutputPump pump = OutputPump.start(new FdReader(pipe[0]), gone);
    try (Fd command = pipe[1]) {
      for (int i = 0; i < 64; i++) { // blocks for ever if nobody reads
        command.write(new byte[16 << 10]);
      }
    }
    assertThat(pump.join(SOON)).isTrue();
  }

  @Test
  void whatIsThereIsCarriedAlthoughAChildHoldsThePipe() throws Exception {
    Fd[] pipe = Fd.pipe();
    var got = new ByteArrayOutputStream();
    try (Fd child = pipe[1]) {
      child.write("last words".getBytes(UTF_8));
      OutputPump pump = OutputPump.start(new FdReader(pipe[0]), got);
      pump.endWithWhatIsThere();
      assertThat(pump.join(SOON)).isTrue();
      assertThat(child.number()).isPositive();
    }
    assertThat(got.toString(UTF_8)).isEqualTo("last words");
  }

  @Test
  void stoppedPumpClosesThePipe() throws Exception {
    Fd[] pipe = Fd.pipe();
    try (Fd command = pipe[1]) {
      OutputPump pump = OutputPump.start(new FdReader(pipe[0]), new ByteArrayOutputStream());
      pump.stop();
      assertThat(pump.join(SOON)).isTrue();
      org.assertj.core.api.Assertions.assertThatThrownBy(() -> command.write(new byte[] {1}))
          .hasMessageContaining("EPIPE");
    }
  }
}
