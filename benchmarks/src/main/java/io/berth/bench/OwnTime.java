package io.berth.bench;

import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What calls take in berthd itself: as long as they took by its own clock, without the stages in
 * which it waits for the programs it runs. The durable writes of records are in it.
 */
final class OwnTime {
  private static final Set<String> OF_PROGRAMS =
      Set.of("cni", "init", "conmon", "runtime create", "runtime start");
  private static final double GOAL_OF_CREATE = 5;

  private OwnTime() {}

  /**
   * @param operations the last ones that the daemon remembers
   */
  static MarkdownTable table(List<CriClient.Operation> operations) {
    var table = new MarkdownTable("ms in berthd itself", "calls", "p50", "p95", "goal of p50");
    for (String method : List.of(PodLife.RUN_POD, PodLife.CREATE, PodLife.START)) {
      List<CriClient.Operation> calls =
          operations.stream()
              .filter(operation -> operation.method().equals(method))
              .filter(operation -> !operation.stages().isEmpty())
              .toList();
      List<Duration> times = calls.stream().map(OwnTime::of).toList();
      if (!times.isEmpty()) {
        var own = new Distribution(times);
        table.row(
            method,
            Integer.toString(times.size()),
            MarkdownTable.millis(own.median()),
            MarkdownTable.millis(own.percentile(95)),
            method.equals(PodLife.CREATE) ? "≤ " + MarkdownTable.ratio(GOAL_OF_CREATE) : "");
        stages(table, calls);
      }
    }
    return table;
  }

  /** Of the above, by stage; what is left is between the stages. */
  private static void stages(MarkdownTable table, List<CriClient.Operation> calls) {
    Map<String, List<Duration>> byStage = new LinkedHashMap<>();
    for (CriClient.Operation call : calls) {
      Map<String, Duration> sums = new LinkedHashMap<>();
      for (CriClient.Stage stage : call.stages()) {
        sums.merge(stage.name(), stage.took(), Duration::plus);
      }
      sums.forEach((name, took) -> byStage.computeIfAbsent(name, _ -> new ArrayList<>()).add(took));
    }
    byStage.forEach((name, took) -> {
      if (!OF_PROGRAMS.contains(name)) {
        var times = new Distribution(took);
        table.row(
            "… " + name,
            Integer.toString(took.size()),
            MarkdownTable.millis(times.median()),
            MarkdownTable.millis(times.percentile(95)),
            "");
      }
    });
  }

  private static Duration of(CriClient.Operation operation) {
    Duration others =
        operation.stages().stream()
            .filter(stage -> OF_PROGRAMS.contains(stage.name()))
            .map(CriClient.Stage::took)
            .reduce(Duration.ZERO, Duration::plus);
    return operation.took().minus(others);
  }
}
