package io.berth.e2e;

import io.berth.cri.v1.ContainerEventResponse;
import io.berth.cri.v1.ContainerEventType;
import io.berth.cri.v1.GetEventsRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;

/** A subscriber: collects the daemon's events from its making until it is closed. */
final class EventFeed implements AutoCloseable {
  private static final Duration LIMIT = Duration.ofSeconds(60);

  private final CriClient client;
  private final List<ContainerEventResponse> events = new CopyOnWriteArrayList<>();

  EventFeed(BerthDaemon daemon) {
    this(daemon.socket());
  }

  EventFeed(Path socket) {
    client = new CriClient(socket);
    Iterator<ContainerEventResponse> stream =
        client
            .runtime()
            .withDeadlineAfter(1, TimeUnit.HOURS)
            .getContainerEvents(GetEventsRequest.getDefaultInstance());
    var _ = Thread.ofVirtual().start(() -> read(stream));
  }

  private void read(Iterator<ContainerEventResponse> stream) {
    try {
      stream.forEachRemaining(events::add);
    } catch (StatusRuntimeException ended) {
      if (ended.getStatus().getCode() != Status.Code.UNAVAILABLE) { // as closing gives
        throw ended;
      }
    }
  }

  /** Those of a pod: of its sandbox and of its containers. */
  List<ContainerEventResponse> of(String podId) {
    return events.stream().filter(e -> e.getPodSandboxStatus().getId().equals(podId)).toList();
  }

  /** Those of one container, or of one sandbox itself. */
  List<ContainerEventType> kinds(String id) {
    return events.stream()
        .filter(e -> e.getContainerId().equals(id))
        .map(ContainerEventResponse::getContainerEventType)
        .toList();
  }

  /** Waits until one is there. */
  ContainerEventResponse await(String what, Predicate<ContainerEventResponse> wanted)
      throws InterruptedException {
    Await.until(what, LIMIT, () -> events.stream().anyMatch(wanted));
    return events.stream().filter(wanted).findFirst().orElseThrow();
  }

  /** Waits for the end of an object's life. */
  void awaitDeleted(String id) throws InterruptedException {
    var _ =
        await(
            "the event of " + id + " being deleted",
            e ->
                e.getContainerId().equals(id)
                    && e.getContainerEventType() == ContainerEventType.CONTAINER_DELETED_EVENT);
  }

  @Override
  public void close() {
    client.close(); // which ends the reader
  }
}
