package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Proportional set sizes, from smaps_rollup of proc(5): pages that n processes share count 1/n for
 * each.
 */
final class ProcessMemory {
  private ProcessMemory() {}

  /** In bytes. */
  static long pss(int pid) {
    Path file = Path.of("/proc", Integer.toString(pid), "smaps_rollup");
    try {
      return pss(Files.readString(file));
    } catch (IOException e) {
      throw new BenchException(Reason.FILES, "read " + file + ": " + e.getMessage(), e);
    }
  }

  static long pss(String smapsRollup) {
    return smapsRollup
        .lines()
        .filter(line -> line.startsWith("Pss:"))
        .map(line -> line.replaceAll("[^0-9]", ""))
        .mapToLong(kibibytes -> Long.parseLong(kibibytes) << 10)
        .findFirst()
        .orElseThrow(() -> new BenchException(Reason.FILES, "smaps_rollup without Pss", null));
  }

  /**
   * Sizes of the processes whose command line names one of the ids, by program: monitors, inits and
   * whatever else a runtime keeps per pod. What runs inside the containers does not know its id.
   *
   * @return for each program the PSS of each of its processes, in bytes
   */
  static Map<String, List<Long>> helpers(Collection<String> ids) {
    Map<String, List<Long>> found = new TreeMap<>();
    try (Stream<Path> processes = Files.list(Path.of("/proc"))) {
      for (Path process : processes.toList()) {
        if (process.getFileName().toString().chars().allMatch(Character::isDigit)) {
          try {
            List<String> command = commandLine(process);
            String line = String.join(" ", command);
            if (ids.stream().anyMatch(line::contains)) {
              found
                  .computeIfAbsent(
                      Path.of(command.getFirst()).getFileName().toString(), _ -> new ArrayList<>())
                  .add(pss(Files.readString(process.resolve("smaps_rollup"))));
            }
          } catch (NoSuchFileException ended) {
            // between the listing and the reading
          }
        }
      }
    } catch (IOException e) {
      throw new BenchException(Reason.FILES, "read /proc: " + e.getMessage(), e);
    }
    return found;
  }

  private static List<String> commandLine(Path process) throws IOException {
    String line =
        new String(Files.readAllBytes(process.resolve("cmdline")), StandardCharsets.UTF_8);
    return List.of(line.split("\0"));
  }
}
