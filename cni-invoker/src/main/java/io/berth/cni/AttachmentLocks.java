package io.berth.cni;

import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * Who may run plugins together (section 3, "Lifecycle and Ordering"): one operation at a time for a
 * sandbox, and none in a network that is being garbage-collected.
 *
 * <p>Order: the sandbox's lock, then the network's. Collection takes the network's alone.
 */
final class AttachmentLocks {
  private static final Duration PAUSE = Duration.ofMillis(20);

  private final Map<String, Shared> sandboxes = new ConcurrentHashMap<>();
  private final Map<String, ReentrantReadWriteLock> networks = new ConcurrentHashMap<>();

  /** A lock that is forgotten when its last user leaves. */
  private static final class Shared {
    final ReentrantLock lock = new ReentrantLock();
    int users; // changed under the map's own lock of the key
  }

  @FunctionalInterface
  interface Body<T extends @Nullable Object> {
    T run() throws InterruptedException;
  }

  <T extends @Nullable Object> T forSandbox(String id, Body<T> body) throws InterruptedException {
    Shared shared =
        sandboxes.compute(
            id,
            (_, present) -> {
              Shared used = present == null ? new Shared() : present;
              used.users++;
              return used;
            });
    try {
      shared.lock.lockInterruptibly();
      try {
        return body.run();
      } finally {
        shared.lock.unlock();
      }
    } finally {
      sandboxes.computeIfPresent(id, (_, used) -> --used.users == 0 ? null : used);
    }
  }

  <T extends @Nullable Object> T inNetwork(String network, Body<T> body)
      throws InterruptedException {
    ReentrantReadWriteLock.ReadLock lock = network(network).readLock();
    lock.lockInterruptibly();
    try {
      return body.run();
    } finally {
      lock.unlock();
    }
  }

  /**
   * Runs {@code body} when nothing else runs in the network.
   *
   * @return false when that did not happen within {@code patience}
   */
  boolean aloneInNetwork(String network, Duration patience, Body<@Nullable Void> body)
      throws InterruptedException {
    ReentrantReadWriteLock.WriteLock lock = network(network).writeLock();
    long deadline = System.nanoTime() + patience.toNanos();
    // Asked for again and again instead of queued for: behind a queued writer every new pod would
    // wait for the slowest
    // ADD under way.
    while (!lock.tryLock()) {
      if (System.nanoTime() - deadline > 0) {
        return false;
      }
      Thread.sleep(PAUSE);
    }
    try {
      body.run();
      return true;
    } finally {
      lock.unlock();
    }
  }

  private ReentrantReadWriteLock network(String name) {
    return networks.computeIfAbsent(name, _ -> new ReentrantReadWriteLock());
  }
}
