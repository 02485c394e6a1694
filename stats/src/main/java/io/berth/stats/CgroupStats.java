package io.berth.stats;

import io.berth.linux.Cgroups;
import io.berth.linux.KernelFile;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/** What cgroups use, read when asked. Safe for use by many threads. */
public final class CgroupStats {
  private final CgroupReader reader;
  private final KnownCgroups known;
  private final CpuRates rates = new CpuRates();

  public CgroupStats(Cgroups cgroups) {
    reader = CgroupReader.of(cgroups);
    known = new KnownCgroups(reader);
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
    byte[] path = path(cgroup);
    return reader
        .usage(file, path, known.standing(file, cgroup, path, limits))
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

  static byte[] path(String cgroup) {
    return KernelFile.name(cgroup.startsWith("/") ? cgroup : "/" + cgroup);
  }
}
