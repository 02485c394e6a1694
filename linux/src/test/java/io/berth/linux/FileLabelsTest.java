package io.berth.linux;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Root may set the attribute also where SELinux isn't enabled. */
@Tag("root")
class FileLabelsTest {
  private static final String LABEL = "system_u:object_r:container_file_t:s0:c1,c2";

  @TempDir Path folder;

  @Test
  void wholeTreeIsLabelledAndNothingThatLinksLeadTo() throws Exception {
    Path outside = Files.createFile(folder.resolve("outside"));
    Path outer = Files.createDirectory(folder.resolve("outer"));
    Files.createFile(outer.resolve("kept"));
    Path top = Files.createDirectory(folder.resolve("top"));
    Path inner = Files.createDirectories(top.resolve("a/b"));
    Path file = Files.createFile(inner.resolve("file"));
    Files.createSymbolicLink(inner.resolve("link"), outside);
    Files.createSymbolicLink(top.resolve("folder"), outer);

    FileLabels.setAll(top, LABEL);

    for (Path path : new Path[] {top, top.resolve("a"), inner, file}) {
      assertThat(label(path)).isEqualTo(LABEL + '\0');
    }
    assertThat(label(outside)).isEmpty();
    assertThat(label(outer)).isEmpty();
    assertThat(label(outer.resolve("kept"))).isEmpty();
  }

  @Test
  void oneFolderIsLabelledWithoutItsContent() throws Exception {
    Path file = Files.createFile(folder.resolve("file"));
    assertThat(FileLabels.is(folder, LABEL)).isFalse();
    FileLabels.set(folder, LABEL);
    assertThat(label(folder)).isEqualTo(LABEL + '\0');
    assertThat(label(file)).isEmpty();
    assertThat(FileLabels.is(folder, LABEL)).isTrue();
    assertThat(FileLabels.is(folder, LABEL + ",c3")).isFalse();
  }

  @Test
  void labelThatIsRightAlreadyIsNotWrittenAgain() throws Exception {
    Path file = Files.createFile(folder.resolve("file"));
    FileLabels.set(file, LABEL);
    Object changed = Files.getAttribute(file, "unix:ctime");
    FileLabels.set(file, LABEL);
    assertThat(Files.getAttribute(file, "unix:ctime")).isEqualTo(changed);
  }

  @Test
  void fileSystemWithoutLabelsIsLeftAlone() {
    FileLabels.setAll(Path.of("/proc/self/ns"), LABEL);
    FileLabels.set(Path.of("/proc/self/status"), LABEL);
  }

  private static String label(Path path) {
    try (RootedTree tree = RootedTree.open(requireNonNull(path.getParent()))) {
      return tree.getXattr(tree.root(), String.valueOf(path.getFileName()), "security.selinux")
          .map(value -> new String(value, StandardCharsets.UTF_8))
          .orElse("");
    }
  }
}
