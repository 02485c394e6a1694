package io.berth.stats;

import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * What a cgroup, with those beneath it, uses. What the kernel doesn't tell is absent.
 *
 * @param at when it was read, nanoseconds since 1970
 * @param cpuNanos processor time since the cgroup began
 * @param nanoCores processor time per second of late, in nanoseconds; absent at the first reading
 * @param memory bytes, page cache included; the others are bytes too
 * @param workingSet what can't be had back by dropping cold page cache
 * @param available up to the limit; absent without one
 * @param pageFaults since the cgroup began
 * @param tasks processes and threads, as the pids controller counts them
 */
public record CgroupUsage(
    long at,
    OptionalLong cpuNanos,
    OptionalLong nanoCores,
    OptionalLong memory,
    OptionalLong workingSet,
    OptionalLong rss,
    OptionalLong available,
    OptionalLong pageFaults,
    OptionalLong majorPageFaults,
    OptionalLong swap,
    OptionalLong swapAvailable,
    OptionalLong tasks,
    @Nullable Pressure cpuPressure,
    @Nullable Pressure memoryPressure,
    @Nullable Pressure ioPressure) {

  CgroupUsage withNanoCores(OptionalLong rate) {
    return new CgroupUsage(
        at,
        cpuNanos,
        rate,
        memory,
        workingSet,
        rss,
        available,
        pageFaults,
        majorPageFaults,
        swap,
        swapAvailable,
        tasks,
        cpuPressure,
        memoryPressure,
        ioPressure);
  }
}
