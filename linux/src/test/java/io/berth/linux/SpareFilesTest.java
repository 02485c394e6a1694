package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SpareFilesTest {
  @TempDir Path folder;
  private SpareFiles spares;
  private Path record;

  @BeforeEach
  void aRecord() throws Exception {
    spares = new SpareFiles(folder.resolve("spare"));
    record = folder.resolve("record.json");
    AtomicFile.write(record, new byte[3000]);
  }

  private long spareBlocks() throws Exception {
    long bytes = 0;
    try (var files = Files.list(folder.resolve("spare"))) {
      for (Path file : files.toList()) {
        bytes += Math.ceilDiv(Files.size(file), 4096);
      }
    }
    return bytes;
  }

  @Test
  void aRecordIsReplacedAndItsBlocksAreSpareFromThenOn() throws Exception {
    for (int i = 0; i < 10; i++) {
      byte[] content = ("change " + i).getBytes(java.nio.charset.StandardCharsets.UTF_8);
      assertThat(spares.replace(record, content)).isTrue();
      assertThat(record).hasBinaryContent(content);
      assertThat(Files.getPosixFilePermissions(record))
          .isEqualTo(PosixFilePermissions.fromString("rw-------"));
    }
    assertThat(folder.resolve("spare").toFile().list()).hasSize(4);
  }

  @Test
  void whatIsNotThereOrTooLargeIsNotReplaced() throws Exception {
    assertThat(spares.replace(folder.resolve("new.json"), new byte[1])).isFalse();
    assertThat(spares.replace(record, new byte[33 << 10])).isFalse();
    assertThat(record).hasSize(3000);
  }

  @Test
  void roomIsTakenAnewWhenThereIsSome() throws Exception {
    long before = spareBlocks();
    assertThat(spares.replace(record, new byte[100])).isTrue();
    assertThat(spareBlocks()).isLessThan(before);
    spares.refill();
    assertThat(spareBlocks()).isEqualTo(before);
  }
}
