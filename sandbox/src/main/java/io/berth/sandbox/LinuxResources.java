package io.berth.sandbox;

import java.util.Map;

/// CRI's `LinuxContainerResources`. Zero and empty mean "not set" throughout.
///
/// @param cpuPeriod microseconds
/// @param cpuQuota microseconds per period; -1 is unlimited
/// @param memoryLimit bytes
/// @param memorySwapLimit bytes of memory and swap together
/// @param hugepageLimits bytes by page size (`2MB`)
/// @param unified cgroup v2 files and their contents
public record LinuxResources(
    long cpuPeriod,
    long cpuQuota,
    long cpuShares,
    long memoryLimit,
    long memorySwapLimit,
    long oomScoreAdj,
    String cpusetCpus,
    String cpusetMems,
    Map<String, Long> hugepageLimits,
    Map<String, String> unified) {
  public LinuxResources {
    cpusetCpus = Copies.of(cpusetCpus);
    cpusetMems = Copies.of(cpusetMems);
    hugepageLimits = Copies.of(hugepageLimits);
    unified = Copies.of(unified);
  }
}
