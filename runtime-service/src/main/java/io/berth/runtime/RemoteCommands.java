package io.berth.runtime;

import io.berth.runtime.ContainerException.Reason;
import io.berth.streaming.CommandRequest;
import io.berth.streaming.StreamingServer;
import java.util.List;

/** Offers exec and attach: what a client opens with the URL is run when it comes. */
final class RemoteCommands {
  private final boolean killAbandoned;
  private final ContainerStore store;
  private final ExecLauncher launcher;
  private final ContainerLayout layout;
  private final MonitorControl monitors;
  private final StreamingServer server;

  RemoteCommands(
      RuntimeSettings settings,
      ContainerStore store,
      ExecLauncher launcher,
      MonitorControl monitors,
      StreamingServer server) {
    this.killAbandoned = settings.killAbandonedExecs();
    this.store = store;
    this.launcher = launcher;
    this.layout = settings.layout();
    this.monitors = monitors;
    this.server = server;
  }

  /** What the client wants to be connected. */
  record Streams(boolean stdin, boolean stdout, boolean stderr, boolean tty) {}

  /**
   * A URL for one run of a command.
   *
   * @throws ContainerException NOT_FOUND, INVALID, WRONG_STATE
   * @throws io.berth.streaming.StreamingException INVALID when the streams don't go together
   */
  String exec(String idOrPrefix, List<String> command, Streams streams) {
    Container container = store.get(idOrPrefix);
    ExecLauncher.require(container, command);
    return server.exec(
        new CommandRequest(
            streams.stdin,
            streams.stdout,
            streams.stderr,
            streams.tty,
            new ExecSession(store, launcher, killAbandoned, container.id(), command)));
  }

  /**
   * A URL for one attach to the container's first process. Whether that has a terminal was decided
   * when the container was made; a client that thinks otherwise would be sent bytes that it can't
   * show, or wait for a stream that never comes.
   *
   * @throws ContainerException NOT_FOUND, INVALID, WRONG_STATE
   * @throws io.berth.streaming.StreamingException INVALID when the streams don't go together
   */
  String attach(String idOrPrefix, Streams streams) {
    Container container = store.get(idOrPrefix);
    requireRunning(container);
    if (streams.tty && !container.config().tty()) {
      throw new ContainerException(
          Reason.INVALID,
          "attach to container "
              + container.id()
              + ": it has no terminal; attach without one, or make the container with tty");
    }
    return server.attach(
        new CommandRequest(
            streams.stdin,
            streams.stdout,
            streams.stderr,
            streams.tty,
            new AttachSession(store, layout, monitors, container.id())));
  }

  /**
   * Refuses what can't be attached to.
   *
   * @throws ContainerException WRONG_STATE
   */
  static void requireRunning(Container container) {
    if (container.state() != ContainerState.RUNNING || container.monitor() == null) {
      throw new ContainerException(
          Reason.WRONG_STATE,
          "attach to container "
              + container.id()
              + ": it is "
              + container.state()
              + "; only a running container can be attached to");
    }
  }
}
