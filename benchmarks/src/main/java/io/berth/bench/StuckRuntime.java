package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/** What the calls that read cost while the runtime of one container hangs in its start. */
final class StuckRuntime {
  private static final int LOOKS = 300;
  private static final Duration PATIENCE = Duration.ofMinutes(1);
  private static final long PAUSE_MILLIS = 20;
  private static final String GOAL = "≤ 5";

  private final CriClient client;
  private final PodLife life;
  private final Path hang;

  /**
   * @param life with a handler whose runtime, asked to start, waits while a file is there
   * @param hang that file; the runtime makes {@code FILE.hangs} when it waits
   */
  StuckRuntime(CriClient client, PodLife life, Path hang) {
    this.client = client;
    this.life = life;
    this.hang = hang;
  }

  /**
   * @param other a pod that isn't stuck, whose status is asked
   */
  MarkdownTable measure(PodLife.Running other) throws IOException, InterruptedException {
    Path hangs = hang.resolveSibling(hang.getFileName() + ".hangs");
    Files.writeString(hang, "");
    // Its thread ends with the start, which ends when the file goes.
    var start = new FutureTask<>(() -> life.start("stuck"));
    Thread.ofPlatform().daemon().name("stuck start").start(start);
    try {
      for (long end = System.nanoTime() + PATIENCE.toNanos(); Files.notExists(hangs); ) {
        if (start.isDone() || System.nanoTime() > end) {
          throw new BenchException(
              Reason.CALL,
              "the runtime does not hang: is it the handler's that looks for " + hang,
              null);
        }
        TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
      }
      var table = new MarkdownTable("ms, while a runtime hangs", "p50", "p99", "goal p99");
      row(table, "ListContainers and ListPodSandbox", client::relist);
      row(table, "ContainerStatus", () -> client.containerStatus(other.containerId()));
      row(
          table,
          "PodSandboxStatus",
          () -> {
            var _ = client.podAddress(other.podId());
          });
      row(table, "Status", client::status);
      row(
          table,
          "floor: Version, for which nothing is looked up",
          () -> {
            var _ = client.version();
          });
      return table;
    } finally {
      Files.delete(hang);
      end(start);
    }
  }

  private void end(FutureTask<PodLife.Running> start) throws InterruptedException {
    try {
      String podId = start.get().podId();
      client.stopPod(podId);
      client.removePod(podId);
    } catch (ExecutionException failure) {
      throw new BenchException(Reason.CALL, "the start that hung: " + failure.getCause(), failure);
    }
  }

  private static void row(MarkdownTable table, String name, Runnable call) {
    List<Duration> times = new ArrayList<>();
    for (int i = 0; i < LOOKS; i++) {
      long began = System.nanoTime();
      call.run();
      times.add(Duration.ofNanos(System.nanoTime() - began));
    }
    var all = new Distribution(times);
    table.row(
        name, MarkdownTable.millis(all.median()), MarkdownTable.millis(all.percentile(99)), GOAL);
  }
}
