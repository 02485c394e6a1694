package io.berth.streaming;

import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Base64;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongSupplier;

/** Single-use tokens: each stands for one request until its client comes or its time is over. */
final class Tokens<T> {
  private static final int BYTES = 6; // 8 characters of base64

  private final SecureRandom random = new SecureRandom();
  private final long lifeNanos;
  private final int most;
  private final LongSupplier nanoTime;
  private final Map<String, T> waiting = new HashMap<>();
  // All live equally long, so the order of issue is the order of expiry.
  private final Deque<Expiry> expiries = new ArrayDeque<>();

  private record Expiry(String token, long nanos) {}

  Tokens(Duration life, int most, LongSupplier nanoTime) {
    this.lifeNanos = life.toNanos();
    this.most = most;
    this.nanoTime = nanoTime;
  }

  /** Returns the token, 8 URL-safe characters. */
  synchronized String issue(T request) {
    dropExpired();
    if (waiting.size() >= most) {
      throw new StreamingException(
          StreamingException.Reason.TOO_MANY,
          "offer a stream: %d earlier ones still wait for their clients; try again later"
              .formatted(most));
    }
    byte[] bytes = new byte[BYTES];
    String token;
    do {
      random.nextBytes(bytes);
      token = Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    } while (waiting.putIfAbsent(token, request) != null);
    expiries.add(new Expiry(token, nanoTime.getAsLong() + lifeNanos));
    return token;
  }

  synchronized Optional<T> redeem(String token) {
    dropExpired();
    return Optional.ofNullable(waiting.remove(token));
  }

  private void dropExpired() {
    long now = nanoTime.getAsLong();
    Expiry oldest;
    while ((oldest = expiries.peek()) != null
        && (!waiting.containsKey(oldest.token) || oldest.nanos - now <= 0)) {
      waiting.remove(oldest.token);
      expiries.remove();
    }
  }
}
