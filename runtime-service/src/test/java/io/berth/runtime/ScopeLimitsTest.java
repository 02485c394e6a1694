package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import org.junit.jupiter.api.Test;

/** With a real systemd it is tried by SystemdUpdateIT. */
class ScopeLimitsTest {
  @Test
  void filesAreSaidInSystemdsWords() {
    assertThat(
            ScopeLimits.properties(
                Map.of(
                    "cpu.weight", "79",
                    "cpu.max", "33333 100000",
                    "cpuset.cpus", "0-1",
                    "memory.high", "50331648",
                    "memory.max", "67108864",
                    "memory.swap.max", "0")))
        .isEqualTo(
            Map.of(
                "CPUWeight", "79",
                "CPUQuota", "33.33%",
                "CPUQuotaPeriodSec", "100000us",
                "AllowedCPUs", "0-1",
                "MemoryHigh", "50331648",
                "MemoryMax", "67108864",
                "MemorySwapMax", "0"));
  }

  @Test
  void noLimitIsTheDefault() {
    assertThat(
            ScopeLimits.properties(
                Map.of("cpu.max", "max 100000", "memory.max", "max", "cpuset.cpus", "")))
        .isEqualTo(Map.of("CPUQuota", "", "MemoryMax", "infinity", "AllowedCPUs", ""));
  }

  @Test
  void whatSystemdDoesntKnowIsLeftToTheFiles() {
    assertThat(
            ScopeLimits.properties(
                Map.of("hugetlb.2MB.max", "2097152", "memory.oom.group", "1", "io.max", "")))
        .isEmpty();
  }
}
