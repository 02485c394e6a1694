package io.berth.image;

import io.berth.linux.SharedOperations;
import java.time.Duration;
import java.util.concurrent.Callable;

/**
 * Operations that callers share and that end when the last of them has left. A caller who comes
 * while one is winding down waits for its end and begins anew.
 */
final class Joins<K, V> {

  /** The work was interrupted because nobody waited for it. */
  private static final class Abandoned extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Abandoned(InterruptedException cause) {
      super(cause);
    }
  }

  private final SharedOperations<K, V> operations;

  Joins(String name) {
    operations = new SharedOperations<>(name, Duration.ZERO);
  }

  V join(K key, Callable<V> work) throws InterruptedException {
    while (true) {
      try {
        return operations.join(
            key,
            () -> {
              try {
                return work.call();
              } catch (InterruptedException e) {
                throw new Abandoned(e);
              }
            });
      } catch (Abandoned e) {
        if (Thread.interrupted()) {
          throw new InterruptedException();
        }
      }
    }
  }
}
