package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

class SyncBehindTest {
  @TempDir private Path folder;

  @Test
  @Timeout(value = 2, unit = TimeUnit.MINUTES)
  void whatManyThreadsHaveWrittenOrDeletedIsSyncedInTheEnd() throws Exception {
    var behind = new SyncBehind(folder);
    List<Thread> writers = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      Path kept = folder.resolve("kept-" + i);
      Path deleted = folder.resolve("deleted-" + i);
      writers.add(
          Thread.ofVirtual()
              .start(() -> {
                for (int round = 0; round < 20; round++) {
                  AtomicFile.writeUnsynced(kept, new byte[] {(byte) round});
                  behind.changed(kept);
                  AtomicFile.writeUnsynced(deleted, new byte[1]);
                  AtomicFile.deleteUnsynced(deleted);
                  behind.changed(deleted);
                }
              }));
    }
    for (Thread writer : writers) {
      writer.join();
    }
    behind.await();
    try (Stream<Path> left = Files.list(folder)) {
      assertThat(left).hasSize(8);
    }
  }

  @Test
  @Timeout(value = 2, unit = TimeUnit.MINUTES)
  void aFolderThatIsGoneHoldsUpNobody() throws Exception {
    Path gone = folder.resolve("gone");
    var behind = new SyncBehind(gone);
    behind.changed(gone.resolve("file"));
    behind.await();
    behind.changed(gone.resolve("another"));
    behind.await();
  }
}
