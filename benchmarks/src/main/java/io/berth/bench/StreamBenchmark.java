package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.FdReader;
import io.berth.linux.ProcessRef;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Execs over WebSocket, with a client that throws away what it gets: how long until the first byte,
 * and how much passes. The floor is the OCI runtime's own exec, and a command entered with nsenter,
 * each with a pipe of our own.
 */
final class StreamBenchmark {
  /**
   * Before both sides, as before a command that somebody types. A runtime that is started on the
   * heels of another one needs little more than half the time: that would favour whoever comes
   * second.
   */
  private static final Duration REST = Duration.ofMillis(50);

  private static final int WARM_UP = 3;

  private static final long BYTES = 256L << 20;
  private static final List<String> WORD = List.of("echo", "word");
  private static final List<String> BULK = List.of("head", "-c", Long.toString(BYTES), "/dev/zero");

  private final CriClient client;
  private final PodLife life;
  private final OciFloor floor;

  StreamBenchmark(CriClient client, PodLife life, OciFloor floor) {
    this.client = client;
    this.life = life;
    this.floor = floor;
  }

  /** Both sides in turn, so that both meet the same machine. */
  MarkdownTable run(int times) throws IOException, InterruptedException {
    String id = "berth-bench-stream";
    PodLife.Running pod = life.start("stream");
    try {
      floor.bundle(id, null);
      ProcessRef process = floor.create(id);
      try {
        floor.start(id);
        return measure(times, pod.containerId(), id, process);
      } finally {
        floor.discard(id);
      }
    } finally {
      client.stopPod(pod.podId());
      client.removePod(pod.podId());
    }
  }

  private MarkdownTable measure(int times, String container, String id, ProcessRef process)
      throws InterruptedException {
    List<Duration> first = new ArrayList<>();
    List<Duration> floorFirst = new ArrayList<>();
    for (int i = -WARM_UP; i < times; i++) {
      Thread.sleep(REST);
      StreamTimes ours = exec(container, WORD);
      Thread.sleep(REST);
      StreamTimes bare = read(floor.execCommand(id, WORD));
      if (i >= 0) {
        first.add(ours.firstByte());
        floorFirst.add(bare.firstByte());
      }
    }
    List<Double> rates = new ArrayList<>();
    List<Double> floorRates = new ArrayList<>();
    List<String> enter =
        new ArrayList<>(
            List.of(
                Programs.find("nsenter").toString(),
                "-t",
                Integer.toString(process.pid()),
                "--mount",
                "--pid",
                "--root"));
    enter.addAll(BULK);
    for (int i = 0; i < 3; i++) {
      rates.add(exec(container, BULK).mebibytesPerSecond());
      floorRates.add(read(enter).mebibytesPerSecond());
    }
    Distribution ours = new Distribution(first);
    Distribution bare = new Distribution(floorFirst);
    double rate = median(rates);
    double floorRate = median(floorRates);
    return new MarkdownTable("exec", "Berth", "floor", "ratio", "goal")
        .row(
            "first byte, ms p50, against the runtime's exec",
            MarkdownTable.millis(ours.median()),
            MarkdownTable.millis(bare.median()),
            MarkdownTable.ratio(ours.ratioTo(bare)),
            "≤ 1.60")
        .row(
            "first byte, ms p95",
            MarkdownTable.millis(ours.percentile(95)),
            MarkdownTable.millis(bare.percentile(95)),
            "",
            "")
        .row(
            "standard output, MiB/s, against nsenter",
            number(rate),
            number(floorRate),
            MarkdownTable.ratio(rate / floorRate),
            "");
  }

  static double median(List<Double> values) {
    return values.stream().sorted().skip(values.size() / 2).findFirst().orElse(0.0);
  }

  static String number(double value) {
    return String.format(Locale.ROOT, "%.0f", value);
  }

  private StreamTimes exec(String container, List<String> command) {
    long begun = System.nanoTime();
    return WebSocketReader.read(
        client.execUrl(container, command),
        WebSocketReader.COMMANDS,
        WebSocketReader.STDOUT,
        0,
        begun);
  }

  private static StreamTimes read(List<String> command) throws InterruptedException {
    Fd[] pipe = Fd.pipe();
    long begun = System.nanoTime();
    long first = 0;
    long last = 0;
    long bytes = 0;
    try (FdReader output = new FdReader(pipe[0])) {
      Subprocess process;
      try (Fd nothing = Fd.openRead(Path.of("/dev/null"));
          Fd ours = pipe[1]) {
        process = Subprocess.command(command).streams(nothing, ours, ours).start();
      } catch (ErrnoException e) {
        throw new BenchException(Reason.PROGRAM, command + ": " + e.getMessage(), e);
      }
      byte[] buffer = new byte[64 << 10];
      for (int n = output.read(buffer); n > 0; n = output.read(buffer)) {
        last = System.nanoTime();
        first = first == 0 ? last : first;
        bytes += n;
      }
      var _ = process.await();
    }
    return StreamTimes.of(begun, first, last, bytes);
  }
}
