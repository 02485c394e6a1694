package io.berth.linux;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;

/**
 * Names and times the stages of the running call, for its log line, its metrics and {@code berth
 * ops}. A call binds a {@link Log} for its thread; code beneath says {@code Stages.time("cni",
 * ...)} without knowing who listens. Without a bound log the stages simply run.
 */
public final class Stages {
  private static final ScopedValue<Log> CURRENT = ScopedValue.newInstance();

  /**
   * One stage of a call.
   *
   * @param startedAt nanoseconds since the epoch
   * @param duration null while it runs
   * @param error what ended it early, or null
   */
  public record Stage(
      String name, long startedAt, @Nullable Duration duration, @Nullable String error) {}

  /** The stages of one call, in the order of their start. Any thread may read it. */
  public static final class Log {
    private final List<Stage> stages = new ArrayList<>();

    public synchronized List<Stage> stages() {
      return List.copyOf(stages);
    }

    private synchronized int begin(String name) {
      stages.add(new Stage(name, System.currentTimeMillis() * 1_000_000, null, null));
      return stages.size() - 1;
    }

    private synchronized void end(int index, Duration duration, @Nullable Throwable error) {
      Stage stage = stages.get(index);
      stages.set(
          index,
          new Stage(
              stage.name(),
              stage.startedAt(),
              duration,
              error == null ? null : String.valueOf(error.getMessage())));
    }
  }

  /** A body that returns a value and may throw one kind of checked exception. */
  @FunctionalInterface
  public interface Body<T extends @Nullable Object, E extends Exception> {
    T run() throws E;
  }

  /** A body without a value. */
  @FunctionalInterface
  public interface Action<E extends Exception> {
    void run() throws E;
  }

  private Stages() {}

  /** Runs {@code body} with {@code log} as the current call's. */
  public static <T extends @Nullable Object> T record(Log log, Callable<T> body) throws Exception {
    return ScopedValue.where(CURRENT, log).call(body::call);
  }

  /** The log of the current call; a fresh one that nobody reads when there is none. */
  public static Log current() {
    return CURRENT.isBound() ? CURRENT.get() : new Log();
  }

  public static <T extends @Nullable Object, E extends Exception> T time(
      String stage, Body<T, E> body) throws E {
    if (!CURRENT.isBound()) {
      return body.run();
    }
    Log log = CURRENT.get();
    int index = log.begin(stage);
    long start = System.nanoTime();
    Throwable error = null;
    try {
      return body.run();
    } catch (Throwable e) {
      error = e;
      throw e;
    } finally {
      log.end(index, Duration.ofNanos(System.nanoTime() - start), error);
    }
  }

  public static <E extends Exception> void run(String stage, Action<E> body) throws E {
    var _ =
        Stages.<@Nullable Object, E>time(
            stage,
            () -> {
              body.run();
              return null;
            });
  }
}
