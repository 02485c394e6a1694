package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TreeUsageTest {
  @TempDir Path folder;
  private Path top;

  @BeforeEach
  void makeTree() throws Exception {
    top = Files.createDirectory(folder.resolve("top"));
    for (int i = 0; i < 20; i++) {
      Path inner = Files.createDirectories(top.resolve("a" + i + "/b/c"));
      Files.write(inner.resolve("file"), new byte[10_000 * i]);
    }
    Path file = Files.write(top.resolve("linked"), new byte[1 << 20]);
    Files.createLink(top.resolve("second-name"), file);
    Files.createLink(top.resolve("a1/third-name"), file);
    Files.createSymbolicLink(top.resolve("link"), Path.of("nowhere"));
    try (var sparse = new RandomAccessFile(top.resolve("holes").toFile(), "rw")) {
      sparse.setLength(1L << 40);
      sparse.writeByte(1);
    }
  }

  /** What a second tool says, without the folder itself. */
  private long du(List<String> options) throws Exception {
    var command = new java.util.ArrayList<>(List.of("du", "-s"));
    command.addAll(options);
    command.add(top.toString());
    Process process = new ProcessBuilder(command).start();
    long total = Long.parseLong(process.inputReader().readLine().split("\t")[0]);
    long itself = options.contains("--inodes") ? 1 : blocks(top) * 512;
    return total - itself;
  }

  private static long blocks(Path path) throws Exception {
    Process process = new ProcessBuilder("stat", "-c", "%b", path.toString()).start();
    return Long.parseLong(process.inputReader().readLine());
  }

  @Test
  void countsWhatDuCounts() throws Exception {
    TreeUsage usage = TreeUsage.of(top, Long.MAX_VALUE).orElseThrow();
    assertThat(usage.bytes()).isEqualTo(du(List.of("-B1")));
    assertThat(usage.inodes()).isEqualTo(du(List.of("--inodes")));
  }

  @Test
  void givesUpWhereThereAreTooMany() {
    assertThat(TreeUsage.of(top, 50)).isEmpty();
    assertThat(TreeUsage.of(top, 100)).isPresent();
  }

  @Test
  void aFolderThatHasGoneTakesNothing() {
    assertThat(TreeUsage.of(folder.resolve("gone"), 10)).contains(new TreeUsage(0, 0));
  }
}
