package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.image.ImageException.Reason;
import io.berth.linux.FileName;
import io.berth.linux.RootedTree;
import io.berth.linux.Subprocess;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Layers as image-spec describes them, on a real overlayfs. */
@Tag("root")
class LayerUnpackerTest {
  private LayerStack layers;

  @BeforeEach
  void open() throws Exception {
    layers = new LayerStack();
  }

  @AfterEach
  void close() {
    if (layers != null) {
      layers.close();
    }
  }

  private static List<String> names(Path folder) throws Exception {
    try (Stream<Path> list = Files.list(folder)) {
      return list.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  // Whiteouts

  @Test
  void whiteoutHidesFileFolderAndLinkOfLowerLayers() throws Exception {
    layers
        .add(
            new TarBuilder()
                .file("etc/a", "1")
                .file("etc/b", "2")
                .file("opt/x/y", "3")
                .symlink("etc/l", "a"))
        .add(new TarBuilder().file("etc/.wh.a", "").file(".wh.opt", "").file("etc/.wh.l", ""));

    Path root = layers.mount();
    assertThat(names(root)).containsExactly("etc");
    assertThat(names(root.resolve("etc"))).containsExactly("b");
  }

  @Test
  void whiteoutOfSameLayersFolderHidesOnlyWhatIsBelow() throws Exception {
    for (List<String> order : List.of(List.of("first"), List.of("last"))) {
      try (LayerStack stack = new LayerStack()) {
        TarBuilder upper = new TarBuilder();
        if (order.contains("first")) {
          upper.file(".wh.etc", "");
        }
        upper.folder("etc").file("etc/new", "n");
        if (order.contains("last")) {
          upper.file(".wh.etc", "");
        }
        stack.add(new TarBuilder().file("etc/old", "o")).add(upper);
        assertThat(names(stack.mount().resolve("etc")))
            .as("whiteout %s", order)
            .containsExactly("new");
      }
    }
  }

  @Test
  void whiteoutBesideFileOfSameNameKeepsTheFile() throws Exception {
    layers
        .add(new TarBuilder().file("a", "old").file("b", "old"))
        .add(
            new TarBuilder().file("a", "new").file(".wh.a", "").file(".wh.b", "").file("b", "new"));

    assertThat(layers.mount().resolve("a")).hasContent("new");
    assertThat(layers.mount().resolve("b")).hasContent("new");
  }

  @Test
  void whiteoutsReplacedLaterDontLendTheirNameToOthers() throws Exception {
    TarBuilder upper = new TarBuilder().file(".wh.a", "").file("a", "new").file(".wh.b", "");
    upper.file("d/.wh.x", "").file("d", "now a file").file(".wh.c", "");
    upper.file("e/.wh.y", "").file("e/y/z", "now a folder").file(".wh.f", "");
    layers
        .add(new TarBuilder().file("a", "1").file("b", "2").file("c", "3").file("d/x", "4"))
        .add(new TarBuilder().file("e/y/old", "5").file("f", "6"))
        .add(upper);

    Path root = layers.mount();
    assertThat(names(root)).containsExactly("a", "d", "e");
    assertThat(root.resolve("a")).hasContent("new");
    assertThat(root.resolve("d")).hasContent("now a file");
    assertThat(names(root.resolve("e/y"))).containsExactly("z");
  }

  @Test
  void whiteoutThenImpliedFolderStartsAnew() throws Exception {
    layers
        .add(new TarBuilder().mode(0700).folder("d").mode(0644).file("d/old", "o"))
        .add(new TarBuilder().file(".wh.d", "").file("d/sub/new", "n"));

    Path folder = layers.mount().resolve("d");
    assertThat(names(folder)).containsExactly("sub");
    assertThat(LayerStack.stat(folder).permissions()).isEqualTo(0755);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void opaqueFolderHidesLowerContentWhereverTheMarkStands(boolean markFirst) throws Exception {
    TarBuilder upper = new TarBuilder().folder("d");
    if (markFirst) {
      upper.file("d/.wh..wh..opq", "");
    }
    upper.file("d/new", "n");
    if (!markFirst) {
      upper.file("d/.wh..wh..opq", "");
    }
    layers.add(new TarBuilder().file("d/old", "o").file("d/sub/x", "x")).add(upper);

    assertThat(names(layers.mount().resolve("d"))).containsExactly("new");
  }

  @Test
  void opaqueRootHidesEverythingBelow() throws Exception {
    layers
        .add(new TarBuilder().file("a", "1").file("d/x", "2").file("e/y", "3"))
        .add(new TarBuilder().file(".wh..wh..opq", "").file("d/new", "n"));

    assertThat(names(layers.mount())).containsExactly("d");
    assertThat(names(layers.mount().resolve("d"))).containsExactly("new");
  }

  @Test
  void notesOfAufsAreIgnored() throws Exception {
    layers
        .add(new TarBuilder().file("a", "1"))
        .add(
            new TarBuilder()
                .folder(".wh..wh.plnk")
                .file(".wh..wh.plnk/1.2", "x")
                .file(".wh..wh.aufs", "")
                .file("b", "2"));

    assertThat(names(layers.mount())).containsExactly("a", "b");
  }

  @ParameterizedTest
  @ValueSource(strings = {".wh.", ".wh..", ".wh...", "d/.wh."})
  void invalidWhiteoutIsRefused(String name) throws Exception {
    layers.add(new TarBuilder().file("a", "1"));
    assertCorrupt(new TarBuilder().file(name, ""), "no valid whiteout");
  }

  @Test
  void whiteoutInBottomLayerLeavesNothing() throws Exception {
    layers.add(new TarBuilder().file(".wh.a", "").file("d/.wh..wh..opq", "").file("d/b", "1"));
    assertThat(names(layers.top())).containsExactly("d");
    assertThat(names(layers.top().resolve("d"))).containsExactly("b");
  }

  @Test
  void layersUnpackedOutOfOrderGiveTheSameTree() throws Exception {
    TarBuilder bottom =
        new TarBuilder()
            .mode(0750)
            .owner(5, 6)
            .folder("d")
            .mode(0644)
            .file("d/a", "1")
            .file("d/b", "2")
            .file("gone", "g");
    TarBuilder middle =
        new TarBuilder().owner(0, 0).file("d/.wh.a", "").file("d/c", "3").file(".wh.gone", "");
    TarBuilder top = new TarBuilder().link("d/e", "d/c").file("d/a", "again");
    layers.addInAnyOrder(bottom, middle, top);

    Path folder = layers.mount().resolve("d");
    assertThat(names(layers.rootfs)).containsExactly("d");
    assertThat(names(folder)).containsExactly("a", "b", "c", "e");
    assertThat(folder.resolve("a")).hasContent("again");
    assertThat(LayerStack.stat(folder.resolve("e")).inode())
        .isEqualTo(LayerStack.stat(folder.resolve("c")).inode());
    assertThat(LayerStack.stat(folder).permissions()).isEqualTo(0750);
    assertThat(LayerStack.stat(folder).uid()).isEqualTo(5);
  }

  // What the layers below tell

  @Test
  void impliedFoldersTakeOwnerModeAndTimeFromBelow() throws Exception {
    layers
        .add(
            new TarBuilder()
                .mode(0711)
                .owner(1, 2)
                .folder("./")
                .mode(01777)
                .owner(7, 8)
                .mtime(1234)
                .folder("var/")
                .mode(02750)
                .folder("var/mail"))
        .add(new TarBuilder().owner(0, 0).file("var/mail/new", "n").file("other/x", "x"));

    Path root = layers.mount();
    assertThat(LayerStack.stat(root).permissions()).isEqualTo(0711);
    assertThat(LayerStack.stat(root.resolve("var")).permissions()).isEqualTo(01777);
    assertThat(LayerStack.stat(root.resolve("var")).gid()).isEqualTo(8);
    assertThat(LayerStack.stat(root.resolve("var")).mtimeSeconds()).isEqualTo(1234);
    assertThat(LayerStack.stat(root.resolve("var/mail")).permissions()).isEqualTo(02750);
    assertThat(LayerStack.stat(root.resolve("var/mail/new")).gid()).isZero();
    assertThat(LayerStack.stat(root.resolve("other")).permissions()).isEqualTo(0755);
  }

  @Test
  void contentBehindLinkOfLowerLayerGoesWhereTheLinkLeads() throws Exception {
    layers
        .add(
            new TarBuilder()
                .file("usr/lib/old", "o")
                .file("usr/lib/gone", "g")
                .symlink("lib", "usr/lib")
                .file("usr/lib/sub/x", "x"))
        .add(
            new TarBuilder()
                .file("lib/new", "n")
                .file("lib/.wh.gone", "")
                .file("lib/sub/y", "y")
                .mode(0700)
                .folder("lib/described"));

    Path root = layers.mount();
    assertThat(Files.readSymbolicLink(root.resolve("lib"))).hasToString("usr/lib");
    assertThat(names(root.resolve("usr/lib"))).containsExactly("described", "new", "old", "sub");
    assertThat(names(root.resolve("usr/lib/sub"))).containsExactly("x", "y");
    assertThat(LayerStack.stat(root.resolve("usr/lib/described")).permissions()).isEqualTo(0700);
  }

  @Test
  void hardLinkToLowerLayerCopiesTheFileUpUnderBothNames() throws Exception {
    byte[] capability = HexFormat.of().parseHex("0100000200200000000000000000000000000000");
    layers
        .add(
            new TarBuilder()
                .mode(04755)
                .owner(3, 4)
                .mtime(99)
                .pax("SCHILY.xattr.security.capability", capability)
                .file("bin/a", "tool"))
        .add(new TarBuilder().link("bin/b", "/bin/a").link("bin/c", "bin/b"));

    Path bin = layers.mount().resolve("bin");
    RootedTree.Stat copy = LayerStack.stat(bin.resolve("b"));
    assertThat(bin.resolve("b")).hasContent("tool");
    assertThat(copy.permissions()).isEqualTo(04755);
    assertThat(copy.uid()).isEqualTo(3);
    assertThat(copy.mtimeSeconds()).isEqualTo(99);
    assertThat(copy.links()).isEqualTo(3);
    assertThat(LayerStack.stat(bin.resolve("a")).inode()).isEqualTo(copy.inode());
    assertThat(LayerStack.stat(bin.resolve("c")).inode()).isEqualTo(copy.inode());
    assertThat(LayerStack.xattr(bin.resolve("c"), "security.capability")).contains(capability);
  }

  @Test
  void hardLinkToLowerFileThatIsReplacedLaterKeepsTheOldContent() throws Exception {
    layers
        .add(new TarBuilder().file("a", "old"))
        .add(new TarBuilder().link("b", "a").file("a", "new").link("c", "b").file("d/x", "1"));

    assertThat(layers.mount().resolve("a")).hasContent("new");
    assertThat(layers.rootfs.resolve("b")).hasContent("old");
    assertThat(layers.rootfs.resolve("c")).hasContent("old");
  }

  @Test
  void hardLinkToNothingIsRefused() throws Exception {
    assertCorrupt(
        new TarBuilder().link("b", "missing"), "hard link to missing, which is not in the image");
    layers.add(new TarBuilder().file("a", "1").folder("d"));
    assertCorrupt(
        new TarBuilder().link("b", "missing"), "hard link to missing, which is not in the image");
    assertCorrupt(new TarBuilder().link("b", "d"), "hard link to d, which is a folder");
    assertCorrupt(new TarBuilder().file(".wh.a", "").link("b", "a"), "which is removed");
    assertThat(names(layers.folder.resolve("store/layers/.staging"))).isEmpty();
    assertThat(names(layers.folder.resolve("store/.trash"))).isEmpty();
  }

  // Duplicates

  @Test
  void lastOfSeveralEntriesWins() throws Exception {
    layers
        .add(new TarBuilder().file("f/old", "x").file("g", "1"))
        .add(
            new TarBuilder()
                .file("a", "first")
                .file("a", "second")
                .file("d/in", "1")
                .file("d", "now a file")
                .symlink("s", "a")
                .file("s", "no link any more")
                .file("f", "was a folder below")
                .folder("f")
                .file("f/new", "n")
                .link("g", "a")
                .link("g", "s"));

    Path root = layers.mount();
    assertThat(root.resolve("a")).hasContent("second");
    assertThat(root.resolve("d")).hasContent("now a file");
    assertThat(root.resolve("s")).hasContent("no link any more").isRegularFile();
    assertThat(names(root.resolve("f"))).containsExactly("new");
    assertThat(root.resolve("g")).hasContent("no link any more");
  }

  @Test
  void folderOverFolderMergesMetadataOnly() throws Exception {
    layers.add(
        new TarBuilder()
            .mode(0700)
            .folder("d")
            .mode(0644)
            .file("d/a", "1")
            .mode(0711)
            .owner(9, 9)
            .mtime(77)
            .folder("./d/"));

    Path folder = layers.mount().resolve("d");
    assertThat(names(folder)).containsExactly("a");
    assertThat(LayerStack.stat(folder).permissions()).isEqualTo(0711);
    assertThat(LayerStack.stat(folder).uid()).isEqualTo(9);
    assertThat(LayerStack.stat(folder).mtimeSeconds()).isEqualTo(77);
  }

  // Paths that would lead out

  @Test
  void namesAndLinksStayInsideTheLayer() throws Exception {
    Path canary = Files.createDirectory(layers.folder.resolve("canary"));
    Files.writeString(canary.resolve("secret"), "untouched");
    String up = "../".repeat(40);
    layers.add(
        new TarBuilder()
            .file(up + "above", "1")
            .file("/absolute", "2")
            .file("a/./b//../c", "3")
            .symlink("out", canary.toString())
            .file("out/secret", "4")
            .symlink("up", up + canary.toString().substring(1))
            .file("up/file", "5")
            .symlink("l1", "l2")
            .symlink("l2", "d/../e")
            .file("l1/f", "6"));

    assertThat(canary.resolve("secret")).hasContent("untouched");
    assertThat(names(canary)).containsExactly("secret");
    Path tree = layers.top();
    assertThat(tree.resolve("above")).hasContent("1");
    assertThat(tree.resolve("absolute")).hasContent("2");
    assertThat(tree.resolve("a/c")).hasContent("3");
    assertThat(tree.resolve(canary.toString().substring(1)).resolve("secret")).hasContent("4");
    assertThat(tree.resolve(canary.toString().substring(1)).resolve("file")).hasContent("5");
    assertThat(tree.resolve("e/f")).hasContent("6");
  }

  @Test
  void hardLinksDontReachOutNorFollowTheLastName() throws Exception {
    Path canary = Files.writeString(layers.folder.resolve("canary"), "untouched");
    assertCorrupt(new TarBuilder().link("b", canary.toString()), "not in the image");
    assertCorrupt(
        new TarBuilder().symlink("s", layers.folder.toString()).link("b", "s/canary"),
        "not in the image");
    layers.add(new TarBuilder().symlink("s", canary.toString()).link("b", "s"));

    assertThat(Files.readSymbolicLink(layers.top().resolve("b"))).isEqualTo(canary);
    assertThat(LayerStack.stat(canary).links()).isEqualTo(1);
  }

  @Test
  void loopsOfLinksAreRefused() throws Exception {
    assertCorrupt(
        new TarBuilder().symlink("a", "b").symlink("b", "a").file("a/x", "1"), "symbolic links");
    assertCorrupt(new TarBuilder().file("a", "1").file("a/b", "2"), "a is no folder");
    assertCorrupt(new TarBuilder().symlink("a", "a/x").file("a/y", "1"), "symbolic links");
  }

  /** Somebody who swaps folders for links to the host while the layer is unpacked. */
  @Test
  void racingSwapperDoesNotLeadOut() throws Exception {
    layers.comparing = false;
    Path canary = Files.createDirectory(layers.folder.resolve("canary"));
    Path staging = layers.folder.resolve("store/layers/.staging");
    AtomicInteger swaps = new AtomicInteger();
    Thread swapper =
        Thread.ofPlatform()
            .start(() -> {
              while (!Thread.interrupted()) {
                try (Stream<Path> drafts = Files.list(staging)) {
                  for (Path draft : drafts.toList()) {
                    Path folder = draft.resolve("fs/d");
                    Path aside = draft.resolve("fs/aside" + swaps.get());
                    Files.move(folder, aside);
                    Files.createSymbolicLink(folder, canary);
                    swaps.incrementAndGet();
                    Thread.onSpinWait();
                    Files.delete(folder);
                    Files.move(aside, folder);
                  }
                } catch (Exception e) {
                  // the draft is made, moved and deleted meanwhile
                }
              }
            });
    TarBuilder tar = new TarBuilder();
    for (int i = 0; i < 600; i++) {
      // Many folders, so that "d" is opened again and again by its path.
      tar.file("d/e" + i % 200 + "/f" + i, "x");
    }
    try {
      for (int round = 0; round < 3; round++) {
        try {
          layers.add(tar.file("round" + round, ""));
        } catch (RuntimeException e) {
          // Refusing is right as well.
        }
        assertThat(names(canary)).isEmpty();
      }
    } finally {
      swapper.interrupt();
      swapper.join();
    }
    assertThat(swaps).hasValueGreaterThan(20);
  }

  // Metadata

  @Test
  void attributesAreBinaryAndSurviveTheChangeOfOwner() throws Exception {
    byte[] capability = HexFormat.of().parseHex("0100000200200000000000000000000000000000");
    byte[] odd = HexFormat.of().parseHex("ff00fe0a3d80");
    layers.add(
        new TarBuilder()
            .owner(1000, 1000)
            .mode(06755)
            .pax("SCHILY.xattr.security.capability", capability)
            .pax("SCHILY.xattr.user.odd", odd)
            .pax("SCHILY.xattr.user.empty", new byte[0])
            .file("ping", "x"));

    Path ping = layers.mount().resolve("ping");
    assertThat(LayerStack.xattr(ping, "security.capability")).contains(capability);
    assertThat(LayerStack.xattr(ping, "user.odd")).contains(odd);
    assertThat(LayerStack.xattr(ping, "user.empty")).contains(new byte[0]);
    assertThat(LayerStack.stat(ping).permissions()).isEqualTo(06755);
    assertThat(LayerStack.stat(ping).uid()).isEqualTo(1000);
  }

  @Test
  void archiveCannotSpeakToOverlayfs() throws Exception {
    layers
        .add(new TarBuilder().file("d/a", "1").file("e/b", "2"))
        .add(
            new TarBuilder()
                .pax("SCHILY.xattr.trusted.overlay.opaque", "y")
                .folder("d")
                .pax("SCHILY.xattr.trusted.overlay.redirect", "/d")
                .folder("e"));

    assertThat(names(layers.mount().resolve("d"))).containsExactly("a");
    assertThat(names(layers.mount().resolve("e"))).containsExactly("b");
  }

  @Test
  void userAttributesOfSpecialFilesAreLeftOut() throws Exception {
    layers.add(
        new TarBuilder()
            .pax("SCHILY.xattr.user.x", "1")
            .symlink("s", "t")
            .pax("SCHILY.xattr.user.x", "1")
            .entry('6', "fifo", "", new byte[0]));
    assertThat(names(layers.mount())).containsExactly("fifo", "s");
  }

  @Test
  void devicesAndFifosAreMade() throws Exception {
    layers.add(
        new TarBuilder()
            .mode(0666)
            .owner(1, 2)
            .device(1, 3)
            .entry('3', "dev/null", "", new byte[0])
            .device(259, 70000)
            .entry('4', "dev/disk", "", new byte[0])
            .entry('6', "dev/fifo", "", new byte[0]));

    RootedTree.Stat character = LayerStack.stat(layers.mount().resolve("dev/null"));
    assertThat(character.mode()).isEqualTo(0020666);
    assertThat(character.major()).isEqualTo(1);
    assertThat(character.minor()).isEqualTo(3);
    assertThat(character.gid()).isEqualTo(2);
    RootedTree.Stat block = LayerStack.stat(layers.rootfs.resolve("dev/disk"));
    assertThat(block.mode()).isEqualTo(0060666);
    assertThat(block.major()).isEqualTo(259);
    assertThat(block.minor()).isEqualTo(70000);
    assertThat(LayerStack.stat(layers.rootfs.resolve("dev/fifo")).mode()).isEqualTo(0010666);
  }

  @Test
  void timesOfFoldersAreSetLast() throws Exception {
    layers.add(
        new TarBuilder()
            .mtime(10)
            .folder("d")
            .mtime(20)
            .folder("d/e")
            .mtime(30)
            .file("d/e/f", "x")
            .file("d/g", "y"));

    Path folder = layers.mount().resolve("d");
    assertThat(LayerStack.stat(folder).mtimeSeconds()).isEqualTo(10);
    assertThat(LayerStack.stat(folder.resolve("e")).mtimeSeconds()).isEqualTo(20);
    assertThat(LayerStack.stat(folder.resolve("e/f")).mtimeSeconds()).isEqualTo(30);
  }

  @Test
  void timesBeforeTheEpochAndFractionsAreKept() throws Exception {
    layers.add(
        new TarBuilder()
            .pax("mtime", "-1.25")
            .file("before", "")
            .pax("mtime", "1700000000.123456789123")
            .file("fraction", "")
            .mtime(-5)
            .file("base256", ""));

    RootedTree.Stat before = LayerStack.stat(layers.mount().resolve("before"));
    assertThat(before.mtimeSeconds()).isEqualTo(-2);
    assertThat(before.mtimeNanos()).isEqualTo(750_000_000);
    assertThat(LayerStack.stat(layers.rootfs.resolve("fraction")).mtimeNanos())
        .isEqualTo(123_456_789);
    assertThat(LayerStack.stat(layers.rootfs.resolve("base256")).mtimeSeconds()).isEqualTo(-5);
  }

  @Test
  void ownersUpTo32BitsAreKeptAndLargerOnesRefused() throws Exception {
    layers.add(
        new TarBuilder()
            .owner(4294967294L, 3000000)
            .file("a", "")
            .pax("uid", "4000000000")
            .file("b", ""));
    assertThat(LayerStack.stat(layers.mount().resolve("a")).uid()).isEqualTo((int) 4294967294L);
    assertThat(LayerStack.stat(layers.rootfs.resolve("a")).gid()).isEqualTo(3000000);
    assertThat(LayerStack.stat(layers.rootfs.resolve("b")).uid()).isEqualTo((int) 4000000000L);
    assertCorrupt(new TarBuilder().owner(4294967295L, 0).file("a", ""), "no user or group id");
    assertCorrupt(new TarBuilder().pax("uid", "18446744073709551616").file("a", ""), "no number");
    assertCorrupt(new TarBuilder().pax("gid", "-1").file("a", ""), "no user or group id");
  }

  @Test
  void namesOfAnyBytesAreKept() throws Exception {
    byte[] latin = "caf\u00e9".getBytes(StandardCharsets.ISO_8859_1);
    layers.add(new TarBuilder().file("日本/ключ", "1").pax("path", latin).file("ignored", "2"));

    assertThat(layers.mount().resolve("日本/ключ")).hasContent("1");
    try (RootedTree tree = RootedTree.open(layers.rootfs)) {
      assertThat(tree.find(tree.root(), FileName.decode(latin))).isPresent();
    }
  }

  @Test
  void longNamesOfBothDialectsAreRead() throws Exception {
    String folder = "0123456789".repeat(20);
    String gnu = String.join("/", folder, folder, folder, "gnu");
    String pax = String.join("/", folder, folder, folder, "pax");
    layers.add(
        new TarBuilder()
            .file(gnu, "1")
            .pax("path", pax)
            .file("short", "2")
            .symlink("gnu-link", gnu)
            .pax("linkpath", pax)
            .symlink("pax-link", "short"));

    assertThat(layers.mount().resolve("gnu-link")).hasContent("1");
    assertThat(layers.rootfs.resolve("pax-link")).hasContent("2");
  }

  // Limits

  @Test
  void limitsAreEnforced() throws Exception {
    try (LayerStack stack = new LayerStack(new UnpackLimits(3, 100, 1000, 10))) {
      assertThatThrownBy(() ->
              stack.add(new TarBuilder().file("1", "").file("2", "").file("3", "").file("4", "")))
          .hasMessageContaining("more than 3 entries");
      assertThatThrownBy(() -> stack.add(new TarBuilder().file("x".repeat(101), "")))
          .hasMessageContaining("at most 100 are allowed");
      assertThatThrownBy(() ->
              stack.add(new TarBuilder().pax("SCHILY.xattr.user.x", new byte[2000]).file("a", "")))
          .hasMessageContaining("at most 1000 are allowed");
      assertThatThrownBy(() -> stack.add(new TarBuilder().file("a", "123456").file("b", "123456")))
          .hasMessageContaining("more than 10 bytes");
    }
  }

  @Test
  void headerThatPromisesGigabytesTakesNoMemory() throws Exception {
    assertCorrupt(
        new TarBuilder()
            .header('L', "././@LongLink".getBytes(StandardCharsets.UTF_8), new byte[0], 8L << 30),
        "long name of 8589934592 bytes");
    assertCorrupt(
        new TarBuilder().header('x', "pax".getBytes(StandardCharsets.UTF_8), new byte[0], 8L << 30),
        "extended header of 8589934592 bytes");
  }

  @Test
  void truncatedAndDamagedArchivesAreRefused() throws Exception {
    byte[] whole = new TarBuilder().file("a", "x".repeat(2000)).build();
    for (int length : new int[] {100, 512, 600, 2000}) {
      byte[] part = java.util.Arrays.copyOf(whole, length);
      assertThatThrownBy(() -> layers.add(part))
          .as("%s bytes", length)
          .hasMessageContaining("the archive ends");
    }
    byte[] damaged = whole.clone();
    damaged[3] ^= 1;
    assertThatThrownBy(() -> layers.add(damaged)).hasMessageContaining("checksum");
    layers.add(new byte[0]); // an empty layer, as some tools write it
    layers.add(new TarBuilder().file("no-end-mark", "1").unfinished());
    assertThat(names(layers.mount())).containsExactly("no-end-mark");
  }

  @Test
  void unknownKindOfEntryIsRefusedByName() throws Exception {
    assertCorrupt(
        new TarBuilder().entry('M', "rest", "", new byte[0]), "entry rest is of unknown type 'M'");
    assertCorrupt(new TarBuilder().pax("path", "a\0b").file("x", ""), "NUL");
    assertCorrupt(new TarBuilder().file("./", ""), "the root can only be a folder");
  }

  @Test
  void deepTreesAndStormsOfWhiteoutsTakeLinearTime() throws Exception {
    TarBuilder tar = new TarBuilder();
    StringBuilder path = new StringBuilder("d");
    while (path.length() < 3900) {
      tar.folder(path.toString());
      path.append("/d");
    }
    for (int i = 0; i < 200; i++) {
      tar.file(path + "/f" + i, "x");
    }
    layers.add(tar);
    TarBuilder storm = new TarBuilder();
    // More than one inode of ext4 bears links.
    for (int i = 0; i < 70_000; i++) {
      storm.file("w" + i % 7 + "/.wh.n" + i, "");
    }
    long start = System.nanoTime();
    layers.add(storm);
    assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(60));
    assertThat(names(layers.mount())).hasSize(8);
  }

  @Test
  void interruptedUnpackingLeavesNothing() throws Exception {
    Thread.currentThread().interrupt();
    assertThatThrownBy(() -> layers.add(new TarBuilder().file("a", "1")))
        .isInstanceOf(InterruptedException.class);
    assertThat(Thread.interrupted()).isFalse();
    assertThat(names(layers.folder.resolve("store/layers/.staging"))).isEmpty();
  }

  @Test
  void usageCountsBlocksAndInodes() throws Exception {
    var layer =
        layers.unpack(
            new TarBuilder()
                .file("d/a", "x".repeat(5000))
                .file("d/a", "y")
                .symlink("s", "d")
                .build());
    assertThat(layer.usage().inodes()).isEqualTo(4 + 4); // the tree; its folder and three records
    var du =
        Subprocess.command(
                List.of(
                    "/usr/bin/du", "-s", "-B1", layer.path().resolve("..").normalize().toString()))
            .run();
    assertThat(layer.usage().bytes()).isEqualTo(Long.parseLong(du.out().split("\\s")[0]));
  }

  private void assertCorrupt(TarBuilder tar, String why) {
    assertThatThrownBy(() -> layers.add(tar))
        .isInstanceOfSatisfying(
            ImageException.class, e -> assertThat(e.reason()).isEqualTo(Reason.CORRUPT))
        .hasMessageContaining(why);
  }
}
