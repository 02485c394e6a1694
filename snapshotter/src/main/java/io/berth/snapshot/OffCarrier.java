package io.berth.snapshot;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;

/**
 * Native calls that wait for the disk hold the carrier of a virtual thread, and there are only as
 * many of those as processors. Work of seconds is done on a platform thread meanwhile.
 */
final class OffCarrier {
  private OffCarrier() {}

  /** Work that may block in native calls. */
  @FunctionalInterface
  interface Work<T> {
    T run() throws InterruptedException, IOException;
  }

  /** For walks that go down as far as paths do, 2048 folders; touched pages alone take memory. */
  private static final long DEEP_STACK = 16 << 20;

  /** Runs the work to its end and passes an interruption on to it. */
  static <T> T run(String name, Work<T> work) throws InterruptedException, IOException {
    return Thread.currentThread().isVirtual() ? runElsewhere(name, 0, work) : work.run();
  }

  /** As {@link #run}, for recursion down a tree. */
  static <T> T runDeep(String name, Work<T> work) throws InterruptedException, IOException {
    return runElsewhere(name, DEEP_STACK, work);
  }

  private static <T> T runElsewhere(String name, long stack, Work<T> work)
      throws InterruptedException, IOException {
    var task = new FutureTask<>(work::run);
    Thread thread = Thread.ofPlatform().name(name).stackSize(stack).start(task);
    boolean interrupted = false;
    try {
      while (true) {
        try {
          return task.get();
        } catch (InterruptedException e) {
          interrupted = true;
          thread.interrupt();
        }
      }
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case InterruptedException cause -> {
          interrupted = false; // thrown instead
          throw cause;
        }
        case IOException cause -> throw cause;
        case RuntimeException cause -> throw cause;
        case Error cause -> throw cause;
        case null, default -> throw new IllegalStateException(e);
      }
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /**
   * As {@link #run}, for work that neither looks at interruption nor throws a checked exception.
   */
  static void finish(String name, Runnable work) {
    try {
      Object _ =
          run(
              name,
              () -> {
                work.run();
                return name;
              });
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
