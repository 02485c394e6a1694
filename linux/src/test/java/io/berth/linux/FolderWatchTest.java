package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FolderWatchTest {
  @TempDir Path temporary;
  private final List<FolderWatch.Change> changes = Collections.synchronizedList(new ArrayList<>());

  private Set<String> names() {
    Set<String> names = new HashSet<>();
    synchronized (changes) {
      changes.forEach(c -> names.addAll(c.names()));
    }
    return names;
  }

  private long rescans() {
    synchronized (changes) {
      return changes.stream().filter(FolderWatch.Change::rescan).count();
    }
  }

  @Test
  void everyKindOfChangeIsToldByName() throws Exception {
    Path folder = Files.createDirectory(temporary.resolve("folder"));
    Files.writeString(folder.resolve("old"), "x");
    Files.writeString(folder.resolve("away"), "x");
    try (FolderWatch _ = FolderWatch.start(folder, changes::add)) {
      Files.writeString(folder.resolve("new"), "x");
      Files.delete(folder.resolve("old"));
      Files.move(folder.resolve("away"), temporary.resolve("elsewhere"));
      Files.move(
          temporary.resolve("elsewhere"), folder.resolve("back"), StandardCopyOption.ATOMIC_MOVE);
      Files.createDirectory(folder.resolve("sub"));
      Await.until(
          "all names", () -> names().containsAll(Set.of("new", "old", "away", "back", "sub")));
    }
  }

  @Test
  void listenerIsCalledByOneThreadAtATimeAndSurvivesItsOwnFailure() throws Exception {
    AtomicInteger inside = new AtomicInteger();
    AtomicInteger calls = new AtomicInteger();
    AtomicInteger overlaps = new AtomicInteger();
    Set<String> seen = Collections.synchronizedSet(new HashSet<>());
    try (FolderWatch _ =
        FolderWatch.start(
            temporary,
            change -> {
              if (inside.incrementAndGet() > 1) {
                overlaps.incrementAndGet();
              }
              seen.addAll(change.names());
              inside.decrementAndGet();
              if (calls.incrementAndGet() == 1) {
                throw new IllegalStateException("thrown by the test");
              }
            })) {
      Set<String> made = new HashSet<>();
      for (int i = 0; i < 200; i++) {
        Files.writeString(temporary.resolve("f" + i), "x");
        made.add("f" + i);
      }
      Await.until("all names", () -> seen.containsAll(made));
    }
    assertThat(overlaps).hasValue(0);
  }

  @Test
  void folderThatAppearsLaterIsFound() throws Exception {
    Path folder = temporary.resolve("later/folder");
    try (FolderWatch _ = FolderWatch.start(folder, changes::add)) {
      Files.createDirectories(folder);
      Files.writeString(folder.resolve("before"), "x");
      Await.until("told to look at all of it", () -> rescans() == 1);
      Files.writeString(folder.resolve("after"), "x");
      Await.until("watched", () -> names().contains("after"));
    }
  }

  /** The new folder may well get the old one's inode number. */
  @Test
  void folderDeletedAndMadeAnewIsWatchedAgain() throws Exception {
    Path folder = Files.createDirectory(temporary.resolve("folder"));
    try (FolderWatch _ = FolderWatch.start(folder, changes::add)) {
      for (int i = 0; i < 3; i++) {
        Files.delete(folder);
        Files.createDirectory(folder);
        String name = "file" + i;
        Await.until(
            "watched again",
            () -> {
              Files.writeString(folder.resolve(name), "x");
              return names().contains(name);
            });
        assertThat(rescans()).as("told to look at all of it").isPositive();
        changes.clear();
        Files.delete(folder.resolve(name));
      }
    }
  }

  @Test
  void folderReplacedByARenameIsFollowed() throws Exception {
    Path folder = Files.createDirectory(temporary.resolve("folder"));
    Path other = Files.createDirectory(temporary.resolve("other"));
    try (FolderWatch _ = FolderWatch.start(folder, changes::add)) {
      Files.move(other, folder, StandardCopyOption.REPLACE_EXISTING);
      Await.until("told to look at all of it", () -> rescans() > 0);
      Await.until(
          "the new one is watched",
          () -> {
            Files.writeString(folder.resolve("file"), "x");
            return names().contains("file");
          });
    }
  }

  @Test
  void folderThatIsGoneIsToldOnceAndCostsNothing() throws Exception {
    Path folder = Files.createDirectory(temporary.resolve("folder"));
    try (FolderWatch _ = FolderWatch.start(folder, changes::add)) {
      Files.delete(folder);
      Await.until("told", () -> rescans() > 0);
      int told = changes.size();
      long start = System.nanoTime();
      Await.until("two looks later", () -> System.nanoTime() - start > 2_200_000_000L);
      assertThat(changes.size()).isLessThanOrEqualTo(told + 1);
    }
  }

  @Test
  void closedWatchIsSilentAndLeavesNoDescriptor() throws Exception {
    FolderWatch.start(temporary, _ -> {}).close();
    long before = descriptors();
    for (int i = 0; i < 100; i++) {
      FolderWatch watch = FolderWatch.start(temporary, changes::add);
      Files.writeString(temporary.resolve("file"), "x"); // events while it closes
      watch.close();
      watch.close();
    }
    assertThat(descriptors()).isEqualTo(before);
  }

  private static long descriptors() throws Exception {
    try (var entries = Files.list(Path.of("/proc/self/fd"))) {
      return entries.count();
    }
  }
}
