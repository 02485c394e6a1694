package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ModifiedFilesTest {
  @TempDir Path folder;
  private final ModifiedFiles files = new ModifiedFiles();
  private Path one;
  private Path other;

  @BeforeEach
  void watchTwo() throws IOException {
    one = Files.writeString(folder.resolve("one"), "0");
    other = Files.writeString(folder.resolve("other"), "0");
    files.watch(one);
    files.watch(other);
  }

  @AfterEach
  void close() {
    files.close();
  }

  @Test
  void aModificationIsRememberedWhenTheFileIsGone() throws IOException {
    assertThat(files.modified(one)).isFalse();
    Files.writeString(one, "1");
    Files.delete(one);
    Files.delete(other);
    assertThat(files.modified(one)).isTrue();
    assertThat(files.modified(other)).isFalse();
  }

  @Test
  void oneThatIsWatchedAnewBeginsAnew() throws IOException {
    Files.writeString(one, "1");
    files.watch(one);
    assertThat(files.modified(one)).isFalse();
    Files.writeString(one, "2");
    assertThat(files.modified(one)).isTrue();
  }

  @Test
  void whatIsntWatchedCantBeTold() {
    files.forget(one);
    files.watch(folder.resolve("none"));
    assertThat(files.modified(one)).isTrue();
    assertThat(files.modified(folder.resolve("none"))).isTrue();
  }

  @Test
  void manyModificationsTakeNoRoom() throws IOException {
    for (int i = 0; i < 20_000; i++) { // more than the kernel would keep
      Files.writeString(i % 2 == 0 ? one : folder.resolve("unwatched"), "1");
    }
    assertThat(files.modified(one)).isTrue();
    assertThat(files.modified(other)).isFalse();
    Files.writeString(other, "1");
    assertThat(files.modified(other)).isTrue();
  }
}
