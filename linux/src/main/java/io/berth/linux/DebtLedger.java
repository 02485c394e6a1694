package io.berth.linux;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps failed undo steps as records and retries them with growing pauses until they succeed. The
 * one owner of what is owed; {@code berth debts} lists it.
 */
public final class DebtLedger implements Debts, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(DebtLedger.class);
  private static final Duration FIRST_PAUSE = Duration.ofSeconds(1);
  private static final Duration LONGEST_PAUSE = Duration.ofMinutes(5);
  private static final Duration LAST_ATTEMPT = Duration.ofSeconds(5);

  private final RecordFolder<Entry> records;
  private final Clock clock;
  private final ConcurrentMap<String, Entry> entries = new ConcurrentHashMap<>();
  private final ConcurrentMap<String, Handler> handlers = new ConcurrentHashMap<>();
  private final ReentrantLock writing = new ReentrantLock(); // entry and record change together
  private final Semaphore wake = new Semaphore(0);
  private final Thread collector;
  private volatile Background background = Background.UNSEEN;
  private volatile boolean closed;

  /** One debt as it is kept: times in nanoseconds since the epoch. */
  public record Entry(
      String kind,
      String subject,
      Map<String, String> details,
      long since,
      int attempts,
      String lastError,
      long nextAttempt) {
    Debt debt() {
      return new Debt(kind, subject, details);
    }

    public String id() {
      return DebtLedger.id(debt());
    }
  }

  /** Settles debts of one kind; must be idempotent. */
  @FunctionalInterface
  public interface Handler {
    void settle(Debt debt) throws Exception;
  }

  /**
   * @param folder where the records are; made when missing
   */
  public DebtLedger(Path folder, Clock clock) {
    this.records = new RecordFolder<>(folder, Entry.class, 1);
    this.clock = clock;
    records.readAll().forEach(entries::put);
    this.collector = Thread.ofVirtual().name("debts").unstarted(this::collect);
  }

  /** Says how debts of a kind are settled; to be called for every kind before {@link #start}. */
  public void register(String kind, Handler handler) {
    handlers.put(kind, handler);
  }

  /** As {@link #start(Background)} where nobody wants to know. */
  public void start() {
    start(Background.UNSEEN);
  }

  /**
   * Begins to retry; what was owed before the start is due at once.
   *
   * @param observer is told of each attempt
   */
  public void start(Background observer) {
    background = observer;
    long now = nanos(clock.instant());
    entries.replaceAll((id, e) ->
        new Entry(e.kind(), e.subject(), e.details(), e.since(), e.attempts(), e.lastError(), now));
    collector.start();
  }

  @Override
  public void owe(Debt debt, Throwable cause) {
    long now = nanos(clock.instant());
    String id = id(debt);
    writing.lock();
    try {
      Entry known = entries.get(id);
      keep(
          id,
          new Entry(
              debt.kind(),
              debt.subject(),
              debt.details(),
              known == null ? now : known.since(),
              known == null ? 1 : known.attempts(),
              reason(cause),
              now + FIRST_PAUSE.toNanos()));
    } finally {
      writing.unlock();
    }
    wake.release();
  }

  /** What is owed now, oldest first. */
  public List<Entry> list() {
    return entries.values().stream()
        .sorted(java.util.Comparator.comparingLong(Entry::since))
        .toList();
  }

  /** Ends the retries; a handler that an interrupt doesn't end is given up after a while. */
  @Override
  public void close() {
    closed = true;
    if (collector.getState() == Thread.State.NEW) {
      return;
    }
    collector.interrupt();
    try {
      var _ = collector.join(LAST_ATTEMPT);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void collect() {
    while (!closed) {
      try {
        long now = nanos(clock.instant());
        long next = now + LONGEST_PAUSE.toNanos();
        for (Map.Entry<String, Entry> owed : entries.entrySet()) {
          Entry entry = owed.getValue();
          if (entry.nextAttempt() <= now) {
            entry = attempt(owed.getKey(), entry);
          }
          if (entry != null) {
            next = Math.min(next, entry.nextAttempt());
          }
        }
        var _ = wake.tryAcquire(next - nanos(clock.instant()), TimeUnit.NANOSECONDS);
        var _ = wake.drainPermits();
      } catch (InterruptedException e) {
        return; // closed
      } catch (RuntimeException e) {
        log.error(
            "debts could not be looked through, next try in {}: {}", FIRST_PAUSE, e.toString());
        java.util.concurrent.locks.LockSupport.parkNanos(FIRST_PAUSE.toNanos());
      }
    }
  }

  private @Nullable Entry attempt(String id, Entry entry) throws InterruptedException {
    try {
      Handler handler = handlers.get(entry.kind());
      if (handler == null) {
        throw new IllegalStateException(
            "nothing in this version settles debts of kind " + entry.kind());
      }
      return background.run(
          "settle " + entry.kind(),
          entry.subject(),
          () -> {
            handler.settle(entry.debt());
            return settled(id, entry);
          });
    } catch (InterruptedException e) {
      throw e;
    } catch (Throwable e) { // an Error of one handler must not end the collection of all debts
      long pause =
          Math.min(
              LONGEST_PAUSE.toNanos(), FIRST_PAUSE.toNanos() << Math.min(entry.attempts(), 20));
      Entry later =
          new Entry(
              entry.kind(),
              entry.subject(),
              entry.details(),
              entry.since(),
              entry.attempts() + 1,
              reason(e),
              nanos(clock.instant()) + pause);
      writing.lock();
      try {
        keep(id, later);
      } finally {
        writing.unlock();
      }
      return later;
    }
  }

  /** Forgets the debt, unless it was owed anew while it was being settled. */
  private @Nullable Entry settled(String id, Entry entry) {
    writing.lock();
    try {
      Entry current = entries.get(id);
      if (!entry.equals(current)) {
        return current;
      }
      records.delete(id);
      entries.remove(id);
    } finally {
      writing.unlock();
    }
    log.info(
        "settled {} {} after {} attempts", entry.kind(), entry.subject(), entry.attempts() + 1);
    return null;
  }

  private static String reason(Throwable cause) {
    return cause.getMessage() == null ? cause.toString() : cause.getMessage();
  }

  /** A full disk must not lose the debt: it stays in memory and is written at the next attempt. */
  private void keep(String id, Entry entry) {
    entries.put(id, entry);
    try {
      records.write(id, entry);
    } catch (RuntimeException e) {
      log.error(
          "debt {} {} could not be recorded and is kept in memory only: {}",
          entry.kind(),
          entry.subject(),
          e.getMessage());
    }
  }

  private static long nanos(Instant instant) {
    return instant.getEpochSecond() * 1_000_000_000L + instant.getNano();
  }

  /** The same debt has the same id, however often it is owed. */
  private static String id(Debt debt) {
    try {
      byte[] hash =
          MessageDigest.getInstance("SHA-256")
              .digest((debt.kind() + "\0" + debt.subject()).getBytes(StandardCharsets.UTF_8));
      return debt.kind() + "-" + HexFormat.of().formatHex(hash, 0, 8);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every JDK has SHA-256
    }
  }
}
