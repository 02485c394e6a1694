package io.berth.linux;

import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;

/**
 * Is told of work that no call waits for: settling debts, operations whose callers have left. It
 * has stages like a call's.
 */
@FunctionalInterface
public interface Background {
  /** Where nobody wants to know. */
  Background UNSEEN = (name, object, log) -> failure -> {};

  /**
   * Is told that work has begun. Returns who is to be told of its end.
   *
   * @param name one of few, as in {@code settle cni-del}
   * @param object the id it is about; may be empty
   */
  Ending began(String name, String object, Stages.Log log);

  /** Is told, once, how work ended. */
  @FunctionalInterface
  interface Ending {
    void ended(@Nullable Throwable failure);
  }

  /** Runs work with a log of its own. */
  default <T extends @Nullable Object> T run(String name, String object, Callable<T> body)
      throws Exception {
    Stages.Log log = new Stages.Log(this);
    Ending ending = began(name, object, log);
    Throwable error = null;
    try {
      return Stages.record(log, body);
    } catch (Throwable e) {
      error = e;
      throw e;
    } finally {
      ending.ended(error);
    }
  }
}
