package io.berth.snapshot;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.errorprone.annotations.MustBeClosed;
import io.berth.linux.AtomicFile;
import io.berth.linux.ErrnoException;
import io.berth.linux.FileTree;
import io.berth.linux.LowPriority;
import io.berth.linux.Mounts;
import io.berth.linux.Seal;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.oci.Json;
import io.berth.snapshot.SnapshotException.Reason;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicLong;
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
 * <p>A layer that is found damaged stays, marked so in its folder, until a draft of it takes its
 * place: the two folders change places in one step, and the damaged one is kept aside as long as
 * anybody who may have it mounted holds the layer. What overlayfs is mounted from must not change.
 *
 * <p>{@code catalog} orders commits and removals, and is held over a rename and its fsync; {@code
 * holding} guards the holds and is never held over the disk, so that preparing a snapshot doesn't
 * wait for a pull. Lock order: catalog, then holding.
 */
final class LayerStore {
  /** Owners that never have a layer mounted; every other one may. */
  private static final List<String> NEVER_MOUNTING =
      List.of("image:", "pull:", "import:", "layer:", "verify:", "repair:");

  private static final Logger log = LoggerFactory.getLogger(LayerStore.class);

  private final SnapshotLayout layout;
  private final Trash trash;
  private final LayerLabels labels;
  private final ConcurrentMap<ChainId, Layer> layers = new ConcurrentHashMap<>();
  private final ReentrantLock catalog = new ReentrantLock();
  private final ReentrantLock holding = new ReentrantLock();
  private final Map<String, Set<ChainId>> holds = new HashMap<>();
  private final Map<ChainId, Integer> holders = new HashMap<>();
  private final ConcurrentMap<ChainId, LayerHealth> health = new ConcurrentHashMap<>();

  /** Folders without a usable record, by the chain that their name tells. */
  private final Map<ChainId, Path> unreadable = new HashMap<>();

  /** Guarded by {@code holding}. */
  private final List<Retired> retired = new ArrayList<>();

  /**
   * Layers that nobody holds, and since when, in milliseconds since the epoch. Guarded by {@code
   * holding}.
   */
  private final Map<ChainId, Long> unreferenced = new HashMap<>();

  /** How long {@link #releaseLater} keeps what nobody holds any more. */
  private final Duration grace;

  private final AtomicLong verifications = new AtomicLong();

  /** A damaged layer that was replaced. */
  private static final class Retired {
    final ChainId id;
    final Path folder;

    /** Who may have it mounted; null after a restart, until all have declared themselves. */
    @Nullable Set<String> owners;

    Retired(ChainId id, Path folder) {
      this.id = id;
      this.folder = folder;
    }

    void left(String owner) {
      if (owners != null) {
        owners.remove(owner);
      }
    }
  }

  LayerStore(SnapshotLayout layout, Trash trash, LayerLabels labels, Duration grace) {
    this.layout = layout;
    this.trash = trash;
    this.labels = labels;
    this.grace = grace;
  }

  /** Learns what is on disk, and takes away what a crash left half-made. */
  void load() throws IOException {
    try (DirectoryStream<Path> drafts = Files.newDirectoryStream(layout.staging())) {
      for (Path draft : drafts) {
        Mounts.detach(SnapshotLayout.parentMount(draft));
        Path _ = trash.takeAway(draft);
      }
    }
    try (DirectoryStream<Path> folders = Files.newDirectoryStream(layout.retired())) {
      for (Path folder : folders) {
        chainOf(folder.getFileName().toString().split("-", 2)[0])
            .ifPresentOrElse(
                id -> retired.add(new Retired(id, folder)),
                () -> {
                  Path _ = trash.takeAway(folder);
                });
      }
    }
    try (DirectoryStream<Path> folders =
        Files.newDirectoryStream(layout.layers(), f -> !f.equals(layout.staging()))) {
      for (Path folder : folders) {
        load(folder);
      }
    }
    long now = System.currentTimeMillis();
    layers.keySet().forEach(id -> unreferenced.put(id, now));
  }

  private void load(Path folder) {
    try {
      LayerRecord record = record(folder);
      layers.put(record.chainId(), layer(record));
      labels.found(record.chainId(), folder);
      loadHealth(record.chainId(), folder);
    } catch (IOException | IllegalArgumentException e) {
      Optional<ChainId> id = chainOf(String.valueOf(folder.getFileName()));
      if (id.isPresent()) {
        // Somebody may still have it mounted.
        log.error("layer {} has no usable record, pull its image again: {}", folder, e.toString());
        unreadable.put(id.get(), folder);
      } else {
        log.error("{} is no layer and is removed: {}", folder, e.toString());
        Path _ = trash.takeAway(folder);
      }
    }
  }

  /** From its file; one that is damaged is made anew from the manifest. */
  private LayerRecord record(Path folder) throws IOException {
    Path file = folder.resolve(SnapshotLayout.LAYER_RECORD);
    try {
      byte[] content = Files.readAllBytes(file);
      LayerRecord record = Json.read(content, LayerRecord.class, "layer record");
      Seal.check(content, Json.read(content, JsonNode.class, "layer record").has(Seal.FIELD));
      return about(folder, record);
    } catch (IOException | IllegalArgumentException e) {
      if (!Files.exists(folder.resolve(SnapshotLayout.MANIFEST))) {
        throw e;
      }
      LayerRecord record = about(folder, LayerSurvey.record(folder));
      log.error("record {} was damaged and is made anew: {}", file, e.toString());
      try {
        AtomicFile.write(file, Seal.seal(json(record)));
      } catch (UncheckedIOException | ErrnoException full) {
        log.warn("{}", full.getMessage()); // a full disk must not keep berthd from starting
      }
      return record;
    }
  }

  private LayerRecord about(Path folder, LayerRecord record) {
    if (!layout.layer(record.chainId()).equals(folder)) {
      throw new IllegalArgumentException("it is about " + record.chainId());
    }
    return record;
  }

  private static byte[] json(Object record) throws IOException {
    return Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsBytes(record);
  }

  private void loadHealth(ChainId id, Path folder) {
    Path file = folder.resolve(SnapshotLayout.HEALTH);
    Path manifest = folder.resolve(SnapshotLayout.MANIFEST);
    try {
      if (Files.exists(file)) {
        health.put(id, Json.read(Files.readAllBytes(file), LayerHealth.class, "a layer's health"));
      } else if (Files.exists(manifest)) {
        long then = Files.getLastModifiedTime(manifest).toMillis();
        health.put(id, new LayerHealth(then, true, 0, 0, 0, List.of()));
      }
    } catch (IOException | IllegalArgumentException e) {
      log.warn("{} can't be read, the layer counts as never compared: {}", file, e.toString());
    }
  }

  /**
   * A sound layer's manifest bears the time of the last comparison; a damaged one's flaws are in a
   * file. Not synced: what a crash takes of it is found again.
   */
  private static void keep(LayerHealth found, Path folder) throws IOException {
    Path file = folder.resolve(SnapshotLayout.HEALTH);
    if (!found.sound()) {
      Files.write(file, json(found));
    } else {
      Files.deleteIfExists(file);
      if (found.manifest()) {
        Files.setLastModifiedTime(
            folder.resolve(SnapshotLayout.MANIFEST), FileTime.fromMillis(found.checkedAt()));
      }
    }
  }

  private static Optional<ChainId> chainOf(String hex) {
    try {
      return Optional.of(new ChainId(new Digest(Digest.SHA256, hex)));
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  boolean isSound(ChainId id) {
    LayerHealth known = health.get(id);
    return layers.containsKey(id) && (known == null || known.sound());
  }

  Optional<LayerHealth> health(ChainId id) {
    return Optional.ofNullable(health.get(id));
  }

  @SuppressWarnings("ReferenceEquality") // a layer that came into its place may say the same
  LayerHealth verify(ChainId id, Pace pace) throws InterruptedException {
    String owner = "verify:" + verifications.incrementAndGet();
    boolean wanted = isHeld(id);
    hold(owner, List.of(id));
    try {
      Layer checked = required(id, "verify layer " + id);
      LayerHealth found =
          OffCarrier.runDeep(
              "verify " + id.digest().abbreviated(),
              () -> {
                LowPriority.ofThisThread();
                return LayerCheck.run(layout.layer(id), pace, System.currentTimeMillis());
              });
      catalog.lock();
      try {
        if (layers.get(id) == checked) {
          health.put(id, found);
          keep(found, layout.layer(id));
        }
      } finally {
        catalog.unlock();
      }
      return found;
    } catch (IOException e) {
      throw OverlaySnapshotter.failure("verify layer " + id, e);
    } finally {
      // Comparing is no reason to remove what nobody has held yet.
      List<ChainId> freed = endHolds(owner);
      if (wanted) {
        remove(freed);
      }
    }
  }

  private boolean isHeld(ChainId id) {
    holding.lock();
    try {
      return holders.containsKey(id);
    } finally {
      holding.unlock();
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
    labels.ready(bottomFirst, layout);
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
          unreferenced.remove(id);
        }
      }
    } finally {
      holding.unlock();
    }
  }

  Map<String, Set<ChainId>> holds() {
    holding.lock();
    try {
      Map<String, Set<ChainId>> copy = new TreeMap<>();
      holds.forEach((owner, held) -> copy.put(owner, Set.copyOf(held)));
      return copy;
    } finally {
      holding.unlock();
    }
  }

  /** Ends an owner's holds and removes the layers that were held by nobody else. */
  void release(String owner) {
    remove(endHolds(owner).reversed());
  }

  /** As {@link #release}, but what becomes free stays for the grace period. */
  void releaseLater(String owner) {
    List<ChainId> freed = endHolds(owner);
    if (grace.isZero()) {
      remove(freed.reversed());
    }
  }

  Map<ChainId, Long> unreferenced() {
    holding.lock();
    try {
      Map<ChainId, Long> copy = new HashMap<>(unreferenced);
      copy.keySet().retainAll(layers.keySet());
      return copy;
    } finally {
      holding.unlock();
    }
  }

  /**
   * @return what nobody holds any more
   */
  private List<ChainId> endHolds(String owner) {
    List<ChainId> freed = new ArrayList<>();
    List<Path> unmounted;
    holding.lock();
    try {
      Set<ChainId> held = holds.remove(owner);
      if (held == null) {
        return freed;
      }
      retired.forEach(layer -> layer.left(owner));
      unmounted = takeUnmounted();
      for (ChainId id : held) {
        if (holders.computeIfPresent(id, (i, n) -> n == 1 ? null : n - 1) == null) {
          freed.add(id);
          unreferenced.put(id, System.currentTimeMillis());
        }
      }
    } finally {
      holding.unlock();
    }
    unmounted.forEach(folder -> trash.delete(trash.takeAway(folder)));
    return freed;
  }

  /** Of the damaged layers that were replaced, those that nobody can have mounted any more. */
  private List<Path> takeUnmounted() {
    List<Path> folders = new ArrayList<>();
    retired.removeIf(layer -> {
      boolean done = layer.owners != null && layer.owners.isEmpty();
      if (done) {
        folders.add(layer.folder);
      }
      return done;
    });
    return folders;
  }

  /** Who holds a layer and may have it mounted; with {@code holding} held. */
  private Set<String> mounting(ChainId id) {
    Set<String> owners = new HashSet<>();
    holds.forEach((owner, held) -> {
      if (held.contains(id) && NEVER_MOUNTING.stream().noneMatch(owner::startsWith)) {
        owners.add(owner);
      }
    });
    return owners;
  }

  /**
   * @param age since when at least nobody must have held them
   */
  void removeUnreferenced(Duration age) {
    List<Path> gone;
    List<ChainId> due = new ArrayList<>();
    long before = System.currentTimeMillis() - age.toMillis();
    holding.lock();
    try {
      for (Retired layer : retired) {
        if (layer.owners == null) {
          layer.owners = mounting(layer.id);
        }
      }
      gone = takeUnmounted();
      unreferenced.keySet().retainAll(layers.keySet());
      unreferenced.forEach((id, since) -> {
        if (since <= before) {
          due.add(id);
        }
      });
      unreadable
          .entrySet()
          .removeIf(layer -> {
            boolean free =
                mounting(layer.getKey()).isEmpty() && !layers.containsKey(layer.getKey());
            if (free) {
              gone.add(layer.getValue());
            }
            return free;
          });
    } finally {
      holding.unlock();
    }
    gone.forEach(folder -> trash.delete(trash.takeAway(folder)));
    remove(due);
  }

  /** Removes those of the layers that nobody holds, be it since a moment ago. */
  private void remove(Collection<ChainId> candidates) {
    List<Path> gone = new ArrayList<>();
    catalog.lock();
    try {
      for (ChainId id : candidates) {
        Layer layer = forgetUnlessHeld(id);
        if (layer != null) {
          health.remove(id);
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
      if (holders.containsKey(id)) {
        return null;
      }
      unreferenced.remove(id);
      return layers.remove(id);
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
    private final LayerDigests digests = new LayerDigests();
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
    public void noteContent(long inode, byte[] sha256) {
      digests.put(inode, sha256);
    }

    @Override
    public void forgetContent(long inode) {
      digests.forget(inode);
    }

    @Override
    public Path archiveRecord() {
      return folder.resolve(SnapshotLayout.ARCHIVE);
    }

    @Override
    public void deferToCommit(DeferredWork work) {
      if (parent == null) {
        throw new IllegalStateException("layer " + id + " has no parent to wait for");
      }
      deferred.add(work);
    }

    @Override
    public Layer commit() throws InterruptedException {
      if (closed) {
        throw new IllegalStateException("the draft of layer " + id + " is closed");
      }
      Layer present = layers.get(id);
      if (present != null && isSound(id)) {
        return present;
      }
      try {
        return OffCarrier.runDeep("commit " + id.digest().abbreviated(), this::complete);
      } catch (IOException | ErrnoException e) {
        throw OverlaySnapshotter.failure("commit layer " + id + " in " + folder, e);
      }
    }

    /**
     * The record before the sync, the sync before the rename, the rename durable before it's told.
     */
    private Layer complete() throws InterruptedException, IOException {
      if (parent != null) {
        runDeferred(required(parent, "commit layer " + id));
      }
      Path manifest = folder.resolve(SnapshotLayout.MANIFEST);
      Usage usage =
          LayerSurvey.write(tree, manifest, new LayerManifest.Head(id, parent, diffId), digests);
      LayerRecord record = LayerSurvey.record(id, parent, diffId, usage, folder);
      Files.write(folder.resolve(SnapshotLayout.LAYER_RECORD), Seal.seal(json(record)));
      AtomicFile.syncFileSystem(folder);
      return publish(record);
    }

    private Layer publish(LayerRecord record) throws IOException {
      @Nullable Path replaced = null;
      Layer layer = layer(record);
      catalog.lock();
      try {
        Layer first = layers.get(id);
        if (first != null && isSound(id)) {
          return first;
        }
        Path place = layout.layer(id);
        if (Files.exists(place)) {
          replaced = changePlaces(place);
        } else {
          Files.move(folder, place, StandardCopyOption.ATOMIC_MOVE);
        }
        closed = true;
        try {
          AtomicFile.syncFolder(layout.layers());
        } catch (ErrnoException e) {
          if (replaced == null) {
            trash.delete(trash.takeAway(place));
          }
          throw e;
        }
        health.remove(id);
        layers.put(id, layer);
        noteUnlessHeld(id);
      } finally {
        catalog.unlock();
      }
      if (replaced != null) {
        retire(replaced);
      }
      return layer;
    }

    private void noteUnlessHeld(ChainId id) {
      holding.lock();
      try {
        if (!holders.containsKey(id)) {
          unreferenced.put(id, System.currentTimeMillis());
        }
      } finally {
        holding.unlock();
      }
    }

    /**
     * First out of the folder of drafts, which the next start empties: a crash must not take the
     * layer that somebody has mounted.
     *
     * @return where the damaged layer is now
     */
    private Path changePlaces(Path place) throws IOException {
      Path aside = layout.newRetired(id);
      Files.move(folder, aside, StandardCopyOption.ATOMIC_MOVE);
      FileTree.exchange(aside, place);
      AtomicFile.syncFolder(layout.retired());
      return aside;
    }

    /** After the change of places: who mounts from now on gets the new one. */
    private void retire(Path aside) {
      holding.lock();
      try {
        Retired old = new Retired(id, aside);
        Set<String> owners = mounting(id);
        old.owners = owners;
        unreadable.remove(id);
        if (!owners.isEmpty()) {
          retired.add(old);
          return;
        }
      } finally {
        holding.unlock();
      }
      trash.delete(trash.takeAway(aside));
    }

    private void runDeferred(Layer below) throws InterruptedException, IOException {
      if (deferred.isEmpty()) {
        return;
      }
      List<ChainId> stack = new ArrayList<>();
      for (Layer at = below;
          at != null;
          at = at.parent() == null ? null : required(at.parent(), "commit layer " + id)) {
        stack.addFirst(at.chainId());
      }
      Path view = SnapshotLayout.parentMount(folder);
      Files.createDirectory(view);
      try {
        Mounts.overlayReadOnly(
            view, OverlaySnapshotter.padded(trees(stack, "commit layer " + id), 2, layout), null);
        for (DeferredWork work : deferred) {
          work.run(view);
        }
      } finally {
        Mounts.detach(view);
      }
      Files.delete(view);
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
