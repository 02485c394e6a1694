package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.ServerSocket;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class OpenFilesTest {
  private static final int SELF = (int) ProcessHandle.current().pid();

  @Test
  void socketsAreToldFromOtherDescriptors() throws Exception {
    Process holder =
        new ProcessBuilder("sh", "-c", "exec 7</dev/null 8</dev/null; echo held; read never")
            .start();
    try {
      assertThat(holder.inputReader().readLine()).isEqualTo("held");
      assertThat(OpenFiles.of((int) holder.pid(), 100)).contains(new OpenFiles(5, 0));
    } finally {
      holder.destroyForcibly().waitFor();
    }
    assertThat(OpenFiles.of((int) holder.pid(), 100)).contains(new OpenFiles(0, 0));
  }

  @Test
  void listeningIsASocket() throws Exception {
    try (var _ = new ServerSocket(0)) {
      OpenFiles open = OpenFiles.of(SELF, Long.MAX_VALUE).orElseThrow();
      assertThat(open.sockets()).isPositive();
      assertThat(open.descriptors()).isGreaterThan(open.sockets());
    }
  }

  @Test
  void givesUpAtTheBound() {
    assertThat(OpenFiles.of(SELF, 2)).isEqualTo(Optional.empty());
  }
}
