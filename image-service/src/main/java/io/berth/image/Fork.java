package io.berth.image;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletionException;
import java.util.concurrent.LinkedBlockingQueue;
import org.jspecify.annotations.Nullable;

/**
 * Tasks that belong to one block: they have all ended when it is left, and when one fails the
 * others are interrupted. For use by the thread that made it.
 */
final class Fork implements AutoCloseable {

  private record Outcome(@Nullable Throwable failure) {}

  private final String name;
  private final List<Thread> threads = new ArrayList<>();
  private final BlockingQueue<Outcome> outcomes = new LinkedBlockingQueue<>();

  /**
   * @param name for the threads
   */
  Fork(String name) {
    this.name = name;
  }

  /** Starts a task on a virtual thread, for work that mostly waits. */
  void start(Callable<?> task) {
    threads.add(
        Thread.ofVirtual()
            .name(name + "-" + threads.size())
            .start(() -> {
              Throwable failure = null;
              try {
                var _ = task.call();
              } catch (Throwable e) {
                failure = e;
              }
              outcomes.add(new Outcome(failure));
            }));
  }

  /** Waits for all tasks, or for the first that fails and throws its failure. */
  void join() throws InterruptedException {
    for (int i = 0; i < threads.size(); i++) {
      rethrow(outcomes.take().failure());
    }
  }

  /** Interrupts what still runs and waits for its end. */
  @Override
  public void close() {
    threads.forEach(Thread::interrupt);
    threads.forEach(Fork::joinUninterruptibly);
  }

  /**
   * Computes on a platform thread, which the system shares out fairly: a virtual one that computes
   * for seconds would keep a carrier to itself. An interrupt is passed on, and the end of the task
   * awaited.
   */
  static <T> T onPlatformThread(String name, Callable<T> task) throws InterruptedException {
    List<T> result = new ArrayList<>(1);
    Throwable[] failure = new Throwable[1];
    Thread thread =
        Thread.ofPlatform()
            .daemon()
            .name(name)
            .start(() -> {
              try {
                result.add(task.call());
              } catch (Throwable e) {
                failure[0] = e;
              }
            });
    try {
      thread.join();
    } catch (InterruptedException e) {
      thread.interrupt();
      joinUninterruptibly(thread);
      throw e;
    }
    rethrow(failure[0]);
    return result.getFirst();
  }

  private static void joinUninterruptibly(Thread thread) {
    boolean interrupted = false;
    while (true) {
      try {
        thread.join();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private static void rethrow(@Nullable Throwable failure) throws InterruptedException {
    switch (failure) {
      case null -> {}
      case RuntimeException e -> throw e;
      case Error e -> throw e;
      case InterruptedException e -> throw e;
      case Throwable e -> throw new CompletionException(e);
    }
  }
}
