package io.berth.stats;

import io.berth.linux.KernelFile;
import io.berth.linux.KernelFolder;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/**
 * The cgroups that are asked for, see decision 15: their files stay open, and what stands still of
 * them isn't read at every look. Limits that Berth sets are read anew at once; those that somebody
 * else sets, behind its back, within a minute. Safe for use by many threads.
 */
final class KnownCgroups implements AutoCloseable {
  private static final long KEPT = Duration.ofMinutes(1).toNanos();

  /** One of them; all of it guarded by itself. */
  private static final class Known {
    final byte[] path;
    final OpenCgroup files;
    @Nullable Standing standing;
    @Nullable Object limits;
    long readAt;
    long askedAt;

    Known(String cgroup, KernelFolder.Room room) {
      path = CgroupStats.path(cgroup);
      files = new OpenCgroup(path, room);
    }
  }

  private final CgroupReader reader;
  private final KernelFolder.Room room;
  private final ConcurrentMap<String, Known> known = new ConcurrentHashMap<>();
  private final AtomicLong forgotAt = new AtomicLong(System.nanoTime());

  KnownCgroups(CgroupReader reader, KernelFolder.Room room) {
    this.reader = reader;
    this.room = room;
  }

  /**
   * Looks at one.
   *
   * @param cgroup its path from the root of a hierarchy
   * @param limits what Berth last set, in whatever form; if it differs, the kernel's are read anew
   * @param look reads what it wants; alone with this cgroup meanwhile
   */
  <T> T look(
      KernelFile file,
      String cgroup,
      @Nullable Object limits,
      BiFunction<OpenCgroup, Standing, T> look) {
    long now = System.nanoTime();
    forget(now);
    Known one = known.computeIfAbsent(cgroup, name -> new Known(name, room));
    synchronized (one) {
      one.askedAt = now;
      return look.apply(one.files, standing(one, file, limits, now));
    }
  }

  private Standing standing(Known one, KernelFile file, @Nullable Object limits, long now) {
    Standing last = one.standing;
    if (last != null && Objects.equals(one.limits, limits) && now - one.readAt < KEPT) {
      return last;
    }
    Standing standing = reader.standing(file, OpenCgroup.once(one.path));
    // Without anything there is no such cgroup yet, or no longer.
    one.standing = standing.samples().isEmpty() ? null : standing;
    one.limits = limits;
    one.readAt = now;
    return standing;
  }

  /** Cgroups that are asked for no more, as they have gone. */
  private void forget(long now) {
    long last = forgotAt.get();
    if (now - last > KEPT && forgotAt.compareAndSet(last, now)) {
      known
          .values()
          .removeIf(one -> {
            synchronized (one) {
              boolean left = now - one.askedAt > KEPT;
              if (left) {
                one.files.close();
              }
              return left;
            }
          });
    }
  }

  @Override
  public void close() {
    known
        .values()
        .removeIf(one -> {
          synchronized (one) {
            one.files.close();
            return true;
          }
        });
  }
}
