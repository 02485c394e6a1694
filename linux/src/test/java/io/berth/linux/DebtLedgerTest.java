package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DebtLedgerTest {
  private static final Debt DEBT = new Debt("unmount", "/run/x", Map.of("why", "test"));

  @TempDir Path folder;
  private final TestClock clock = new TestClock();
  private final List<DebtLedger> ledgers = new ArrayList<>();

  /** Time goes on when the test says so. */
  private static final class TestClock extends Clock {
    final AtomicReference<Instant> now = new AtomicReference<>(Instant.ofEpochSecond(1_000_000));

    void advance(Duration by) {
      now.updateAndGet(t -> t.plus(by));
    }

    @Override
    public Instant instant() {
      return now.get();
    }

    @Override
    public ZoneId getZone() {
      return ZoneOffset.UTC;
    }

    @Override
    public Clock withZone(ZoneId zone) {
      return this;
    }
  }

  private DebtLedger ledger() {
    DebtLedger ledger = new DebtLedger(folder.resolve("debts"), clock);
    ledgers.add(ledger);
    return ledger;
  }

  @AfterEach
  void close() {
    ledgers.forEach(DebtLedger::close);
  }

  private static void owe(DebtLedger ledger, Debt debt, String cause) {
    ledger.owe(debt, new IOException(cause));
  }

  /** The collector sleeps in real time; a debt of another kind wakes it. */
  private static void wake(DebtLedger ledger, int n) {
    owe(ledger, new Debt("wake", Integer.toString(n)), "to look at the clock");
  }

  @Test
  void owedBeforeTheStartIsSettledAtOnceAndForgotten() throws Exception {
    List<Debt> settled = Collections.synchronizedList(new ArrayList<>());
    DebtLedger first = ledger();
    owe(first, DEBT, "busy");
    first.close();

    DebtLedger second = ledger();
    second.register("unmount", settled::add);
    assertThat(second.list())
        .singleElement()
        .satisfies(e -> {
          assertThat(e.debt()).isEqualTo(DEBT);
          assertThat(e.lastError()).isEqualTo("busy");
          assertThat(e.attempts()).isEqualTo(1);
        });
    second.start();

    Await.until("nothing is owed", () -> second.list().isEmpty());
    assertThat(settled).containsExactly(DEBT);
    assertThat(ledger().list()).as("on disk").isEmpty();
  }

  @Test
  void pausesDoubleUpToFiveMinutes() throws Exception {
    AtomicInteger attempts = new AtomicInteger();
    DebtLedger ledger = ledger();
    ledger.register("wake", _ -> {});
    ledger.register(
        "unmount",
        _ -> {
          attempts.incrementAndGet();
          throw new IOException("still busy");
        });
    ledger.start();
    owe(ledger, DEBT, "busy");

    List<Long> pauses = new ArrayList<>();
    for (int n = 1; n <= 11; n++) {
      int expected = n;
      pauses.add(pause(ledger));
      assertThat(attempts).as("not before it is due").hasValue(n - 1);
      clock.advance(Duration.ofSeconds(pauses.getLast()));
      wake(ledger, n);
      Await.until("attempt " + n, () -> entry(ledger).attempts() == expected + 1);
    }

    assertThat(pauses).containsExactly(1L, 2L, 4L, 8L, 16L, 32L, 64L, 128L, 256L, 300L, 300L);
    assertThat(entry(ledger).lastError()).isEqualTo("still busy");
    assertThat(entry(ledger).since()).isEqualTo(1_000_000L * 1_000_000_000L);
  }

  private static DebtLedger.Entry entry(DebtLedger ledger) {
    return ledger.list().stream().filter(e -> e.debt().equals(DEBT)).findFirst().orElseThrow();
  }

  private long pause(DebtLedger ledger) {
    long now = ChronoUnit.NANOS.between(Instant.EPOCH, clock.instant());
    return Duration.ofNanos(entry(ledger).nextAttempt() - now).toSeconds();
  }

  @Test
  void owingAgainKeepsOneDebtWithTheLatestCause() {
    DebtLedger ledger = ledger();
    owe(ledger, DEBT, "first");
    clock.advance(Duration.ofSeconds(5));
    owe(ledger, DEBT, "second");
    assertThat(ledger.list())
        .singleElement()
        .satisfies(e -> {
          assertThat(e.lastError()).isEqualTo("second");
          assertThat(e.since()).isEqualTo(1_000_000L * 1_000_000_000L);
        });
  }

  /** Settling may have looked before the second reason to owe arose. */
  @Test
  void debtOwedAnewWhileItIsSettledStaysOwed() throws Exception {
    CountDownLatch settling = new CountDownLatch(1);
    CountDownLatch go = new CountDownLatch(1);
    AtomicInteger times = new AtomicInteger();
    DebtLedger ledger = ledger();
    owe(ledger, DEBT, "first");
    ledger.register(
        "unmount",
        _ -> {
          if (times.getAndIncrement() == 0) {
            settling.countDown();
            go.await();
          }
        });
    ledger.register("wake", _ -> {});
    ledger.start();
    settling.await();
    owe(ledger, DEBT, "second");
    go.countDown();
    wake(ledger, 1);
    clock.advance(Duration.ofSeconds(1));
    wake(ledger, 2);
    Await.until("settled again", () -> times.get() == 2);
    Await.until(
        "nothing is owed", () -> ledger.list().stream().noneMatch(e -> e.debt().equals(DEBT)));
  }

  @Test
  void kindThatNobodySettlesIsKept() throws Exception {
    DebtLedger ledger = ledger();
    owe(ledger, new Debt("unheard-of", "x"), "cause");
    ledger.start();
    Await.until("it was tried", () -> ledger.list().getFirst().attempts() == 2);
    assertThat(ledger.list().getFirst().lastError())
        .isEqualTo("nothing in this version settles debts of kind unheard-of");
  }

  @Test
  void errorInOneHandlerDoesntEndTheOthers() throws Exception {
    AtomicInteger settled = new AtomicInteger();
    DebtLedger ledger = ledger();
    owe(ledger, new Debt("a-broken", "x"), "cause");
    clock.advance(Duration.ofSeconds(1));
    ledger.register(
        "a-broken",
        _ -> {
          throw new NoClassDefFoundError("Gone");
        });
    ledger.register("unmount", _ -> settled.incrementAndGet());
    ledger.start();
    Await.until("it was tried", () -> ledger.list().getFirst().attempts() == 2);
    owe(ledger, DEBT, "cause");
    clock.advance(Duration.ofSeconds(1));
    owe(ledger, new Debt("unmount", "another"), "cause");
    Await.until("the other was settled", () -> settled.get() > 0);
  }

  @Test
  void debtThatCantBeWrittenIsKeptInMemoryAndWrittenLater() throws Exception {
    DebtLedger ledger = ledger();
    ledger.register("wake", _ -> {});
    ledger.register(
        "unmount",
        _ -> {
          throw new IOException("still busy");
        });
    ledger.start();
    Files.delete(folder.resolve("debts")); // as with a full disk, nothing can be made here
    owe(ledger, DEBT, "busy");
    assertThat(entry(ledger).lastError()).isEqualTo("busy");

    Files.createDirectory(folder.resolve("debts"));
    clock.advance(Duration.ofSeconds(1));
    wake(ledger, 1);
    Await.until("attempted", () -> entry(ledger).attempts() == 2);
    Await.until(
        "on disk",
        () -> {
          try (var files = Files.list(folder.resolve("debts"))) {
            return files.anyMatch(f -> f.getFileName().toString().matches("unmount-.*\\.json"));
          }
        });
  }

  @Test
  void closingInterruptsTheAttemptAndNothingIsWrittenAfterwards() throws Exception {
    CountDownLatch settling = new CountDownLatch(1);
    DebtLedger ledger = ledger();
    owe(ledger, DEBT, "busy");
    ledger.register(
        "unmount",
        _ -> {
          settling.countDown();
          new CountDownLatch(1).await();
        });
    ledger.start();
    settling.await();
    ledger.close();
    ledger.close();
    assertThat(ledger().list())
        .singleElement()
        .satisfies(e -> {
          assertThat(e.debt()).isEqualTo(DEBT);
          assertThat(e.attempts()).as("an attempt that was broken off doesn't count").isEqualTo(1);
        });
  }
}
