package io.berth.runtime;

import io.berth.runtime.ContainerException.Reason;
import io.berth.runtime.PodEvent.Kind;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxId;
import io.berth.sandbox.SandboxState;
import io.berth.sandbox.SandboxStore;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;

/**
 * Tells every subscriber what happens to pods and containers, each event once and all in one order.
 *
 * <p>Made of the transitions of the two stores, which call here after a transition is recorded and
 * in the index, still holding the record's own lock: so a record's events come in its order, and an
 * event's statuses are never older than the event. Nobody is waited for: a subscriber who lets its
 * queue run full loses its subscription and is told so.
 */
final class PodEvents {
  /** A burst of several hundred pods, for a reader that pauses for a moment. */
  private static final int QUEUE = 4096;

  private static final int RECENT = 512;

  /**
   * A client sends its subscription and its first list at once, and the list may be answered first.
   * So a subscription begins with what happened shortly before it; who has listed since knows by
   * the times.
   */
  private static final Duration REPLAY = Duration.ofSeconds(2);

  private final SandboxStore sandboxes;
  private final ContainerStore containers;
  private final List<Subscription> subscribers = new CopyOnWriteArrayList<>();

  /** Held while an event is made and handed out, so that all subscribers see one order. */
  private final ReentrantLock order = new ReentrantLock();

  private final Deque<PodEvent> recent = new ArrayDeque<>();

  /** Pods whose STOPPED is out before they are taken down, as they died by themselves. */
  private final Set<SandboxId> died = new HashSet<>();

  private long last;

  /** Hears of every transition from now on. */
  PodEvents(SandboxStore sandboxes, ContainerStore containers) {
    this.sandboxes = sandboxes;
    this.containers = containers;
    sandboxes.onChange(this::changed);
    containers.onChange(this::changed);
  }

  /** Events from now on, and those of the last {@link #REPLAY}; to be closed. */
  Subscription subscribe() {
    order.lock();
    try {
      long since = ExitWatch.nanos(Instant.now().minus(REPLAY));
      Subscription subscription = new Subscription();
      recent.stream().filter(e -> e.at() >= since).forEach(subscription::offer);
      subscribers.add(subscription);
      return subscription;
    } finally {
      order.unlock();
    }
  }

  /** How many listen. */
  int subscribers() {
    return subscribers.size();
  }

  /** One reader's queue. */
  final class Subscription implements AutoCloseable {
    private final BlockingQueue<PodEvent> queue = new LinkedBlockingQueue<>(QUEUE);
    private volatile boolean overrun;

    /** Never waits. */
    private void offer(PodEvent event) {
      if (!queue.offer(event)) {
        overrun = true;
        subscribers.remove(this);
      }
    }

    /**
     * Waits for the next event.
     *
     * @throws ContainerException OVERRUN when events were lost because they weren't taken in time
     */
    PodEvent next() throws InterruptedException {
      if (overrun) {
        throw new ContainerException(
            Reason.OVERRUN,
            "send events: "
                + QUEUE
                + " of them waited for this subscriber and more came; subscribe again, then list what"
                + " there is");
      }
      return queue.take();
    }

    @Override
    public void close() {
      subscribers.remove(this);
    }
  }

  private void changed(@Nullable Sandbox before, @Nullable Sandbox after) {
    order.lock();
    try {
      if (after == null) {
        if (before != null && before.state().visible()) {
          died.remove(before.id());
          publish(Kind.DELETED, before);
        }
      } else if (before == null || before.state() == after.state()) {
        return;
      } else if (after.state() == SandboxState.READY) {
        // Its namespaces are its processes: made and begun are one.
        publish(Kind.CREATED, after);
        publish(Kind.STARTED, after);
      } else if (after.state() == SandboxState.STOPPED && !died.contains(after.id())) {
        publish(Kind.STOPPED, after);
      }
    } finally {
      order.unlock();
    }
  }

  /**
   * A pod that has ended by itself and isn't ready any more. One that is being stopped on request
   * says so when all of it is down, after its containers.
   */
  void died(SandboxId id) {
    order.lock();
    try {
      Sandbox sandbox = sandboxes.find(id.value()).orElse(null);
      if (sandbox != null && sandbox.state() == SandboxState.STOPPING && died.add(id)) {
        publish(Kind.STOPPED, sandbox);
      }
    } finally {
      order.unlock();
    }
  }

  private void publish(Kind kind, Sandbox sandbox) {
    publish(kind, sandbox.id().value(), sandbox, visible(sandbox.id()));
  }

  private void changed(@Nullable Container before, @Nullable Container after) {
    if (before == null) {
      return; // only begun to be made
    }
    order.lock();
    try {
      if (after == null) {
        if (before.state().visible()) {
          publish(Kind.DELETED, before);
        }
      } else if (before.state() == after.state()) {
        return;
      } else if (after.state() == ContainerState.CREATED && !before.state().visible()) {
        publish(Kind.CREATED, after);
      } else if (after.state() == ContainerState.RUNNING) {
        publish(Kind.STARTED, after);
      } else if (after.state() == ContainerState.EXITED) {
        if (before.state() == ContainerState.STARTING && hasRun(after)) {
          // It was faster than the record of its start.
          publish(Kind.STARTED, before.started(after.startedAt()));
        }
        publish(Kind.STOPPED, after);
      }
    } finally {
      order.unlock();
    }
  }

  private static boolean hasRun(Container ended) {
    Container.Exit exit = ended.exit();
    return exit != null && !exit.reason().equals("StartError") && !exit.reason().equals("Unknown");
  }

  private void publish(Kind kind, Container container) {
    publish(
        kind,
        container.id().value(),
        sandboxes.find(container.sandboxId().value()).orElse(null),
        visible(container.sandboxId()).stream()
            .map(c -> kind == Kind.STARTED && c.id().equals(container.id()) ? container : c)
            .toList());
  }

  private void publish(
      Kind kind, String subject, @Nullable Sandbox sandbox, List<Container> ofPod) {
    last = Math.max(last + 1, ExitWatch.nanos(Instant.now()));
    PodEvent event = new PodEvent(kind, subject, last, sandbox, ofPod);
    if (recent.size() == RECENT) {
      recent.removeFirst();
    }
    recent.addLast(event);
    subscribers.forEach(subscriber -> subscriber.offer(event));
  }

  private List<Container> visible(SandboxId id) {
    return containers.of(id).stream().filter(c -> c.state().visible()).toList();
  }
}
