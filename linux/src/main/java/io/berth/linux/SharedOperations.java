package io.berth.linux;

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * One operation at a time per key. A second caller joins the one in progress and gets its result,
 * so a client that gave up and asks again loses nothing. The work runs on a thread of its own and
 * doesn't die with the caller that began it; when the last caller has left, it goes on for {@code
 * linger} and is then interrupted.
 */
public final class SharedOperations<K, V> {
  private final String name;
  private final Duration linger;
  private final ConcurrentMap<K, Operation<V>> running = new ConcurrentHashMap<>();

  private static final class Operation<V> {
    final CompletableFuture<V> result = new CompletableFuture<>();
    final Background background = Stages.current().background(); // of the first caller
    final Stages.Log stages = new Stages.Log(background); // every caller's log shows them
    Thread thread = Thread.currentThread(); // replaced before anyone can see the operation
    int waiters; // guarded by this
    int departures; // guarded by this; tells whether somebody came back during the linger
    boolean abandoned; // guarded by this; interrupted, and only winding down
    boolean adopted; // guarded by this; known as work in the background

    /** False when the work has been given up: the caller waits for its end and begins anew. */
    synchronized boolean enter() {
      if (abandoned) {
        return false;
      }
      waiters++;
      return true;
    }

    synchronized void abandon() {
      if (waiters == 0 && !result.isDone()) {
        abandoned = true;
        thread.interrupt();
      }
    }
  }

  /**
   * @param name for the threads, as in {@code pull}
   * @param linger how long abandoned work goes on; zero ends it at once
   */
  public SharedOperations(String name, Duration linger) {
    this.name = name;
    this.linger = linger;
  }

  /** The number of operations in progress. */
  public int size() {
    return running.size();
  }

  /**
   * Joins the operation of {@code key}, or begins it with {@code work}.
   *
   * @return what the operation returned, to every caller alike
   * @throws RuntimeException what the operation threw, to every caller alike
   * @throws InterruptedException when this caller was interrupted; the work goes on if others wait
   *     for it
   */
  public V join(K key, Callable<V> work) throws InterruptedException {
    Operation<V> operation = running.computeIfAbsent(key, k -> begin(k, work));
    while (!operation.enter()) {
      awaitEnd(operation);
      operation = running.computeIfAbsent(key, k -> begin(k, work));
    }
    Stages.join(operation.stages);
    try {
      return operation.result.get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof RuntimeException cause) {
        throw cause;
      }
      if (e.getCause() instanceof Error cause) {
        throw cause;
      }
      throw new CompletionException(e.getCause());
    } finally {
      leave(key, operation);
    }
  }

  private Operation<V> begin(K key, Callable<V> work) {
    Operation<V> operation = new Operation<>();
    operation.thread =
        Thread.ofVirtual()
            .name(name + " " + key)
            .unstarted(() -> {
              try {
                V value = Stages.record(operation.stages, work);
                running.remove(key, operation);
                operation.result.complete(value);
              } catch (Throwable e) {
                running.remove(key, operation);
                operation.result.completeExceptionally(e);
              }
            });
    operation.thread.start();
    return operation;
  }

  private void leave(K key, Operation<V> operation) {
    int departure;
    boolean adopt;
    synchronized (operation) {
      operation.waiters--;
      departure = ++operation.departures;
      if (operation.waiters > 0 || operation.result.isDone()) {
        return;
      }
      adopt = !operation.adopted;
      operation.adopted = true;
    }
    if (adopt) {
      Background.Ending ending = operation.background.began(name, key.toString(), operation.stages);
      var _ = operation.result.whenComplete((_, failure) -> ending.ended(failure));
    }
    if (linger.isZero()) {
      operation.abandon();
      return;
    }
    var _ =
        CompletableFuture.runAsync(
            () -> {
              synchronized (operation) {
                if (operation.departures == departure) {
                  operation.abandon();
                }
              }
            },
            CompletableFuture.delayedExecutor(
                linger.toNanos(), TimeUnit.NANOSECONDS, Thread::startVirtualThread));
  }

  private static void awaitEnd(Operation<?> operation) throws InterruptedException {
    try {
      operation.result.handle((_, _) -> null).get();
    } catch (ExecutionException e) {
      throw new IllegalStateException(e); // handle() swallows what the work threw
    }
  }
}
