package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFileTest {
  @TempDir Path folder;

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  /** What a crash would find at any moment is what a reader finds. */
  @Test
  void readerSeesTheOldOrTheNewContentWhole() throws Exception {
    Path file = folder.resolve("file");
    byte[][] contents = {new byte[100_000], new byte[50_000]};
    Arrays.fill(contents[1], (byte) 1);
    AtomicFile.write(file, contents[0]);
    AtomicBoolean stop = new AtomicBoolean();
    Thread writer =
        Thread.ofPlatform()
            .start(() -> {
              for (int i = 1; !stop.get(); i++) {
                AtomicFile.write(file, contents[i % 2]);
              }
            });
    try {
      for (int i = 0; i < 300; i++) {
        byte[] seen = Files.readAllBytes(file);
        assertThat(seen).isEqualTo(contents[seen.length == 100_000 ? 0 : 1]);
      }
    } finally {
      stop.set(true);
      writer.join();
    }
  }

  @Test
  void fileIsItsOwnersWhateverWasThereBefore() throws Exception {
    Path file = Files.writeString(folder.resolve("file"), "old");
    Path leftover = Files.writeString(folder.resolve("file.tmp"), "longer than what is new");
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-rw-rw-"));
    Files.setPosixFilePermissions(leftover, PosixFilePermissions.fromString("rw-rw-rw-"));
    AtomicFile.write(file, bytes("new"));
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
    assertThat(file).hasContent("new");
    assertThat(leftover).doesNotExist();
  }

  @Test
  void interruptDoesntCutAWriteShort() {
    Path file = folder.resolve("file");
    AtomicFile.write(file, bytes("old")); // JNA, when it is loaded here first, eats the interrupt
    Thread.currentThread().interrupt();
    try {
      AtomicFile.write(file, bytes("whole"));
    } finally {
      assertThat(Thread.interrupted()).isTrue();
    }
    assertThat(file).hasContent("whole");
  }

  @Test
  void failureNamesTheFile() {
    Path file = folder.resolve("missing/file");
    assertThatThrownBy(() -> AtomicFile.write(file, bytes("x")))
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageStartingWith("write " + file + ": ");
  }

  @Tag("root")
  @Test
  void onAFullDiskTheOldContentStaysAndNothingIsLeftOver() throws Exception {
    Needs.root();
    Path disk = Files.createDirectory(folder.resolve("disk"));
    Mounts.tmpfs(disk, "size=65536", true);
    try {
      Path file = disk.resolve("file");
      AtomicFile.write(file, bytes("old"));
      assertThatThrownBy(() -> AtomicFile.write(file, new byte[200_000]))
          .isInstanceOf(UncheckedIOException.class)
          .hasMessageContaining("No space left");
      assertThat(file).hasContent("old");
      try (var entries = Files.list(disk)) {
        assertThat(entries).containsExactly(file);
      }
    } finally {
      Mounts.detach(disk);
    }
  }

  @Test
  void deletedFileMayBeMissing() throws Exception {
    Path file = Files.writeString(folder.resolve("file"), "x");
    AtomicFile.delete(file);
    AtomicFile.delete(file);
    assertThat(file).doesNotExist();
  }
}
