package io.berth.image;

import io.berth.linux.Background;
import io.berth.linux.DiskSpace;
import io.berth.linux.ErrnoException;
import io.berth.oci.Digest;
import io.berth.snapshot.Snapshotter;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Removes layers that nothing has referred to for a time; and images when the disk fills up, for
 * nodes without a kubelet: those that nobody has used for longest first, never one that is in use
 * or pinned.
 */
public final class ImageGc implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(ImageGc.class);

  private final ImageStore store;
  private final Snapshotter snapshotter;
  private final Supplier<StoreGraph> graphs;
  private final Settings settings;
  private final Supplier<DiskSpace> disk;
  private final Clock clock;

  /**
   * Milliseconds since the epoch. Of this process: an image counts as used when it is first seen.
   */
  private final Map<Digest, Long> lastUsed = new HashMap<>();

  private final Thread thread;

  /**
   * When images are removed.
   *
   * @param high percent of the file system in use, bytes or inodes, from which on; 0: never
   * @param low percent down to which
   * @param minimumAge since an image came or was last used
   * @param interval between two looks
   * @param grace how long layers stay that nothing refers to
   */
  public record Settings(
      int high, int low, Duration minimumAge, Duration interval, Duration grace) {}

  ImageGc(
      ImageStore store,
      Snapshotter snapshotter,
      Supplier<StoreGraph> graphs,
      Settings settings,
      Supplier<DiskSpace> disk,
      Background background,
      Clock clock) {
    this.store = store;
    this.snapshotter = snapshotter;
    this.graphs = graphs;
    this.settings = settings;
    this.disk = disk;
    this.clock = clock;
    this.thread = Thread.ofVirtual().name("image-gc").unstarted(() -> work(background));
  }

  /** Looks again and again. */
  public static ImageGc start(
      ImageStore store,
      Snapshotter snapshotter,
      Supplier<StoreGraph> graphs,
      Settings settings,
      Path rootDir,
      Background background,
      Clock clock) {
    var gc =
        new ImageGc(
            store, snapshotter, graphs, settings, () -> DiskSpace.of(rootDir), background, clock);
    gc.thread.start();
    return gc;
  }

  private void work(Background background) {
    try {
      while (true) {
        TimeUnit.MILLISECONDS.sleep(settings.interval().toMillis());
        try {
          if (!snapshotter.unreferenced().isEmpty()) {
            Object _ =
                background.run(
                    "layer gc",
                    "",
                    () -> {
                      snapshotter.removeUnreferenced(settings.grace());
                      return "";
                    });
          }
          if (settings.high() > 0) {
            Object _ = background.run("image gc", "", this::collect);
          }
        } catch (InterruptedException stopped) {
          throw stopped;
        } catch (Exception e) {
          log.error("images can't be collected: {}", e.getMessage());
        }
      }
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * One look.
   *
   * @return the images that were removed, the first one first
   * @throws ErrnoException when the file system can't be looked at
   */
  List<Image> collect() {
    long now = clock.millis();
    StoreGraph graph = graphs.get();
    lastUsed.keySet().removeIf(id -> graph.image(id).isEmpty());
    graph
        .images()
        .forEach(node -> {
          if (node.inUse()) {
            lastUsed.put(node.image().id(), now);
          } else {
            lastUsed.putIfAbsent(node.image().id(), node.updatedAt());
          }
        });
    int used = disk.get().usedPercent();
    if (used < settings.high()) {
      return List.of();
    }
    snapshotter.removeUnreferenced(); // no time for grace
    List<Image> removed = new ArrayList<>();
    if (disk.get().usedPercent() <= settings.low()) {
      return removed;
    }
    for (StoreGraph.ImageNode node : candidates(graph, now)) {
      store.remove(node.image().id().toString());
      removed.add(node.image());
      if (disk.get().usedPercent() <= settings.low()) {
        break;
      }
    }
    int left = disk.get().usedPercent();
    log.warn(
        "the disk was used to {} %, from {} % on images go: {} removed, {} % now{}",
        used,
        settings.high(),
        removed.stream().map(Image::name).toList(),
        left,
        left > settings.low() ? "; what is left is in use, pinned or too young" : "");
    return removed;
  }

  private List<StoreGraph.ImageNode> candidates(StoreGraph graph, long now) {
    long youngest = now - settings.minimumAge().toMillis();
    return graph.images().stream()
        .filter(node -> !node.inUse() && !node.image().pinned())
        .filter(node -> lastUsed.getOrDefault(node.image().id(), now) <= youngest)
        .sorted(Comparator.comparingLong(node -> lastUsed.getOrDefault(node.image().id(), now)))
        .toList();
  }

  @Override
  public void close() {
    thread.interrupt();
  }
}
