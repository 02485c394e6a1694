package io.berth.runtime;

import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.Loopback;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxException;
import io.berth.sandbox.SandboxLayout;
import io.berth.sandbox.SandboxState;
import io.berth.sandbox.SandboxStore;
import io.berth.streaming.PortForwardRequest;
import io.berth.streaming.StreamingServer;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/** Connections of a client to ports of a pod, made from inside the pod's network namespace. */
final class PortForward {
  private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(10);

  private final SandboxStore sandboxes;
  private final SandboxLayout layout;
  private final StreamingServer server;

  PortForward(SandboxStore sandboxes, SandboxLayout layout, StreamingServer server) {
    this.sandboxes = sandboxes;
    this.layout = layout;
    this.server = server;
  }

  /**
   * A URL for one session.
   *
   * @param ports may be empty, as most clients name ports later, with each connection
   */
  String offer(String sandboxId, List<Integer> ports) {
    String id = ready(sandboxId).id().value();
    return server.portForward(new PortForwardRequest(ports, port -> connect(id, port)));
  }

  /** Looks at the pod anew for each connection: it may have been stopped since. */
  private Fd connect(String id, int port) throws IOException {
    try {
      Sandbox sandbox = ready(id);
      return Loopback.connect(
          Optional.ofNullable(layout.paths(sandbox).network()), port, CONNECT_TIMEOUT);
    } catch (ErrnoException | SandboxException failure) {
      throw new IOException(
          "forward port %d of pod %s: %s".formatted(port, id, failure.getMessage()), failure);
    }
  }

  private Sandbox ready(String id) {
    Sandbox sandbox = sandboxes.get(id);
    if (sandbox.state() != SandboxState.READY) {
      throw new SandboxException(
          SandboxException.Reason.NOT_READY,
          "forward ports of pod %s: it is %s; only running pods have ports"
              .formatted(sandbox.id().value(), sandbox.state()));
    }
    return sandbox;
  }
}
