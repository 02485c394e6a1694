package io.berth.daemon;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.cri.v1.Container;
import io.berth.cri.v1.ContainerStats;
import io.berth.cri.v1.CpuUsage;
import io.berth.cri.v1.LinuxPodSandboxStats;
import io.berth.cri.v1.MemoryUsage;
import io.berth.cri.v1.NetworkInterfaceUsage;
import io.berth.cri.v1.PodSandboxStats;
import io.berth.cri.v1.UInt64Value;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/// What pods and their containers used at one time, for `berth top` and `berth stats`.
///
/// @param containers also those that don't run
record Usage(List<PodSandboxStats> pods, List<Container> containers) {

  /// A pod, or one of its containers. What isn't known is null.
  ///
  /// @param name of a pod as in `namespace/name`
  /// @param nanoCores billionths of a core
  /// @param memory working set in bytes
  /// @param restarts how often containers were made anew
  /// @param disk of the writable layer in bytes
  /// @param received bytes, by the pod's default interface
  record Row(
      String id,
      String podId,
      String name,
      boolean isPod,
      @Nullable Long nanoCores,
      @Nullable Long memory,
      @Nullable Long processes,
      long restarts,
      @Nullable Long disk,
      @Nullable Long received,
      @Nullable Long sent) {

    boolean isCalled(String query) {
      return id.startsWith(query)
          || podId.startsWith(query)
          || name.equals(query)
          || name.endsWith("/" + query);
    }
  }

  /// Each pod with its containers behind it: the busiest pod first.
  ///
  /// @param earlier if known, usage of the processor is that since then
  List<Row> rows(@Nullable Usage earlier) {
    Map<String, CpuUsage> before = earlier == null ? Map.of() : earlier.processors();
    Map<String, Integer> attempts =
        containers.stream()
            .collect(Collectors.toMap(Container::getId, c -> c.getMetadata().getAttempt()));
    Map<Row, List<Row>> found = new HashMap<>();
    for (PodSandboxStats pod : pods) {
      List<Row> own = new ArrayList<>();
      for (ContainerStats stats : pod.getLinux().getContainersList()) {
        String id = stats.getAttributes().getId();
        own.add(
            new Row(
                id,
                pod.getAttributes().getId(),
                stats.getAttributes().getMetadata().getName(),
                false,
                nanoCores(before.get(id), stats.getCpu()),
                memory(stats.getMemory()),
                null,
                attempts.getOrDefault(id, 0),
                stats.hasWritableLayer()
                    ? known(
                        stats.getWritableLayer().hasUsedBytes(),
                        stats.getWritableLayer().getUsedBytes())
                    : null,
                null,
                null));
      }
      own.sort(busiestFirst());
      found.put(row(pod, own, before), own);
    }
    List<Row> rows = new ArrayList<>();
    found.entrySet().stream()
        .sorted(Map.Entry.comparingByKey(busiestFirst()))
        .forEach(entry -> {
          rows.add(entry.getKey());
          rows.addAll(entry.getValue());
        });
    return rows;
  }

  private static Row row(PodSandboxStats pod, List<Row> own, Map<String, CpuUsage> before) {
    LinuxPodSandboxStats linux = pod.getLinux();
    NetworkInterfaceUsage network = linux.getNetwork().getDefaultInterface();
    String id = pod.getAttributes().getId();
    return new Row(
        id,
        id,
        pod.getAttributes().getMetadata().getNamespace()
            + "/"
            + pod.getAttributes().getMetadata().getName(),
        true,
        nanoCores(before.get(id), linux.getCpu()),
        memory(linux.getMemory()),
        known(linux.getProcess().hasProcessCount(), linux.getProcess().getProcessCount()),
        own.stream().mapToLong(Row::restarts).sum(),
        own.stream().anyMatch(row -> row.disk() != null)
            ? own.stream().mapToLong(row -> row.disk() == null ? 0 : row.disk()).sum()
            : null,
        known(network.hasRxBytes(), network.getRxBytes()),
        known(network.hasTxBytes(), network.getTxBytes()));
  }

  private static Comparator<Row> busiestFirst() {
    return Comparator.comparingLong((Row row) -> row.nanoCores() == null ? -1 : row.nanoCores())
        .reversed()
        .thenComparing(Row::name)
        .thenComparing(Row::id);
  }

  /// By the id of pods and containers.
  private Map<String, CpuUsage> processors() {
    Map<String, CpuUsage> processors = new HashMap<>();
    for (PodSandboxStats pod : pods) {
      processors.put(pod.getAttributes().getId(), pod.getLinux().getCpu());
      for (ContainerStats container : pod.getLinux().getContainersList()) {
        processors.put(container.getAttributes().getId(), container.getCpu());
      }
    }
    return processors;
  }

  private static @Nullable Long nanoCores(@Nullable CpuUsage before, CpuUsage now) {
    if (before != null
        && before.hasUsageCoreNanoSeconds()
        && now.hasUsageCoreNanoSeconds()
        && now.getTimestamp() > before.getTimestamp()) {
      double used =
          now.getUsageCoreNanoSeconds().getValue() - before.getUsageCoreNanoSeconds().getValue();
      return Math.max(0, Math.round(used * 1e9 / (now.getTimestamp() - before.getTimestamp())));
    }
    return known(now.hasUsageNanoCores(), now.getUsageNanoCores());
  }

  private static @Nullable Long memory(MemoryUsage memory) {
    return known(memory.hasWorkingSetBytes(), memory.getWorkingSetBytes());
  }

  private static @Nullable Long known(boolean known, UInt64Value value) {
    return known ? value.getValue() : null;
  }

  /// Columns with a heading line; containers are indented under their pods.
  static List<String> table(List<Row> rows) {
    var columns = new ArrayList<List<String>>();
    columns.add(column("POD / CONTAINER", rows, row -> (row.isPod() ? "" : "  ") + row.name()));
    columns.add(column("ID", rows, row -> row.id().substring(0, Math.min(13, row.id().length()))));
    columns.add(column("CPU %", rows, row -> percent(row.nanoCores())));
    columns.add(column("MEMORY", rows, row -> bytes(row.memory())));
    columns.add(
        column("PIDS", rows, row -> row.processes() == null ? "" : row.processes().toString()));
    columns.add(column("RESTARTS", rows, row -> Long.toString(row.restarts())));
    columns.add(column("DISK", rows, row -> bytes(row.disk())));
    columns.add(column("RECEIVED", rows, row -> row.isPod() ? bytes(row.received()) : ""));
    columns.add(column("SENT", rows, row -> row.isPod() ? bytes(row.sent()) : ""));
    var lines = new ArrayList<String>();
    for (int line = 0; line <= rows.size(); line++) {
      var text = new StringBuilder();
      for (int i = 0; i < columns.size(); i++) {
        List<String> column = columns.get(i);
        int width = column.stream().mapToInt(String::length).max().orElse(0);
        String cell = column.get(line);
        String padding = " ".repeat(width - cell.length());
        text.append(i < 2 ? cell + padding : padding + cell).append("  ");
      }
      lines.add(text.toString().stripTrailing());
    }
    return lines;
  }

  private static List<String> column(String heading, List<Row> rows, Function<Row, String> cell) {
    var column = new ArrayList<String>();
    column.add(heading);
    rows.forEach(row -> column.add(cell.apply(row)));
    return column;
  }

  private static String percent(@Nullable Long nanoCores) {
    return nanoCores == null ? "-" : String.format(Locale.ROOT, "%.1f", nanoCores / 1e7);
  }

  private static String bytes(@Nullable Long bytes) {
    if (bytes == null) {
      return "-";
    }
    if (bytes < 1 << 20) {
      return String.format(Locale.ROOT, "%.0f KiB", bytes / 1024.0);
    }
    return bytes < 1L << 30
        ? String.format(Locale.ROOT, "%.1f MiB", bytes / 1048576.0)
        : String.format(Locale.ROOT, "%.2f GiB", bytes / 1073741824.0);
  }

  /// Raw numbers; what isn't known is left out.
  static ArrayNode json(List<Row> rows) {
    ArrayNode array = JsonNodeFactory.instance.arrayNode();
    for (Row row : rows) {
      ObjectNode object = array.addObject();
      object.put("id", row.id());
      object.put("pod_id", row.podId());
      object.put(row.isPod() ? "pod" : "container", row.name());
      put(object, "cpu_nano_cores", row.nanoCores());
      put(object, "memory_working_set_bytes", row.memory());
      put(object, "processes", row.processes());
      object.put("restarts", row.restarts());
      put(object, "writable_layer_bytes", row.disk());
      put(object, "received_bytes", row.received());
      put(object, "sent_bytes", row.sent());
    }
    return array;
  }

  private static void put(ObjectNode object, String key, @Nullable Long value) {
    if (value != null) {
      object.put(key, value);
    }
  }
}
