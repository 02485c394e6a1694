package io.berth.daemon;

import io.berth.admin.v1.ExplainResponse;
import io.berth.daemon.DaemonException.Reason;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/// Why a pod was slow. Reads the flight recorder's file itself when no daemon answers.
@Command(
    name = "explain",
    description =
        "Says why a pod was slow or failed, with a timeline; also of removed pods, and after a"
            + " crash of berthd.",
    mixinStandardHelpOptions = true)
final class ExplainCommand implements Callable<Integer> {
  @Parameters(
      paramLabel = "POD",
      description = "NAME, NAMESPACE/NAME or the beginning of the pod's id.")
  String pod = "";

  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() throws IOException {
    ExplainResponse explanation;
    try (var client = new AdminClient(daemon.socket())) {
      explanation = client.explain(pod);
    } catch (DaemonException failure) {
      if (failure.reason() != Reason.UNREACHABLE) {
        throw failure;
      }
      explanation = withoutDaemon(failure);
    }
    System.out.print(output.json() ? AdminJson.text(explanation) + "\n" : text(explanation));
    return ExitCode.OK;
  }

  private ExplainResponse withoutDaemon(DaemonException unreachable) throws IOException {
    DaemonConfig config = ConfigLoader.load(daemon.config.file);
    List<Operation> found = PodHistory.read(config.state().rootDir().resolve("recorder"), pod);
    if (found.isEmpty()) {
      throw unreachable;
    }
    System.err.println("berth: no berthd answers; this is from its flight recorder");
    return AdminMessages.explanation(found);
  }

  private static String text(ExplainResponse explanation) {
    var text = new StringBuilder();
    text.append("pod ").append(explanation.getPodName());
    if (!explanation.getPodUid().isEmpty()) {
      text.append(" (uid ").append(explanation.getPodUid()).append(')');
    }
    text.append("\n\n");
    explanation.getOperationsList().forEach(operation -> text.append(OperationText.of(operation)));
    text.append('\n');
    if (explanation.getFindingsCount() == 0) {
      text.append("nothing took long, and nothing failed\n");
    }
    explanation.getFindingsList().forEach(finding -> text.append(finding).append('\n'));
    boolean running =
        explanation.getOperationsList().stream().anyMatch(o -> o.getFinishedAt() == 0);
    if (!running) {
      text.append("nothing runs for this pod now\n");
    }
    return text.toString();
  }
}
