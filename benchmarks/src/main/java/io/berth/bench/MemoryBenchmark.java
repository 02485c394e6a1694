package io.berth.bench;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Memory of the daemon at rest and with many pods, and of the helpers that pods keep. */
final class MemoryBenchmark {
  /** Long enough for a collection that waits for a quiet moment, and for native memory trimming. */
  private static final Duration SETTLING = Duration.ofSeconds(12);

  private final CriClient client;
  private final PodLife life;
  private final int daemon;

  /**
   * @param daemon its process id
   */
  MemoryBenchmark(CriClient client, PodLife life, int daemon) {
    this.client = client;
    this.life = life;
    this.daemon = daemon;
  }

  /** The daemon's PSS in bytes after a pause without calls. */
  long settled() throws InterruptedException {
    Thread.sleep(SETTLING);
    return ProcessMemory.pss(daemon);
  }

  /**
   * Starts the pods, measures, removes them.
   *
   * @param fresh PSS in bytes before the first pod of this run, to be shown beside the others
   */
  MarkdownTable run(int pods, long fresh) throws InterruptedException {
    long idle = settled();
    List<PodLife.Running> running = new ArrayList<>();
    try {
      for (int i = 0; i < pods; i++) {
        running.add(life.start("memory-" + i));
      }
      long busy = ProcessMemory.pss(daemon);
      long full = settled();
      List<String> ids = new ArrayList<>();
      running.forEach(pod -> {
        ids.add(pod.podId());
        ids.add(pod.containerId());
      });
      var table = new MarkdownTable("PSS, MiB", "value", "goal");
      table.row("daemon before the first pod", MarkdownTable.mebibytes(fresh), "");
      table.row("daemon idle after the load", MarkdownTable.mebibytes(idle), "");
      table.row("daemon just after starting " + pods + " pods", MarkdownTable.mebibytes(busy), "");
      table.row(
          "daemon with " + pods + " pods",
          MarkdownTable.mebibytes(full),
          pods == 50 ? "≤ 110" : "");
      for (Map.Entry<String, List<Long>> helper : ProcessMemory.helpers(ids).entrySet()) {
        long sum = helper.getValue().stream().mapToLong(Long::longValue).sum();
        table.row(
            "%s, %d processes, per pod".formatted(helper.getKey(), helper.getValue().size()),
            MarkdownTable.mebibytes(sum / pods),
            "");
      }
      return table;
    } finally {
      for (PodLife.Running pod : running) {
        client.stopPod(pod.podId());
        client.removePod(pod.podId());
      }
    }
  }
}
