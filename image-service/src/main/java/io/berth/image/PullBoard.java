package io.berth.image;

import io.berth.image.PullStatus.LayerState;
import io.berth.oci.ChainId;
import io.berth.oci.Descriptor;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.Predicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The pulls in flight and how far they are, for commands, metrics and the log. Owns the {@link
 * LayerProgress} of each layer on its way.
 */
public final class PullBoard {
  private static final Logger log = LoggerFactory.getLogger(PullBoard.class);
  private static final Duration LOG_INTERVAL = Duration.ofSeconds(10);

  private final Set<Pull> pulls = new LinkedHashSet<>(); // guarded by this
  private final Map<ChainId, LayerProgress> layers = new HashMap<>(); // guarded by this
  private final LongAdder fetched = new LongAdder();

  /** One pull; closed when it ends, however it does. */
  final class Pull implements AutoCloseable {
    private final String image;
    private final Instant startedAt = Instant.now();
    private final long startedNanos = System.nanoTime();
    private final Thread reporter;
    private List<ChainId> chain = List.of(); // guarded by the board
    private List<LayerProgress> shown = List.of(); // guarded by the board

    private Pull(String image) {
      this.image = image;
      this.reporter = Thread.ofVirtual().name("progress of " + image).start(this::report);
    }

    /**
     * Says what the image is made of.
     *
     * @param present whether a layer is here already
     */
    void layers(List<ChainId> ids, List<Descriptor> blobs, Predicate<ChainId> present) {
      synchronized (PullBoard.this) {
        chain = List.copyOf(ids);
        List<LayerProgress> found = new ArrayList<>();
        for (int i = 0; i < ids.size(); i++) {
          LayerState state = present.test(ids.get(i)) ? LayerState.PRESENT : LayerState.WAITING;
          Descriptor blob = blobs.get(i);
          LayerProgress layer =
              layers.computeIfAbsent(ids.get(i), _ -> new LayerProgress(blob, state, fetched));
          layer.pulls++;
          found.add(layer);
        }
        shown = List.copyOf(found);
      }
    }

    PullStatus status() {
      List<LayerProgress> current;
      synchronized (PullBoard.this) {
        current = shown;
      }
      return new PullStatus(image, startedAt, current.stream().map(LayerProgress::status).toList());
    }

    private void report() {
      try {
        while (true) {
          Thread.sleep(LOG_INTERVAL);
          PullStatus status = status();
          log.info(
              "pulling {}: {} of {} at {}/s{}",
              image,
              size(status.fetched()),
              size(status.size()),
              size(status.rate()),
              status.remaining().map(left -> ", " + left.toSeconds() + " s left").orElse(""));
        }
      } catch (InterruptedException e) {
        // It has ended.
      }
    }

    /** For the log: the image is here. */
    void succeeded() {
      PullStatus status = status();
      double seconds = (System.nanoTime() - startedNanos) / (double) TimeUnit.SECONDS.toNanos(1);
      log.info(
          "pulled {}: {} of {} layers, {} in {} s ({}/s){}",
          image,
          status.layers().stream().filter(l -> l.state() != LayerState.PRESENT).count(),
          status.layers().size(),
          size(status.fetched()),
          String.format(Locale.ROOT, "%.1f", seconds),
          size((long) (status.fetched() / seconds)),
          status.layers().stream()
              .map(PullStatus.LayerStatus::host)
              .filter(host -> !host.isEmpty())
              .distinct()
              .reduce((a, b) -> a + ", " + b)
              .map(hosts -> " from " + hosts)
              .orElse(""));
    }

    @Override
    public void close() {
      reporter.interrupt();
      synchronized (PullBoard.this) {
        pulls.remove(this);
        for (int i = 0; i < chain.size(); i++) {
          if (--shown.get(i).pulls == 0) {
            layers.remove(chain.get(i));
          }
        }
      }
    }
  }

  /** To be closed when the pull ends. */
  @com.google.errorprone.annotations.MustBeClosed
  Pull begin(String image) {
    Pull pull = new Pull(image);
    synchronized (this) {
      pulls.add(pull);
    }
    return pull;
  }

  /** Where to note how far a layer is; one that no pull shows goes unseen. */
  synchronized LayerProgress layer(ChainId id, Descriptor blob) {
    LayerProgress shown = layers.get(id);
    return shown == null ? new LayerProgress(blob, LayerState.WAITING, fetched) : shown;
  }

  /** The pulls in flight, oldest first. */
  public List<PullStatus> list() {
    List<Pull> current;
    synchronized (this) {
      current = List.copyOf(pulls);
    }
    return current.stream()
        .map(Pull::status)
        .sorted(Comparator.comparing(PullStatus::startedAt))
        .toList();
  }

  /** Bytes of layers that have come from registries since the daemon began. */
  public long fetched() {
    return fetched.sum();
  }

  /** As people read it: {@code 340.1 MiB}. */
  public static String size(long bytes) {
    String[] units = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = bytes;
    int unit = 0;
    while (value >= 1024 && unit < units.length - 1) {
      value /= 1024;
      unit++;
    }
    return unit == 0 ? bytes + " B" : String.format(Locale.ROOT, "%.1f %s", value, units[unit]);
  }
}
