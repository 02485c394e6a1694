package io.berth.image;

import io.berth.image.ImageException.Reason;
import java.net.http.HttpHeaders;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeParseException;
import java.time.temporal.ChronoUnit;
import java.util.concurrent.ThreadLocalRandom;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * How often one host may be asked, for all pulls together. While it asks for a pause (429 or 503,
 * RFC 9110, 10.2.3) nobody asks it, and whatever is sent again is paid from one budget, so that a
 * host in trouble isn't given more of it. All instants are of {@link System#nanoTime}.
 */
final class HostPace {
  private static final Logger log = LoggerFactory.getLogger(HostPace.class);

  /** A host's longer wish isn't remembered further: one request then finds out whether it lasts. */
  private static final Duration LONGEST_PAUSE = Duration.ofMinutes(15);

  private static final Duration SHORTEST_PAUSE = Duration.ofMillis(50);
  private static final Duration LONGEST_BACKOFF = Duration.ofSeconds(30);
  private static final Duration LONGEST_JITTER = Duration.ofSeconds(5);

  /** Requests that may be sent again at once, and how fast they may be spent in the long run. */
  private static final int BUDGET = 30;

  private static final Duration BUDGET_REFILL = Duration.ofSeconds(1);

  private final String origin;
  private final TransferSettings settings;

  private long pausedAt = System.nanoTime(); // guarded by this, as all below
  private long pausedUntil = pausedAt;
  private int pauses; // in a row
  private int budget = BUDGET;
  private long refilledAt = pausedAt;

  HostPace(String origin, TransferSettings settings) {
    this.origin = origin;
    this.settings = settings;
  }

  /**
   * Waits until the host may be asked, a little longer for each caller so that they don't come all
   * at once.
   *
   * @param deadline the latest the caller would wait for
   * @throws ImageException REGISTRY_UNAVAILABLE at once if the pause is longer
   */
  void await(long deadline) throws InterruptedException {
    for (long wait = pause(); wait > 0; wait = pause()) {
      if (System.nanoTime() + wait - deadline > 0) {
        throw new ImageException(
            Reason.REGISTRY_UNAVAILABLE,
            "registry "
                + origin
                + " limits requests and asks for none until "
                + Instant.now().plusNanos(wait).truncatedTo(ChronoUnit.SECONDS)
                + "; try again then, give credentials with a higher limit, or name a mirror");
      }
      Thread.sleep(Duration.ofNanos(wait + jitter(wait)));
    }
  }

  private synchronized long pause() {
    return pausedUntil - System.nanoTime();
  }

  /** Up to a quarter more. */
  private static long jitter(long wait) {
    long most = Math.clamp(wait / 4, SHORTEST_PAUSE.toNanos(), LONGEST_JITTER.toNanos());
    return ThreadLocalRandom.current().nextLong(most);
  }

  /**
   * Takes note of an answer.
   *
   * @param sentAt when its request was sent
   * @param attempt of the request, from 1
   * @param deadline the latest the caller would wait for
   * @return whether to send the request again, after {@link #await}
   */
  boolean again(int status, HttpHeaders headers, long sentAt, int attempt, long deadline)
      throws InterruptedException {
    return switch (status) {
      case 429, 503 -> {
        long until = paused(status, asked(headers), sentAt);
        yield until - deadline <= 0 && maySpend(attempt);
      }
      case 408, 500, 502, 504 -> again(attempt);
      default -> {
        answered(sentAt);
        yield false;
      }
    };
  }

  /**
   * After a failure that tells nothing of the host's wishes: waits a little.
   *
   * @return whether to send the request again
   */
  boolean again(int attempt) throws InterruptedException {
    if (!maySpend(attempt)) {
      return false;
    }
    long wait = backoff(attempt);
    Thread.sleep(Duration.ofNanos(wait + jitter(wait)));
    return true;
  }

  private synchronized boolean maySpend(int attempt) {
    long refills = (System.nanoTime() - refilledAt) / BUDGET_REFILL.toNanos();
    budget = (int) Math.min(BUDGET, budget + refills);
    refilledAt += refills * BUDGET_REFILL.toNanos();
    if (attempt > settings.retries() || budget == 0) {
      return false;
    }
    budget--;
    return true;
  }

  /** Answers to what was sent before the pause began tell nothing new, unless they ask for more. */
  private synchronized long paused(int status, @Nullable Duration asked, long sentAt) {
    long now = System.nanoTime();
    if (sentAt - pausedAt >= 0) {
      pauses++;
      pausedAt = now;
    } else if (asked == null) {
      return pausedUntil;
    }
    long wish = asked == null ? backoff(pauses) : asked.toNanos();
    long until = now + Math.clamp(wish, SHORTEST_PAUSE.toNanos(), LONGEST_PAUSE.toNanos());
    if (until - pausedUntil > 0) {
      pausedUntil = until;
      log.info(
          "{} answers HTTP {}: no pull asks it for {} ms",
          origin,
          status,
          Duration.ofNanos(until - now).toMillis());
    }
    return pausedUntil;
  }

  private synchronized void answered(long sentAt) {
    if (sentAt - pausedAt >= 0) {
      pauses = 0;
    }
  }

  private long backoff(int round) {
    long factor = 1L << Math.min(round - 1, 16);
    return Math.min(settings.backoff().toNanos() * factor, LONGEST_BACKOFF.toNanos());
  }

  /** Retry-After in either of its forms, null when it isn't there or can't be read. */
  static @Nullable Duration asked(HttpHeaders headers) {
    String value = headers.firstValue("Retry-After").orElse("").strip();
    try {
      if (value.matches("[0-9]{1,9}")) {
        return Duration.ofSeconds(Long.parseLong(value));
      }
      if (value.isEmpty()) {
        return null;
      }
      // Measured by the host's own clock, which may differ from ours.
      Instant then = date(value);
      Instant now = headers.firstValue("Date").map(HostPace::date).orElseGet(Instant::now);
      Duration pause = Duration.between(now, then);
      return pause.isNegative() ? Duration.ZERO : pause;
    } catch (DateTimeParseException e) {
      return null;
    }
  }

  private static Instant date(String httpDate) {
    return ZonedDateTime.parse(httpDate, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant();
  }
}
