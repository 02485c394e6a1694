package io.berth.stats;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class CpuRatesTest {
  private static final long SECOND = 1_000_000_000L;
  private static final long T0 = 1_700_000_000L * SECOND;

  private final CpuRates rates = new CpuRates();

  @Test
  void aRateIsTheDifferenceToTheReadingBefore() {
    assertThat(rates.rate("/a", T0, 5 * SECOND)).isEmpty();
    assertThat(rates.rate("/a", T0 + 10 * SECOND, 10 * SECOND)).hasValue(SECOND / 2);
    assertThat(rates.rate("/a", T0 + 20 * SECOND, 30 * SECOND)).hasValue(2 * SECOND);
    assertThat(rates.rate("/b", T0 + 20 * SECOND, 30 * SECOND)).isEmpty();
  }

  @Test
  void closeReadingsAreComparedWithAnOlderOne() {
    assertThat(rates.rate("/a", T0, 0)).isEmpty();
    assertThat(rates.rate("/a", T0 + 1, 1)).as("too close to the first").isEmpty();
    assertThat(rates.rate("/a", T0 + 10 * SECOND, 5 * SECOND)).hasValue(SECOND / 2);
    assertThat(rates.rate("/a", T0 + 10 * SECOND + 1, 5 * SECOND + 1)).hasValue(SECOND / 2);
    assertThat(rates.rate("/a", T0 + 20 * SECOND, 5 * SECOND)).hasValue(0);
  }

  @Test
  void askedOftenItIsTheRateOfTheLastOneOrTwoSeconds() {
    long tenth = SECOND / 10;
    for (int i = 0; i <= 100; i++) {
      var rate = rates.rate("/a", T0 + i * tenth, i * tenth * 2);
      if (i > 20) {
        assertThat(rate).hasValue(2 * SECOND);
      }
    }
    var rate = rates.rate("/a", T0 + 103 * tenth, 100 * tenth * 2);
    assertThat(rate.getAsLong()).isBetween(SECOND, 2 * SECOND);
  }

  @Test
  void whatGoesBackwardsHasNoRate() {
    assertThat(rates.rate("/a", T0, 5 * SECOND)).isEmpty();
    assertThat(rates.rate("/a", T0 + 10 * SECOND, SECOND)).as("a new cgroup").isEmpty();
    assertThat(rates.rate("/a", T0, 2 * SECOND)).as("the clock was set").isEmpty();
    assertThat(rates.rate("/a", T0 + 10 * SECOND, 3 * SECOND)).hasValue(SECOND / 10);
  }

  @Test
  void anOldReadingSaysNothingOfNow() {
    assertThat(rates.rate("/a", T0, 0)).isEmpty();
    assertThat(rates.rate("/a", T0 + 600 * SECOND, SECOND)).isEmpty();
    assertThat(rates.rate("/a", T0 + 610 * SECOND, 11 * SECOND)).hasValue(SECOND);
  }

  @Test
  void cgroupsThatNobodyAsksForAreForgotten() {
    for (int i = 0; i < 1000; i++) {
      assertThat(rates.rate("/" + i, T0, 0)).isEmpty();
    }
    assertThat(rates.rate("/a", T0 + 300 * SECOND, 0)).isEmpty();
    assertThat(rates.size()).isEqualTo(1);
  }
}
