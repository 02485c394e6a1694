package io.berth.stats;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class CostlyCountsTest {
  private static final long SMALL = 10;

  /** Counts as a walk over so many files would. */
  private static Optional<Integer> walk(int files, long most) {
    return files > most ? Optional.empty() : Optional.of(files);
  }

  @Test
  void aSmallOneIsCountedOnTheSpotAndNotAgainSoon() {
    AtomicInteger walks = new AtomicInteger();
    try (var counts =
        new CostlyCounts<Integer>(
            "test",
            SMALL,
            (_, most) -> {
              walks.incrementAndGet();
              return walk(7, most);
            })) {
      long before = Clocks.wallNanos();
      CostlyCounts.Counted<Integer> first = counts.get("a").orElseThrow();
      assertThat(first.value()).isEqualTo(7);
      assertThat(first.at()).isBetween(before, Clocks.wallNanos());
      assertThat(counts.get("a")).contains(first);
      assertThat(walks).hasValue(1);
    }
  }

  @Test
  void aLargeOneIsCountedBehindTheCallersBack() throws Exception {
    CountDownLatch goOn = new CountDownLatch(1);
    try (var counts =
        new CostlyCounts<Integer>(
            "test",
            SMALL,
            (_, most) -> {
              if (most == Long.MAX_VALUE) {
                await(goOn);
              }
              return walk(1_000_000, most);
            })) {
      assertThat(counts.get("a")).isEmpty();
      assertThat(counts.get("a")).as("nobody waits for it").isEmpty();
      goOn.countDown();
      await("it is counted", () -> counts.get("a").isPresent());
      assertThat(counts.get("a").orElseThrow().value()).isEqualTo(1_000_000);
    }
  }

  @Test
  void whileALargeOneIsCountedSmallOnesAreToo() {
    CountDownLatch goOn = new CountDownLatch(1);
    try (var counts =
        new CostlyCounts<Integer>(
            "test",
            SMALL,
            (key, most) -> {
              if (most == Long.MAX_VALUE) {
                await(goOn);
              }
              return walk(key.equals("large") ? 100 : 1, most);
            })) {
      assertThat(counts.get("large")).isEmpty();
      assertThat(counts.get("small")).isPresent();
      goOn.countDown();
    }
  }

  @Test
  void whatCantBeCountedIsAbsentAndTheOthersAreNot() {
    try (var counts =
        new CostlyCounts<Integer>(
            "test",
            SMALL,
            (key, most) -> {
              if (key.equals("broken")) {
                throw new UncheckedIOException(new IOException("no such folder"));
              }
              return walk(1, most);
            })) {
      assertThat(counts.get("broken")).isEmpty();
      assertThat(counts.get("whole")).isPresent();
    }
  }

  @Test
  void aLargeOneThatFailsHasNoneAndHoldsUpNobody() throws Exception {
    CountDownLatch failed = new CountDownLatch(1);
    try (var counts =
        new CostlyCounts<Integer>(
            "test",
            SMALL,
            (key, most) -> {
              if (key.equals("broken") && most == Long.MAX_VALUE) {
                failed.countDown();
                throw new UncheckedIOException(new IOException("unmounted"));
              }
              return walk(100, most);
            })) {
      assertThat(counts.get("broken")).isEmpty();
      await(failed);
      assertThat(counts.get("large")).isEmpty();
      await("the next is counted", () -> counts.get("large").isPresent());
      assertThat(counts.get("broken")).isEmpty();
    }
  }

  private static void await(CountDownLatch latch) {
    try {
      assertThat(latch.await(30, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static void await(String what, java.util.function.BooleanSupplier condition)
      throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    while (!condition.getAsBoolean()) {
      assertThat(System.nanoTime()).as(what).isLessThan(end);
      TimeUnit.MILLISECONDS.sleep(2);
    }
  }
}
