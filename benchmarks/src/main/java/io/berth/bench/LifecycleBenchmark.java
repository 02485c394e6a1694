package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Lives pods and floors in turns, so that what drifts on the machine reaches both: one pod then one
 * floor, or eight of each at once.
 */
final class LifecycleBenchmark {
  private final Life runtime;
  private final Life floor;

  /** What was measured, the lives of the warm-up left out. */
  record Lives(List<StepTimes> runtime, List<StepTimes> floor) {}

  LifecycleBenchmark(Life runtime, Life floor) {
    this.runtime = runtime;
    this.floor = floor;
  }

  /**
   * @param prefix of the names; not used before in this run
   * @param uncounted how many of each come first and aren't measured
   * @param count how many of each; rounded up to a multiple of {@code parallel}
   */
  Lives run(String prefix, int uncounted, int count, int parallel) throws InterruptedException {
    var measured = new Lives(new ArrayList<>(), new ArrayList<>());
    try (ExecutorService workers =
        Executors.newThreadPerTaskExecutor(Thread.ofPlatform().name("life-", 0).factory())) {
      int rounds = Math.ceilDiv(count, parallel);
      int warmUp = Math.ceilDiv(uncounted, parallel);
      for (int round = -warmUp; round < rounds; round++) {
        String name = prefix + "-" + (round + warmUp);
        List<StepTimes> pods = together(workers, runtime, "p" + name, parallel);
        List<StepTimes> floors = together(workers, floor, "f" + name, parallel);
        if (round >= 0) {
          measured.runtime().addAll(pods);
          measured.floor().addAll(floors);
        }
      }
    }
    return measured;
  }

  private static List<StepTimes> together(
      ExecutorService workers, Life life, String name, int parallel) throws InterruptedException {
    List<Future<StepTimes>> lives = new ArrayList<>();
    for (int i = 0; i < parallel; i++) {
      String own = name + "-" + i;
      lives.add(workers.submit(() -> life.live(own)));
    }
    List<StepTimes> times = new ArrayList<>();
    try {
      for (Future<StepTimes> one : lives) {
        times.add(one.get());
      }
    } catch (ExecutionException e) {
      throw e.getCause() instanceof BenchException known
          ? known
          : new BenchException(Reason.PROGRAM, "live as " + name + ": " + e.getCause(), e);
    } finally {
      lives.forEach(one -> one.cancel(true)); // the others need not go on; each cleans up
    }
    return times;
  }
}
