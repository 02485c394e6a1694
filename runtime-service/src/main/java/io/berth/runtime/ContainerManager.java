package io.berth.runtime;

import io.berth.linux.ProcessRef;
import io.berth.linux.SharedOperations;
import io.berth.linux.Stages;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.NamespaceMode;
import io.berth.sandbox.SandboxState;
import io.berth.sandbox.SandboxStore;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** Starts, stops and removes containers. Reads go to {@link ContainerStore}. */
public final class ContainerManager {
  private static final int SIGKILL = 9;
  private static final int START_FAILED = 128;

  /** How long a killed container may take to be reported: its conmon drains the log first. */
  private static final Duration AFTER_KILL = Duration.ofSeconds(10);

  private final ContainerStore store;
  private final SandboxStore sandboxes;
  private final RuntimeHandlers handlers;
  private final ContainerTeardown teardown;
  private final ExitWatch exits;
  private final Set<ContainerId> signalled = ConcurrentHashMap.newKeySet();
  private final SharedOperations<ContainerId, Container> starts;
  private final SharedOperations<ContainerId, ContainerId> removals;

  ContainerManager(
      RuntimeSettings settings,
      ContainerStore store,
      SandboxStore sandboxes,
      RuntimeHandlers handlers,
      ContainerTeardown teardown,
      ExitWatch exits) {
    this.store = store;
    this.sandboxes = sandboxes;
    this.handlers = handlers;
    this.teardown = teardown;
    this.exits = exits;
    this.starts = new SharedOperations<>("start container", settings.linger());
    this.removals = new SharedOperations<>("remove container", settings.linger());
  }

  /**
   * Lets the program begin.
   *
   * @throws ContainerException NOT_FOUND; WRONG_STATE unless it is created and its sandbox ready;
   *     RUNTIME_FAILED, and the container has then exited
   */
  void start(String idOrPrefix) throws InterruptedException {
    Container container = store.get(idOrPrefix);
    Container _ = starts.join(container.id(), () -> startOnce(container.id()));
  }

  private Container startOnce(ContainerId id) throws InterruptedException {
    Container created = store.byId(id).orElseThrow(() -> gone("start", id));
    Path _ = PidTarget.namespace(store, created, "start", Reason.WRONG_STATE);
    Container container =
        store.update(
            id,
            c -> {
              if (c.state() != ContainerState.CREATED) {
                throw wrongState("start", c, "only a created container can be started");
              }
              if (sandboxes.get(c.sandboxId().value()).state() != SandboxState.READY) {
                throw wrongState("start", c, "its sandbox isn't ready any more; run a new one");
              }
              return c.withState(ContainerState.STARTING);
            });
    if (container == null) {
      throw gone("start", id);
    }
    try {
      Stages.run(
          "runtime start", container.handler(), () -> handlers.get(container.handler()).start(id));
    } catch (ContainerException e) {
      fail(container, String.valueOf(e.getMessage()));
      throw e;
    } catch (InterruptedException e) {
      fail(container, "nobody waited for the start any more");
      throw e;
    }
    long at = now();
    Container started =
        Stages.time(
            "record",
            () ->
                store.update(id, c -> c.state() == ContainerState.STARTING ? c.started(at) : null));
    if (started == null) {
      throw gone("start", id);
    }
    return started;
  }

  private void fail(Container container, String why) {
    store.update(
        container.id(),
        c ->
            c.state() == ContainerState.STARTING
                ? c.exited(new Container.Exit(START_FAILED, "StartError", why, now()))
                : null);
    teardown.killAll(container.cgroup()); // its init still waits for the word to begin
  }

  /**
   * Ends the program: its stop signal, and SIGKILL after {@code grace}. Returns when the end is
   * recorded. An unknown container, or one without a running program, is fine. A second call
   * doesn't signal again but may shorten the grace. One that was frozen is thawed first.
   *
   * @throws ContainerException RUNTIME_FAILED when even SIGKILL doesn't end it
   */
  void stop(String idOrPrefix, Duration grace) throws InterruptedException {
    Optional<Container> container = store.find(idOrPrefix);
    if (container.isPresent()) {
      stop(container.get(), grace);
    }
  }

  private void stop(Container container, Duration grace) throws InterruptedException {
    ContainerId id = container.id();
    if (container.state() != ContainerState.RUNNING
        && container.state() != ContainerState.STARTING) {
      return;
    }
    if (!grace.isZero() && !grace.isNegative()) {
      if (signalled.add(id)) {
        signal(container, Signals.number(container.stopSignal()));
      }
      if (Stages.time("grace", () -> exits.await(id, grace))) {
        signalled.remove(id);
        return;
      }
    }
    kill(container);
    signalled.remove(id);
  }

  private void kill(Container container) throws InterruptedException {
    // Killing the first process of a PID namespace ends all in it; in a shared one each has to be
    // killed.
    signal(container, SIGKILL);
    if (container.config().security().namespaces().pid() != NamespaceMode.CONTAINER) {
      teardown.killAll(container.cgroup());
    }
    if (!Stages.time("kill", () -> exits.await(container.id(), AFTER_KILL))) {
      throw new ContainerException(
          Reason.RUNTIME_FAILED,
          "stop container "
              + container.id()
              + ": it was killed "
              + AFTER_KILL.toSeconds()
              + " s ago and hasn't ended; a process may hang in the kernel, see /proc/"
              + (container.init() == null ? "PID" : container.init().pid())
              + "/stack; try again");
    }
  }

  private void signal(Container container, int signal) {
    ProcessRef init = container.init();
    if (init != null) {
      teardown.thaw(container);
      boolean _ = init.signal(signal); // false: it has ended, which is what was wanted
    }
  }

  /**
   * Removes a container with all it consists of, killing it if it runs. An unknown one is fine. The
   * record goes last: until then the call can be repeated, also after a crash.
   */
  void remove(String idOrPrefix) throws InterruptedException {
    Optional<Container> container = store.find(idOrPrefix);
    if (container.isPresent()) {
      remove(container.get().id());
    }
  }

  void remove(ContainerId id) throws InterruptedException {
    ContainerId _ =
        removals.join(
            id,
            () -> {
              removeOnce(id);
              return id;
            });
  }

  private void removeOnce(ContainerId id) throws InterruptedException {
    Container found = store.byId(id).orElse(null);
    if (found == null) {
      return;
    }
    if (found.state() == ContainerState.STARTING) {
      throw wrongState("remove", found, "it is being started; stop it first");
    }
    if (found.state() == ContainerState.RUNNING) {
      kill(found);
    }
    Container container =
        store.update(
            id,
            c ->
                c.state() == ContainerState.REMOVING ? null : c.withState(ContainerState.REMOVING));
    if (container == null) {
      return;
    }
    Stages.run("teardown", () -> teardown.takeDown(id, container.handler(), container.cgroup()));
    Stages.run("record", () -> store.delete(id));
  }

  private static ContainerException wrongState(String operation, Container container, String why) {
    return new ContainerException(
        Reason.WRONG_STATE,
        operation + " container " + container.id() + ": it is " + container.state() + "; " + why);
  }

  private static ContainerException gone(String operation, ContainerId id) {
    return new ContainerException(
        Reason.NOT_FOUND, operation + " container " + id + ": it was removed meanwhile");
  }

  private static long now() {
    return ExitWatch.nanos(Instant.now());
  }
}
