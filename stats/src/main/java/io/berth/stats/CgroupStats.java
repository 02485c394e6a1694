package io.berth.stats;

import io.berth.linux.Cgroups;
import io.berth.linux.KernelFile;
import java.util.Optional;

/** What cgroups use, read when asked. Safe for use by many threads. */
public final class CgroupStats {
  private final CgroupReader reader;
  private final CpuRates rates = new CpuRates();

  public CgroupStats(Cgroups cgroups) {
    reader = CgroupReader.of(cgroups);
  }

  /**
   * Reads one cgroup.
   *
   * @param file the buffer of this pass
   * @param cgroup its path from the root of a hierarchy
   * @return empty when there is no such cgroup, or no longer
   */
  public Optional<CgroupUsage> usage(KernelFile file, String cgroup) {
    return reader
        .usage(file, path(cgroup))
        .map(usage ->
            usage.cpuNanos().isEmpty()
                ? usage
                : usage.withNanoCores(
                    rates.rate(cgroup, usage.at(), usage.cpuNanos().getAsLong())));
  }

  CgroupReader reader() {
    return reader;
  }

  static byte[] path(String cgroup) {
    return KernelFile.name(cgroup.startsWith("/") ? cgroup : "/" + cgroup);
  }
}
