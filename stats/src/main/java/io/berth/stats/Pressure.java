package io.berth.stats;

import org.jspecify.annotations.Nullable;

/**
 * How much tasks have waited for a resource, Documentation/accounting/psi.rst.
 *
 * @param full while all tasks waited; absent for the processor on older kernels
 */
public record Pressure(Share some, @Nullable Share full) {

  /**
   * @param totalNanos since the cgroup began
   * @param avg10 percent of the last 10 seconds; likewise the others
   */
  public record Share(long totalNanos, double avg10, double avg60, double avg300) {}
}
