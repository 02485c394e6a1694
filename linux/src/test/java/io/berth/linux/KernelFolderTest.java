package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** With a cgroup of its own, since ordinary files can still be read when they are gone. */
@Tag("root")
class KernelFolderTest {
  private final Cgroups cgroups = Cgroups.detect(Path.of("/sys/fs/cgroup"));
  private final Path cgroup =
      cgroups.folder("memory", "/berth-test-" + UUID.randomUUID().toString().substring(0, 8));
  // A file with a number that can be set, as each version has one.
  private final String counter = cgroups.unified() ? "cgroup.max.depth" : "notify_on_release";
  private final KernelFile file = new KernelFile();

  @BeforeEach
  void makeCgroup() throws IOException {
    Files.createDirectory(cgroup);
  }

  @AfterEach
  void removeCgroup() throws IOException {
    Files.deleteIfExists(cgroup);
  }

  @Test
  void aFileThatStaysOpenIsReadAnewEachTime() throws IOException {
    try (var folder = folder(10)) {
      set(0);
      assertThat(read(folder)).isEqualTo(0);
      set(1);
      assertThat(read(folder)).isEqualTo(1);
      assertThat(openFiles()).isEqualTo(1);
    }
    assertThat(openFiles()).isZero();
  }

  @Test
  void aCgroupThatWentIsAbsentAndTheNextOneOfItsNameIsRead() throws IOException {
    try (var folder = folder(10)) {
      set(1);
      assertThat(read(folder)).isEqualTo(1);
      Files.delete(cgroup);
      assertThat(read(folder)).isEqualTo(KernelFile.ABSENT);
      assertThat(openFiles()).isZero();
      Files.createDirectory(cgroup);
      set(0);
      assertThat(read(folder)).isEqualTo(0);
      assertThat(openFiles()).isEqualTo(1);
    }
  }

  @Test
  void withoutRoomFilesAreOpenedEachTimeUntilSomeIsGivenBack() throws IOException {
    var room = new KernelFolder.Room(1);
    byte[] name = KernelFile.name(cgroup.toString());
    set(1);
    try (var second = new KernelFolder(name, room)) {
      try (var first = new KernelFolder(name, room)) {
        assertThat(read(first)).isEqualTo(1);
        assertThat(read(second)).isEqualTo(1);
        assertThat(openFiles()).isEqualTo(1);
        assertThat(second.kept(KernelFile.name(counter))).isNegative();
      }
      assertThat(read(second)).isEqualTo(1);
      assertThat(second.kept(KernelFile.name(counter))).isNotNegative();
    }
  }

  @Test
  void aClosedFolderCanBeReadAndKeepsNothingOpen() throws IOException {
    var folder = folder(10);
    folder.close();
    set(1);
    assertThat(read(folder)).isEqualTo(1);
    assertThat(openFiles()).isZero();
  }

  private KernelFolder folder(int room) {
    return new KernelFolder(KernelFile.name(cgroup.toString()), new KernelFolder.Room(room));
  }

  private void set(int value) throws IOException {
    Files.writeString(cgroup.resolve(counter), value + "\n");
  }

  private long read(KernelFolder folder) {
    return file.readNumber(folder, KernelFile.name(counter));
  }

  private long openFiles() throws IOException {
    try (Stream<Path> all = Files.list(Path.of("/proc/self/fd"))) {
      return all.filter(this::isOfCgroup).count();
    }
  }

  private boolean isOfCgroup(Path descriptor) {
    try {
      return Files.readSymbolicLink(descriptor).startsWith(cgroup);
    } catch (IOException closed) {
      return false;
    }
  }
}
