package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.berth.linux.FileTree;
import io.berth.linux.Mounts;
import io.berth.linux.RootedTree;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.snapshot.Layer;
import io.berth.snapshot.LayerDraft;
import io.berth.snapshot.LayerHealth;
import io.berth.snapshot.OverlaySnapshotter;
import io.berth.snapshot.Pace;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Layers unpacked for a test, and the root file system mounted from them. */
final class LayerStack implements AutoCloseable {
  final Path folder;
  final Path rootfs;
  final OverlaySnapshotter snapshotter;
  private final LayerUnpacker unpacker;
  private final List<ChainId> chain = new ArrayList<>();

  /** Off for a test that changes a layer while it is made. */
  boolean comparing = true;

  LayerStack() throws IOException {
    this(UnpackLimits.DEFAULT);
  }

  LayerStack(UnpackLimits limits) throws IOException {
    this(limits, Path.of(System.getProperty("java.io.tmpdir")));
  }

  /** In memory where that can be had, for many short stacks: a commit syncs its file system. */
  static LayerStack inMemory() throws IOException {
    Path memory = Path.of("/dev/shm");
    return Files.isWritable(memory)
        ? new LayerStack(UnpackLimits.DEFAULT, memory)
        : new LayerStack();
  }

  private LayerStack(UnpackLimits limits, Path parent) throws IOException {
    boolean root = "root".equals(System.getProperty("user.name"));
    assertThat(root || !"true".equals(System.getenv("CI"))).as("this test needs root").isTrue();
    assumeTrue(root, "this test needs root");
    folder = Files.createTempDirectory(parent, "berth-layers");
    rootfs = Files.createDirectory(folder.resolve("rootfs"));
    unpacker = new LayerUnpacker(limits);
    snapshotter =
        new OverlaySnapshotter(
            folder.resolve("store"),
            (debt, cause) -> {
              throw new AssertionError("owed " + debt, cause);
            });
  }

  /** Unpacks and commits one more layer. */
  LayerStack add(TarBuilder tar) throws Exception {
    return add(tar.build());
  }

  LayerStack add(byte[] tar) throws Exception {
    Layer _ = unpack(tar);
    return this;
  }

  Layer unpack(byte[] tar) throws Exception {
    Digest diffId = Digest.sha256(tar);
    ChainId parent = chain.isEmpty() ? null : chain.getLast();
    ChainId id = parent == null ? new ChainId(diffId) : parent.then(diffId);
    try (LayerDraft draft = snapshotter.draft(id, parent, diffId)) {
      unpacker.unpack(new ByteArrayInputStream(tar), draft);
      Layer layer = draft.commit();
      assertSound(layer);
      chain.add(id);
      return layer;
    }
  }

  /**
   * Unpacks all layers before the first is committed, the uppermost first, as a parallel pull may.
   */
  LayerStack addInAnyOrder(TarBuilder... tars) throws Exception {
    List<byte[]> archives = new ArrayList<>();
    for (TarBuilder tar : tars) {
      archives.add(tar.build());
    }
    return addInAnyOrder(archives);
  }

  LayerStack addInAnyOrder(List<byte[]> archives) throws Exception {
    List<LayerDraft> drafts = new ArrayList<>();
    List<Digest> diffIds = archives.stream().map(Digest::sha256).toList();
    List<ChainId> ids = ChainId.of(diffIds);
    try {
      for (int i = archives.size() - 1; i >= 0; i--) {
        @SuppressWarnings("MustBeClosedChecker") // closed below
        LayerDraft draft =
            snapshotter.draft(ids.get(i), i == 0 ? null : ids.get(i - 1), diffIds.get(i));
        drafts.addFirst(draft);
        unpacker.unpack(new ByteArrayInputStream(archives.get(i)), draft);
      }
      for (int i = 0; i < archives.size(); i++) {
        assertSound(drafts.get(i).commit());
      }
    } finally {
      drafts.forEach(LayerDraft::close);
    }
    chain.addAll(ids);
    return this;
  }

  /** Whatever the archive did, the manifest tells what is there. */
  private void assertSound(Layer layer) throws InterruptedException {
    if (!comparing) {
      return;
    }
    LayerHealth health = snapshotter.verify(layer.chainId(), Pace.unlimited());
    assertThat(health.manifest()).isTrue();
    assertThat(health.flaws()).isEmpty();
  }

  /** The merged tree. */
  Path mount() {
    Mounts.detach(rootfs);
    snapshotter.mountReadOnly(chain, rootfs);
    return rootfs;
  }

  /** The uppermost layer's own tree. */
  Path top() {
    return snapshotter.layer(chain.getLast()).orElseThrow().path();
  }

  static RootedTree.Stat stat(Path path) {
    try (RootedTree tree = RootedTree.open(path.resolveSibling("."))) {
      return tree.stat(tree.root(), path.getFileName().toString());
    }
  }

  static Optional<byte[]> xattr(Path path, String name) {
    try (RootedTree tree = RootedTree.open(path.resolveSibling("."))) {
      return tree.getXattr(tree.root(), path.getFileName().toString(), name);
    }
  }

  @Override
  public void close() {
    Mounts.detach(rootfs);
    FileTree.delete(folder);
  }
}
