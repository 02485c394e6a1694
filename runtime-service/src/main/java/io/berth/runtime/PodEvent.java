package io.berth.runtime;

import io.berth.sandbox.Sandbox;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Something that happened to a pod, with the pod as it stood right then.
 *
 * @param subject the id of the container, or of the sandbox for its own events
 * @param at nanoseconds since 1970; grows from one event to the next
 * @param sandbox absent only when a container outlived its sandbox's record
 * @param containers all of the pod that CRI shows
 */
record PodEvent(
    Kind kind, String subject, long at, @Nullable Sandbox sandbox, List<Container> containers) {
  PodEvent {
    containers = List.copyOf(containers);
  }

  /** CRI's {@code ContainerEventType}. */
  enum Kind {
    CREATED,
    STARTED,
    STOPPED,
    DELETED
  }
}
