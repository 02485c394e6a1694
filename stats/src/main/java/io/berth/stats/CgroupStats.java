package io.berth.stats;

import io.berth.linux.Cgroups;
import io.berth.linux.KernelFile;
import io.berth.linux.KernelFolder;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What cgroups use, read when asked. Safe for use by many threads. */
public final class CgroupStats implements AutoCloseable {
  /** A container has some fourteen files that are read, its pod seven. */
  private static final long MOST_OPEN_FILES = 4096;

  private final CgroupReader reader;
  private final KnownCgroups known;
  private final CpuRates rates = new CpuRates();

  public CgroupStats(Cgroups cgroups) {
    reader = CgroupReader.of(cgroups);
    known = new KnownCgroups(reader, room());
  }

  /** At most a quarter of what this process may open. */
  private static KernelFolder.Room room() {
    long limit = ProcessCounts.softLimit(new KernelFile(), ProcessHandle.current().pid());
    long most = limit == KernelFile.ABSENT ? MOST_OPEN_FILES : limit / 4;
    return new KernelFolder.Room((int) Math.min(most, MOST_OPEN_FILES));
  }

  /**
   * Reads one cgroup.
   *
   * @param file the buffer of this pass
   * @param cgroup its path from the root of a hierarchy
   * @param limits what Berth last set, in whatever form; if it differs, the kernel's are read anew
   * @return empty when there is no such cgroup, or no longer
   */
  public Optional<CgroupUsage> usage(KernelFile file, String cgroup, @Nullable Object limits) {
    return known
        .look(file, cgroup, limits, (files, standing) -> reader.usage(file, files, standing))
        .map(usage ->
            usage.cpuNanos().isEmpty()
                ? usage
                : usage.withNanoCores(
                    rates.rate(cgroup, usage.at(), usage.cpuNanos().getAsLong())));
  }

  CgroupReader reader() {
    return reader;
  }

  KnownCgroups known() {
    return known;
  }

  @Override
  public void close() {
    known.close();
  }

  static byte[] path(String cgroup) {
    return KernelFile.name(cgroup.startsWith("/") ? cgroup : "/" + cgroup);
  }
}
