package io.berth.runtime;

import com.google.protobuf.ByteString;
import io.berth.cri.v1.ContainerFilter;
import io.berth.cri.v1.PodSandboxFilter;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxStore;
import java.util.List;
import java.util.stream.Stream;

/** The pods and containers that a filter lets through, each encoded as CRI lists it. */
final class ListGrpcAnswers {
  private final SandboxStore sandboxes;
  private final ContainerStore containers;
  private final EncodedGrpcItems<Sandbox> encodedSandboxes =
      new EncodedGrpcItems<>(s -> s.id().value(), GrpcAnswers::sandbox);
  private final EncodedGrpcItems<Container> encodedContainers =
      new EncodedGrpcItems<>(c -> c.id().value(), GrpcAnswers::container);

  ListGrpcAnswers(SandboxStore sandboxes, ContainerStore containers) {
    this.sandboxes = sandboxes;
    this.containers = containers;
  }

  Stream<ByteString> sandboxes(PodSandboxFilter filter) {
    List<Sandbox> all = sandboxes.list();
    encodedSandboxes.forgetOthers(all);
    return all.stream()
        .filter(s -> s.id().value().startsWith(filter.getId()))
        .filter(s -> !filter.hasState() || GrpcAnswers.state(s) == filter.getState().getState())
        .filter(s ->
            s.config().labels().entrySet().containsAll(filter.getLabelSelectorMap().entrySet()))
        .map(encodedSandboxes::of);
  }

  Stream<ByteString> containers(ContainerFilter filter) {
    List<Container> all = containers.list();
    encodedContainers.forgetOthers(all);
    return all.stream()
        .filter(c -> c.id().value().startsWith(filter.getId()))
        .filter(c -> !filter.hasState() || GrpcAnswers.state(c) == filter.getState().getState())
        .filter(c -> c.sandboxId().value().startsWith(filter.getPodSandboxId()))
        .filter(c ->
            c.config().labels().entrySet().containsAll(filter.getLabelSelectorMap().entrySet()))
        .map(encodedContainers::of);
  }
}
