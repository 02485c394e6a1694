package io.berth.stats;

import io.berth.linux.KernelFile;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * What needn't be read of a cgroup at every look, see decision 15. Limits that Berth sets are read
 * anew at once; those that somebody else sets, behind its back, within a minute.
 */
final class KnownCgroups {
  private static final long KEPT = Duration.ofMinutes(1).toNanos();

  private record Known(Standing standing, @Nullable Object limits, long readAt) {}

  private final CgroupReader reader;
  private final ConcurrentMap<String, Known> known = new ConcurrentHashMap<>();
  private final AtomicLong forgotAt = new AtomicLong(System.nanoTime());

  KnownCgroups(CgroupReader reader) {
    this.reader = reader;
  }

  /**
   * Reads it, or tells what was read.
   *
   * @param path the same cgroup as {@link CgroupStats#path} has it
   * @param limits what Berth last set, in whatever form; if it differs, the kernel's are read anew
   */
  Standing standing(KernelFile file, String cgroup, byte[] path, @Nullable Object limits) {
    long now = System.nanoTime();
    forget(now);
    Known last = known.get(cgroup);
    if (last != null && Objects.equals(last.limits, limits) && now - last.readAt < KEPT) {
      return last.standing;
    }
    Standing standing = reader.standing(file, path);
    if (standing.samples().isEmpty()) {
      return standing; // there is no such cgroup yet, or no longer
    }
    known.put(cgroup, new Known(standing, limits, now));
    return standing;
  }

  /** Cgroups that are gone are asked for no more. */
  private void forget(long now) {
    long last = forgotAt.get();
    if (now - last > KEPT && forgotAt.compareAndSet(last, now)) {
      known.values().removeIf(one -> now - one.readAt > 2 * KEPT);
    }
  }
}
