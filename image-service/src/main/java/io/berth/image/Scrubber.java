package io.berth.image;

import io.berth.linux.Background;
import io.berth.linux.LowPriority;
import io.berth.snapshot.Layer;
import io.berth.snapshot.LayerHealth;
import io.berth.snapshot.Pace;
import io.berth.snapshot.Snapshotter;
import java.time.Clock;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Compares the whole store in the background: after an unclean boot, and once in a period if there
 * is one. A restart of berthd doesn't begin from the start.
 */
public final class Scrubber implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(Scrubber.class);
  private static final int FLAWS_IN_LOG = 5;

  private final StoreVerifier verifier;
  private final Snapshotter snapshotter;
  private final ScrubMark mark;
  private final ScrubSettings settings;
  private final Background background;
  private final Clock clock;
  private final Thread thread;

  /**
   * How it works.
   *
   * @param afterUncleanBoot whether a loss of power makes it necessary
   * @param period zero: not otherwise
   * @param bytesPerSecond read from disk at most
   * @param repair fetches damaged layers anew
   */
  public record ScrubSettings(
      boolean afterUncleanBoot, Duration period, long bytesPerSecond, boolean repair) {}

  private Scrubber(
      StoreVerifier verifier,
      Snapshotter snapshotter,
      ScrubMark mark,
      ScrubSettings settings,
      Background background,
      Clock clock) {
    this.verifier = verifier;
    this.snapshotter = snapshotter;
    this.mark = mark;
    this.settings = settings;
    this.background = background;
    this.clock = clock;
    this.thread = Thread.ofPlatform().daemon().name("scrub").unstarted(this::work);
  }

  public static Scrubber start(
      StoreVerifier verifier,
      Snapshotter snapshotter,
      ScrubMark mark,
      ScrubSettings settings,
      Background background,
      Clock clock) {
    var scrubber = new Scrubber(verifier, snapshotter, mark, settings, background, clock);
    scrubber.thread.start();
    return scrubber;
  }

  private void work() {
    LowPriority.ofThisThread();
    try {
      if (mark.pendingSince() > 0 && settings.afterUncleanBoot()) {
        scrub(mark.pendingSince());
      }
      while (settings.period().isPositive()) {
        long due = mark.completedAt() + settings.period().toMillis();
        long now = clock.millis();
        if (now < due) {
          TimeUnit.MILLISECONDS.sleep(due - now);
        } else {
          scrub(due);
        }
      }
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * @param since milliseconds since the epoch; what was compared after that is passed over
   */
  private void scrub(long since) throws InterruptedException {
    var layers = new AtomicLong();
    var bytes = new AtomicLong();
    var damaged = new AtomicLong();
    try {
      Object _ =
          background.run(
              "scrub",
              "",
              () -> {
                verifier.verify(
                    verifier.allLayers(),
                    layer -> isDue(layer, since),
                    settings.repair(),
                    Pace.of(settings.bytesPerSecond()),
                    checked -> {
                      layers.incrementAndGet();
                      bytes.addAndGet(checked.found().bytes());
                      if (!checked.found().sound()) {
                        damaged.incrementAndGet();
                        report(checked);
                      }
                    });
                return "";
              });
    } catch (InterruptedException stopped) {
      throw stopped;
    } catch (Exception e) {
      log.error("the store couldn't be compared to the end: {}", e.getMessage());
      TimeUnit.MINUTES.sleep(10); // what keeps it from being read may pass
      return;
    }
    mark.completed();
    log.info(
        "{} layers compared with their manifests, {} bytes: {} were damaged",
        layers,
        bytes,
        damaged);
  }

  private boolean isDue(Layer layer, long since) {
    return snapshotter.health(layer.chainId()).map(LayerHealth::checkedAt).orElse(0L) < since
        || !snapshotter.isSound(layer.chainId());
  }

  private static void report(StoreVerifier.Checked checked) {
    checked.found().flaws().stream()
        .limit(FLAWS_IN_LOG)
        .forEach(flaw ->
            log.error("layer {} of {}: {}", checked.layer().chainId(), checked.images(), flaw));
    if (checked.found().flawCount() > FLAWS_IN_LOG) {
      log.error(
          "layer {}: {} more differences",
          checked.layer().chainId(),
          checked.found().flawCount() - FLAWS_IN_LOG);
    }
    if (checked.sound()) {
      log.warn("layer {}: {}", checked.layer().chainId(), checked.repair());
    } else {
      log.error("layer {} stays damaged: {}", checked.layer().chainId(), checked.repair());
    }
  }

  @Override
  public void close() {
    thread.interrupt();
    try {
      thread.join(Duration.ofSeconds(5));
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }
}
