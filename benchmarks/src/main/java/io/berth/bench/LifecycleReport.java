package io.berth.bench;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;

/** Lives of the runtime beside lives of the floor, as a table. */
final class LifecycleReport {
  private static final List<Row> ROWS =
      List.of(
          row(PodLife.RUN_POD, List.of(PodLife.RUN_POD), List.of(FloorLife.ADD), 1.3),
          row(PodLife.CREATE, List.of(PodLife.CREATE), List.of(FloorLife.CREATE)),
          row(PodLife.START, List.of(PodLife.START), List.of(FloorLife.START)),
          row(
              PodLife.CREATE + " + " + PodLife.START,
              List.of(PodLife.CREATE, PodLife.START),
              List.of(FloorLife.CREATE, FloorLife.START),
              1.6),
          row(PodLife.EXEC + " of true", List.of(PodLife.EXEC), List.of(FloorLife.EXEC), 1.6),
          row(PodLife.STOP, List.of(PodLife.STOP), List.of(FloorLife.KILL)),
          row(PodLife.REMOVE, List.of(PodLife.REMOVE), List.of(FloorLife.DELETE)),
          row(PodLife.STOP_POD, List.of(PodLife.STOP_POD), List.of(FloorLife.DEL)),
          row(PodLife.REMOVE_POD, List.of(PodLife.REMOVE_POD), List.of()),
          row(
              "a pod's whole life",
              List.of(
                  PodLife.RUN_POD,
                  PodLife.CREATE,
                  PodLife.START,
                  PodLife.EXEC,
                  PodLife.STOP,
                  PodLife.REMOVE,
                  PodLife.STOP_POD,
                  PodLife.REMOVE_POD),
              List.of(
                  FloorLife.ADD,
                  FloorLife.CREATE,
                  FloorLife.START,
                  FloorLife.EXEC,
                  FloorLife.KILL,
                  FloorLife.DELETE,
                  FloorLife.DEL),
              1.4));

  /**
   * @param calls what the runtime is asked to do
   * @param floor the steps that do the same without it
   * @param goal the ratio of the medians to stay below, one pod at a time, with a pod network
   */
  private record Row(String name, List<String> calls, List<String> floor, OptionalDouble goal) {}

  private LifecycleReport() {}

  private static Row row(String name, List<String> calls, List<String> floor) {
    return new Row(name, calls, floor, OptionalDouble.empty());
  }

  private static Row row(String name, List<String> calls, List<String> floor, double goal) {
    return new Row(name, calls, floor, OptionalDouble.of(goal));
  }

  /**
   * @param withGoals whether the goals are meant for this kind of run
   */
  static MarkdownTable table(List<StepTimes> runtime, List<StepTimes> floor, boolean withGoals) {
    var table =
        new MarkdownTable(
            "ms", "p50", "p95", "p99", "the floor", "p50", "p95", "ratio of p50", "goal");
    for (Row row : ROWS) {
      Distribution calls = distribution(runtime, row.calls());
      List<String> cells = new ArrayList<>();
      cells.add(row.name());
      cells.add(MarkdownTable.millis(calls.median()));
      cells.add(MarkdownTable.millis(calls.percentile(95)));
      cells.add(MarkdownTable.millis(calls.percentile(99)));
      List<String> steps =
          row.floor().stream().filter(s -> floor.getFirst().has(List.of(s))).toList();
      if (steps.isEmpty()) {
        cells.addAll(List.of("", "", "", "", ""));
      } else {
        Distribution bare = distribution(floor, steps);
        cells.add(steps.size() > 3 ? "all of it" : String.join(" + ", steps));
        cells.add(MarkdownTable.millis(bare.median()));
        cells.add(MarkdownTable.millis(bare.percentile(95)));
        cells.add(MarkdownTable.ratio(calls.ratioTo(bare)));
        cells.add(
            withGoals && row.goal().isPresent()
                ? "≤ " + MarkdownTable.ratio(row.goal().getAsDouble())
                : "");
      }
      table.row(cells.toArray(String[]::new));
    }
    return table;
  }

  private static Distribution distribution(List<StepTimes> lives, List<String> steps) {
    List<Duration> sums = lives.stream().map(life -> life.sum(steps)).toList();
    return new Distribution(sums);
  }
}
