package io.berth.daemon;

import io.berth.cri.v1.ContainerEventResponse;
import io.berth.cri.v1.ContainerEventType;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatus;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;

/// What happens to pods and containers, as it happens.
@Command(
    name = "events",
    description = "Prints a line for each start and end of pods and containers, until interrupted.",
    mixinStandardHelpOptions = true)
final class EventsCommand implements Callable<Integer> {
  @Mixin BerthCommand.Output output = new BerthCommand.Output();
  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() {
    try (var queries = new CriQueries(daemon.socket())) {
      queries.events(event -> {
        System.out.println(output.json() ? CriJson.line(event) : text(event));
        System.out.flush();
      });
    }
    return ExitCode.OK;
  }

  /// `2026-11-01T10:00:00.000Z stopped container web of pod shop/front 0123…: exit code 1 (Error)`.
  static String text(ContainerEventResponse event) {
    var pod = event.getPodSandboxStatus().getMetadata();
    String podName = pod.getNamespace() + "/" + pod.getName();
    String id = event.getContainerId();
    var text = new StringBuilder();
    text.append(Instant.EPOCH.plusNanos(event.getCreatedAt()).truncatedTo(ChronoUnit.MILLIS));
    text.append(' ').append(word(event.getContainerEventType())).append(' ');
    Optional<ContainerStatus> container =
        event.getContainersStatusesList().stream().filter(s -> s.getId().equals(id)).findFirst();
    if (container.isPresent()) {
      text.append("container ").append(container.get().getMetadata().getName());
      text.append(" of pod ").append(podName);
    } else if (id.equals(event.getPodSandboxStatus().getId())) {
      text.append("pod ").append(podName);
    } else {
      text.append("container of pod ").append(podName);
    }
    text.append(' ').append(id);
    container
        .filter(status -> status.getState() == ContainerState.CONTAINER_EXITED)
        .ifPresent(status -> {
          text.append(": exit code ").append(status.getExitCode());
          if (!status.getReason().isEmpty()) {
            text.append(" (").append(status.getReason()).append(')');
          }
        });
    return text.toString();
  }

  private static String word(ContainerEventType type) {
    return switch (type) {
      case CONTAINER_CREATED_EVENT -> "created";
      case CONTAINER_STARTED_EVENT -> "started";
      case CONTAINER_STOPPED_EVENT -> "stopped";
      case CONTAINER_DELETED_EVENT -> "deleted";
      case UNRECOGNIZED -> "unknown";
    };
  }
}
