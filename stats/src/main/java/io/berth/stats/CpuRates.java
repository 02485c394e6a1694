package io.berth.stats;

import java.time.Duration;
import java.util.OptionalLong;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Processor time per second, between two of our own readings. Readings are made when somebody asks:
 * without anyone who asks there is no work, and who asks every ten seconds gets the rate of those
 * ten. Of each cgroup two readings are kept, and none for longer than anyone can call the present.
 */
final class CpuRates {
  /** Closer readings are compared with an older one, or the kernel's ticks would show. */
  private static final long LEAST = Duration.ofSeconds(1).toNanos();

  /** An average over more says nothing of now. */
  private static final long MOST = Duration.ofMinutes(2).toNanos();

  private record Reading(long at, long cpuNanos) {}

  /**
   * @param reference what the next close reading is compared with; null after the first
   */
  private record Readings(@Nullable Reading reference, Reading latest) {}

  private final ConcurrentMap<String, Readings> byCgroup = new ConcurrentHashMap<>();
  private final AtomicLong forgotAt = new AtomicLong();

  /**
   * Tells the rate up to this reading and keeps the reading.
   *
   * @param at nanoseconds since 1970
   * @return nanoseconds of processor time per second; absent at the first reading, and when the
   *     clock or the counter went backwards
   */
  OptionalLong rate(String cgroup, long at, long cpuNanos) {
    forget(at);
    var now = new Reading(at, cpuNanos);
    Readings kept = byCgroup.get(cgroup);
    if (kept == null || cpuNanos < kept.latest.cpuNanos || at < kept.latest.at) {
      byCgroup.put(cgroup, new Readings(null, now));
      return OptionalLong.empty();
    }
    boolean apart = at - kept.latest.at >= LEAST;
    Reading reference = apart ? kept.latest : kept.reference;
    if (apart) {
      byCgroup.put(cgroup, new Readings(kept.latest, now));
    }
    if (reference == null || at - reference.at > MOST) {
      return OptionalLong.empty();
    }
    double perNano = (cpuNanos - reference.cpuNanos) / (double) (at - reference.at);
    return OptionalLong.of(Math.round(perNano * 1e9));
  }

  /** Cgroups that are gone are asked for no more. */
  private void forget(long now) {
    long last = forgotAt.get();
    if (Math.abs(now - last) > MOST && forgotAt.compareAndSet(last, now)) {
      byCgroup.values().removeIf(kept -> Math.abs(now - kept.latest.at) > MOST);
    }
  }

  int size() {
    return byCgroup.size();
  }
}
