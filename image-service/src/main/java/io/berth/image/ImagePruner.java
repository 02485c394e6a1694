package io.berth.image;

import io.berth.snapshot.Snapshotter;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/** Removes images that nobody uses: never one that is pinned. */
public final class ImagePruner {
  private final ImageStore store;
  private final Snapshotter snapshotter;
  private final Supplier<StoreGraph> graphs;

  public ImagePruner(ImageStore store, Snapshotter snapshotter, Supplier<StoreGraph> graphs) {
    this.store = store;
    this.snapshotter = snapshotter;
    this.graphs = graphs;
  }

  /**
   * What went, or would go.
   *
   * @param bytes by which the layers on disk became less
   */
  public record Pruned(List<StoreGraph.ImageNode> images, long bytes) {}

  /**
   * @param dangling only images that no tag names
   * @param before milliseconds since the epoch: only images that came before
   * @param dryRun says what would go
   * @throws ImageException DISK
   */
  public Pruned prune(boolean dangling, long before, boolean dryRun) {
    StoreGraph graph = graphs.get();
    List<StoreGraph.ImageNode> going =
        graph.images().stream()
            .filter(node -> !node.inUse() && !node.image().pinned())
            .filter(node -> !dangling || node.image().repoTags().isEmpty())
            .filter(node -> node.updatedAt() < before)
            .toList();
    if (dryRun) {
      return new Pruned(going, freedBy(graph, going));
    }
    long bytesBefore = bytesOfLayers();
    List<StoreGraph.ImageNode> gone = new ArrayList<>();
    for (StoreGraph.ImageNode node : going) {
      store.remove(node.image().id().toString());
      gone.add(node);
    }
    return new Pruned(gone, Math.max(0, bytesBefore - bytesOfLayers()));
  }

  /**
   * Removes layers that nothing refers to, their grace over or not.
   *
   * @return by how much the layers on disk became less, in bytes
   */
  public long collect() {
    long before = bytesOfLayers();
    snapshotter.removeUnreferenced();
    return Math.max(0, before - bytesOfLayers());
  }

  private long bytesOfLayers() {
    return snapshotter.layers().stream().mapToLong(layer -> layer.usage().bytes()).sum();
  }

  /** Layers that only the leaving images hold. */
  private static long freedBy(StoreGraph graph, List<StoreGraph.ImageNode> going) {
    List<String> leaving = going.stream().map(node -> "image " + node.image().name()).toList();
    return graph.layers().stream()
        .filter(layer -> leaving.containsAll(layer.holders()))
        .mapToLong(layer -> layer.layer().usage().bytes())
        .sum();
  }
}
