package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class StateLockTest {
  @TempDir Path folder;

  @Test
  void aSecondDaemonOnTheSameFolderIsRefused() throws Exception {
    Path root = folder.resolve("lib/berth");
    try (StateLock _ = StateLock.take(root)) {
      assertThatThrownBy(() -> StateLock.take(root))
          .isInstanceOf(DaemonException.class)
          .hasMessageContaining("another berthd works on this folder");
      assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(root)))
          .isEqualTo("rwx------");
    }
    StateLock.take(root).close();
  }
}
