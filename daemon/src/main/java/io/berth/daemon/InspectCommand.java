package io.berth.daemon;

import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// All that is known of one object.
@Command(
    name = "inspect",
    description = "Shows all that is known of a container, a pod or an image.",
    mixinStandardHelpOptions = true)
final class InspectCommand implements Callable<Integer> {
  @Parameters(
      paramLabel = "OBJECT",
      description = "The beginning of an id, NAMESPACE/NAME of a pod, or an image.")
  String object = "";

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() throws IOException {
    try (var queries = new CriQueries(daemon.socket())) {
      Optional<String> found = queries.inspect(object);
      if (found.isEmpty()) {
        System.err.println(
            "berth: inspect "
                + object
                + ": no container, pod or image is called so; crictl ps -a, crictl pods and crictl"
                + " images list them");
        return ExitCode.SOFTWARE;
      }
      System.out.print(output.json() ? found.get() + "\n" : CriJson.outline(found.get()));
      return ExitCode.OK;
    }
  }
}
