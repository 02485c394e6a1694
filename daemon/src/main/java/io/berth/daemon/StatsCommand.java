package io.berth.daemon;

import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// What pods and containers use, once.
@Command(
    name = "stats",
    description = "Shows what pods and their containers use now.",
    mixinStandardHelpOptions = true)
final class StatsCommand implements Callable<Integer> {
  @Parameters(
      arity = "0..1",
      paramLabel = "OBJECT",
      description = "NAMESPACE/NAME or NAME of a pod, or the beginning of an id; default: all.")
  String object = "";

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() {
    try (var queries = new CriQueries(daemon.socket())) {
      List<Usage.Row> all = queries.usage().rows(null);
      List<String> called =
          all.stream().filter(row -> row.isCalled(object)).map(Usage.Row::id).toList();
      List<Usage.Row> rows =
          object.isEmpty()
              ? all
              : all.stream()
                  .filter(row -> called.contains(row.id()) || called.contains(row.podId()))
                  .toList();
      if (rows.isEmpty() && !object.isEmpty()) {
        System.err.println(
            "berth: no ready pod and no running container is called "
                + object
                + "; crictl pods lists them");
        return ExitCode.SOFTWARE;
      }
      if (output.json()) {
        System.out.println(Usage.json(rows).toPrettyString());
      } else {
        Usage.table(rows).forEach(System.out::println);
      }
      return ExitCode.OK;
    }
  }
}
