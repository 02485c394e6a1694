package io.berth.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

final class DistributionTest {
  private static Distribution upTo(int last) {
    List<Duration> values =
        IntStream.rangeClosed(1, last).mapToObj(Duration::ofMillis).toList().reversed();
    return new Distribution(values);
  }

  @Test
  void percentilesAreMeasuredValuesByNearestRank() {
    assertThat(upTo(100).percentile(50)).isEqualTo(Duration.ofMillis(50));
    assertThat(upTo(100).percentile(95)).isEqualTo(Duration.ofMillis(95));
    assertThat(upTo(100).percentile(99)).isEqualTo(Duration.ofMillis(99));
    assertThat(upTo(50).percentile(50)).isEqualTo(Duration.ofMillis(25));
    assertThat(upTo(50).percentile(95)).isEqualTo(Duration.ofMillis(48));
    assertThat(upTo(50).percentile(99)).isEqualTo(Duration.ofMillis(50));
    assertThat(upTo(3).median()).isEqualTo(Duration.ofMillis(2));
  }

  @Test
  void oneValueIsEveryPercentile() {
    assertThat(upTo(1).percentile(1)).isEqualTo(Duration.ofMillis(1));
    assertThat(upTo(1).percentile(99)).isEqualTo(Duration.ofMillis(1));
  }

  @Test
  void ratioComparesMedians() {
    assertThat(upTo(100).ratioTo(upTo(50))).isEqualTo(2.0);
  }

  @Test
  void nothingMeasuredIsRefused() {
    assertThatThrownBy(() -> new Distribution(List.of()))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
