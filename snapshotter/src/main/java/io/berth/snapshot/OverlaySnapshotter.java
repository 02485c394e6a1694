package io.berth.snapshot;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.linux.Debt;
import io.berth.linux.Debts;
import io.berth.linux.Errno;
import io.berth.linux.ErrnoException;
import io.berth.linux.FileTree;
import io.berth.linux.Mounts;
import io.berth.linux.Rollback;
import io.berth.linux.TreeUsage;
import io.berth.linux.UserNamespace;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.snapshot.SnapshotException.Reason;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Layers and snapshots as folders, mounted by overlayfs.
 *
 * <p>A snapshot's folder, with the record first of all in it, is what a restart goes by; a folder
 * without a usable record was half-made and is removed. Nothing of a snapshot is forced to disk: it
 * has to survive the daemon, but not the machine, because its container doesn't either, and
 * creating a container shouldn't wait for a disk.
 */
public final class OverlaySnapshotter implements Snapshotter {
  /** The debt of a tree that couldn't be deleted; {@link #settle} does it later. */
  public static final String DELETE_TREE = "delete-tree";

  static final FileAttribute<Set<PosixFilePermission>> PUBLIC =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x"));
  private static final FileAttribute<Set<PosixFilePermission>> PRIVATE =
      PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"));
  private static final Pattern KEY = Pattern.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,127}");
  private static final Logger log = LoggerFactory.getLogger(OverlaySnapshotter.class);

  private final SnapshotLayout layout;
  private final Debts debts;
  private final Trash trash;
  private final LayerLabels labels;
  private final LayerStore layers;
  private final ConcurrentMap<String, Snapshot> snapshots = new ConcurrentHashMap<>();

  /**
   * Learns what is on disk. What a crash left half-made is taken out of sight here and deleted by
   * {@link #removeUnreferenced}.
   *
   * @param rootDir made when missing; everything below it on one file system
   * @throws SnapshotException when it can't be read or written
   */
  public OverlaySnapshotter(Path rootDir, Debts debts) {
    this(rootDir, debts, Duration.ZERO, null);
  }

  /**
   * @param grace how long {@link #releaseLater} keeps layers that nobody holds any more
   * @param label the SELinux label that the files of layers have on disk; absent: as they are
   */
  public OverlaySnapshotter(Path rootDir, Debts debts, Duration grace, @Nullable String label) {
    this.layout = new SnapshotLayout(rootDir.toAbsolutePath());
    this.debts = debts;
    this.trash = new Trash(layout, debts);
    this.labels = new LayerLabels(label);
    this.layers = new LayerStore(layout, trash, labels, grace);
    try {
      for (Path folder :
          List.of(layout.staging(), layout.retired(), layout.snapshots(), layout.trash())) {
        Files.createDirectories(folder, PRIVATE);
      }
      for (int i = 0; i < 2; i++) {
        Files.createDirectories(layout.empty(i), PUBLIC);
      }
      for (Path folder :
          List.of(
              layout.layers(), layout.snapshots(), layout.trash(), layout.empty(0).getParent())) {
        Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("rwx------"));
      }
      labels.inherit(layout.layers());
      labels.inherit(layout.staging());
      layers.load();
      loadSnapshots();
    } catch (IOException | ErrnoException e) {
      throw failure("open the snapshots in " + rootDir, e);
    }
  }

  private void loadSnapshots() throws IOException {
    try (DirectoryStream<Path> folders = Files.newDirectoryStream(layout.snapshots())) {
      for (Path folder : folders) {
        if (!Files.isDirectory(SnapshotLayout.work(folder))) {
          log.warn("snapshot {} was half made when the daemon ended and is removed", folder);
          Path _ = trash.takeAway(folder);
          continue;
        }
        SnapshotRecord record = SnapshotFiles.read(folder);
        if (record == null) {
          continue; // stays with what was written into it, until its container is removed
        }
        snapshots.put(
            record.key(),
            new Snapshot(record.key(), record.layers(), SnapshotLayout.upper(folder)));
        layers.hold(owner(record.key()), record.layers());
      }
    }
  }

  /** Settles a debt of kind {@link #DELETE_TREE}. */
  public void settle(Debt debt) {
    Path tree = Path.of(debt.subject()).normalize();
    if (!tree.startsWith(layout.root()) || tree.equals(layout.root())) {
      throw new IllegalArgumentException("not a tree of " + layout.root() + ": " + tree);
    }
    FileTree.delete(tree);
  }

  @Override
  public Optional<Layer> layer(ChainId id) {
    return layers.find(id);
  }

  @Override
  public boolean isSound(ChainId id) {
    return layers.isSound(id);
  }

  @Override
  public Optional<LayerHealth> health(ChainId id) {
    return layers.health(id);
  }

  @Override
  public LayerHealth verify(ChainId id, Pace pace) throws InterruptedException {
    return layers.verify(id, pace);
  }

  @Override
  public Optional<Path> archiveRecord(ChainId id) {
    Path file = layout.layer(id).resolve(SnapshotLayout.ARCHIVE);
    return layers.find(id).isPresent() && Files.exists(file) ? Optional.of(file) : Optional.empty();
  }

  @Override
  public List<Layer> layers() {
    return layers.all();
  }

  @Override
  @MustBeClosed
  public LayerDraft draft(ChainId id, @Nullable ChainId parent, Digest diffId) {
    return layers.draft(id, parent, diffId);
  }

  @Override
  public void hold(String owner, List<ChainId> ids) {
    layers.hold(owner, ids);
  }

  @Override
  public void release(String owner) {
    layers.release(owner);
  }

  @Override
  public Map<String, Set<ChainId>> holds() {
    return layers.holds();
  }

  @Override
  public void releaseLater(String owner) {
    layers.releaseLater(owner);
  }

  @Override
  public Map<ChainId, Long> unreferenced() {
    return layers.unreferenced();
  }

  @Override
  public void removeUnreferenced(Duration age) {
    layers.removeUnreferenced(age);
    try {
      trash.empty();
    } catch (IOException e) {
      throw failure("empty " + layout.trash(), e);
    }
  }

  @Override
  public Snapshot prepare(String key, List<ChainId> layersBottomFirst) {
    String operation = "prepare snapshot " + key;
    if (!KEY.matcher(key).matches()) {
      throw new SnapshotException(
          Reason.KEY_REFUSED,
          operation + ": a key has letters, digits, _ . - and at most 128 of them");
    }
    Snapshot present = snapshots.get(key);
    if (present == null) {
      present =
          make(
              new Snapshot(key, layersBottomFirst, SnapshotLayout.upper(layout.snapshot(key))),
              operation);
    }
    if (!present.layers().equals(layersBottomFirst)) {
      throw new SnapshotException(
          Reason.KEY_REFUSED, operation + ": there is one of other layers, remove it first");
    }
    return present;
  }

  private Snapshot make(Snapshot snapshot, String operation) {
    Path folder = layout.snapshot(snapshot.key());
    // Callers serialise calls for one key; should two come through, mkdir lets one of them win.
    try {
      Files.createDirectory(folder, PRIVATE);
    } catch (IOException e) {
      Snapshot other = snapshots.get(snapshot.key());
      if (other != null) {
        return other;
      }
      throw failure(operation + " in " + folder, e);
    }
    try (Rollback rollback = new Rollback(operation, debts)) {
      rollback.add(
          new Debt(DELETE_TREE, folder.toString()), () -> trash.delete(trash.takeAway(folder)));
      rollback.add(
          new Debt("release", owner(snapshot.key())), () -> layers.release(owner(snapshot.key())));
      layers.hold(owner(snapshot.key()), snapshot.layers());
      List<Path> lowers = padded(layers.trees(snapshot.layers(), operation), 1, layout);
      SnapshotFiles.write(
          folder, new SnapshotRecord(SnapshotRecord.FORMAT, snapshot.key(), snapshot.layers()));
      Files.createDirectory(snapshot.upper(), PUBLIC);
      takeOverRootFolder(lowers.getFirst(), snapshot.upper());
      Files.createDirectory(SnapshotLayout.work(folder), PRIVATE);
      rollback.commit();
    } catch (IOException e) {
      throw failure(operation + " in " + folder, e);
    }
    snapshots.put(snapshot.key(), snapshot);
    return snapshot;
  }

  /**
   * A container's root folder has the owner and mode of the uppermost tree, which is the writable
   * one.
   */
  private static void takeOverRootFolder(Path lower, Path upper) throws IOException {
    var attributes = Files.readAttributes(lower, PosixFileAttributes.class);
    var view = Files.getFileAttributeView(upper, PosixFileAttributeView.class);
    view.setOwner(attributes.owner());
    view.setGroup(attributes.group());
    view.setPermissions(attributes.permissions());
  }

  @Override
  public void mount(String key, Path target, @Nullable UserNamespace ids, @Nullable String label) {
    String operation = "mount snapshot " + key + " on " + target;
    Snapshot snapshot = required(key, operation);
    List<Path> lowers = padded(layers.trees(snapshot.layers(), operation), 1, layout);
    Path work = SnapshotLayout.work(layout.snapshot(key));
    try {
      if (ids == null) {
        Mounts.overlay(target, lowers, snapshot.upper(), work, label);
      } else {
        takeOverRootOwner(lowers.getFirst(), snapshot.upper(), ids);
        Mounts.overlayMapped(target, lowers, snapshot.upper(), work, ids, label);
      }
    } catch (ErrnoException | IOException e) {
      throw failure(operation, e);
    }
  }

  private Snapshot required(String key, String operation) {
    Snapshot snapshot = snapshots.get(key);
    if (snapshot == null) {
      throw new SnapshotException(
          Reason.SNAPSHOT_MISSING, operation + ": there is no such snapshot, prepare it first");
    }
    return snapshot;
  }

  /**
   * The writable tree has the machine's ids, which are those of the user namespace seen outside.
   */
  private static void takeOverRootOwner(Path lower, Path upper, UserNamespace ids)
      throws IOException {
    int uid = (Integer) Files.getAttribute(lower, "unix:uid");
    int gid = (Integer) Files.getAttribute(lower, "unix:gid");
    Files.setAttribute(upper, "unix:uid", ids.uid(uid));
    Files.setAttribute(upper, "unix:gid", ids.gid(gid));
  }

  @Override
  public Path volume(String key, String name) {
    String operation = "make volume " + name + " of snapshot " + key;
    Snapshot _ = required(key, operation);
    if (!KEY.matcher(name).matches()) {
      throw new SnapshotException(
          Reason.KEY_REFUSED, operation + ": a name has letters, digits, _ . -");
    }
    try {
      Path volumes = Files.createDirectories(SnapshotLayout.volumes(layout.snapshot(key)), PRIVATE);
      return Files.createDirectories(volumes.resolve(name), PUBLIC);
    } catch (IOException e) {
      throw failure(operation, e);
    }
  }

  @Override
  public boolean mapsIds(UserNamespace ids) {
    // Tried, as kernels learnt it file system by file system, and overlayfs later than others.
    try {
      Path target = Files.createDirectories(layout.probe());
      Mounts.detach(target);
      Mounts.overlayMappedReadOnly(target, List.of(layout.empty(0), layout.empty(1)), ids, null);
      Mounts.detach(target);
      return true;
    } catch (ErrnoException e) {
      log.info("ids can't be mapped in root file systems: {}", e.getMessage());
      return false;
    } catch (IOException e) {
      throw failure("try to map ids", e);
    }
  }

  @Override
  public void mountReadOnly(
      List<ChainId> layersBottomFirst,
      Path target,
      @Nullable UserNamespace ids,
      @Nullable String label) {
    String operation = "mount " + layersBottomFirst.size() + " layers on " + target;
    List<Path> lowers = padded(layers.trees(layersBottomFirst, operation), 2, layout);
    try {
      if (ids == null) {
        Mounts.overlayReadOnly(target, lowers, label);
      } else {
        Mounts.overlayMappedReadOnly(target, lowers, ids, label);
      }
    } catch (ErrnoException e) {
      throw failure(operation, e);
    }
  }

  @Override
  public void unmount(Path target) {
    try {
      Mounts.detach(target);
    } catch (ErrnoException e) {
      throw failure("unmount " + target, e);
    }
  }

  @Override
  public Optional<Usage> usage(String key, long mostInodes) {
    Snapshot snapshot = snapshots.get(key);
    if (snapshot == null) {
      return Optional.of(Usage.NONE);
    }
    try {
      Optional<Usage> tree = count(snapshot.upper(), mostInodes);
      if (tree.isEmpty()) {
        return tree;
      }
      Path volumes = SnapshotLayout.volumes(layout.snapshot(key)); // most have none
      Usage sofar = tree.get();
      return count(volumes, mostInodes - sofar.inodes()).map(sofar::plus);
    } catch (ErrnoException e) {
      throw failure("count the room taken by snapshot " + key, e);
    }
  }

  private static Optional<Usage> count(Path folder, long mostInodes) {
    return TreeUsage.of(folder, mostInodes).map(usage -> new Usage(usage.bytes(), usage.inodes()));
  }

  @Override
  public void remove(String key) {
    Snapshot snapshot = snapshots.remove(key);
    if (snapshot != null) {
      trash.delete(trash.takeAway(layout.snapshot(key)));
      layers.release(owner(key));
    } else if (KEY.matcher(key).matches() && Files.exists(layout.snapshot(key))) {
      trash.delete(trash.takeAway(layout.snapshot(key))); // one whose record couldn't be read
    }
  }

  @Override
  public List<Snapshot> snapshots() {
    return List.copyOf(snapshots.values());
  }

  private static String owner(String key) {
    return "snapshot:" + key;
  }

  /**
   * Fills a stack up with empty folders. A writable overlay needs one lower folder, a read-only one
   * two; a single layer is padded rather than bind-mounted, because a bind mount could be made
   * writable again.
   */
  static List<Path> padded(List<Path> trees, int least, SnapshotLayout layout) {
    List<Path> lowers = new ArrayList<>(trees);
    while (lowers.size() < least) {
      lowers.add(layout.empty(lowers.size()));
    }
    return lowers;
  }

  static SnapshotException failure(String operation, Exception cause) {
    boolean full =
        cause instanceof ErrnoException e
            ? e.is(Errno.ENOSPC) || e.is(Errno.EDQUOT)
            : String.valueOf(cause.getMessage()).contains("No space left");
    return new SnapshotException(
        full ? Reason.NO_SPACE : Reason.FILE_SYSTEM,
        operation + ": " + cause.getMessage() + (full ? ", remove images or containers" : ""),
        cause);
  }
}
