package io.berth.bench;

import java.time.Duration;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.Map;

/** How long each step of one life took, in the order of the steps. Used by one thread. */
final class StepTimes {
  private final Map<String, Duration> times = new LinkedHashMap<>();

  /** A step with a result. */
  interface Step<T> {
    T run() throws InterruptedException;
  }

  /** A step without one. */
  interface Action {
    void run() throws InterruptedException;
  }

  <T> T time(String step, Step<T> body) throws InterruptedException {
    long start = System.nanoTime();
    T result = body.run();
    times.merge(step, Duration.ofNanos(System.nanoTime() - start), Duration::plus);
    return result;
  }

  void run(String step, Action body) throws InterruptedException {
    long start = System.nanoTime();
    body.run();
    times.merge(step, Duration.ofNanos(System.nanoTime() - start), Duration::plus);
  }

  /** The sum of the named steps; what was not part of this life counts nothing. */
  Duration sum(Collection<String> steps) {
    return steps.stream()
        .map(step -> times.getOrDefault(step, Duration.ZERO))
        .reduce(Duration.ZERO, Duration::plus);
  }

  boolean has(Collection<String> steps) {
    return steps.stream().anyMatch(times::containsKey);
  }

  /** What between the steps was no part of the life, such as preparations, is not in it. */
  Duration total() {
    return sum(times.keySet());
  }
}
