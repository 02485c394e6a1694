package io.berth.snapshot;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Debts;
import io.berth.linux.FileTree;
import io.berth.linux.Mounts;
import io.berth.linux.RootedTree;
import io.berth.linux.Subprocess;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.snapshot.LayerHealth.Flaw;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Layers that don't stay as they were made. */
@Tag("root")
class LayerHealthTest {
  private static final Debts NO_DEBTS =
      (debt, cause) -> {
        throw new AssertionError("owed " + debt, cause);
      };

  private Path folder;
  private OverlaySnapshotter snapshotter;
  private ChainId id;

  @BeforeEach
  void commit() throws Exception {
    Needs.root();
    folder = Files.createTempDirectory("berth-health");
    restart();
    id = commit("1");
    snapshotter.hold("image:1", List.of(id));
  }

  @AfterEach
  void remove() {
    Mounts.detach(folder.resolve("rootfs"));
    FileTree.delete(folder);
  }

  private void restart() {
    snapshotter = new OverlaySnapshotter(folder.resolve("store"), NO_DEBTS);
  }

  /** One of each kind; some contents are noted, others left to the commit to read. */
  private ChainId commit(String name) throws Exception {
    Digest diffId = Digest.sha256(name.getBytes(StandardCharsets.UTF_8));
    try (LayerDraft draft = snapshotter.draft(new ChainId(diffId), null, diffId);
        RootedTree tree = RootedTree.open(draft.root())) {
      Path root = draft.root();
      Path bin = Files.createDirectories(root.resolve("usr/bin"));
      byte[] noted = "noted".getBytes(StandardCharsets.UTF_8);
      Files.write(bin.resolve("noted"), noted);
      draft.noteContent((Long) Files.getAttribute(bin.resolve("noted"), "unix:ino"), sha256(noted));
      Files.writeString(bin.resolve("read"), "read".repeat(50_000));
      Files.createLink(bin.resolve("second-name"), bin.resolve("read"));
      Files.createSymbolicLink(bin.resolve("link"), Path.of("read"));
      tree.makeNode(tree.root(), "device", 0020600, 1, 3);
      tree.makeNode(tree.root(), "removed", 0020000, 0, 0);
      tree.setXattr(tree.root(), "usr", "trusted.overlay.opaque", new byte[] {'y'});
      try (var sparse = new RandomAccessFile(root.resolve("sparse").toFile(), "rw")) {
        sparse.setLength(1L << 40);
        sparse.seek(1L << 39);
        sparse.write(7);
      }
      return draft.commit().chainId();
    }
  }

  private static byte[] sha256(byte[] content) throws Exception {
    return java.security.MessageDigest.getInstance("SHA-256").digest(content);
  }

  private Path file(String name) {
    return snapshotter.layer(id).orElseThrow().path().resolve(name);
  }

  private LayerHealth verify() throws InterruptedException {
    return snapshotter.verify(id, Pace.unlimited());
  }

  @Test
  void layerIsFoundAsItWasMadeAndHolesCostNothing() throws Exception {
    LayerHealth health = verify();
    assertThat(health.flaws()).isEmpty();
    assertThat(health.manifest()).isTrue();
    assertThat(health.files()).isEqualTo(3);
    assertThat(health.bytes()).isLessThan(1 << 20);
    assertThat(snapshotter.isSound(id)).isTrue();
  }

  @Test
  void roomThatItTakesIsWhatDuCounts() throws Exception {
    var du =
        Subprocess.command(List.of("/usr/bin/du", "-s", "-B1", file("..").normalize().toString()))
            .run();
    assertThat(snapshotter.layer(id).orElseThrow().usage().bytes())
        .isEqualTo(Long.parseLong(du.out().split("\\s")[0]));
  }

  @Test
  void everyKindOfDamageIsNamed() throws Exception {
    Files.write(file("usr/bin/noted"), new byte[0]);
    overwrite(file("usr/bin/read"), 100_000);
    overwrite(file("sparse"), 1L << 38);
    Files.setPosixFilePermissions(file("usr/bin"), PosixFilePermissions.fromString("rwx------"));
    Files.delete(file("usr/bin/link"));
    Files.writeString(file("usr/bin/link"), "");
    Files.writeString(file("a"), "more");
    Files.delete(file("device"));
    Files.setAttribute(file("removed"), "unix:uid", 7);
    try (RootedTree tree = RootedTree.open(file("."))) {
      tree.setXattr(tree.root(), "usr", "trusted.overlay.opaque", new byte[] {'n'});
    }

    LayerHealth health = verify();

    assertThat(health.flaws())
        .extracting(Flaw::toString)
        .containsExactly(
            "a doesn't belong to it",
            "device is missing",
            "removed belongs to 7:0 instead of 0:0",
            "sparse has other content",
            "usr has the attributes [trusted.overlay.opaque] instead of [trusted.overlay.opaque],"
                + " or other values",
            "usr/bin has mode 700 instead of 755",
            "usr/bin/link is a file instead of a symbolic link",
            "usr/bin/noted has 0 bytes instead of 5",
            "usr/bin/read has other content",
            "usr/bin/second-name has other content");
    assertThat(health.flawCount()).isEqualTo(10);
    assertThat(snapshotter.isSound(id)).isFalse();
    restart();
    snapshotter.hold("image:1", List.of(id));
    assertThat(snapshotter.isSound(id)).isFalse();
    assertThat(snapshotter.health(id)).contains(health);
  }

  private static void overwrite(Path file, long at) throws IOException {
    try (var content = new RandomAccessFile(file.toFile(), "rw")) {
      content.seek(at);
      content.write('#');
    }
  }

  @Test
  void folderThatIsGoneCostsNothingOfWhatComesAfter() throws Exception {
    FileTree.delete(file("usr"));
    assertThat(verify().flaws()).containsExactly(new Flaw("usr", "is missing"));
  }

  @Test
  void newLayerTakesThePlaceOfADamagedOneAndWhoHasThatMountedKeepsIt() throws Exception {
    Snapshot _ = snapshotter.prepare("c1", List.of(id));
    Path rootfs = Files.createDirectory(folder.resolve("rootfs"));
    snapshotter.mount("c1", rootfs);
    assertThat(commit("1")).as("of a sound one the first stays").isEqualTo(id);
    Files.writeString(file("usr/bin/noted"), "wrong");
    assertThat(verify().sound()).isFalse();

    ChainId again = commit("1");

    assertThat(again).isEqualTo(id);
    assertThat(snapshotter.isSound(id)).isTrue();
    assertThat(verify().sound()).isTrue();
    assertThat(rootfs.resolve("usr/bin/noted")).hasContent("wrong");
    assertThat(rootfs.resolve("usr/bin/link")).isSymbolicLink();
    snapshotter.mountReadOnly(List.of(id), Files.createDirectory(folder.resolve("new")));
    assertThat(folder.resolve("new/usr/bin/noted")).hasContent("noted");
    Mounts.detach(folder.resolve("new"));

    restart();
    snapshotter.hold("image:1", List.of(id));
    snapshotter.removeUnreferenced();
    assertThat(rootfs.resolve("usr/bin/noted")).hasContent("wrong");
    Mounts.detach(rootfs);
    snapshotter.remove("c1");
    try (var left = Files.list(folder.resolve("store/.retired"))) {
      assertThat(left).isEmpty();
    }
    assertThat(verify().sound()).isTrue();
  }

  @Test
  void layerOfAnEarlierVersionHasNoManifestAndIsSaidSo() throws Exception {
    Files.delete(snapshotter.layer(id).orElseThrow().path().resolveSibling("manifest"));
    LayerHealth health = verify();
    assertThat(health.manifest()).isFalse();
    assertThat(health.sound()).isTrue();
  }

  /** Whatever becomes of the manifest, it's the layer that is doubted and nothing that breaks. */
  @Test
  void anyDamageToTheManifestIsNoticed() throws Exception {
    Path manifest = snapshotter.layer(id).orElseThrow().path().resolveSibling("manifest");
    byte[] whole = Files.readAllBytes(manifest);
    var random = new Random(20);
    for (int i = 0; i < 200; i++) {
      byte[] damaged = whole.clone();
      if (i % 2 == 0) {
        damaged[random.nextInt(whole.length)] ^= (byte) (1 << random.nextInt(8));
      } else {
        damaged = java.util.Arrays.copyOf(whole, random.nextInt(whole.length));
      }
      Files.write(manifest, damaged);
      assertThat(verify().sound()).as("after damage " + i).isFalse();
      restart();
      snapshotter.hold("image:1", List.of(id));
      assertThat(snapshotter.layers()).hasSize(1);
    }
    Files.write(manifest, whole);
    assertThat(verify().sound()).isTrue();
  }

  @Test
  void noDamageToARecordCostsALayer() throws Exception {
    Path record = snapshotter.layer(id).orElseThrow().path().resolveSibling("layer.json");
    byte[] whole = Files.readAllBytes(record);
    var random = new Random(12);
    for (int i = 0; i < 200; i++) {
      byte[] damaged = whole.clone();
      if (i % 2 == 0) {
        damaged[random.nextInt(whole.length)] ^= (byte) (1 << random.nextInt(8));
      } else {
        damaged = java.util.Arrays.copyOf(whole, random.nextInt(whole.length));
      }
      Files.write(record, damaged);
      restart();
      assertThat(snapshotter.layers()).extracting(Layer::chainId).containsExactly(id);
      assertThat(file("usr/bin/noted")).hasContent("noted");
    }
  }

  @Test
  void paceBoundsHowMuchIsRead() throws Exception {
    Pace pace = Pace.of(100_000);
    long start = System.nanoTime();
    assertThat(snapshotter.verify(id, pace).bytes()).isGreaterThan(200_000);
    assertThat(System.nanoTime() - start).isGreaterThan(1_000_000_000L);
  }

  @Test
  void digestsAreKeptByInodeUpToABound() {
    var digests = new LayerDigests();
    List<byte[]> known = new ArrayList<>();
    for (int i = 0; i < 10_000; i++) {
      byte[] digest =
          Digest.sha256(new byte[] {(byte) i, (byte) (i >> 8)})
              .hex()
              .substring(32)
              .getBytes(StandardCharsets.US_ASCII);
      known.add(digest);
      digests.put(i * 7919L + 1, digest);
    }
    digests.forget(1);
    assertThat(digests.get(1)).isNull();
    for (int i = 1; i < known.size(); i++) {
      assertThat(digests.get(i * 7919L + 1)).isEqualTo(known.get(i));
    }
    assertThat(digests.get(5)).isNull();
  }
}
