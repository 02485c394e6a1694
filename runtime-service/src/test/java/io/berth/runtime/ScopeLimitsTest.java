package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.oci.RuntimeSpec;
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

  @Test
  void aNewContainersLimitsAreSaidInItsAnnotations() {
    assertThat(
            ScopeLimits.annotations(
                new RuntimeSpec.Resources(
                    null,
                    new RuntimeSpec.Memory(96L << 20, null, 128L << 20, null, null, null, null),
                    new RuntimeSpec.Cpu(512L, 20_000L, null, 50_000L, null, null, "1", null, null),
                    new RuntimeSpec.Pids(300),
                    null,
                    null,
                    Map.of("memory.high", "67108864", "memory.oom.group", "1"))))
        .isEqualTo(
            Map.of(
                "org.systemd.property.MemoryMax", "uint64 100663296",
                "org.systemd.property.MemorySwapMax", "uint64 33554432",
                "org.systemd.property.MemoryHigh", "uint64 67108864",
                "org.systemd.property.CPUQuotaPerSecUSec", "uint64 400000",
                "org.systemd.property.CPUQuotaPeriodUSec", "uint64 50000",
                "org.systemd.property.TasksMax", "uint64 300"));
  }

  @Test
  void whereNothingIsLimitedNothingIsSaid() {
    assertThat(
            ScopeLimits.annotations(
                new RuntimeSpec.Resources(
                    null,
                    new RuntimeSpec.Memory(-1L, null, -1L, null, null, null, null),
                    new RuntimeSpec.Cpu(2L, -1L, null, 100_000L, null, null, null, null, null),
                    null,
                    null,
                    null,
                    null)))
        .isEmpty();
  }
}
