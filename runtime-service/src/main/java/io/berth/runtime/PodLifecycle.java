package io.berth.runtime;

import io.berth.linux.ProcessRef;
import io.berth.linux.Stages;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxConfig;
import io.berth.sandbox.SandboxId;
import io.berth.sandbox.SandboxManager;
import io.berth.sandbox.SandboxState;
import io.berth.sandbox.SandboxStore;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/** A pod as a whole: its sandbox, and with it all of its containers. */
public final class PodLifecycle {
  private final SandboxManager sandboxManager;
  private final SandboxStore sandboxes;
  private final ContainerStore containers;
  private final ContainerManager manager;
  private final RuntimeHandlers handlers;
  private final ImageVolumes imageVolumes;
  private final UserNamespaceSupport users;
  private final Selinux selinux;
  private final PodEvents events;

  PodLifecycle(
      SandboxManager sandboxManager,
      SandboxStore sandboxes,
      ContainerStore containers,
      ContainerManager manager,
      RuntimeHandlers handlers,
      ImageVolumes imageVolumes,
      UserNamespaceSupport users,
      Selinux selinux,
      PodEvents events) {
    this.sandboxManager = sandboxManager;
    this.sandboxes = sandboxes;
    this.containers = containers;
    this.manager = manager;
    this.handlers = handlers;
    this.imageVolumes = imageVolumes;
    this.users = users;
    this.selinux = selinux;
    this.events = events;
  }

  /**
   * Makes a sandbox whose handler is known to work.
   *
   * @throws ContainerException INVALID, UNSUPPORTED for the handler
   * @throws io.berth.sandbox.SandboxException as {@link SandboxManager#run}
   */
  Sandbox run(SandboxConfig config, String handler) throws InterruptedException {
    OciRuntime runtime = handlers.get(handler);
    users.require(config, handler, runtime.features());
    selinux.require(config);
    Sandbox sandbox = sandboxManager.run(config, handler);
    watchInit(sandbox);
    return sandbox;
  }

  /** A pod whose shared init has died is not ready any more, though its containers may linger. */
  void watchInit(Sandbox sandbox) {
    Integer init = sandbox.initPid();
    if (init != null) {
      SandboxId id = sandbox.id();
      ProcessRef.of(init).ifPresentOrElse(p -> p.onExit(() -> initEnded(id)), () -> initEnded(id));
    }
  }

  private void initEnded(SandboxId id) {
    boolean byItself =
        sandboxes.find(id.value()).filter(s -> s.state() == SandboxState.READY).isPresent();
    var _ = sandboxManager.beginStop(id.value());
    if (byItself) {
      events.died(id);
    }
  }

  /**
   * Kills the containers without grace and takes the sandbox down. An unknown or stopped one is
   * fine.
   */
  void stop(String idOrPrefix) throws InterruptedException {
    // Closed first: a container that is being created now finds it so, or is found here.
    Optional<Sandbox> sandbox = sandboxManager.beginStop(idOrPrefix);
    if (sandbox.isEmpty()) {
      return;
    }
    List<Callable<Void>> stops = new ArrayList<>();
    for (Container container : containers.of(sandbox.get().id())) {
      stops.add(() -> {
        manager.stop(container.id().value(), Duration.ZERO);
        return null;
      });
    }
    Stages.run("containers", () -> inParallel(stops));
    imageVolumes.release(sandbox.get().id());
    sandboxManager.stop(sandbox.get().id().value());
  }

  /** Stops the pod if need be and removes it with its containers. An unknown one is fine. */
  void remove(String idOrPrefix) throws InterruptedException {
    Optional<Sandbox> sandbox = sandboxes.find(idOrPrefix);
    if (sandbox.isEmpty()) {
      return;
    }
    String id = sandbox.get().id().value();
    stop(id);
    List<Callable<Void>> removals = new ArrayList<>();
    for (Container container : containers.of(sandbox.get().id())) {
      removals.add(() -> {
        manager.remove(container.id());
        return null;
      });
    }
    Stages.run("containers", () -> inParallel(removals));
    sandboxManager.remove(id);
  }

  /**
   * One virtual thread each; the first failure is thrown after all have ended, the others
   * suppressed onto it.
   */
  private static void inParallel(List<Callable<Void>> tasks) throws InterruptedException {
    List<FutureTask<Void>> running = new ArrayList<>();
    for (Callable<Void> task : tasks) {
      FutureTask<Void> future = new FutureTask<>(Stages.inherit(task));
      Thread.ofVirtual().name(Thread.currentThread().getName()).start(future);
      running.add(future);
    }
    RuntimeException failure = null;
    for (FutureTask<Void> future : running) {
      try {
        future.get();
      } catch (InterruptedException e) {
        running.forEach(f -> f.cancel(true));
        throw e;
      } catch (ExecutionException e) {
        RuntimeException cause =
            e.getCause() instanceof RuntimeException r
                ? r
                : new IllegalStateException(e.getCause());
        if (failure == null) {
          failure = cause;
        } else {
          failure.addSuppressed(cause);
        }
      }
    }
    if (failure != null) {
      throw failure;
    }
  }
}
