package io.berth.bench;

import io.berth.linux.Subprocess;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** What stands beside a measurement so that it can be judged. */
final class MachineFacts {
  private MachineFacts() {}

  /**
   * @param folder on the file system of the images
   */
  static String markdown(String daemon, Path runtime, Path folder)
      throws IOException, InterruptedException {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("Runtime", daemon);
    facts.put("System", field(Path.of("/etc/os-release"), "PRETTY_NAME", '='));
    facts.put("Kernel", System.getProperty("os.version") + ", " + System.getProperty("os.arch"));
    facts.put(
        "Processors",
        Runtime.getRuntime().availableProcessors()
            + " × "
            + field(Path.of("/proc/cpuinfo"), "model name", ':'));
    facts.put("Memory", memory());
    facts.put("File system of the images", Files.getFileStore(folder).type());
    facts.put(
        "Cgroups",
        Files.exists(Path.of("/sys/fs/cgroup/cgroup.controllers")) ? "v2" : "v1 or hybrid");
    facts.put("OCI runtime", version(runtime));
    facts.put("Monitor", version(Programs.find("conmon")));
    var text = new StringBuilder();
    facts.forEach((name, value) -> text.append("- %s: %s%n".formatted(name, value)));
    return text.toString();
  }

  private static String version(Path program) throws InterruptedException {
    Subprocess.Result result = Subprocess.command(program.toString(), "--version").run();
    return result.ok() ? result.out().lines().findFirst().orElse("") : program + ", unknown";
  }

  private static String memory() throws IOException {
    String kibibytes = field(Path.of("/proc/meminfo"), "MemTotal", ':').replaceAll("[^0-9]", "");
    return String.format(Locale.ROOT, "%.1f GiB", Long.parseLong(kibibytes) / (double) (1 << 20));
  }

  /** The first value of that name in a file of "name separator value" lines. */
  private static String field(Path file, String name, char separator) throws IOException {
    List<String> lines = Files.readAllLines(file);
    return lines.stream()
        .filter(line -> line.startsWith(name))
        .map(line -> line.substring(line.indexOf(separator) + 1).strip().replace("\"", ""))
        .findFirst()
        .orElse("unknown");
  }
}
