package io.berth.snapshot;

import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.RootedTree;
import io.berth.snapshot.LayerHealth.Flaw;
import io.berth.snapshot.LayerManifest.Entry;
import java.io.EOFException;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import org.jspecify.annotations.Nullable;

/** Compares a layer on disk with its manifest, both as streams. */
final class LayerCheck {
  private static final int MOST_FLAWS = 100;

  private final RootedTree tree;
  private final LayerManifest.Reader manifest;
  private final FileContent content;
  private final List<Flaw> flaws = new ArrayList<>();

  /** Digests of inodes with several names, which are read once. */
  private final Map<Long, byte[]> linked = new HashMap<>();

  private long flawCount;
  private long files;

  private LayerCheck(RootedTree tree, LayerManifest.Reader manifest, Pace pace) {
    this.tree = tree;
    this.manifest = manifest;
    this.content = new FileContent(pace);
  }

  /**
   * Works on the folder that has this path now, even if another one comes into its place meanwhile.
   *
   * @param now milliseconds since the epoch
   */
  static LayerHealth run(Path layerFolder, Pace pace, long now) throws InterruptedException {
    try (RootedTree layer = RootedTree.open(layerFolder)) {
      Path pinned = layer.root().procPath();
      try (LayerManifest.Reader manifest =
              new LayerManifest.Reader(pinned.resolve(SnapshotLayout.MANIFEST));
          RootedTree tree = RootedTree.open(SnapshotLayout.tree(pinned))) {
        var check = new LayerCheck(tree, manifest, pace);
        check.root();
        return new LayerHealth(
            now, true, check.files, check.content.bytes(), check.flawCount, check.flaws);
      }
    } catch (NoSuchFileException e) {
      return new LayerHealth(now, false, 0, 0, 0, List.of());
    } catch (IOException | ErrnoException e) {
      String why =
          e instanceof EOFException ? "has a manifest that ends early" : "can't be compared: " + e;
      return new LayerHealth(now, true, 0, 0, 1, List.of(new Flaw("", why)));
    }
  }

  private void root() throws IOException, InterruptedException {
    Entry expected = manifest.next();
    if (expected == null || expected.kind() != LayerManifest.FOLDER) {
      throw new LayerManifest.Damaged("the manifest doesn't begin with the root folder");
    }
    try (Fd folder = tree.openDirectory("")) {
      compare(folder, ".", "", expected, tree.stat(folder, ""));
      folder(folder, "");
    }
    if (manifest.next() != null) {
      throw new LayerManifest.Damaged("the manifest goes on behind the root folder");
    }
    Usage _ = manifest.usage();
  }

  /** Goes through what is there and what should be there side by side, by name. */
  private void folder(Fd folder, String path) throws IOException, InterruptedException {
    List<String> there = LayerSurvey.names(tree, folder);
    int next = 0;
    for (Entry expected = manifest.next(); expected != null; expected = manifest.next()) {
      while (next < there.size() && there.get(next).compareTo(expected.name()) < 0) {
        flaw(join(path, there.get(next++)), "doesn't belong to it");
      }
      String child = join(path, expected.name());
      if (next == there.size() || !there.get(next).equals(expected.name())) {
        flaw(child, "is missing");
        skip(expected);
        continue;
      }
      next++;
      entry(folder, child, expected);
    }
    while (next < there.size()) {
      flaw(join(path, there.get(next++)), "doesn't belong to it");
    }
  }

  private void entry(Fd folder, String path, Entry expected)
      throws IOException, InterruptedException {
    try {
      RootedTree.Stat stat = tree.stat(folder, expected.name());
      if (compare(folder, expected.name(), path, expected, stat) && stat.isDirectory()) {
        try (Fd child = tree.openChild(folder, expected.name())) {
          folder(child, path); // lists it before it reads on: what it throws is still to be skipped
          return;
        }
      }
    } catch (ErrnoException e) { // EIO, EUCLEAN: the file system itself is damaged here
      flaw(path, "can't be read: " + e.getMessage());
    }
    skip(expected);
  }

  private void skip(Entry expected) throws IOException {
    if (expected.kind() == LayerManifest.FOLDER) {
      manifest.skipFolder();
    }
  }

  /** False when it is something else altogether. */
  private boolean compare(Fd folder, String name, String path, Entry expected, RootedTree.Stat stat)
      throws InterruptedException {
    byte kind =
        expected.kind() == LayerManifest.SPARSE && stat.isRegular()
            ? LayerManifest.SPARSE
            : LayerSurvey.kind(stat);
    if (kind != expected.kind()) {
      flaw(path, "is " + word(kind) + " instead of " + word(expected.kind()));
      return false;
    }
    Entry actual = LayerSurvey.described(tree, folder, name, "", stat, kind, Entry.NONE);
    if (actual.mode() != expected.mode()) {
      flaw(path, "has mode %o instead of %o".formatted(actual.mode(), expected.mode()));
    }
    if (actual.uid() != expected.uid() || actual.gid() != expected.gid()) {
      flaw(
          path,
          "belongs to %d:%d instead of %d:%d"
              .formatted(actual.uid(), actual.gid(), expected.uid(), expected.gid()));
    }
    if (!equal(actual.attributes(), expected.attributes())) {
      flaw(
          path,
          "has the attributes "
              + actual.attributes().keySet()
              + " instead of "
              + expected.attributes().keySet()
              + ", or other values");
    }
    if (!actual.target().equals(expected.target())) {
      flaw(path, "links to " + actual.target() + " instead of " + expected.target());
    }
    if (actual.major() != expected.major() || actual.minor() != expected.minor()) {
      flaw(path, "is another device");
    }
    if (expected.isFile()) {
      compareContent(folder, name, path, expected, stat);
    }
    return true;
  }

  private void compareContent(
      Fd folder, String name, String path, Entry expected, RootedTree.Stat stat)
      throws InterruptedException {
    if (stat.size() != expected.size()) {
      flaw(path, "has " + stat.size() + " bytes instead of " + expected.size());
      return;
    }
    byte @Nullable [] digest = linked.get(stat.inode());
    if (digest == null) {
      try (Fd file = tree.openFile(folder, name)) {
        digest =
            expected.kind() == LayerManifest.SPARSE
                ? content.sparseDigest(file)
                : content.digest(file);
      }
      files++;
      if (stat.links() > 1) {
        linked.put(stat.inode(), digest);
      }
    }
    if (!Arrays.equals(digest, expected.digest())) {
      flaw(path, "has other content");
    }
  }

  private static boolean equal(SortedMap<String, byte[]> a, SortedMap<String, byte[]> b) {
    return a.keySet().equals(b.keySet())
        && a.entrySet().stream().allMatch(e -> Arrays.equals(e.getValue(), b.get(e.getKey())));
  }

  private static String word(byte kind) {
    return switch (kind) {
      case LayerManifest.FILE, LayerManifest.SPARSE -> "a file";
      case LayerManifest.FOLDER -> "a folder";
      case LayerManifest.LINK -> "a symbolic link";
      case LayerManifest.CHARACTER_DEVICE, LayerManifest.BLOCK_DEVICE -> "a device";
      case LayerManifest.FIFO -> "a fifo";
      default -> "a socket";
    };
  }

  private static String join(String folder, String name) {
    return folder.isEmpty() ? name : folder + "/" + name;
  }

  private void flaw(String path, String what) {
    if (flawCount++ < MOST_FLAWS) {
      flaws.add(new Flaw(path, what));
    }
  }
}
