package io.berth.linux;

import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;

/**
 * Work that no call waits for: settling debts, recording exits, operations whose callers have left.
 * It has stages like a call's, and whoever {@linkplain #listen listens} is told of it. One listener
 * for the process, since such work begins in places that know nothing of the daemon.
 */
public final class Background {
  private static volatile Listener listener = (name, object, log) -> failure -> {};

  /** Is told when work begins. */
  @FunctionalInterface
  public interface Listener {
    /**
     * Returns who is to be told of its end.
     *
     * @param name one of few, as in {@code settle cni-del}
     * @param object the id it is about; may be empty
     */
    Ending began(String name, String object, Stages.Log log);
  }

  /** Is told, once, how work ended. */
  @FunctionalInterface
  public interface Ending {
    void ended(@Nullable Throwable failure);
  }

  private Background() {}

  /** From now on, in place of whoever listened before. */
  public static void listen(Listener newListener) {
    listener = newListener;
  }

  /** Runs work with a log of its own. */
  public static <T extends @Nullable Object> T run(String name, String object, Callable<T> body)
      throws Exception {
    Stages.Log log = new Stages.Log();
    Ending ending = listener.began(name, object, log);
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

  /** Makes work known that runs already. */
  static Ending adopt(String name, String object, Stages.Log log) {
    return listener.began(name, object, log);
  }
}
