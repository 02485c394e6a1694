package io.berth.stats;

import io.berth.linux.LowPriority;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.LinkedBlockingQueue;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Counts of which nobody knows beforehand what they cost: files in a tree, descriptors of
 * processes.
 *
 * <p>Small ones are counted on the spot, no more often than {@link #FRESH}. One that turns out to
 * be large is left to a thread of low priority, and whoever asks gets what it last found, with the
 * time at which it did. The larger it is, the less often: counting takes at most a hundredth of the
 * time for one, and a tenth of a processor for all together.
 *
 * @param <V> what is counted
 */
public final class CostlyCounts<V> implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(CostlyCounts.class);
  private static final long FRESH = Duration.ofSeconds(10).toNanos();
  private static final long FORGOTTEN = Duration.ofMinutes(10).toNanos();
  private static final long LARGE = Duration.ofMillis(5).toNanos();
  private static final int REST_FOR_EACH = 9;
  private static final int REST_FOR_ONE = 100;
  private static final long STACK = 4 << 20; // a container may nest folders deeply

  private final String name;
  private final long small;
  private final Count<V> count;
  private final ConcurrentMap<String, Entry<V>> entries = new ConcurrentHashMap<>();
  private final BlockingQueue<String> queue = new LinkedBlockingQueue<>();
  private @Nullable Thread thread;
  private boolean closed;
  private volatile long forgotAt = System.nanoTime();

  /** Counts. */
  @FunctionalInterface
  public interface Count<V> {
    /**
     * @param most gives up when there is more
     * @return empty when it gave up
     */
    Optional<V> count(String key, long most);
  }

  /**
   * A count.
   *
   * @param at when it was made, nanoseconds since 1970
   */
  public record Counted<V>(V value, long at) {}

  /** Fields are guarded by the entry. */
  private static final class Entry<V> {
    @Nullable Counted<V> latest;
    long due = System.nanoTime();
    long askedAt;
    boolean large;
    boolean working;
  }

  /**
   * @param name of the thread
   * @param small how much is counted on the spot
   */
  public CostlyCounts(String name, long small, Count<V> count) {
    this.name = name;
    this.small = small;
    this.count = count;
  }

  /**
   * What was last counted.
   *
   * @return empty as long as a large one hasn't been counted for the first time, or when counting
   *     fails
   */
  public Optional<Counted<V>> get(String key) {
    forget();
    Entry<V> entry = entries.computeIfAbsent(key, _ -> new Entry<>());
    synchronized (entry) {
      long now = System.nanoTime();
      entry.askedAt = now;
      if (entry.working || now - entry.due < 0) {
        return Optional.ofNullable(entry.latest);
      }
      entry.working = true;
      if (entry.large) {
        enqueue(key);
        return Optional.ofNullable(entry.latest);
      }
    }
    return onTheSpot(key, entry);
  }

  private Optional<Counted<V>> onTheSpot(String key, Entry<V> entry) {
    Optional<V> counted = Optional.empty();
    boolean failed = true;
    try {
      counted = count.count(key, small);
      failed = false;
    } catch (RuntimeException e) {
      log.debug("{}: count {}: {}", name, key, e.getMessage());
    }
    synchronized (entry) {
      if (counted.isPresent()) {
        entry.latest = new Counted<>(counted.get(), Clocks.wallNanos());
      } else if (!failed) {
        entry.large = true;
        enqueue(key);
        return Optional.ofNullable(entry.latest);
      }
      entry.working = false;
      entry.due = System.nanoTime() + FRESH;
      return failed ? Optional.empty() : Optional.ofNullable(entry.latest);
    }
  }

  private void enqueue(String key) {
    queue.add(key);
    synchronized (queue) {
      if (thread == null && !closed) {
        thread = new Thread(null, this::work, name, STACK);
        thread.setDaemon(true);
        thread.start();
      }
    }
  }

  private void work() {
    LowPriority.ofThisThread();
    try {
      while (true) {
        String key = queue.take();
        Entry<V> entry = entries.get(key);
        if (entry != null) {
          long took = count(key, entry);
          Thread.sleep(Duration.ofNanos(took * REST_FOR_EACH));
        }
      }
    } catch (InterruptedException e) {
      // closed
    }
  }

  private long count(String key, Entry<V> entry) {
    long began = System.nanoTime();
    Optional<V> counted = Optional.empty();
    try {
      counted = count.count(key, Long.MAX_VALUE);
    } catch (RuntimeException e) {
      log.debug("{}: count {}: {}", name, key, e.getMessage());
    }
    long ended = System.nanoTime();
    synchronized (entry) {
      counted.ifPresent(value -> entry.latest = new Counted<>(value, Clocks.wallNanos()));
      entry.large = ended - began > LARGE;
      entry.working = false;
      entry.due = ended + Math.max(FRESH, (ended - began) * REST_FOR_ONE);
    }
    return ended - began;
  }

  /** What was removed is asked for no more. */
  private void forget() {
    long now = System.nanoTime();
    if (now - forgotAt > FORGOTTEN) {
      forgotAt = now;
      entries
          .values()
          .removeIf(entry -> {
            synchronized (entry) {
              return !entry.working && now - entry.askedAt > FORGOTTEN;
            }
          });
    }
  }

  /** Ends the thread. */
  @Override
  public void close() {
    synchronized (queue) {
      closed = true;
      if (thread != null) {
        thread.interrupt();
      }
    }
  }
}
