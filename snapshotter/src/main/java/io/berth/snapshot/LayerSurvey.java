package io.berth.snapshot;

import io.berth.linux.Fd;
import io.berth.linux.RootedTree;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.snapshot.LayerManifest.Entry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * A walk over a layer's tree that writes its manifest and counts the room it takes. The tree was
 * just made and lies in the page cache, so this costs calls and no disk; contents whose digests are
 * known are not read.
 */
final class LayerSurvey {
  /** A label of the machine and not of the image, which an administrator may change at any time. */
  private static final String MACHINE_LABEL = "security.selinux";

  private static final int S_IFMT = 0170000;
  private static final long BLOCK = 4096;

  private final RootedTree tree;
  private final LayerManifest.Writer manifest;
  private final LayerDigests digests;
  private final FileContent content = new FileContent(Pace.unlimited());

  /** Inodes of several names, counted once. */
  private final Set<Long> linked = new HashSet<>();

  private final Map<Long, byte[]> read = new HashMap<>();
  private long blocks;
  private long inodes;

  private LayerSurvey(RootedTree tree, LayerManifest.Writer manifest, LayerDigests digests) {
    this.tree = tree;
    this.manifest = manifest;
    this.digests = digests;
  }

  /**
   * @return room that the tree takes, its root folder with it
   */
  static Usage write(Path root, Path manifestFile, LayerManifest.Head head, LayerDigests digests)
      throws IOException, InterruptedException {
    try (RootedTree tree = RootedTree.open(root);
        LayerManifest.Writer manifest = new LayerManifest.Writer(manifestFile, head)) {
      var survey = new LayerSurvey(tree, manifest, digests);
      try (Fd folder = tree.openDirectory("")) {
        RootedTree.Stat stat = tree.stat(folder, "");
        survey.count(stat);
        manifest.entry(survey.entry(folder, ".", "", stat));
        survey.folder(folder);
      }
      manifest.folderEnd();
      Usage usage = new Usage(survey.blocks * 512, survey.inodes);
      manifest.end(usage);
      return usage;
    }
  }

  /**
   * The record of a layer: with the folder that holds everything, the manifest, what is kept of the
   * archive, and the record itself, which takes one block.
   *
   * @param folder of the layer or draft
   */
  static LayerRecord record(
      ChainId id, @Nullable ChainId parent, Digest diffId, Usage tree, Path folder)
      throws IOException {
    long blocks = 2 + Math.ceilDiv(Files.size(folder.resolve(SnapshotLayout.MANIFEST)), BLOCK);
    long inodes = 3;
    Path archive = folder.resolve(SnapshotLayout.ARCHIVE);
    if (Files.exists(archive)) {
      blocks += Math.ceilDiv(Files.size(archive), BLOCK);
      inodes++;
    }
    return new LayerRecord(
        LayerRecord.FORMAT,
        id,
        parent,
        diffId,
        tree.bytes() + blocks * BLOCK,
        tree.inodes() + inodes);
  }

  /** The record of a layer, as its manifest tells it. */
  static LayerRecord record(Path folder) throws IOException {
    try (LayerManifest.Reader manifest =
        new LayerManifest.Reader(folder.resolve(SnapshotLayout.MANIFEST))) {
      if (manifest.next() != null) {
        manifest.skipFolder();
      }
      if (manifest.next() != null) {
        throw new LayerManifest.Damaged("the manifest goes on behind the root folder");
      }
      LayerManifest.Head head = manifest.head();
      return record(head.chainId(), head.parent(), head.diffId(), manifest.usage(), folder);
    }
  }

  private void folder(Fd folder) throws IOException, InterruptedException {
    for (String name : names(tree, folder)) {
      if (Thread.interrupted()) {
        throw new InterruptedException("looking over a layer was interrupted");
      }
      RootedTree.Stat stat = tree.stat(folder, name);
      count(stat);
      manifest.entry(entry(folder, name, name, stat));
      if (stat.isDirectory()) {
        try (Fd child = tree.openChild(folder, name)) {
          folder(child);
        }
        manifest.folderEnd();
      }
    }
  }

  private void count(RootedTree.Stat stat) {
    if (stat.isDirectory() || stat.links() == 1 || linked.add(stat.inode())) {
      inodes++;
      blocks += stat.blocks();
    }
  }

  private Entry entry(Fd folder, String name, String shown, RootedTree.Stat stat)
      throws InterruptedException {
    byte kind = kind(stat);
    byte[] digest = Entry.NONE;
    if (stat.isRegular()) {
      byte[] known = digests.get(stat.inode());
      if (known == null) {
        if (hasHoles(stat)) {
          kind = LayerManifest.SPARSE;
        }
        known = digest(folder, name, stat, kind);
      }
      digest = known;
    }
    return described(tree, folder, name, shown, stat, kind, digest);
  }

  /** Or is stored compressed, for which the digest does as well. */
  private static boolean hasHoles(RootedTree.Stat stat) {
    return stat.blocks() * 512 + BLOCK < stat.size();
  }

  private byte[] digest(Fd folder, String name, RootedTree.Stat stat, byte kind)
      throws InterruptedException {
    byte[] before = stat.links() > 1 ? read.get(stat.inode()) : null;
    if (before != null) {
      return before;
    }
    try (Fd file = tree.openFile(folder, name)) {
      byte[] digest =
          kind == LayerManifest.SPARSE ? content.sparseDigest(file) : content.digest(file);
      if (stat.links() > 1) {
        read.put(stat.inode(), digest);
      }
      return digest;
    }
  }

  /** In the order of their characters. */
  static List<String> names(RootedTree tree, Fd folder) {
    List<String> names = new ArrayList<>();
    tree.list(folder).forEach(entry -> names.add(entry.name()));
    names.sort(null);
    return names;
  }

  static byte kind(RootedTree.Stat stat) {
    return switch (stat.mode() & S_IFMT) {
      case 0100000 -> LayerManifest.FILE;
      case 0040000 -> LayerManifest.FOLDER;
      case 0120000 -> LayerManifest.LINK;
      case 0020000 -> LayerManifest.CHARACTER_DEVICE;
      case 0060000 -> LayerManifest.BLOCK_DEVICE;
      case 0010000 -> LayerManifest.FIFO;
      default -> LayerManifest.SOCKET;
    };
  }

  /** An entry as it is on disk now. */
  static Entry described(
      RootedTree tree,
      Fd folder,
      String name,
      String shown,
      RootedTree.Stat stat,
      byte kind,
      byte[] digest) {
    SortedMap<String, byte[]> attributes = new TreeMap<>();
    for (String attribute : tree.listXattrs(folder, name)) {
      if (!attribute.equals(MACHINE_LABEL)) {
        byte @Nullable [] value = tree.getXattr(folder, name, attribute).orElse(null);
        if (value != null) {
          attributes.put(attribute, value);
        }
      }
    }
    boolean device = kind == LayerManifest.CHARACTER_DEVICE || kind == LayerManifest.BLOCK_DEVICE;
    return new Entry(
        kind,
        shown,
        stat.permissions(),
        stat.uid(),
        stat.gid(),
        attributes,
        stat.isRegular() ? stat.size() : 0,
        digest,
        stat.isSymlink() ? tree.readLink(folder, name) : "",
        device ? stat.major() : 0,
        device ? stat.minor() : 0);
  }
}
