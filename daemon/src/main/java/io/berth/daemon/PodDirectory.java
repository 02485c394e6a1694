package io.berth.daemon;

import io.berth.runtime.ContainerStore;
import io.berth.sandbox.SandboxName;
import io.berth.sandbox.SandboxStore;
import java.util.Optional;

/// Whose an id is, from the records.
final class PodDirectory implements Subject.Directory {
  private final SandboxStore sandboxes;
  private final ContainerStore containers;

  PodDirectory(SandboxStore sandboxes, ContainerStore containers) {
    this.sandboxes = sandboxes;
    this.containers = containers;
  }

  @Override
  public Optional<Subject> sandbox(String idOrPrefix) {
    try {
      return sandboxes
          .find(idOrPrefix)
          .map(sandbox -> {
            SandboxName name = sandbox.name();
            return new Subject(
                sandbox.id().value(), name.namespace() + "/" + name.name(), name.uid(), "");
          });
    } catch (RuntimeException ambiguous) {
      return Optional.empty(); // the call itself will say so
    }
  }

  @Override
  public Optional<Subject> container(String idOrPrefix) {
    try {
      return containers
          .find(idOrPrefix)
          .map(container ->
              sandbox(container.sandboxId().value())
                  .orElse(new Subject(container.sandboxId().value(), "", "", ""))
                  .withContainer(container.config().name()));
    } catch (RuntimeException ambiguous) {
      return Optional.empty();
    }
  }
}
