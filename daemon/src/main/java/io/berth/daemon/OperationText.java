package io.berth.daemon;

import io.berth.admin.v1.Operation;
import io.berth.admin.v1.Stage;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;

/// Operations for people: a line for each, and an indented one for each of its stages.
final class OperationText {
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("uuuu-MM-dd HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);

  private OperationText() {}

  static String of(Operation operation) {
    var text = new StringBuilder();
    text.append(TIME.format(Instant.EPOCH.plusNanos(operation.getStartedAt())));
    text.append("  ").append(operation.getRequestId());
    text.append("  ").append(operation.getMethod());
    if (!operation.getObject().isEmpty()) {
      text.append(' ').append(operation.getObject());
    }
    if (!operation.getPodName().isEmpty()
        && !operation.getObject().contains(operation.getPodName())) {
      text.append(" of pod ").append(operation.getPodName());
    }
    if (!operation.getContainer().isEmpty()
        && !operation.getObject().endsWith(operation.getContainer())) {
      text.append(" container ").append(operation.getContainer());
    }
    String time = Explanation.time(Duration.ofNanos(operation.getElapsed()));
    text.append(operation.getFinishedAt() == 0 ? "  running for " : "  ").append(time);
    if (!operation.getError().isEmpty()) {
      text.append("  ").append(operation.getError());
    }
    text.append('\n');
    for (Stage stage : operation.getStagesList()) {
      append(text, operation.getStartedAt(), stage);
    }
    return text.toString();
  }

  private static void append(StringBuilder text, long start, Stage stage) {
    String offset =
        (stage.getStartedAt() < start ? "-" : "+")
            + Explanation.time(Duration.ofNanos(Math.abs(stage.getStartedAt() - start)));
    String name = "  ".repeat(stage.getDepth()) + stage.getName();
    if (!stage.getSubject().isEmpty()) {
      name += " " + stage.getSubject();
    }
    text.append(
        "  %9s  %-40s %9s"
            .formatted(offset, name, Explanation.time(Duration.ofNanos(stage.getElapsed()))));
    if (stage.getRunning()) {
      text.append("  running");
    }
    if (!stage.getProcess().isEmpty()) {
      text.append("  ").append(stage.getProcess()).append(' ').append(stage.getPid());
    }
    if (!stage.getChain().isEmpty()) {
      text.append(" (").append(stage.getChain()).append(')');
    }
    if (!stage.getError().isEmpty()) {
      text.append("  ").append(stage.getError().lines().findFirst().orElse(""));
    }
    text.append('\n');
  }
}
