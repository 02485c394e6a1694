package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import io.berth.linux.KernelFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.IntConsumer;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * What the calls for stats and metrics of many pods cost: back to back, at a kubelet's rates, and
 * beside a walk over the cgroup files alone.
 */
final class StatsBenchmark {
  private static final int WARM_UP = 20;
  private static final int CALLS = 100;

  /** In seconds, as a kubelet does beside relisting each second. */
  private static final int STATS_EVERY = 10;

  private static final String GOAL = "≤ 25";

  /** USER_HZ, the unit of /proc/PID/stat, is 100 on every architecture that Linux gives Java. */
  private static final long NANOS_PER_TICK = 10_000_000L;

  private static final Path CGROUPS = Path.of("/sys/fs/cgroup");

  /** What stats of a container are made of, under v1 with the unified tree beside, and under v2. */
  private static final List<String> FILES_V1 =
      List.of(
          "cpuacct/cpuacct.usage",
          "memory/memory.usage_in_bytes",
          "memory/memory.stat",
          "memory/memory.limit_in_bytes",
          "memory/memory.memsw.usage_in_bytes",
          "memory/memory.memsw.limit_in_bytes",
          "pids/pids.current",
          "unified/cpu.pressure",
          "unified/memory.pressure",
          "unified/io.pressure");

  private static final List<String> FILES_V2 =
      List.of(
          "/cpu.stat",
          "/memory.current",
          "/memory.stat",
          "/memory.max",
          "/memory.swap.current",
          "/memory.swap.max",
          "/pids.current",
          "/cpu.pressure",
          "/memory.pressure",
          "/io.pressure");

  private final CriClient client;
  private final PodLife life;
  private final int daemon;
  private final @Nullable StuckRuntime stuck;
  private final int seconds;

  /**
   * @param daemon its process id
   * @param stuck null where no handler's runtime can be made to hang
   * @param seconds how long it is asked at a kubelet's rates
   */
  StatsBenchmark(
      CriClient client, PodLife life, int daemon, @Nullable StuckRuntime stuck, int seconds) {
    this.client = client;
    this.life = life;
    this.daemon = daemon;
    this.stuck = stuck;
    this.seconds = seconds;
  }

  /** Starts the pods, measures, removes them. */
  String run(int pods) throws IOException, InterruptedException {
    List<PodLife.Running> running = new ArrayList<>();
    try {
      for (int i = 0; i < pods; i++) {
        running.add(life.start("stats-" + i));
      }
      return measure(running);
    } finally {
      for (PodLife.Running pod : running) {
        client.stopPod(pod.podId());
        client.removePod(pod.podId());
      }
    }
  }

  private String measure(List<PodLife.Running> running) throws IOException, InterruptedException {
    var table = new MarkdownTable("ms, back to back", "p50", "p95", "goal");
    row(table, "ListPodSandbox and ListContainers", backToBack(client::relist), "");
    row(table, "ListContainerStats", backToBack(client::containerStats), GOAL);
    row(table, "ListPodSandboxStats", backToBack(client::podStats), "");
    row(table, "ListPodSandboxMetrics", backToBack(client::podMetrics), GOAL);
    List<CgroupFile> files = files(running);
    row(
        table,
        "floor: %d cgroup files opened, read, closed".formatted(files.size()),
        backToBack(walk(files)),
        "");

    List<Duration> stats = new ArrayList<>();
    List<Duration> metrics = new ArrayList<>();
    long idle = cpuShare(() -> Thread.sleep(Duration.ofSeconds(seconds / 3)));
    long relisting = cpuShare(() -> eachSecond(seconds / 3, _ -> client.relist()));
    long all =
        cpuShare(() ->
            eachSecond(
                seconds,
                second -> {
                  client.relist();
                  if (second % STATS_EVERY == 1) {
                    stats.add(timed(client::podStats));
                    metrics.add(timed(client::podMetrics));
                  }
                }));
    var rates = new MarkdownTable("at a kubelet's rates", "p50", "max", "goal");
    rates.row(
        "ListPodSandboxStats every %d s, ms".formatted(STATS_EVERY),
        MarkdownTable.millis(new Distribution(stats).median()),
        MarkdownTable.millis(new Distribution(stats).percentile(100)),
        GOAL);
    rates.row(
        "ListPodSandboxMetrics every %d s, ms".formatted(STATS_EVERY),
        MarkdownTable.millis(new Distribution(metrics).median()),
        MarkdownTable.millis(new Distribution(metrics).percentile(100)),
        GOAL);
    rates.row("the daemon's share of one processor, idle", percent(idle), "", "");
    rates.row("relisting each second", percent(relisting), "", "");
    rates.row("relisting, stats and metrics", percent(all), "", "< 1 %");
    return table + "\n" + rates + (stuck == null ? "" : "\n" + stuck.measure(running.getFirst()));
  }

  private static void row(MarkdownTable table, String name, Distribution times, String goal) {
    table.row(
        name,
        MarkdownTable.millis(times.median()),
        MarkdownTable.millis(times.percentile(95)),
        goal);
  }

  private static Distribution backToBack(Runnable call) {
    List<Duration> times = new ArrayList<>();
    for (int i = 0; i < WARM_UP + CALLS; i++) {
      long began = System.nanoTime();
      call.run();
      if (i >= WARM_UP) {
        times.add(Duration.ofNanos(System.nanoTime() - began));
      }
    }
    return new Distribution(times);
  }

  private static void eachSecond(int seconds, IntConsumer work) throws InterruptedException {
    long start = System.nanoTime();
    for (int second = 1; second <= seconds; second++) {
      work.accept(second);
      long left = start + Duration.ofSeconds(second).toNanos() - System.nanoTime();
      if (left > 0) {
        Thread.sleep(Duration.ofNanos(left));
      }
    }
  }

  private static Duration timed(Runnable call) {
    long began = System.nanoTime();
    call.run();
    return Duration.ofNanos(System.nanoTime() - began);
  }

  private static Runnable walk(List<CgroupFile> files) {
    var file = new KernelFile();
    byte[][] folders =
        files.stream().map(f -> KernelFile.name(f.folder().toString())).toArray(byte[][]::new);
    byte[][] names = files.stream().map(f -> KernelFile.name(f.name())).toArray(byte[][]::new);
    return () -> {
      for (int i = 0; i < names.length; i++) {
        var _ = file.read(folders[i], names[i]);
      }
    };
  }

  private record CgroupFile(Path folder, String name) {}

  private static List<CgroupFile> files(List<PodLife.Running> running) throws IOException {
    boolean unified = Files.exists(CGROUPS.resolve("cgroup.controllers"));
    Path memory = unified ? CGROUPS : CGROUPS.resolve("memory");
    List<Path> cgroups;
    try (Stream<Path> all = Files.walk(memory)) {
      List<String> ids = running.stream().map(PodLife.Running::containerId).toList();
      cgroups =
          all.filter(path -> ids.stream().anyMatch(String.valueOf(path.getFileName())::contains))
              .filter(Files::isDirectory)
              .map(memory::relativize)
              .toList();
    }
    List<CgroupFile> files = new ArrayList<>();
    for (Path cgroup : cgroups) {
      for (String name : unified ? FILES_V2 : FILES_V1) {
        int slash = name.indexOf('/');
        Path folder = CGROUPS.resolve(name.substring(0, slash)).resolve(cgroup);
        String file = name.substring(slash + 1);
        if (Files.exists(folder.resolve(file))) {
          files.add(new CgroupFile(folder, file));
        }
      }
    }
    return files;
  }

  /** Some work of ours that takes a while. */
  private interface Work {
    void run() throws InterruptedException;
  }

  /** The daemon's processor time meanwhile, in millionths of the time passed. */
  private long cpuShare(Work work) throws InterruptedException {
    long cpu = cpuNanos();
    long began = System.nanoTime();
    work.run();
    return (cpuNanos() - cpu) * 1_000_000 / (System.nanoTime() - began);
  }

  private long cpuNanos() {
    Path stat = Path.of("/proc", Integer.toString(daemon), "stat");
    try {
      String text = Files.readString(stat);
      // After the name in brackets come the fields from the third on; utime and stime are 14, 15.
      String[] fields = text.substring(text.lastIndexOf(')') + 2).split(" ");
      return (Long.parseLong(fields[11]) + Long.parseLong(fields[12])) * NANOS_PER_TICK;
    } catch (IOException e) {
      throw new BenchException(Reason.FILES, "read " + stat + ": " + e.getMessage(), e);
    }
  }

  private static String percent(long millionths) {
    return String.format(Locale.ROOT, "%.2f %%", millionths / 1e4);
  }
}
