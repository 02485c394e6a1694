package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.berth.image.ImageException.Reason;
import io.berth.linux.Fd;
import io.berth.linux.FileTree;
import io.berth.linux.Mounts;
import io.berth.linux.RootedTree;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Whatever an archive says, nothing of the machine changes, what is refused leaves nothing, and
 * layers that are unpacked all at once give the tree that they give one after the other.
 */
@Tag("root")
class HostileArchivesTest {
  private static final Path CANARY = canary();

  /** No archive says so late a time that a file system knows. */
  private static final long LATEST = 1_700_000_000;

  private static Path canary() {
    try {
      Path folder = Files.createTempDirectory("berth-canary");
      Files.writeString(folder.resolve("secret"), "untouched");
      Files.createDirectory(folder.resolve("sub"));
      return folder;
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @AfterAll
  static void removeCanary() {
    FileTree.delete(CANARY);
  }

  static List<HostileArchives.Case> cases() {
    return HostileArchives.all(CANARY);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void nothingLeavesTheLayer(HostileArchives.Case hostile) throws Exception {
    Map<String, String> before = TreeListing.ofAll(CANARY);
    Map<String, String> serial = null;
    try (LayerStack layers = LayerStack.inMemory()) {
      byte[] last = hostile.layers().getLast();
      for (byte[] layer : hostile.layers().subList(0, hostile.layers().size() - 1)) {
        layers.add(layer);
      }
      Throwable refusal = catchThrowable(() -> layers.add(last));
      assertThat(TreeListing.ofAll(CANARY)).isEqualTo(before);
      if (hostile.refusal() != null) {
        assertThat(refusal).isNotNull().hasMessageContaining(hostile.refusal());
      } else if (hostile.tree() != null) {
        assertThat(refusal).isNull();
      }
      if (refusal == null) {
        Path merged = layers.mount();
        serial = TreeListing.ofAll(merged, LATEST);
        if (hostile.tree() != null) {
          assertThat(names(merged)).containsExactlyInAnyOrderElementsOf(hostile.tree());
        }
      } else {
        assertThat(refusal)
            .isInstanceOfSatisfying(
                ImageException.class, e -> assertThat(e.reason()).isEqualTo(Reason.CORRUPT));
        assertThat(layers.folder.resolve("store/layers/.staging")).isEmptyDirectory();
        assertThat(layers.folder.resolve("store/.trash")).isEmptyDirectory();
      }
      Mounts.detach(layers.rootfs);
    }
    if (serial != null && hostile.layers().size() > 1) {
      try (LayerStack layers = LayerStack.inMemory()) {
        layers.addInAnyOrder(hostile.layers());
        assertThat(TreeListing.ofAll(layers.mount(), LATEST)).isEqualTo(serial);
        assertThat(TreeListing.ofAll(CANARY)).isEqualTo(before);
      }
    }
  }

  /** Many entries cost no more each than few. */
  @Test
  void hundredThousandEntriesAreUnpacked() throws Exception {
    TarBuilder tar = new TarBuilder();
    for (int i = 0; i < 50_000; i++) {
      tar.file("one-folder/f" + i, "");
      tar.symlink("folders/" + i / 10 + "/l" + i, "nowhere");
    }
    try (LayerStack layers = new LayerStack()) {
      layers.add(tar);
      try (Stream<Path> list = Files.list(layers.mount().resolve("one-folder"))) {
        assertThat(list).hasSize(50_000);
      }
    }
  }

  /** Headers without end, of which no entry comes. */
  @Test
  void headersWithoutAnEntryAreNotReadForEver() throws Exception {
    TarBuilder tar = new TarBuilder();
    for (int i = 0; i < 1000; i++) {
      tar.header('g', new byte[] {'g'}, new byte[0], 0);
    }
    try (LayerStack layers = new LayerStack()) {
      assertThat(catchThrowable(() -> layers.add(tar.unfinished())))
          .hasMessageContaining("headers of one entry");
    }
  }

  /** Names in the form of {@link HostileArchives.Case#tree}. */
  private static List<String> names(Path root) throws IOException {
    List<String> names = new ArrayList<>();
    try (RootedTree tree = RootedTree.open(root);
        Fd top = tree.openDirectory("")) {
      addNames(tree, top, "", names);
    }
    return names;
  }

  private static void addNames(RootedTree tree, Fd folder, String prefix, List<String> names)
      throws IOException {
    for (RootedTree.Entry entry : tree.list(folder)) {
      RootedTree.Stat stat = tree.stat(folder, entry.name());
      String path = prefix + entry.name();
      if (stat.isDirectory()) {
        names.add(path + "/");
        try (Fd child = tree.openChild(folder, entry.name())) {
          addNames(tree, child, path + "/", names);
        }
      } else if (stat.isSymlink()) {
        names.add(path + "->" + tree.readLink(folder, entry.name()));
      } else if (stat.isRegular()) {
        try (Fd file = tree.openFile(folder, entry.name())) {
          names.add(path + "=" + Files.readString(file.procPath()));
        }
      } else {
        boolean device = (stat.mode() & 0170000) == LayerTree.S_IFCHR;
        names.add(path + (device ? " c" : " p") + stat.major() + ":" + stat.minor());
      }
    }
  }
}
