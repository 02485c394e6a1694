package io.berth.daemon;

import io.berth.linux.Stages;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// Says in sentences why a pod was slow or failed, from what is recorded of its operations.
final class Explanation {
  /// What is faster than this needs no explanation.
  private static final Duration WORTH_A_WORD = Duration.ofMillis(500);

  private static final int SENTENCES = 5;

  /// What an OCI runtime waits for and isn't a process of its own; those in new namespaces have
  /// names such as `runc:[2:INIT]`.
  private static final Pattern HOOK =
      Pattern.compile(
          "(?:.* > )?(?:runc|crun|youki|runsc)\\S* > (?!runc|crun|youki|runsc)(\\S+).*");

  private Explanation() {}

  /// What took an operation's time: a stage by itself, without the stages within it, or Berth's own
  /// code if that is more than any stage.
  private record Culprit(Stages.@Nullable Stage stage, Duration time) {}

  /// Newest first: what runs now, then what failed or took long, each with its culprit.
  static List<String> of(List<Operation> operations) {
    List<String> sentences = new ArrayList<>();
    List<Operation> newestFirst =
        operations.stream()
            .sorted(
                Comparator.comparing(Operation::isRunning)
                    .thenComparing(Operation::startedAt)
                    .reversed())
            .toList();
    for (Operation operation : newestFirst) {
      boolean failed = !operation.isRunning() && !operation.error().isEmpty();
      if (sentences.size() < SENTENCES
          && (failed || operation.isRunning() || operation.elapsed().compareTo(WORTH_A_WORD) > 0)) {
        sentences.add(sentence(operation));
      }
    }
    return sentences;
  }

  /// `RunPodSandbox took 9.0 s: CNI plugin bridge took 8.2 s of it`.
  static String sentence(Operation operation) {
    var text = new StringBuilder(operation.method());
    if (!operation.subject().container().isEmpty()) {
      text.append(" of container ").append(operation.subject().container());
    }
    Culprit culprit = culprit(operation);
    Stages.Stage stage = culprit.stage();
    String time = time(operation.elapsed());
    if (operation.isRunning()) {
      text.append(" has been running for ").append(time);
    } else if (!operation.error().isEmpty()) {
      text.append(" failed after ").append(time);
      failedStage(operation)
          .filter(failed -> !failed.equals(stage))
          .ifPresent(failed -> text.append(" in stage ").append(name(failed)));
    } else {
      text.append(" took ").append(time);
    }
    text.append(": ")
        .append(stage == null ? "Berth itself" : who(stage))
        .append(operation.isRunning() ? " has taken " : " took ")
        .append(time(culprit.time()))
        .append(" of it");
    if (stage != null) {
      waiting(stage).ifPresent(words -> text.append(", waiting for ").append(words));
    }
    if (!operation.error().isEmpty()) {
      text.append("; ").append(operation.code()).append(": ").append(operation.error());
    }
    return text.toString();
  }

  private static Culprit culprit(Operation operation) {
    List<Stages.Stage> stages = operation.stages();
    Duration[] within = new Duration[stages.size()];
    Arrays.fill(within, Duration.ZERO);
    Duration outermost = Duration.ZERO;
    for (Stages.Stage stage : stages) {
      int parent = stage.parent();
      if (parent >= 0 && parent < within.length) {
        within[parent] = within[parent].plus(stage.elapsed());
      } else {
        outermost = outermost.plus(stage.elapsed());
      }
    }
    Culprit worst = new Culprit(null, Duration.ZERO);
    for (int i = 0; i < within.length; i++) {
      Duration own = stages.get(i).elapsed().minus(within[i]);
      if (own.compareTo(worst.time()) > 0) {
        worst = new Culprit(stages.get(i), own);
      }
    }
    Duration ours = operation.elapsed().minus(outermost);
    return ours.compareTo(worst.time()) > 0 ? new Culprit(null, ours) : worst;
  }

  private static Optional<Stages.Stage> failedStage(Operation operation) {
    return operation.stages().stream()
        .filter(stage -> stage.error() != null)
        .max(Comparator.comparingInt(Stages.Stage::depth));
  }

  /// The stage's name and what it works on.
  static String name(Stages.Stage stage) {
    return stage.subject().isEmpty() ? stage.name() : stage.name() + " " + stage.subject();
  }

  private static String who(Stages.Stage stage) {
    String subject = stage.subject();
    String[] words = stage.name().split(" ", 3);
    if (words[0].equals("cni") && words.length == 3) {
      return "CNI plugin " + words[2];
    }
    return switch (stage.name()) {
      case "runtime create", "runtime start", "runtime delete" ->
          hook(stage).map(hook -> "OCI hook " + hook + ", run by ").orElse("")
              + "OCI runtime "
              + subject
              + " ("
              + words[1]
              + ")";
      case "runtime exec" -> "OCI runtime " + subject + " (exec)";
      case "conmon" -> "conmon";
      case "manifest", "config", "fetch" -> "registry " + subject + " (" + stage.name() + ")";
      case "volume" -> "the file system of " + subject;
      case "command" -> "the command that was executed";
      case "grace" -> "the container's own end";
      default -> "stage " + name(stage);
    };
  }

  private static Optional<String> hook(Stages.Stage stage) {
    Stages.Waited process = stage.process();
    Matcher chain = HOOK.matcher(process == null ? "" : process.chain());
    return chain.matches() ? Optional.of(chain.group(1)) : Optional.empty();
  }

  private static Optional<String> waiting(Stages.Stage stage) {
    Stages.Waited process = stage.process();
    if (process == null) {
      return Optional.empty();
    }
    if (process.chain().isEmpty()) {
      return stage.running() || stage.name().startsWith("cni ")
          ? Optional.of("process " + process.name() + " (" + process.pid() + ")")
          : Optional.empty();
    }
    String deepest = process.chain().substring(process.chain().lastIndexOf(' ') + 1);
    return Optional.of(deepest + " (" + process.chain() + ")");
  }

  /// For people: `8.2 s`, `31 ms`.
  static String time(Duration duration) {
    double millis = duration.toNanos() / 1e6;
    if (millis < 10) {
      return String.format(Locale.ROOT, "%.1f ms", millis);
    }
    if (millis < 1000) {
      return String.format(Locale.ROOT, "%.0f ms", millis);
    }
    if (millis < 120_000) {
      return String.format(Locale.ROOT, "%.1f s", millis / 1000);
    }
    return String.format(
        Locale.ROOT, "%d min %d s", duration.toMinutes(), duration.toSecondsPart());
  }
}
