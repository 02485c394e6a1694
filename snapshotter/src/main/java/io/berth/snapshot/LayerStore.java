package io.berth.snapshot;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.linux.AtomicFile;
import io.berth.linux.ErrnoException;
import io.berth.linux.Mounts;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.oci.Json;
import io.berth.snapshot.SnapshotException.Reason;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The one owner of layers and of who holds them.
 *
 * <p>A layer's record lies in its folder and comes into place with it, by one rename: so there is
 * no moment at which a crash leaves a tree without a record or a record without a tree.
 *
 * <p>{@code catalog} orders commits and removals, and is held over a rename and its fsync; {@code
 * holding} guards the holds and is never held over the disk, so that preparing a snapshot doesn't
 * wait for a pull. Lock order: catalog, then holding.
 */
final class LayerStore {
  private static final Logger log = LoggerFactory.getLogger(LayerStore.class);

  private final SnapshotLayout layout;
  private final Trash trash;
  private final ConcurrentMap<ChainId, Layer> layers = new ConcurrentHashMap<>();
  private final ReentrantLock catalog = new ReentrantLock();
  private final ReentrantLock holding = new ReentrantLock();
  private final Map<String, Set<ChainId>> holds = new HashMap<>();
  private final Map<ChainId, Integer> holders = new HashMap<>();

  LayerStore(SnapshotLayout layout, Trash trash) {
    this.layout = layout;
    this.trash = trash;
  }

  /** Learns what is on disk, and takes away what a crash left half-made. */
  void load() throws IOException {
    try (DirectoryStream<Path> drafts = Files.newDirectoryStream(layout.staging())) {
      for (Path draft : drafts) {
        Mounts.detach(SnapshotLayout.parentMount(draft));
        Path _ = trash.takeAway(draft);
      }
    }
    try (DirectoryStream<Path> folders =
        Files.newDirectoryStream(layout.layers(), f -> !f.equals(layout.staging()))) {
      for (Path folder : folders) {
        try {
          LayerRecord record =
              Json.read(
                  Files.readAllBytes(folder.resolve(SnapshotLayout.LAYER_RECORD)),
                  LayerRecord.class,
                  "layer record");
          if (!layout.layer(record.chainId()).equals(folder)) {
            throw new IllegalArgumentException("it is about " + record.chainId());
          }
          layers.put(record.chainId(), layer(record));
        } catch (IOException | IllegalArgumentException e) {
          log.error(
              "layer {} has no usable record and is removed, pull its image again: {}",
              folder,
              e.toString());
          Path _ = trash.takeAway(folder);
        }
      }
    }
  }

  Optional<Layer> find(ChainId id) {
    return Optional.ofNullable(layers.get(id));
  }

  List<Layer> all() {
    return List.copyOf(layers.values());
  }

  /** The trees of a stack, uppermost first, as overlayfs wants them. */
  List<Path> trees(List<ChainId> bottomFirst, String operation) {
    List<Path> trees = new ArrayList<>(bottomFirst.size());
    for (ChainId id : bottomFirst.reversed()) {
      trees.add(required(id, operation).path());
    }
    return trees;
  }

  private Layer required(ChainId id, String operation) {
    Layer layer = layers.get(id);
    if (layer == null) {
      throw new SnapshotException(
          Reason.LAYER_MISSING,
          operation + ": layer " + id + " is not on disk, pull the image again");
    }
    return layer;
  }

  void hold(String owner, Collection<ChainId> ids) {
    holding.lock();
    try {
      Set<ChainId> held = holds.computeIfAbsent(owner, o -> new LinkedHashSet<>());
      for (ChainId id : ids) {
        if (held.add(id)) {
          holders.merge(id, 1, Integer::sum);
        }
      }
    } finally {
      holding.unlock();
    }
  }

  /** Ends an owner's holds and removes the layers that were held by nobody else. */
  void release(String owner) {
    List<ChainId> freed = new ArrayList<>();
    holding.lock();
    try {
      Set<ChainId> held = holds.remove(owner);
      if (held == null) {
        return;
      }
      for (ChainId id : held) {
        if (holders.computeIfPresent(id, (i, n) -> n == 1 ? null : n - 1) == null) {
          freed.add(id);
        }
      }
    } finally {
      holding.unlock();
    }
    remove(freed.reversed());
  }

  void removeUnreferenced() {
    remove(layers.keySet());
  }

  /** Removes those of the layers that nobody holds, be it since a moment ago. */
  private void remove(Collection<ChainId> candidates) {
    List<Path> gone = new ArrayList<>();
    catalog.lock();
    try {
      for (ChainId id : candidates) {
        Layer layer = forgetUnlessHeld(id);
        if (layer != null) {
          gone.add(trash.takeAway(layout.layer(id)));
        }
      }
    } finally {
      catalog.unlock();
    }
    gone.forEach(trash::delete);
  }

  private @Nullable Layer forgetUnlessHeld(ChainId id) {
    holding.lock();
    try {
      return holders.containsKey(id) ? null : layers.remove(id);
    } finally {
      holding.unlock();
    }
  }

  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // the annotation passes the duty on to the caller
  LayerDraft draft(ChainId id, @Nullable ChainId parent, Digest diffId) {
    Path folder = layout.newDraft();
    try {
      Files.createDirectory(folder);
      Path tree = SnapshotLayout.tree(folder);
      Files.createDirectory(tree, OverlaySnapshotter.PUBLIC);
      return new Draft(folder, tree, id, parent, diffId);
    } catch (IOException e) {
      trash.delete(folder);
      throw OverlaySnapshotter.failure("begin layer " + id + " in " + folder, e);
    }
  }

  private Layer layer(LayerRecord record) {
    return new Layer(
        record.chainId(),
        record.parent(),
        record.diffId(),
        new Usage(record.bytes(), record.inodes()),
        SnapshotLayout.tree(layout.layer(record.chainId())));
  }

  private final class Draft implements LayerDraft {
    private final Path folder;
    private final Path tree;
    private final ChainId id;
    private final @Nullable ChainId parent;
    private final Digest diffId;
    private final List<DeferredWork> deferred = new ArrayList<>();
    private boolean closed;

    Draft(Path folder, Path tree, ChainId id, @Nullable ChainId parent, Digest diffId) {
      this.folder = folder;
      this.tree = tree;
      this.id = id;
      this.parent = parent;
      this.diffId = diffId;
    }

    @Override
    public Path root() {
      return tree;
    }

    @Override
    public @Nullable ChainId parent() {
      return parent;
    }

    @Override
    public void deferToCommit(DeferredWork work) {
      if (parent == null) {
        throw new IllegalStateException("layer " + id + " has no parent to wait for");
      }
      deferred.add(work);
    }

    @Override
    public Layer commit(Usage filled) throws InterruptedException {
      if (closed) {
        throw new IllegalStateException("the draft of layer " + id + " is closed");
      }
      Layer present = layers.get(id);
      if (present != null) {
        return present;
      }
      try {
        return OffCarrier.run("commit " + id.digest().abbreviated(), () -> complete(filled));
      } catch (IOException | ErrnoException e) {
        throw OverlaySnapshotter.failure("commit layer " + id + " in " + folder, e);
      }
    }

    /**
     * The record before the sync, the sync before the rename, the rename durable before it's told.
     */
    private Layer complete(Usage filled) throws InterruptedException, IOException {
      Usage usage = filled;
      if (parent != null) {
        usage = usage.plus(runDeferred(required(parent, "commit layer " + id)));
      }
      LayerRecord record =
          new LayerRecord(LayerRecord.FORMAT, id, parent, diffId, usage.bytes(), usage.inodes());
      Files.write(
          folder.resolve(SnapshotLayout.LAYER_RECORD),
          Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsBytes(record));
      AtomicFile.syncFileSystem(folder);
      return publish(record);
    }

    private Layer publish(LayerRecord record) throws IOException {
      catalog.lock();
      try {
        Layer first = layers.get(id);
        if (first != null) {
          return first;
        }
        Files.move(folder, layout.layer(id), StandardCopyOption.ATOMIC_MOVE);
        closed = true;
        try {
          AtomicFile.syncFolder(layout.layers());
        } catch (ErrnoException e) {
          trash.delete(trash.takeAway(layout.layer(id)));
          throw e;
        }
        Layer layer = layer(record);
        layers.put(id, layer);
        return layer;
      } finally {
        catalog.unlock();
      }
    }

    private Usage runDeferred(Layer below) throws InterruptedException, IOException {
      if (deferred.isEmpty()) {
        return Usage.NONE;
      }
      List<ChainId> stack = new ArrayList<>();
      for (Layer at = below;
          at != null;
          at = at.parent() == null ? null : required(at.parent(), "commit layer " + id)) {
        stack.addFirst(at.chainId());
      }
      Path view = SnapshotLayout.parentMount(folder);
      Files.createDirectory(view);
      Usage added = Usage.NONE;
      try {
        Mounts.overlayReadOnly(
            view, OverlaySnapshotter.padded(trees(stack, "commit layer " + id), 2, layout), null);
        for (DeferredWork work : deferred) {
          added = added.plus(work.run(view));
        }
      } finally {
        Mounts.detach(view);
      }
      Files.delete(view);
      return added;
    }

    @Override
    public void close() {
      if (!closed) {
        closed = true;
        trash.delete(trash.takeAway(folder));
      }
    }
  }
}
