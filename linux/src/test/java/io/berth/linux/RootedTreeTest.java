package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@SuppressWarnings("MustBeClosedChecker") // closed at once where it opens at all
class RootedTreeTest {
  @TempDir Path temporary;
  private Path outside = Path.of("/");
  private Path rootPath = Path.of("/");

  @BeforeEach
  void makeTree() throws IOException {
    outside = Files.createDirectory(temporary.resolve("outside"));
    Files.writeString(outside.resolve("canary"), "host");
    rootPath = Files.createDirectory(temporary.resolve("root"));
    Files.createDirectory(rootPath.resolve("etc"));
    Files.writeString(rootPath.resolve("etc/file"), "inside");
  }

  private static String text(byte[] bytes) {
    return new String(bytes, StandardCharsets.UTF_8);
  }

  /** Relative and absolute ways out, straight and by way of links. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "../outside/canary",
        "/../outside/canary",
        "etc/../../outside/canary",
        "up/outside/canary",
        "absolute/canary",
        "loop",
        "etc/nothing"
      })
  void noPathLeadsOut(String path) throws Exception {
    Files.createSymbolicLink(rootPath.resolve("up"), Path.of("../.."));
    Files.createSymbolicLink(rootPath.resolve("absolute"), outside);
    Files.createSymbolicLink(rootPath.resolve("loop"), Path.of("loop"));
    try (RootedTree tree = RootedTree.open(rootPath)) {
      assertThat(tree.readFile(path, 100)).isEmpty();
      assertThatThrownBy(() -> tree.openFile(path).close()).isInstanceOf(ErrnoException.class);
      assertThatThrownBy(() -> tree.openDirectory(path).close())
          .isInstanceOf(ErrnoException.class)
          .hasMessageStartingWith("open " + path + " in " + rootPath + ": ");
    }
  }

  @Test
  void absoluteLinksAndDotDotEndAtTheRoot() throws Exception {
    Files.createSymbolicLink(rootPath.resolve("abs"), Path.of("/etc/file"));
    Files.createSymbolicLink(rootPath.resolve("high"), Path.of("../../../etc"));
    try (RootedTree tree = RootedTree.open(rootPath)) {
      assertThat(text(tree.readFile("abs", 100).orElseThrow())).isEqualTo("inside");
      assertThat(text(tree.readFile("high/file", 100).orElseThrow())).isEqualTo("inside");
      assertThat(text(tree.readFile("/etc/file", 3).orElseThrow())).isEqualTo("ins");
    }
  }

  @Test
  void magicLinksOfProcAreRefused() throws Exception {
    try (RootedTree tree = RootedTree.open(Path.of("/proc/self"))) {
      assertThatThrownBy(() -> tree.openDirectory("root/etc").close())
          .isInstanceOf(ErrnoException.class)
          .hasMessageContaining("ELOOP");
      assertThat(tree.readFile("fd/0", 1)).isEmpty();
    }
  }

  @Test
  void realFoldersOnlyMeansNoLinkAnywhere() throws Exception {
    Files.createDirectory(rootPath.resolve("etc/sub"));
    Files.createSymbolicLink(rootPath.resolve("link"), Path.of("etc"));
    try (RootedTree tree = RootedTree.open(rootPath)) {
      tree.openRealDirectory("etc/sub").close();
      tree.openDirectory("link/sub").close();
      assertThatThrownBy(() -> tree.openRealDirectory("link/sub").close())
          .hasMessageContaining("ELOOP");
    }
  }

  @Test
  void lastNameIsNeverFollowed() throws Exception {
    Files.createSymbolicLink(rootPath.resolve("out"), outside.resolve("canary"));
    Files.createSymbolicLink(rootPath.resolve("new"), outside.resolve("made"));
    Files.createSymbolicLink(rootPath.resolve("folder"), outside);
    try (RootedTree tree = RootedTree.open(rootPath);
        Fd root = tree.openDirectory("")) {
      assertThatThrownBy(() -> tree.createFile(root, "new", 0600).close())
          .hasMessageContaining("EEXIST");
      assertThatThrownBy(() -> tree.openFile(root, "out").close()).hasMessageContaining("ELOOP");
      assertThatThrownBy(() -> tree.openChild(root, "folder").close())
          .isInstanceOf(ErrnoException.class);
      tree.setTime(root, "out", 1_000_000, 5);
      assertThat(tree.stat(root, "out").isSymlink()).isTrue();
      assertThat(tree.stat(root, "out").mtimeSeconds()).isEqualTo(1_000_000);
      assertThat(tree.stat(root, "out").mtimeNanos()).isEqualTo(5);
      assertThat(Files.getLastModifiedTime(outside.resolve("canary")).toMillis())
          .isNotEqualTo(1_000_000_000L);
      assertThat(tree.readLink(root, "out")).isEqualTo(outside.resolve("canary").toString());
      tree.removeFile(root, "out");
    }
    assertThat(outside.resolve("made")).doesNotExist();
    assertThat(outside.resolve("canary")).hasContent("host");
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "a/b", "..", "/"})
  void entriesAreSingleNames(String name) {
    try (RootedTree tree = RootedTree.open(rootPath)) {
      assertThatThrownBy(() -> tree.removeFile(tree.root(), name))
          .isInstanceOf(IllegalArgumentException.class);
      assertThatThrownBy(() -> tree.makeDirectory(tree.root(), name, 0700))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  /** The kernel would stop at the NUL and make another file than was asked for. */
  @Test
  void nameWithNulIsRefused() {
    try (RootedTree tree = RootedTree.open(rootPath)) {
      assertThatThrownBy(() -> tree.makeDirectory(tree.root(), "a\0b", 0700))
          .isInstanceOf(ErrnoException.class)
          .hasMessage("use name a\\0b: invalid argument (EINVAL)");
    }
    assertThat(rootPath.resolve("a")).doesNotExist();
  }

  @Test
  void entriesAreMadeAndListed() throws Exception {
    try (RootedTree tree = RootedTree.open(rootPath);
        Fd root = tree.openDirectory("")) {
      tree.makeDirectory(root, "folder", 0755);
      try (Fd file = tree.createFile(root, "file", 0600)) {
        file.write("text".getBytes(StandardCharsets.UTF_8));
        tree.setMode(file, 04755);
      }
      tree.makeSymlink(root, "link", "anything at all");
      tree.makeLink(root, "file", root, "hard");
      // Not UTF-8: a name is bytes.
      String odd = FileName.decode(new byte[] {'x', (byte) 0xff});
      tree.makeDirectory(root, odd, 0700);

      assertThat(tree.list(root))
          .extracting(RootedTree.Entry::name)
          .containsExactlyInAnyOrder("etc", "folder", "file", "link", "hard", odd);
      RootedTree.Stat stat = tree.stat(root, "file");
      assertThat(stat.isRegular()).isTrue();
      assertThat(stat.permissions()).isEqualTo(04755);
      assertThat(stat.size()).isEqualTo(4);
      assertThat(stat.links()).isEqualTo(2);
      assertThat(tree.stat(root, "hard").inode()).isEqualTo(stat.inode());
      assertThat(tree.find(root, "none")).isEmpty();
      tree.setMode(root, "file", 0640);
      assertThat(tree.stat(root, "hard").permissions()).isEqualTo(0640);
      tree.rename(root, "hard", root, "moved");
      assertThat(tree.find(root, "hard")).isEmpty();
      tree.removeDirectory(root, odd);
      tree.removeDirectory(root, odd);
    }
  }

  @Test
  void fifoWithoutWriterBlocksNobody() throws Exception {
    try (RootedTree tree = RootedTree.open(rootPath)) {
      tree.makeNode(tree.root(), "fifo", 0010600, 0, 0);
      assertThat(tree.readFile("fifo", 10)).isEmpty();
      assertThat(tree.readFile("etc", 10)).as("a folder").isEmpty();
    }
  }

  @Test
  void userAttributesAreBytes() throws Exception {
    byte[] value = new byte[3000];
    value[0] = 7;
    try (RootedTree tree = RootedTree.open(rootPath.resolve("etc"))) {
      assertThat(tree.getXattr(tree.root(), "file", "user.none")).isEmpty();
      try {
        tree.setXattr(tree.root(), "file", "user.long", value);
      } catch (ErrnoException e) {
        Needs.met("user attributes on " + rootPath, !e.is(Errno.EOPNOTSUPP));
        throw e;
      }
      assertThat(tree.getXattr(tree.root(), "file", "user.long")).contains(value);
      assertThat(tree.listXattrs(tree.root(), "file")).contains("user.long");
    }
  }

  @Tag("root")
  @Test
  void trustedAttributesAndOwnersAreTheLinksOwn() throws Exception {
    Needs.root();
    Files.createSymbolicLink(rootPath.resolve("out"), outside.resolve("canary"));
    try (RootedTree tree = RootedTree.open(rootPath)) {
      tree.setXattr(tree.root(), "out", "trusted.overlay.opaque", new byte[] {'y'});
      tree.setOwner(tree.root(), "out", 12345, 4_000_000);
      assertThat(tree.listXattrs(tree.root(), "out")).contains("trusted.overlay.opaque");
      assertThat(tree.stat(tree.root(), "out").uid()).isEqualTo(12345);
      assertThat(tree.stat(tree.root(), "out").gid()).isEqualTo(4_000_000);
    }
    try (RootedTree host = RootedTree.open(outside)) {
      assertThat(host.listXattrs(host.root(), "canary")).doesNotContain("trusted.overlay.opaque");
      assertThat(host.stat(host.root(), "canary").uid()).isZero();
    }
  }

  @Tag("root")
  @Test
  void deviceNumbersOfAnySizeAreKept() throws Exception {
    Needs.root();
    try (RootedTree tree = RootedTree.open(rootPath)) {
      tree.makeNode(tree.root(), "null", 0020666, 1, 3);
      tree.makeNode(tree.root(), "big", 0060600, 259, 70_000);
      tree.makeNode(tree.root(), "whiteout", 0020000, 0, 0);
      RootedTree.Stat big = tree.stat(tree.root(), "big");
      assertThat(big.major()).isEqualTo(259);
      assertThat(big.minor()).isEqualTo(70_000);
      assertThat(tree.stat(tree.root(), "whiteout").rdev()).isZero();
      assertThat(tree.readFile("null", 10)).as("devices aren't opened").isEmpty();
    }
  }

  /** A container that exchanges a folder for a link to the machine's, over and over. */
  @Test
  void treeThatChangesMeanwhileStillHoldsEverythingIn() throws Exception {
    Path folder = rootPath.resolve("swap");
    Path real = Files.createDirectory(rootPath.resolve("real"));
    Files.writeString(real.resolve("canary"), "own");
    AtomicBoolean stop = new AtomicBoolean();
    Thread swapper =
        Thread.ofPlatform()
            .start(() -> {
              while (!stop.get()) {
                try {
                  Files.createSymbolicLink(folder, outside);
                  Files.delete(folder);
                  Files.createSymbolicLink(folder, Path.of("../../../.." + outside));
                  Files.delete(folder);
                  Files.move(real, folder);
                  Files.move(folder, real);
                } catch (FileAlreadyExistsException | NoSuchFileException e) {
                  // on the way
                } catch (IOException e) {
                  throw new java.io.UncheckedIOException(e);
                }
              }
            });
    try (RootedTree tree = RootedTree.open(rootPath)) {
      for (int i = 0; i < 3000; i++) {
        tree.readFile("swap/canary", 10)
            .ifPresent(content -> assertThat(text(content)).isEqualTo("own"));
        try (Fd swapped = tree.openDirectory("swap")) {
          tree.createFile(swapped, "made", 0600).close();
          tree.removeFile(swapped, "made");
          tree.makeDirectory(swapped, "dir", 0700);
          tree.removeDirectory(swapped, "dir");
        } catch (ErrnoException e) {
          assertThat(e.name()).isIn("ENOENT", "ELOOP", "ENOTDIR", "EEXIST");
        }
      }
    } finally {
      stop.set(true);
      swapper.join();
    }
    try (var entries = Files.list(outside)) {
      assertThat(entries).containsExactly(outside.resolve("canary"));
    }
    assertThat(outside.resolve("canary")).hasContent("host");
  }
}
