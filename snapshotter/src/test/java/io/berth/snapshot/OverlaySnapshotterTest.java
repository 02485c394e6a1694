package io.berth.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.linux.Debt;
import io.berth.linux.Debts;
import io.berth.linux.Fd;
import io.berth.linux.FileLabels;
import io.berth.linux.FileTree;
import io.berth.linux.Mounts;
import io.berth.linux.RootedTree;
import io.berth.linux.Subprocess;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.snapshot.SnapshotException.Reason;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("root")
class OverlaySnapshotterTest extends SnapshotterContract {

  @Override
  protected Snapshotter open(Path root, Debts debts) {
    return new OverlaySnapshotter(root, debts);
  }

  private SnapshotLayout layout() {
    return new SnapshotLayout(rootDir);
  }

  @Test
  void whatACrashLeftHalfMadeIsRemoved() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    snapshotter.hold("image:1", chain);
    Snapshot _ = snapshotter.prepare("whole", chain);
    // A draft in the middle of its commit, a layer without a record, snapshots at two stages,
    // something being deleted.
    Path draft = layout().newDraft();
    Files.createDirectories(SnapshotLayout.tree(draft).resolve("d"));
    Path view = Files.createDirectory(SnapshotLayout.parentMount(draft));
    Mounts.bind(folder, view);
    Files.createDirectories(layout().layers().resolve("ab".repeat(32)).resolve("fs"));
    Files.createDirectories(layout().snapshot("bare"));
    Files.createDirectories(layout().snapshot("unfinished"));
    Files.writeString(
        layout().snapshot("unfinished").resolve("snapshot.json"), "{\"formatVersion\": 1, \"ke");
    Files.createDirectories(layout().newTrash().resolve("x"));

    restart();
    snapshotter.hold("image:1", chain);
    snapshotter.removeUnreferenced();
    assertThat(snapshotter.snapshots()).extracting(Snapshot::key).containsExactly("whole");
    assertThat(snapshotter.layers()).extracting(Layer::chainId).containsExactlyElementsOf(chain);
    assertThat(names(layout().staging())).isEmpty();
    assertThat(names(layout().trash())).isEmpty();
    assertThat(names(layout().snapshots())).containsExactly("whole");
    assertThat(names(layout().layers())).containsExactly(".staging", chain.getLast().hex());
    assertThat(folder)
        .isDirectoryContaining(path -> path.endsWith("root")); // not deleted through the mount
  }

  @Test
  void whatAnUnfinishedPullBroughtStaysForTheGracePeriodAndNoLonger() throws Exception {
    Duration grace = Duration.ofMinutes(10);
    snapshotter = new OverlaySnapshotter(rootDir, NO_DEBTS, grace, null);
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    snapshotter.hold("pull:1", chain);
    assertThat(snapshotter.unreferenced()).isEmpty();
    long before = System.currentTimeMillis();

    snapshotter.releaseLater("pull:1");
    snapshotter.removeUnreferenced(grace);
    assertThat(snapshotter.layers()).hasSize(1);
    assertThat(snapshotter.unreferenced().get(chain.getLast()))
        .isBetween(before, System.currentTimeMillis());

    snapshotter.hold("pull:2", chain);
    snapshotter.hold("image:1", chain);
    snapshotter.releaseLater("pull:2");
    assertThat(snapshotter.unreferenced()).isEmpty();
    snapshotter.removeUnreferenced();
    assertThat(snapshotter.layers()).hasSize(1);
    snapshotter.release("image:1");
    assertThat(snapshotter.layers()).as("a removal frees at once").isEmpty();

    chain = commitFile(List.of(), "b", "2");
    snapshotter = new OverlaySnapshotter(rootDir, NO_DEBTS, grace, null);
    snapshotter.removeUnreferenced(grace);
    assertThat(snapshotter.unreferenced()).containsOnlyKeys(chain);
    snapshotter.removeUnreferenced(Duration.ZERO);
    assertThat(snapshotter.layers()).isEmpty();
    assertThat(snapshotter.unreferenced()).isEmpty();
  }

  @Test
  void layersFromBeforeSelinuxWasEnabledAreLabelledWhenTheyAreWanted() throws Exception {
    String label = "system_u:object_r:container_ro_file_t:s0";
    List<ChainId> chain =
        commit(
            commitFile(List.of(), "a", "1"),
            "folder",
            root -> Files.writeString(Files.createDirectory(root.resolve("d")).resolve("b"), "2"));
    ChainId other = commitFile(List.of(), "unwanted", "3").getLast();
    snapshotter = new OverlaySnapshotter(rootDir, NO_DEBTS, Duration.ZERO, label);
    Path tree = layout().layer(chain.getLast()).resolve("fs");
    assertThat(layout().layers()).matches(folder -> FileLabels.is(folder, label), "labelled");
    assertThat(layout().staging()).matches(folder -> FileLabels.is(folder, label), "labelled");
    assertThat(tree).matches(folder -> !FileLabels.is(folder, label), "not labelled yet");

    Snapshot _ = snapshotter.prepare("wanted", chain);
    for (ChainId id : chain) {
      assertThat(layout().layer(id)).matches(folder -> FileLabels.is(folder, label), "labelled");
    }
    assertThat(List.of(tree, tree.resolve("d"), tree.resolve("d/b")))
        .allMatch(file -> FileLabels.is(file, label), "labelled");
    assertThat(layout().layer(other).resolve("fs/unwanted"))
        .matches(file -> !FileLabels.is(file, label), "not labelled");
    assertThat(snapshotter.verify(chain.getLast(), Pace.unlimited()).sound()).isTrue();

    // As after a power loss in the midst of it: the layer's own folder is the last that gets it.
    FileLabels.set(tree.resolve("d/b"), "system_u:object_r:var_lib_t:s0");
    FileLabels.set(layout().layer(chain.getLast()), "system_u:object_r:var_lib_t:s0");
    snapshotter = new OverlaySnapshotter(rootDir, NO_DEBTS, Duration.ZERO, label);
    snapshotter.mountReadOnly(chain, target(), null, null);
    assertThat(tree.resolve("d/b")).matches(file -> FileLabels.is(file, label), "labelled");
  }

  @Test
  void damagedRecordCostsOnlyItsLayer() throws Exception {
    List<ChainId> good = commitFile(List.of(), "a", "1");
    List<ChainId> bad = commitFile(List.of(), "b", "2");
    Files.write(layout().layer(bad.getLast()).resolve("layer.json"), new byte[4096]);
    Files.write(layout().layer(bad.getLast()).resolve("manifest"), new byte[4096]);
    restart();
    assertThat(snapshotter.layers()).extracting(Layer::chainId).containsExactlyElementsOf(good);
    assertThat(commitFile(List.of(), "b", "2")).isEqualTo(bad);
    assertThat(snapshotter.layers()).hasSize(2);
  }

  @Test
  void damagedRecordIsMadeAnewFromTheManifest() throws Exception {
    List<ChainId> chain = commitFile(commitFile(List.of(), "a", "1"), "b", "2");
    Layer before = snapshotter.layer(chain.getLast()).orElseThrow();
    Files.write(layout().layer(chain.getLast()).resolve("layer.json"), new byte[0]);
    restart();
    assertThat(snapshotter.layer(chain.getLast())).contains(before);
    restart();
    assertThat(snapshotter.layer(chain.getLast())).contains(before);
  }

  /** What a running container has written lies in there, and its layers are held by it. */
  @Test
  void noDamageToARecordCostsASnapshot() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    Snapshot snapshot = snapshotter.prepare("c1", chain);
    Path target = target();
    snapshotter.mount("c1", target);
    Files.writeString(target.resolve("written"), "by the container");
    Path record = layout().snapshot("c1").resolve("snapshot.json");
    byte[] whole = Files.readAllBytes(record);
    var random = new java.util.Random(14);
    for (int i = 0; i < 200; i++) {
      byte[] damaged = whole.clone();
      if (i % 2 == 0) {
        damaged[random.nextInt(whole.length)] ^= (byte) (1 << random.nextInt(8));
      } else {
        damaged = java.util.Arrays.copyOf(whole, random.nextInt(whole.length));
      }
      Files.write(record, damaged);
      restart();
      snapshotter.removeUnreferenced();
      assertThat(snapshotter.snapshots()).containsExactly(snapshot);
      assertThat(snapshotter.layers()).extracting(Layer::chainId).containsExactlyElementsOf(chain);
      assertThat(target.resolve("written")).hasContent("by the container");
    }
  }

  @Test
  void snapshotOfWhichNoRecordIsLeftStaysUntilItIsRemoved() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    snapshotter.hold("image:1", chain);
    Path upper = snapshotter.prepare("c1", chain).upper();
    Files.writeString(upper.resolve("written"), "by the container");
    Files.write(layout().snapshot("c1").resolve("snapshot.json"), new byte[10]);
    Files.write(layout().snapshot("c1").resolve("snapshot.copy.json"), new byte[10]);
    restart();
    snapshotter.hold("image:1", chain);
    snapshotter.removeUnreferenced();
    assertThat(upper.resolve("written")).hasContent("by the container");

    snapshotter.remove("c1");
    assertThat(names(layout().snapshots())).isEmpty();
  }

  @Test
  void layerWithoutARecordStaysAsLongAsItMayBeMounted() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    Snapshot _ = snapshotter.prepare("c1", chain);
    Path layer = layout().layer(chain.getLast());
    Files.write(layer.resolve("layer.json"), new byte[0]);
    Files.write(layer.resolve("manifest"), new byte[0]);
    restart();
    snapshotter.removeUnreferenced();
    assertThat(layer.resolve("fs/a")).hasContent("1");

    // A new one takes its place, and it goes with its last container.
    assertThat(commitFile(List.of(), "a", "1")).isEqualTo(chain);
    assertThat(names(layout().retired())).hasSize(1);
    snapshotter.remove("c1");
    assertThat(names(layout().retired())).isEmpty();
  }

  @Test
  void recordsOfALaterVersionAreRead() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    Path record = layout().layer(chain.getLast()).resolve("layer.json");
    String text = Files.readString(record);
    assertThat(text)
        .contains("\"formatVersion\" : 1")
        .contains("\"chainId\" : \"" + chain.getLast() + "\"");
    Files.writeString(
        record, text.replace("\"formatVersion\" : 1", "\"formatVersion\" : 2, \"verity\" : {}"));
    restart();
    assertThat(snapshotter.layers()).hasSize(1);
  }

  @Test
  void treeThatCantBeDeletedIsOwedAndSettledLater() throws Exception {
    List<Debt> owed = new ArrayList<>();
    OverlaySnapshotter overlay = new OverlaySnapshotter(rootDir, (debt, cause) -> owed.add(debt));
    snapshotter = overlay;
    Snapshot snapshot = overlay.prepare("c1", commitFile(List.of(), "a", "1"));
    Path busy = Files.createDirectories(snapshot.upper().resolve("d/busy"));
    Mounts.bind(folder, busy);
    overlay.remove("c1");

    assertThat(overlay.snapshots()).isEmpty();
    assertThat(owed).hasSize(1);
    assertThat(owed.getFirst().kind()).isEqualTo(OverlaySnapshotter.DELETE_TREE);
    Path left = Path.of(owed.getFirst().subject());
    assertThatThrownBy(() -> overlay.settle(owed.getFirst())).hasMessageContaining("EBUSY");
    // The mount moved along with the rename.
    Mounts.detach(left.resolve("upper/d/busy"));
    overlay.settle(owed.getFirst());
    overlay.settle(owed.getFirst());
    assertThat(left).doesNotExist();
  }

  @Test
  void debtsAboutOtherPlacesAreRefused() {
    OverlaySnapshotter overlay = new OverlaySnapshotter(rootDir, NO_DEBTS);
    for (String path : List.of("/", rootDir.toString(), rootDir + "/../other")) {
      assertThatThrownBy(() -> overlay.settle(new Debt(OverlaySnapshotter.DELETE_TREE, path)))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  @SuppressWarnings("MustBeClosedChecker") // closed one after another
  void folderNestedDeeperThanAnyPathIsRemovedAndCounted() throws Exception {
    Snapshot snapshot = snapshotter.prepare("c1", commitFile(List.of(), "a", "1"));
    String name = "d".repeat(200);
    try (RootedTree tree = RootedTree.open(snapshot.upper())) {
      Fd at = tree.openDirectory("");
      for (int i = 0; i < 300; i++) {
        tree.makeDirectory(at, name, 0755);
        Fd next = tree.openChild(at, name);
        at.close();
        at = next;
      }
      tree.makeSymlink(at, "link", "/");
      at.close();
    }
    assertThat(snapshotter.usage("c1", Long.MAX_VALUE).orElseThrow().inodes()).isEqualTo(301);
    snapshotter.remove("c1");
    assertThat(names(layout().trash())).isEmpty();
  }

  @Test
  void onFullDiskThingsCanStillBeRemovedAndOpened() throws Exception {
    try (FullableDisk disk = new FullableDisk(folder)) {
      rootDir = disk.mountPoint().resolve("root");
      restart();
      List<ChainId> chain =
          commit(List.of(), "big", root -> Files.write(root.resolve("big"), new byte[4 << 20]));
      snapshotter.hold("image:1", chain);
      Snapshot _ = snapshotter.prepare("c1", chain);
      disk.fill();

      assertThatThrownBy(() -> snapshotter.prepare("c2", chain)).satisfies(reason(Reason.NO_SPACE));
      ChainId other = new ChainId(Digest.sha256(new byte[] {5}));
      assertThatThrownBy(
              () -> {
                try (LayerDraft draft = snapshotter.draft(other, null, other.digest())) {
                  Layer _ = draft.commit();
                }
              })
          .satisfies(reason(Reason.NO_SPACE));
      restart();
      snapshotter.hold("image:1", chain);
      snapshotter.removeUnreferenced();
      assertThat(snapshotter.snapshots()).hasSize(1);
      snapshotter.remove("c1");
      snapshotter.release("image:1");
      assertThat(snapshotter.layers()).isEmpty();
      assertThat(names(layout().trash())).isEmpty();
      assertThat(commitFile(List.of(), "a", "there is room again")).hasSize(1);
    }
  }

  /** Power is lost: what the kernel hadn't written yet is gone. */
  @Test
  void committedLayersSurviveAPowerLossWhole() throws Exception {
    try (FullableDisk disk = new FullableDisk(folder)) {
      rootDir = disk.mountPoint().resolve("root");
      restart();
      byte[] content = new byte[100_000];
      java.util.Arrays.fill(content, (byte) 'x');
      List<ChainId> chain = List.of();
      for (int i = 0; i < 5; i++) {
        chain = commit(chain, "layer" + i, root -> Files.write(root.resolve("f"), content));
      }
      Digest unfinished = Digest.sha256(new byte[] {1});
      try (LayerDraft draft = snapshotter.draft(new ChainId(unfinished), null, unfinished)) {
        Files.write(draft.root().resolve("f"), content);
        disk.losePower();
      }
      restart();
      assertThat(snapshotter.layers())
          .extracting(Layer::chainId)
          .containsExactlyInAnyOrderElementsOf(chain);
      for (Layer layer : snapshotter.layers()) {
        assertThat(layer.path().resolve("f")).hasBinaryContent(content);
      }
    }
  }

  /** At each instant power could be lost, what is on the disk is looked at by another berthd. */
  @Test
  void whereverAPowerLossComesEachLayerIsWholeOrAbsent() throws Exception {
    try (FullableDisk disk = new FullableDisk(folder)) {
      rootDir = disk.mountPoint().resolve("root");
      restart();
      var random = new java.util.Random(1);
      List<ChainId> base = commitFile(List.of(), "base", "0");
      snapshotter.hold("image:base", base);
      int committed = 1;
      for (int instant = 0; instant < 50; instant++) {
        Digest diffId = Digest.sha256(("layer" + instant).getBytes(StandardCharsets.UTF_8));
        int least = committed;
        try (LayerDraft draft =
            snapshotter.draft(base.getFirst().then(diffId), base.getFirst(), diffId)) {
          for (int i = 0; i < 10; i++) {
            byte[] content = new byte[random.nextInt(20_000)];
            random.nextBytes(content);
            Path file = draft.root().resolve("f" + i);
            Files.write(file, content);
            if (random.nextBoolean()) {
              try (var fd = Fd.openRead(file)) {
                FileTree.startWriteback(fd); // part of it is on disk before the rest
              }
            }
          }
          switch (instant % 3) {
            case 0 -> disk.lookAfterPowerLoss(least);
            case 1 ->
                draft.deferToCommit(_ -> {
                  try {
                    disk.lookAfterPowerLoss(least);
                  } catch (Exception e) {
                    throw new AssertionError(e);
                  }
                });
            default -> {}
          }
          if (instant % 3 != 0) {
            Layer _ = draft.commit();
            snapshotter.hold("image:" + instant, List.of(base.getFirst().then(diffId)));
            committed++;
          }
        }
        if (instant % 3 == 2) {
          disk.lookAfterPowerLoss(committed);
        }
      }
    }
  }

  @Test
  void rootFolderOfAContainerIsLikeThatOfItsImage() throws Exception {
    List<ChainId> chain =
        commit(
            List.of(),
            "root",
            root -> {
              Files.setPosixFilePermissions(root, PosixFilePermissions.fromString("r-xr-x--x"));
              Files.setAttribute(root, "unix:uid", 7);
              Files.setAttribute(root, "unix:gid", 8);
            });
    Snapshot _ = snapshotter.prepare("c1", chain);
    Path target = target();
    snapshotter.mount("c1", target);
    assertThat(Files.getPosixFilePermissions(target))
        .isEqualTo(PosixFilePermissions.fromString("r-xr-x--x"));
    assertThat(Files.getAttribute(target, "unix:uid")).isEqualTo(7);
    assertThat(Files.getAttribute(target, "unix:gid")).isEqualTo(8);
  }

  @Test
  void nothingBelowIsReachableForOtherUsers() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    Snapshot _ = snapshotter.prepare("c1", chain);
    for (String name : names(rootDir)) {
      assertThat(Files.getPosixFilePermissions(rootDir.resolve(name)))
          .as(name)
          .isEqualTo(PosixFilePermissions.fromString("rwx------"));
    }
  }

  /** A small ext4 of its own, in a file. */
  private static final class FullableDisk implements AutoCloseable {
    private final Path image;
    private final Path mountPoint;
    private int losses;

    FullableDisk(Path folder) throws Exception {
      Needs.program("mkfs.ext4");
      image = folder.resolve("disk.img");
      mountPoint = Files.createDirectory(folder.resolve("disk"));
      run("truncate", "-s", "48M", image.toString());
      run("mkfs.ext4", "-q", "-m", "0", image.toString());
      mount(image);
    }

    Path mountPoint() {
      return mountPoint;
    }

    private void mount(Path file) throws Exception {
      // commit=1000: the journal isn't written for any other reason than a sync.
      run("mount", "-o", "loop,commit=1000", file.toString(), mountPoint.toString());
    }

    void fill() throws IOException {
      Path file = mountPoint.resolve("filler");
      byte[] chunk = new byte[1 << 20];
      try (var out = Files.newOutputStream(file)) {
        while (chunk.length > 0) {
          try {
            out.write(chunk);
          } catch (IOException e) {
            chunk = new byte[chunk.length / 2];
          }
        }
      }
    }

    /** Opens a copy of what is in the backing file at this moment, and compares all layers. */
    void lookAfterPowerLoss(int layers) throws Exception {
      Path copy = image.resolveSibling("lost.img");
      Path view = Files.createDirectories(image.resolveSibling("lost"));
      run("cp", "--sparse=always", image.toString(), copy.toString());
      run("mount", "-o", "loop,commit=1000", copy.toString(), view.toString());
      try {
        var other = new OverlaySnapshotter(view.resolve("root"), NO_DEBTS);
        assertThat(other.layers()).hasSize(layers);
        for (Layer layer : other.layers()) {
          assertThat(other.verify(layer.chainId(), Pace.unlimited()).flaws()).isEmpty();
        }
      } finally {
        run("umount", view.toString());
        Files.delete(copy);
      }
    }

    /** Goes on with what is in the backing file at this moment. */
    void losePower() throws Exception {
      Path copy = image.resolveSibling("disk" + ++losses + ".img");
      run("cp", image.toString(), copy.toString());
      run("umount", mountPoint.toString());
      mount(copy);
    }

    private static void run(String... argv) throws Exception {
      List<String> command =
          new ArrayList<>(List.of("/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"));
      command.addAll(List.of(argv));
      var result = Subprocess.command(command).run();
      assertThat(result.ok()).as("%s: %s", List.of(argv), result.err()).isTrue();
    }

    @Override
    public void close() {
      Mounts.detach(mountPoint); // the loop device goes with it
    }
  }
}
