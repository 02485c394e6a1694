package io.berth.runtime;

import io.berth.cri.v1.ContainerEventResponse;
import io.berth.cri.v1.ContainerEventType;
import io.berth.sandbox.Sandbox;

/** Events as CRI wants them. */
final class EventGrpcAnswers {
  private EventGrpcAnswers() {}

  static ContainerEventResponse event(PodEvent event) {
    ContainerEventResponse.Builder answer =
        ContainerEventResponse.newBuilder()
            .setContainerId(event.subject())
            .setContainerEventType(
                switch (event.kind()) {
                  case CREATED -> ContainerEventType.CONTAINER_CREATED_EVENT;
                  case STARTED -> ContainerEventType.CONTAINER_STARTED_EVENT;
                  case STOPPED -> ContainerEventType.CONTAINER_STOPPED_EVENT;
                  case DELETED -> ContainerEventType.CONTAINER_DELETED_EVENT;
                })
            .setCreatedAt(event.at());
    Sandbox sandbox = event.sandbox();
    if (sandbox != null) {
      answer.setPodSandboxStatus(GrpcAnswers.sandboxStatus(sandbox));
    }
    event
        .containers()
        .forEach(container -> answer.addContainersStatuses(GrpcAnswers.containerStatus(container)));
    return answer.build();
  }
}
