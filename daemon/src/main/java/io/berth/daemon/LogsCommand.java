package io.berth.daemon;

import io.berth.cri.v1.Container;
import io.berth.cri.v1.ContainerFilter;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.ListPodSandboxRequest;
import io.berth.cri.v1.PodSandbox;
import io.berth.cri.v1.RuntimeServiceGrpc;
import io.berth.cri.v1.RuntimeServiceGrpc.RuntimeServiceBlockingStub;
import io.berth.daemon.DaemonException.Reason;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `berth logs`: the daemon says where the log is, and whether it goes on; the file is read here.
@Command(
    name = "logs",
    description = "Prints a container's log, also on over its rotation.",
    mixinStandardHelpOptions = true)
final class LogsCommand implements Callable<Integer> {
  private static final Duration LOOK = Duration.ofSeconds(1);

  @Parameters(
      paramLabel = "CONTAINER",
      description = "POD/CONTAINER by their names, or the beginning of the container's id.")
  String container = "";

  @Option(
      names = {"-f", "--follow"},
      description = "Goes on until the container ends.")
  boolean follow;

  @Option(
      names = "--tail",
      paramLabel = "LINES",
      description = "Only the last ones of the newest file. Default: all of it.")
  long tail = LogReader.ALL;

  @Option(
      names = {"-t", "--timestamps"},
      description = "Each line begins with its time.")
  boolean timestamps;

  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() throws IOException, InterruptedException {
    Path socket = daemon.socket();
    try (var connection = new DaemonConnection(socket)) {
      ContainerStatus status = status(find(connection), connection);
      if (status.getLogPath().isEmpty()) {
        throw new DaemonException(
            Reason.REFUSED, "print the log of " + container + ": it was made without one", null);
      }
      var reader = new LogReader(Path.of(status.getLogPath()), System.out, System.err, timestamps);
      if (!follow) {
        reader.print(tail);
      } else {
        var state = new State(status.getId(), connection);
        reader.follow(tail, state::hasEnded);
      }
      return ExitCode.OK;
    } catch (StatusRuntimeException failure) {
      throw AdminClient.words(socket, failure.getStatus(), failure);
    }
  }

  private static RuntimeServiceBlockingStub ask(DaemonConnection connection) {
    return RuntimeServiceGrpc.newBlockingStub(connection.channel())
        .withDeadlineAfter(30, TimeUnit.SECONDS);
  }

  private static ContainerStatus status(String id, DaemonConnection connection) {
    return ask(connection)
        .containerStatus(ContainerStatusRequest.newBuilder().setContainerId(id).build())
        .getStatus();
  }

  /// Of pods and containers of one name the newest, as after a restart of the container.
  private String find(DaemonConnection connection) {
    int slash = container.lastIndexOf('/');
    if (slash < 0) {
      return container;
    }
    String podName = container.substring(0, slash);
    String name = container.substring(slash + 1);
    List<PodSandbox> pods =
        ask(connection).listPodSandbox(ListPodSandboxRequest.getDefaultInstance()).getItemsList();
    return pods.stream()
        .filter(pod -> pod.getMetadata().getName().equals(podName))
        .sorted(Comparator.comparingLong(PodSandbox::getCreatedAt).reversed())
        .flatMap(pod -> containers(pod, connection).stream())
        .filter(c -> c.getMetadata().getName().equals(name))
        .findFirst()
        .map(Container::getId)
        .orElseThrow(() ->
            new DaemonException(
                Reason.REFUSED,
                "print the log of %s: no pod %s has a container %s; see crictl ps -a"
                    .formatted(container, podName, name),
                null));
  }

  private static List<Container> containers(PodSandbox pod, DaemonConnection connection) {
    var filter = ContainerFilter.newBuilder().setPodSandboxId(pod.getId());
    return ask(connection)
        .listContainers(ListContainersRequest.newBuilder().setFilter(filter).build())
        .getContainersList()
        .stream()
        .sorted(Comparator.comparingLong(Container::getCreatedAt).reversed())
        .toList();
  }

  /// Asks the daemon now and then. One that is being restarted ends nothing.
  private static final class State {
    private final String id;
    private final DaemonConnection connection;
    private long asked;
    private boolean ended;

    State(String id, DaemonConnection connection) {
      this.id = id;
      this.connection = connection;
    }

    boolean hasEnded() {
      long now = System.nanoTime();
      if (!ended && (asked == 0 || now - asked > LOOK.toNanos())) {
        asked = now;
        try {
          ContainerState state = status(id, connection).getState();
          ended = state == ContainerState.CONTAINER_EXITED;
        } catch (StatusRuntimeException failure) {
          ended = failure.getStatus().getCode() == io.grpc.Status.Code.NOT_FOUND;
        }
      }
      return ended;
    }
  }
}
