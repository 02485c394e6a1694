package io.berth.e2e;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The cgroup of a process, read here line by line, as an administrator would. */
final class KernelCounters {
  private static final Path ROOT = Path.of("/sys/fs/cgroup");
  private static final boolean UNIFIED = Files.exists(ROOT.resolve("cgroup.controllers"));

  private final long pid;

  KernelCounters(long pid) {
    this.pid = pid;
  }

  /** Processor time in nanoseconds, of cpuacct.usage or cpu.stat. */
  long cpuNanos() throws IOException {
    return UNIFIED
        ? line(folder("").resolve("cpu.stat"), "usage_usec") * 1000
        : number(folder("cpuacct").resolve("cpuacct.usage"));
  }

  /** Bytes, page cache included. */
  long memory() throws IOException {
    return UNIFIED
        ? number(folder("").resolve("memory.current"))
        : number(folder("memory").resolve("memory.usage_in_bytes"));
  }

  /** Bytes of page cache that was read once. */
  long inactiveFile() throws IOException {
    return UNIFIED
        ? line(folder("").resolve("memory.stat"), "inactive_file")
        : line(folder("memory").resolve("memory.stat"), "total_inactive_file");
  }

  /** Ids of the processes in the cgroup. */
  List<String> processes() throws IOException {
    return Files.readAllLines(folder(UNIFIED ? "" : "memory").resolve("cgroup.procs"));
  }

  /** Bytes that the process itself has that no file stands behind, proc_pid_status(5). */
  long anonymousMemory() throws IOException {
    return line(Path.of("/proc", Long.toString(pid), "status"), "RssAnon:") << 10;
  }

  private Path folder(String controller) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc", Long.toString(pid), "cgroup"))) {
      String[] parts = line.split(":", 3);
      if (List.of(parts[1].split(",")).contains(controller)) {
        return ROOT.resolve(parts[1]).resolve(parts[2].substring(1));
      }
    }
    throw new AssertionError("process " + pid + " is in no cgroup of " + controller);
  }

  private static long number(Path file) throws IOException {
    return Long.parseLong(Files.readString(file).strip());
  }

  private static long line(Path file, String key) throws IOException {
    return Files.readAllLines(file).stream()
        .map(line -> line.split("\\s+"))
        .filter(words -> words[0].equals(key))
        .mapToLong(words -> Long.parseLong(words[1]))
        .findFirst()
        .orElseThrow(() -> new AssertionError(file + " has no " + key));
  }
}
