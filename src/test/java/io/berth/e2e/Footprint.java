package io.berth.e2e;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.Stream;

/**
 * What a process holds.
 *
 * @param fds open file descriptors
 * @param children living, and dead ones that nobody has waited for
 */
record Footprint(long fds, long threads, long children) {
  private static final Duration QUIET = Duration.ofSeconds(1);

  static Footprint of(long pid) throws IOException {
    long children = 0;
    for (Path thread : entries(pid, "task")) {
      String text = Files.readString(thread.resolve("children")).strip();
      children += text.isEmpty() ? 0 : text.split(" ").length;
    }
    return new Footprint(entries(pid, "fd").size(), entries(pid, "task").size(), children);
  }

  private static List<Path> entries(long pid, String folder) throws IOException {
    try (Stream<Path> entries = Files.list(Path.of("/proc", Long.toString(pid), folder))) {
      return entries.toList();
    }
  }

  /** Whether it is no larger but for a few threads of pools, which come and go. */
  boolean within(Footprint before) {
    return fds <= before.fds + 4 && threads <= before.threads + 8 && children <= before.children;
  }

  /** Bytes of memory of a JVM's own, after it has collected its garbage. */
  static long memory(long pid) throws IOException, InterruptedException {
    var _ =
        Commands.run(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "jcmd").toString(),
                Long.toString(pid),
                "GC.run"));
    return new KernelCounters(pid).anonymousMemory();
  }

  /** Until the process has used no processor for a second but for its housekeeping. */
  static void awaitQuiet(long pid, Duration limit) throws InterruptedException {
    long[] last = {Long.MIN_VALUE, System.nanoTime()};
    Await.until(
        "process " + pid + " rests",
        limit,
        () -> {
          long ticks = ticks(pid);
          if (ticks > last[0] + 2) {
            last[0] = ticks;
            last[1] = System.nanoTime();
          }
          return System.nanoTime() - last[1] > QUIET.toNanos();
        });
  }

  /** Processor time, proc_pid_stat(5): fields 14 and 15, 12 and 13 after the name. */
  private static long ticks(long pid) throws IOException {
    String stat = Files.readString(Path.of("/proc", Long.toString(pid), "stat"));
    String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
    return Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
  }
}
