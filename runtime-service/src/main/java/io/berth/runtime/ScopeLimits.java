package io.berth.runtime;

import io.berth.linux.Systemd;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What systemd believes of the limits of a container whose cgroup is a scope. The OCI runtime tells
 * it, and it writes that again whenever it reloads its units: limits that are put back in the
 * cgroup's files alone would be lost then. Version 2 only; for version 1 it writes shares and
 * memory, which nobody would miss as long as systemd isn't reloaded.
 */
final class ScopeLimits {
  private static final String SCOPE = ".scope";
  private static final String NO_LIMIT = "max";

  private ScopeLimits() {}

  /**
   * Tells systemd, if it made the cgroup, what the files said. It rounds, and writes what it has
   * rounded; the files are to be written after it.
   *
   * @param contents by the files' names
   * @throws IllegalStateException with systemd's words
   */
  static void tell(String cgroup, Map<String, String> contents) throws InterruptedException {
    Map<String, String> properties = properties(contents);
    if (cgroup.endsWith(SCOPE) && !properties.isEmpty()) {
      Systemd.setProperties(cgroup.substring(cgroup.lastIndexOf('/') + 1), properties);
    }
  }

  /** By systemd.resource-control(5); files that it has no property for are left out. */
  static Map<String, String> properties(Map<String, String> contents) {
    Map<String, String> properties = new LinkedHashMap<>();
    contents.forEach((file, content) -> {
      switch (file) {
        case "cpu.weight" -> properties.put("CPUWeight", content);
        case "cpu.max" -> quota(content, properties);
        case "cpuset.cpus" -> properties.put("AllowedCPUs", content);
        case "cpuset.mems" -> properties.put("AllowedMemoryNodes", content);
        case "memory.low" -> properties.put("MemoryLow", bytes(content));
        case "memory.high" -> properties.put("MemoryHigh", bytes(content));
        case "memory.max" -> properties.put("MemoryMax", bytes(content));
        case "memory.swap.max" -> properties.put("MemorySwapMax", bytes(content));
        case "pids.max" -> properties.put("TasksMax", bytes(content));
        default -> {}
      }
    });
    return properties;
  }

  private static String bytes(String content) {
    return content.equals(NO_LIMIT) ? "infinity" : content;
  }

  /** {@code 50000 100000}: microseconds of a processor, in each period of so many. */
  private static void quota(String content, Map<String, String> properties) {
    String[] words = content.split(" ", -1);
    if (words[0].equals(NO_LIMIT)) {
      properties.put("CPUQuota", "");
      return;
    }
    long hundredths = 10_000 * Long.parseLong(words[0]) / Long.parseLong(words[1]);
    properties.put("CPUQuota", "%d.%02d%%".formatted(hundredths / 100, hundredths % 100));
    properties.put("CPUQuotaPeriodSec", words[1] + "us");
  }
}
