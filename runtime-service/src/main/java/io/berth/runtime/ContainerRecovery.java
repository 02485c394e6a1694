package io.berth.runtime;

import io.berth.linux.Debt;
import io.berth.linux.Debts;
import io.berth.linux.ProcessRef;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxState;
import io.berth.sandbox.SandboxStore;
import io.berth.snapshot.Snapshot;
import io.berth.snapshot.Snapshotter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings the containers' records in line with what is still there after the daemon, or the machine,
 * was started anew. Once, before serving. Containers that ran go on running: conmon is their
 * parent, not the daemon.
 */
final class ContainerRecovery {
  private static final Logger log = LoggerFactory.getLogger(ContainerRecovery.class);

  private final ContainerLayout layout;
  private final ContainerStore store;
  private final SandboxStore sandboxes;
  private final RuntimeHandlers handlers;
  private final ContainerTeardown teardown;
  private final ExitWatch exits;
  private final PodLifecycle pods;
  private final ContainerUpdater updater;
  private final Snapshotter snapshotter;
  private final Debts debts;
  private final String bootId;

  ContainerRecovery(
      ContainerLayout layout,
      ContainerStore store,
      SandboxStore sandboxes,
      RuntimeHandlers handlers,
      ContainerTeardown teardown,
      ExitWatch exits,
      PodLifecycle pods,
      ContainerUpdater updater,
      Snapshotter snapshotter,
      Debts debts,
      String bootId) {
    this.layout = layout;
    this.store = store;
    this.sandboxes = sandboxes;
    this.handlers = handlers;
    this.teardown = teardown;
    this.exits = exits;
    this.pods = pods;
    this.updater = updater;
    this.snapshotter = snapshotter;
    this.debts = debts;
    this.bootId = bootId;
  }

  void recover() throws InterruptedException {
    for (Sandbox sandbox : sandboxes.list()) {
      if (sandbox.state() == SandboxState.READY) {
        pods.watchInit(sandbox);
      }
    }
    for (Container container : store.all()) {
      try {
        recover(container);
        undoUpdate(container);
      } catch (RuntimeException e) {
        // One container that resists must not keep the others from being served; stop and remove
        // try again.
        log.error("recover container {}: {}", container.id(), e.getMessage(), e);
      }
    }
    killOrphans();
    removeOrphans();
  }

  /**
   * What still lives in a pod that isn't ready any more: its StopPodSandbox was cut short by the
   * daemon's end.
   */
  private void killOrphans() {
    for (Container container : store.list()) {
      boolean ready =
          sandboxes
              .find(container.sandboxId().value())
              .filter(s -> s.state() == SandboxState.READY)
              .isPresent();
      if (!ready && container.state().live()) {
        teardown.killAll(container.cgroup());
      }
    }
  }

  /**
   * Snapshots of containers that nobody knows, as the machine went down before their record was on
   * disk: nothing of them can be in use.
   */
  private void removeOrphans() {
    for (Snapshot snapshot : snapshotter.snapshots()) {
      String key = snapshot.key();
      if (ContainerId.isValid(key)
          && store.byId(new ContainerId(key)).isEmpty()
          && Files.notExists(layout.bundle(new ContainerId(key)))) {
        try {
          snapshotter.remove(key);
          log.info("removed the snapshot of container {}, which has no record", key);
        } catch (RuntimeException e) {
          log.warn("remove the snapshot of container {} without a record: {}", key, e.getMessage());
        }
      }
    }
  }

  private void recover(Container container) throws InterruptedException {
    ContainerId id = container.id();
    switch (container.state()) {
      case CREATING -> discard(container);
      case CREATED, STARTING, RUNNING -> {
        if (!container.bootId().equals(bootId)) {
          exits.lost(id, "the machine was started anew");
        } else if (Files.exists(layout.exitFile(id))) {
          exits.watch(container);
        } else {
          askTheKernel(container);
        }
      }
      case EXITED -> {}
      case REMOVING -> finishRemoval(container);
    }
  }

  /** One that the daemon's end cut short, be it after the runtime had done its part. */
  private void undoUpdate(Container container) throws InterruptedException {
    Container.Update update = container.update();
    if (update != null && !update.before().isEmpty()) {
      teardown.endUpdate(container.id(), container.handler());
      updater.undo(container.id());
    }
  }

  /** Watches what lives; the end of what doesn't is recorded at once. */
  private void askTheKernel(Container container) throws InterruptedException {
    if (container.state() == ContainerState.STARTING) {
      try {
        learnOfStart(container);
      } catch (RuntimeException e) {
        // Whether its program runs or waits: its end is to be noticed, and it can be stopped.
        log.error("recover the start of container {}: {}", container.id(), e.getMessage(), e);
      }
    }
    store.byId(container.id()).ifPresent(exits::watch);
  }

  /**
   * The daemon died while the runtime was told to start: either it had come through, or the call
   * may be repeated.
   */
  private void learnOfStart(Container container) throws InterruptedException {
    ContainerId id = container.id();
    ProcessRef init = container.init();
    teardown.endStart(id, container.handler());
    if (init == null || !init.isAlive()) {
      return;
    }
    String status = handlers.get(container.handler()).status(id);
    if (status.equals("running")) {
      long now = ExitWatch.nanos(Instant.now());
      store.update(id, c -> c.state() == ContainerState.STARTING ? c.started(now) : null);
    } else if (status.equals("created")) {
      store.update(
          id,
          c -> c.state() == ContainerState.STARTING ? c.withState(ContainerState.CREATED) : null);
    }
  }

  private void discard(Container container) throws InterruptedException {
    try {
      teardown.takeDownHalfMade(container.id(), container.handler(), container.cgroup());
    } catch (RuntimeException e) {
      log.warn(
          "container {} was half made and could not be undone yet: {}",
          container.id(),
          e.getMessage());
      debts.owe(
          new Debt(
              ContainerTeardown.DEBT,
              container.id().value(),
              Map.of("handler", container.handler(), "cgroup", container.cgroup())),
          e);
    }
    deleteEmptyLog(container);
    store.delete(container.id());
  }

  /** A failed creation leaves no log; one that has content isn't its own. */
  private static void deleteEmptyLog(Container container) {
    try {
      Path file = Path.of(container.logPath());
      if (Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS) && Files.size(file) == 0) {
        Files.delete(file);
      }
    } catch (IOException e) {
      log.warn("delete the log {} of a half-made container: {}", container.logPath(), e.toString());
    }
  }

  private void finishRemoval(Container container) throws InterruptedException {
    teardown.takeDownHalfMade(container.id(), container.handler(), container.cgroup());
    store.delete(container.id());
  }
}
