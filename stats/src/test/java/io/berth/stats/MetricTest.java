package io.berth.stats;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class MetricTest {
  @Test
  void thereAreThe56ThatTheKubeletKnowsEachWithHelp() {
    assertThat(Stream.of(Metric.values()).map(Metric::fullName))
        .hasSize(56)
        .doesNotHaveDuplicates()
        .allMatch(name -> name.matches("container_[a-z_]+"));
    assertThat(Metric.values()).allMatch(metric -> !metric.help().isBlank());
  }

  @Test
  void whatOnlyGrowsIsACounter() {
    assertThat(Metric.values())
        .filteredOn(metric -> metric.fullName().endsWith("_total"))
        .filteredOn(metric -> metric != Metric.FS_INODES_TOTAL) // a size, whatever its name
        .allMatch(metric -> metric.type() == Metric.Type.COUNTER);
  }
}
