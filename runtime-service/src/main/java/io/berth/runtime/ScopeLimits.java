package io.berth.runtime;

import io.berth.linux.Systemd;
import io.berth.oci.RuntimeSpec;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What systemd believes of the limits of a container whose cgroup is a scope. It writes that again
 * whenever it reloads its units, and limits that stand in the cgroup's files alone are lost then.
 * runc tells it all limits; crun up to 1.11 only the weight, and nobody tells it what an undo has
 * put back. Version 2 only.
 */
final class ScopeLimits {
  private static final String SCOPE = ".scope";
  private static final String NO_LIMIT = "max";

  /** Runtimes pass on what follows as properties of the scope, in the notation of GVariant. */
  private static final String ANNOTATION = "org.systemd.property.";

  /** Microseconds; systemd's own. Others can't be said to it before version 242. */
  private static final long USUAL_PERIOD = 100_000;

  private static final long SECOND = 1_000_000;

  private ScopeLimits() {}

  /** For a new container: with these in its config.json any runtime tells systemd its limits. */
  static Map<String, String> annotations(RuntimeSpec.Resources resources) {
    Map<String, Long> limits = new LinkedHashMap<>();
    RuntimeSpec.Memory memory = resources.memory();
    if (memory != null) {
      limits.put("MemoryMax", memory.limit());
      if (memory.limit() != null && memory.limit() > 0 && memory.swap() != null) {
        limits.put("MemorySwapMax", memory.swap() - memory.limit()); // OCI counts both together
      }
    }
    Map<String, String> unified = resources.unified() == null ? Map.of() : resources.unified();
    limits.put("MemoryHigh", number(unified.get("memory.high")));
    limits.put("MemoryLow", number(unified.get("memory.low")));
    RuntimeSpec.Cpu cpu = resources.cpu();
    if (cpu != null && cpu.quota() != null) {
      long period = cpu.period() == null ? USUAL_PERIOD : cpu.period();
      limits.put("CPUQuotaPerSecUSec", cpu.quota() * SECOND / period);
      limits.put("CPUQuotaPeriodUSec", cpu.quota() < 0 || period == USUAL_PERIOD ? null : period);
    }
    limits.put("TasksMax", resources.pids() == null ? null : resources.pids().limit());
    Map<String, String> annotations = new LinkedHashMap<>();
    limits.forEach((property, limit) -> {
      if (limit != null && limit >= 0) {
        annotations.put(ANNOTATION + property, "uint64 " + limit);
      }
    });
    return annotations;
  }

  private static @Nullable Long number(@Nullable String content) {
    return content == null || !content.matches("[0-9]{1,18}") ? null : Long.valueOf(content);
  }

  /**
   * Tells systemd, if it made the cgroup, what the files said. It rounds, and writes what it has
   * rounded; the files are to be written after it.
   *
   * @param contents by the files' names
   * @return whether it was told anything
   * @throws IllegalStateException with systemd's words
   */
  static boolean tell(String cgroup, Map<String, String> contents) throws InterruptedException {
    Map<String, String> properties = properties(contents);
    if (!cgroup.endsWith(SCOPE) || properties.isEmpty()) {
      return false;
    }
    Systemd.setProperties(cgroup.substring(cgroup.lastIndexOf('/') + 1), properties);
    return true;
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
