package io.berth.snapshot;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.linux.UserNamespace;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Keeps layers, and mounts root file systems made of them.
 *
 * <p><b>A layer</b> is named by its chain ID. It begins as a draft, which is filled in private and
 * then committed; from then on it never changes. It lives as long as an owner holds it. An owner is
 * any name; by convention {@code pull:N} while a pull works, {@code image:ID} afterwards, and the
 * snapshotter itself holds the layers of each snapshot.
 *
 * <pre>{@code
 * snapshotter.hold("pull:7", chain);                  // first hold, then look: nothing seen can vanish
 * for (each layer of the chain, in any order)
 *   if (snapshotter.layer(chainId).isEmpty())
 *     try (LayerDraft draft = snapshotter.draft(chainId, parent, diffId)) {
 *       ... fill draft.root() ...;
 *       ... wait until the parent is committed ...;
 *       draft.commit();                               // durable, then visible
 *     }
 * snapshotter.hold("image:sha256:…", chain);
 * snapshotter.release("pull:7");
 * }</pre>
 *
 * <p><b>A snapshot</b> is a writable tree over a stack of layers, named by a key.
 *
 * <pre>{@code
 * snapshotter.prepare(containerId, chain);            // makes the writable folder and holds the layers
 * snapshotter.mount(containerId, rootfs);             // as often as needed, for example after a reboot
 * ...
 * snapshotter.unmount(rootfs);
 * snapshotter.remove(containerId);
 * }</pre>
 *
 * <p><b>After a restart</b> layers and snapshots are as they were, drafts are gone, and only the
 * snapshots' holds are known. Every other owner declares its holds anew, and then {@link
 * #removeUnreferenced(Duration)} is called.
 *
 * <p>Safe for use by many threads. Reads ({@link #layer}, {@link #layers}, {@link #snapshots}) take
 * no lock. Everything else may block on the disk.
 */
public interface Snapshotter {

  /** Whether the layer is committed. */
  default boolean hasLayer(ChainId id) {
    return layer(id).isPresent();
  }

  Optional<Layer> layer(ChainId id);

  /**
   * Whether the layer is committed and not known to be damaged. A damaged one can still be mounted;
   * a draft of it takes its place.
   */
  boolean isSound(ChainId id);

  /** What the last {@link #verify} of a layer found, also of an earlier process. */
  Optional<LayerHealth> health(ChainId id);

  /**
   * Compares a layer on disk with the manifest that was written when it was made. Reads all of it,
   * at low priority; from a virtual thread without holding its carrier.
   *
   * @param pace for all layers that the caller verifies
   * @throws SnapshotException LAYER_MISSING
   */
  LayerHealth verify(ChainId id, Pace pace) throws InterruptedException;

  /** What was laid into {@link LayerDraft#archiveRecord} of a committed layer, if anything was. */
  Optional<Path> archiveRecord(ChainId id);

  /** Every committed layer, in no order. */
  List<Layer> layers();

  /**
   * Begins a layer. The parent need not exist before the commit.
   *
   * @throws SnapshotException NO_SPACE, FILE_SYSTEM
   */
  @MustBeClosed
  LayerDraft draft(ChainId id, @Nullable ChainId parent, Digest diffId);

  /**
   * Keeps these layers as long as the owner holds them, those too that aren't committed yet. Holds
   * add up.
   */
  void hold(String owner, List<ChainId> layers);

  /**
   * Ends all holds of an owner, and removes the layers that nobody holds any more. Unknown owners
   * are fine. Needs no free space; a layer that can't be deleted is gone from here and owed to the
   * debts.
   */
  void release(String owner);

  /**
   * Ends all holds of an owner that gave up before its work was done. Layers that nobody holds any
   * more stay for the grace period that the snapshotter was made with, as the next try would bring
   * the same; a hold in that time keeps them, {@link #removeUnreferenced} ends it.
   */
  void releaseLater(String owner);

  /** The layers that nobody holds, and since when, in milliseconds since the epoch. */
  Map<ChainId, Long> unreferenced();

  /** Every owner with the layers that it holds, at one moment. */
  Map<String, Set<ChainId>> holds();

  /** Removes all layers that no owner holds; not before every owner has declared itself. */
  default void removeUnreferenced() {
    removeUnreferenced(Duration.ZERO);
  }

  /**
   * Removes the layers that no owner has held for a time. To be called once after a start, when
   * every owner has declared itself, and from then on as often as wanted.
   *
   * @param age of this process: what nobody claims after a start counts from the start
   */
  void removeUnreferenced(Duration age);

  /**
   * Makes a writable tree over the layers, which it holds from now on. Preparing the same again
   * gives the same snapshot.
   *
   * @param key letters, digits, {@code _ . -}
   * @throws SnapshotException LAYER_MISSING, KEY_REFUSED, NO_SPACE, FILE_SYSTEM; nothing is left
   *     behind
   */
  Snapshot prepare(String key, List<ChainId> layersBottomFirst);

  /**
   * Mounts the snapshot, writable: a read-only root is made so by the runtime, after it has put
   * mount points into it.
   *
   * @throws SnapshotException SNAPSHOT_MISSING, LAYER_MISSING, FILE_SYSTEM
   */
  default void mount(String key, Path target) {
    mount(key, target, null, null);
  }

  /**
   * As {@link #mount(String, Path)}, the layers' files belonging to the users of a user namespace.
   *
   * @param ids absent: as the layers have them
   * @param label the SELinux label that all files have, absent: each its own
   * @throws SnapshotException SNAPSHOT_MISSING, LAYER_MISSING, FILE_SYSTEM, the last also where the
   *     file system or the kernel can't map ids
   */
  void mount(String key, Path target, @Nullable UserNamespace ids, @Nullable String label);

  /**
   * A folder beside the writable tree that is removed with the snapshot, for what shall outlive no
   * container but isn't part of its root. Made when missing.
   *
   * @param name letters, digits, {@code _ . -}
   * @throws SnapshotException SNAPSHOT_MISSING, KEY_REFUSED, NO_SPACE, FILE_SYSTEM
   */
  Path volume(String key, String name);

  /**
   * Whether {@link #mount(String, Path, UserNamespace, String)} maps ids here: a question of the
   * kernel and of the file system under the layers.
   */
  boolean mapsIds(UserNamespace ids);

  /** As {@link #mountReadOnly(List, Path, UserNamespace, String)}, with what the layers have. */
  default void mountReadOnly(List<ChainId> layersBottomFirst, Path target) {
    mountReadOnly(layersBottomFirst, target, null, null);
  }

  /**
   * Mounts the layers alone, so that nobody can ever write: for images used as volumes. The caller
   * holds the layers as long as it is mounted.
   *
   * @param ids as in {@link #mount(String, Path, UserNamespace, String)}, likewise the label
   * @throws SnapshotException LAYER_MISSING, FILE_SYSTEM
   */
  void mountReadOnly(
      List<ChainId> layersBottomFirst,
      Path target,
      @Nullable UserNamespace ids,
      @Nullable String label);

  /** Undoes a mount; what isn't mounted is fine. */
  void unmount(Path target);

  /**
   * Room taken by what was written into the snapshot, counted now: a walk over it. An unknown key
   * takes none.
   *
   * @param mostInodes gives up when there are more, so that the walk is short
   * @return empty when it gave up
   * @throws SnapshotException FILE_SYSTEM
   */
  Optional<Usage> usage(String key, long mostInodes);

  /**
   * Removes a snapshot and what was written into it, and layers that it alone held. Unknown keys
   * are fine. Needs no free space. It must not be mounted.
   */
  void remove(String key);

  /** Every snapshot, in no order. */
  List<Snapshot> snapshots();
}
