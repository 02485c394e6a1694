package io.berth.daemon;

import io.berth.cri.v1.Container;
import io.berth.cri.v1.ContainerEventResponse;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.GetEventsRequest;
import io.berth.cri.v1.ImageServiceGrpc;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ImageStatusRequest;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.ListPodSandboxRequest;
import io.berth.cri.v1.ListPodSandboxStatsRequest;
import io.berth.cri.v1.PodSandboxStatusRequest;
import io.berth.cri.v1.RuntimeServiceGrpc;
import io.berth.cri.v1.RuntimeServiceGrpc.RuntimeServiceBlockingStub;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;

/// What `berth` asks a daemon by CRI.
final class CriQueries implements AutoCloseable {
  private static final int PATIENCE_SECONDS = 30;

  private final Path socket;
  private final DaemonConnection connection;

  CriQueries(Path socket) {
    this.socket = socket;
    this.connection = new DaemonConnection(socket);
  }

  /// Of the ready pods and their running containers, at one time.
  Usage usage() {
    List<Container> containers =
        ask(() -> runtime().listContainers(ListContainersRequest.getDefaultInstance()))
            .getContainersList();
    return new Usage(
        ask(() -> runtime().listPodSandboxStats(ListPodSandboxStatsRequest.getDefaultInstance()))
            .getStatsList(),
        containers);
  }

  /// Hands over each event until the daemon ends the stream.
  void events(Consumer<ContainerEventResponse> each) {
    var _ =
        ask(() -> {
          RuntimeServiceGrpc.newBlockingStub(connection.channel())
              .getContainerEvents(GetEventsRequest.getDefaultInstance())
              .forEachRemaining(each);
          return "";
        });
  }

  /// All that is known of a container, a pod or an image, as JSON.
  ///
  /// @param object an id or its beginning, a pod as `namespace/name`, or an image
  Optional<String> inspect(String object) {
    return found(() -> CriJson.text(runtime().containerStatus(container(object))))
        .or(() -> found(() -> CriJson.text(runtime().podSandboxStatus(pod(object)))))
        .or(() -> podCalled(object).map(id -> CriJson.text(runtime().podSandboxStatus(pod(id)))))
        .or(() -> image(object));
  }

  private static ContainerStatusRequest container(String id) {
    return ContainerStatusRequest.newBuilder().setContainerId(id).setVerbose(true).build();
  }

  private static PodSandboxStatusRequest pod(String id) {
    return PodSandboxStatusRequest.newBuilder().setPodSandboxId(id).setVerbose(true).build();
  }

  private Optional<String> podCalled(String name) {
    return ask(() -> runtime().listPodSandbox(ListPodSandboxRequest.getDefaultInstance()))
        .getItemsList()
        .stream()
        .filter(pod -> {
          String own = pod.getMetadata().getName();
          return name.equals(own) || name.equals(pod.getMetadata().getNamespace() + "/" + own);
        })
        .map(io.berth.cri.v1.PodSandbox::getId)
        .findFirst();
  }

  private Optional<String> image(String name) {
    var request =
        ImageStatusRequest.newBuilder()
            .setImage(ImageSpec.newBuilder().setImage(name))
            .setVerbose(true)
            .build();
    var images =
        ImageServiceGrpc.newBlockingStub(connection.channel())
            .withDeadlineAfter(PATIENCE_SECONDS, TimeUnit.SECONDS);
    return Optional.of(ask(() -> images.imageStatus(request)))
        .filter(answer -> answer.hasImage())
        .map(CriJson::text);
  }

  private RuntimeServiceBlockingStub runtime() {
    return RuntimeServiceGrpc.newBlockingStub(connection.channel())
        .withDeadlineAfter(PATIENCE_SECONDS, TimeUnit.SECONDS);
  }

  private Optional<String> found(Supplier<String> question) {
    try {
      return Optional.of(question.get());
    } catch (StatusRuntimeException failure) {
      if (failure.getStatus().getCode() == Status.Code.NOT_FOUND) {
        return Optional.empty();
      }
      throw AdminClient.words(socket, failure.getStatus(), failure);
    }
  }

  private <T> T ask(Supplier<T> question) {
    try {
      return question.get();
    } catch (StatusRuntimeException failure) {
      throw AdminClient.words(socket, failure.getStatus(), failure);
    }
  }

  @Override
  public void close() {
    connection.close();
  }
}
