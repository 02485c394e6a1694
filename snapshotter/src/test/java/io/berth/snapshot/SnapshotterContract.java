package io.berth.snapshot;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.linux.Debts;
import io.berth.linux.FileTree;
import io.berth.linux.Mounts;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.snapshot.SnapshotException.Reason;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What any {@link Snapshotter} must do; an implementation's test extends this. */
@Tag("root")
public abstract class SnapshotterContract {
  protected static final Debts NO_DEBTS =
      (debt, cause) -> {
        throw new AssertionError("owed " + debt, cause);
      };

  protected Path folder;
  protected Path rootDir;
  protected Snapshotter snapshotter;
  private final List<Path> targets = new ArrayList<>();

  /** A snapshotter over what is in the folder, as after a restart. */
  protected abstract Snapshotter open(Path rootDir, Debts debts);

  @BeforeEach
  void makeFolder() throws IOException {
    Needs.root();
    folder = Files.createTempDirectory("berth-snapshots");
    rootDir = folder.resolve("root");
    snapshotter = open(rootDir, NO_DEBTS);
  }

  @AfterEach
  void removeFolder() {
    if (folder == null) {
      return; // skipped
    }
    targets.forEach(Mounts::detach);
    FileTree.delete(folder);
  }

  protected void restart() {
    snapshotter = open(rootDir, NO_DEBTS);
  }

  protected Path target() throws IOException {
    Path target = Files.createDirectory(folder.resolve("target" + targets.size()));
    targets.add(target);
    return target;
  }

  /** Filling of a layer's draft. */
  protected interface Filling {
    void fill(Path root) throws IOException;
  }

  /** Commits a layer on top of a chain; gives the chain with it. */
  protected List<ChainId> commit(List<ChainId> below, String name, Filling filling)
      throws Exception {
    Digest diffId = Digest.sha256(name.getBytes(StandardCharsets.UTF_8));
    ChainId parent = below.isEmpty() ? null : below.getLast();
    ChainId id = parent == null ? new ChainId(diffId) : parent.then(diffId);
    try (LayerDraft draft = snapshotter.draft(id, parent, diffId)) {
      filling.fill(draft.root());
      Layer _ = draft.commit();
    }
    List<ChainId> chain = new ArrayList<>(below);
    chain.add(id);
    return chain;
  }

  protected List<ChainId> commitFile(List<ChainId> below, String name, String content)
      throws Exception {
    return commit(below, name + content, root -> Files.writeString(root.resolve(name), content));
  }

  protected static List<String> names(Path folder) throws IOException {
    try (Stream<Path> list = Files.list(folder)) {
      return list.map(path -> path.getFileName().toString()).sorted().toList();
    }
  }

  @Test
  void committedLayerIsThereAndAfterARestartToo() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    restart();
    Layer layer = snapshotter.layer(chain.getLast()).orElseThrow();
    assertThat(layer.parent()).isNull();
    assertThat(layer.usage().inodes()).isEqualTo(5); // two of the tree, three around it
    assertThat(layer.usage().bytes()).isBetween(4096L, 8 * 4096L);
    assertThat(layer.path().resolve("a")).hasContent("1");
    assertThat(snapshotter.layers()).containsExactly(layer);
    assertThat(snapshotter.hasLayer(chain.getLast())).isTrue();
  }

  @Test
  void draftThatIsNotCommittedLeavesNothing() throws Exception {
    ChainId id = new ChainId(Digest.sha256(new byte[0]));
    try (LayerDraft draft = snapshotter.draft(id, null, id.digest())) {
      Files.writeString(draft.root().resolve("a"), "1");
      assertThat(snapshotter.layer(id)).isEmpty();
    }
    assertThat(snapshotter.layers()).isEmpty();
    restart();
    assertThat(snapshotter.layers()).isEmpty();
  }

  @Test
  void draftsCanBeFilledInAnyOrderButAreCommittedFromBelow() throws Exception {
    Digest bottomDiff = Digest.sha256(new byte[] {1});
    Digest topDiff = Digest.sha256(new byte[] {2});
    List<ChainId> chain = ChainId.of(List.of(bottomDiff, topDiff));
    try (LayerDraft top = snapshotter.draft(chain.get(1), chain.get(0), topDiff);
        LayerDraft bottom = snapshotter.draft(chain.get(0), null, bottomDiff)) {
      Files.writeString(top.root().resolve("a"), "top");
      assertThatThrownBy(() -> top.commit()).satisfies(reason(Reason.LAYER_MISSING));
      Files.writeString(bottom.root().resolve("b"), "bottom");
      Layer _ = bottom.commit();
      Layer _ = top.commit();
    }
    Path target = target();
    snapshotter.mountReadOnly(chain, target);
    assertThat(names(target)).containsExactly("a", "b");
  }

  @Test
  void deferredWorkSeesTheLayersBelowAndAddsToTheUsage() throws Exception {
    List<ChainId> below = commitFile(commitFile(List.of(), "a", "1"), "b", "2");
    Digest diffId = Digest.sha256(new byte[] {3});
    try (LayerDraft draft =
        snapshotter.draft(below.getLast().then(diffId), below.getLast(), diffId)) {
      draft.deferToCommit(parent -> {
        try {
          assertThat(names(parent)).containsExactly("a", "b");
          Files.copy(parent.resolve("a"), draft.root().resolve("copy"));
        } catch (IOException e) {
          throw new java.io.UncheckedIOException(e);
        }
      });
      Layer layer = draft.commit();
      assertThat(layer.usage().inodes()).isEqualTo(5); // two of the tree, three around it
      assertThat(layer.path().resolve("copy")).hasContent("1");
    }
  }

  @Test
  void failedDeferredWorkLeavesNothing() throws Exception {
    List<ChainId> below = commitFile(List.of(), "a", "1");
    Digest diffId = Digest.sha256(new byte[] {3});
    ChainId id = below.getLast().then(diffId);
    try (LayerDraft draft = snapshotter.draft(id, below.getLast(), diffId)) {
      draft.deferToCommit(parent -> {
        throw new IllegalStateException("no");
      });
      assertThatThrownBy(() -> draft.commit()).hasMessage("no");
    }
    assertThat(snapshotter.layer(id)).isEmpty();
    assertThat(Mounts.table()).noneMatch(mount -> mount.target().startsWith(folder));
  }

  @Test
  void firstOfSeveralCommitsOfOneChainStays() throws Exception {
    ChainId id = new ChainId(Digest.sha256(new byte[] {1}));
    var barrier = new CyclicBarrier(4);
    Callable<Path> commit =
        () -> {
          try (LayerDraft draft = snapshotter.draft(id, null, id.digest())) {
            Files.writeString(draft.root().resolve("a"), "1");
            int _ = barrier.await();
            return draft.commit().path();
          }
        };
    try (var threads = Executors.newFixedThreadPool(4)) {
      List<Path> paths = new ArrayList<>();
      for (var result : threads.invokeAll(List.of(commit, commit, commit, commit))) {
        paths.add(result.get());
      }
      assertThat(paths).containsOnly(paths.getFirst());
    }
    assertThat(snapshotter.layers()).hasSize(1);
    assertThat(snapshotter.layers().getFirst().path().resolve("a")).hasContent("1");
  }

  @Test
  void interruptedCommitLeavesNothing() throws Exception {
    List<ChainId> below = commitFile(List.of(), "a", "1");
    Digest diffId = Digest.sha256(new byte[] {3});
    ChainId id = below.getLast().then(diffId);
    var ended = new CompletableFuture<Throwable>();
    var waiting = new CountDownLatch(1);
    Thread committer =
        Thread.ofVirtual()
            .start(() -> {
              try (LayerDraft draft = snapshotter.draft(id, below.getLast(), diffId)) {
                draft.deferToCommit(parent -> {
                  waiting.countDown();
                  new CountDownLatch(1).await();
                });
                Layer _ = draft.commit();
              } catch (Throwable e) {
                boolean _ = ended.complete(e);
              }
            });
    waiting.await();
    committer.interrupt();
    assertThat(ended.get(10, TimeUnit.SECONDS)).isInstanceOf(InterruptedException.class);
    assertThat(committer.join(Duration.ofSeconds(10))).isTrue();
    assertThat(snapshotter.layer(id)).isEmpty();
    assertThat(Mounts.table()).noneMatch(mount -> mount.target().startsWith(folder));
  }

  @Test
  void layerLivesAsLongAsAnOwnerHoldsIt() throws Exception {
    List<ChainId> one = commitFile(List.of(), "a", "1");
    List<ChainId> two = commitFile(one, "b", "2");
    snapshotter.hold("image:1", one);
    snapshotter.hold("image:2", two);
    snapshotter.hold("image:2", two);
    snapshotter.release("image:2");
    assertThat(snapshotter.hasLayer(two.getLast())).isFalse();
    assertThat(snapshotter.hasLayer(one.getLast())).isTrue();
    snapshotter.release("image:1");
    snapshotter.release("image:1");
    assertThat(snapshotter.layers()).isEmpty();
  }

  @Test
  void holdBeforeTheCommitKeepsTheLayer() throws Exception {
    ChainId id = new ChainId(Digest.sha256("a1".getBytes(StandardCharsets.UTF_8)));
    snapshotter.hold("pull:1", List.of(id));
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    snapshotter.removeUnreferenced();
    assertThat(chain).containsExactly(id);
    assertThat(snapshotter.hasLayer(id)).isTrue();
  }

  @Test
  void unreferencedLayersAreRemovedWhenEveryOwnerHasDeclaredItself() throws Exception {
    List<ChainId> kept = commitFile(List.of(), "a", "1");
    List<ChainId> lost = commitFile(List.of(), "b", "2");
    List<ChainId> used = commitFile(List.of(), "c", "3");
    Snapshot _ = snapshotter.prepare("container", used);
    restart();
    snapshotter.hold("image:1", kept);
    assertThat(snapshotter.hasLayer(lost.getLast())).isTrue();
    snapshotter.removeUnreferenced();
    assertThat(snapshotter.layers())
        .extracting(Layer::chainId)
        .containsExactlyInAnyOrder(kept.getLast(), used.getLast());
  }

  @Test
  void snapshotIsWritableAndLeavesItsLayersAlone() throws Exception {
    List<ChainId> chain = commitFile(commitFile(List.of(), "a", "old"), "b", "2");
    Snapshot snapshot = snapshotter.prepare("c1", chain);
    Path target = target();
    snapshotter.mount("c1", target);
    Files.writeString(target.resolve("a"), "new");
    Files.delete(target.resolve("b"));

    assertThat(names(target)).containsExactly("a");
    assertThat(snapshotter.layer(chain.getFirst()).orElseThrow().path().resolve("a"))
        .hasContent("old");
    assertThat(snapshot.upper().resolve("a")).hasContent("new");
    snapshotter.unmount(target);
    snapshotter.unmount(target);
    assertThat(names(target)).isEmpty();
  }

  @Test
  void snapshotOutlivesARestartWithWhatWasWritten() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    Snapshot snapshot = snapshotter.prepare("c1", chain);
    Path first = target();
    snapshotter.mount("c1", first);
    Files.writeString(first.resolve("written"), "w");
    snapshotter.unmount(first);
    restart();
    assertThat(snapshotter.snapshots()).containsExactly(snapshot);
    Path second = target();
    snapshotter.mount("c1", second);
    assertThat(names(second)).containsExactly("a", "written");
  }

  @Test
  void snapshotHoldsItsLayersUntilItIsRemoved() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    snapshotter.hold("image:1", chain);
    Snapshot _ = snapshotter.prepare("c1", chain);
    snapshotter.release("image:1");
    assertThat(snapshotter.hasLayer(chain.getLast())).isTrue();
    snapshotter.remove("c1");
    snapshotter.remove("c1");
    assertThat(snapshotter.layers()).isEmpty();
    assertThat(snapshotter.snapshots()).isEmpty();
  }

  @Test
  void preparingTheSameAgainGivesTheSameSnapshot() throws Exception {
    List<ChainId> chain = commitFile(List.of(), "a", "1");
    assertThat(snapshotter.prepare("c1", chain)).isEqualTo(snapshotter.prepare("c1", chain));
    assertThatThrownBy(() -> snapshotter.prepare("c1", List.of()))
        .satisfies(reason(Reason.KEY_REFUSED));
  }

  @Test
  void snapshotOfMissingLayersIsRefusedAndLeavesNothing() throws Exception {
    ChainId missing = new ChainId(Digest.sha256(new byte[] {9}));
    assertThatThrownBy(() -> snapshotter.prepare("c1", List.of(missing)))
        .satisfies(reason(Reason.LAYER_MISSING))
        .hasMessage(
            "prepare snapshot c1: layer " + missing + " is not on disk, pull the image again");
    assertThat(snapshotter.snapshots()).isEmpty();
    restart();
    assertThat(snapshotter.snapshots()).isEmpty();
  }

  @Test
  void keysThatAreNoFileNamesAreRefused() {
    for (String key : List.of("", "..", "a/b", "-a", "x".repeat(129))) {
      assertThatThrownBy(() -> snapshotter.prepare(key, List.of()))
          .satisfies(reason(Reason.KEY_REFUSED));
    }
  }

  @Test
  void unknownSnapshotsTakeNoRoomAndCantBeMounted() throws Exception {
    Path target = target();
    assertThat(snapshotter.usage("unknown", Long.MAX_VALUE).orElseThrow()).isEqualTo(Usage.NONE);
    snapshotter.remove("unknown");
    snapshotter.release("unknown");
    assertThatThrownBy(() -> snapshotter.mount("unknown", target))
        .satisfies(reason(Reason.SNAPSHOT_MISSING));
  }

  @Test
  void usageCountsWhatWasWrittenWithoutHolesAndSecondNames() throws Exception {
    Snapshot snapshot = snapshotter.prepare("c1", commitFile(List.of(), "a", "1"));
    assertThat(snapshotter.usage("c1", Long.MAX_VALUE).orElseThrow()).isEqualTo(Usage.NONE);
    Path file = Files.write(snapshot.upper().resolve("f"), new byte[100_000]);
    Files.createLink(snapshot.upper().resolve("second-name"), file);
    try (var sparse =
        new java.io.RandomAccessFile(snapshot.upper().resolve("holes").toFile(), "rw")) {
      sparse.setLength(1L << 40);
    }
    Usage usage = snapshotter.usage("c1", Long.MAX_VALUE).orElseThrow();
    assertThat(usage.inodes()).isEqualTo(2);
    assertThat(usage.bytes()).isBetween(100_000L, 120_000L);
  }

  @Test
  void imagesWithoutLayersAndWithOneCanBeMountedBothWays() throws Exception {
    List<ChainId> one = commitFile(List.of(), "a", "1");
    for (List<ChainId> chain : List.of(List.<ChainId>of(), one)) {
      Path readOnly = target();
      snapshotter.mountReadOnly(chain, readOnly);
      assertThat(names(readOnly)).hasSameSizeAs(chain);
      assertThatThrownBy(() -> Files.writeString(readOnly.resolve("x"), "x"))
          .isInstanceOf(IOException.class);
      Snapshot _ = snapshotter.prepare("c" + chain.size(), chain);
      Path writable = target();
      snapshotter.mount("c" + chain.size(), writable);
      Files.writeString(writable.resolve("x"), "x");
      assertThat(names(writable)).hasSize(chain.size() + 1);
    }
  }

  @Test
  void hundredAndTwentyLayersCanBeMounted() throws Exception {
    List<ChainId> chain = List.of();
    for (int i = 0; i < 120; i++) {
      chain = commitFile(chain, "f" + i, "" + i);
    }
    Snapshot _ = snapshotter.prepare("c1", chain);
    Path target = target();
    snapshotter.mount("c1", target);
    assertThat(names(target)).hasSize(120);
    assertThat(target.resolve("f0")).hasContent("0");
  }

  @Test
  void readsDontWaitForACommit() throws Exception {
    List<ChainId> below = commitFile(List.of(), "a", "1");
    Digest diffId = Digest.sha256(new byte[] {7});
    try (LayerDraft draft =
        snapshotter.draft(below.getLast().then(diffId), below.getLast(), diffId)) {
      draft.deferToCommit(parent -> {
        // In the middle of a commit, from another thread.
        Thread reader =
            Thread.ofPlatform()
                .start(() -> {
                  assertThat(snapshotter.layers()).hasSize(1);
                  Snapshot _ = snapshotter.prepare("c1", below);
                  snapshotter.remove("c1");
                });
        assertThat(reader.join(Duration.ofSeconds(10))).isTrue();
      });
      Layer _ = draft.commit();
    }
  }

  protected static java.util.function.Consumer<Throwable> reason(Reason reason) {
    return thrown ->
        assertThat(thrown)
            .isInstanceOfSatisfying(
                SnapshotException.class, e -> assertThat(e.reason()).isEqualTo(reason));
  }
}
