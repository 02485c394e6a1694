package io.berth.e2e;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/** The cgroup of a process, read here line by line, as an administrator would. */
final class KernelCounters {
  private static final Path ROOT = Path.of("/sys/fs/cgroup");
  private static final boolean UNIFIED = Files.exists(ROOT.resolve("cgroup.controllers"));

  private final long pid;
  private final int above;

  KernelCounters(long pid) {
    this(pid, 0);
  }

  private KernelCounters(long pid, int above) {
    this.pid = pid;
    this.above = above;
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

  /** A whole file of the cgroup, such as {@code memory.max}; version 2 only. */
  String file(String name) throws IOException {
    return Files.readString(folder("").resolve(name)).strip();
  }

  /** A number of a file with a number in each line, such as {@code anon} of memory.stat. */
  long line(String name, String key) throws IOException {
    return line(folder("").resolve(name), key);
  }

  /** Microseconds that it has waited, by {@code cpu.pressure} and the like: of some, or of full. */
  long pressure(String resource, String who) throws IOException {
    return Files.readAllLines(folder("").resolve(resource + ".pressure")).stream()
        .filter(line -> line.startsWith(who + " "))
        .mapToLong(line -> Long.parseLong(line.replaceAll(".* total=", "")))
        .findFirst()
        .orElseThrow(() -> new AssertionError("no " + who + " of " + resource));
  }

  /** The same of the cgroup above, which is the pod's. */
  KernelCounters parent() {
    return new KernelCounters(pid, above + 1);
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
        Path folder = ROOT.resolve(parts[1]).resolve(parts[2].substring(1));
        for (int i = 0; i < above; i++) {
          folder = Objects.requireNonNull(folder.getParent());
        }
        return folder;
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
