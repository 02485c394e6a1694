package io.berth.linux;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;

/**
 * Names and times the stages of the running operation, for its log line, its metrics, {@code berth
 * ops} and {@code berth explain}. An operation binds a {@link Log} for its thread; code beneath
 * says {@code Stages.time("snapshot", ...)} without knowing who listens. Without a bound log the
 * stages simply run.
 *
 * <p>A stage's name is one of few, since metrics are kept by it; what it works on is its subject.
 * Stages nest; {@link #inherit} takes the place in the nest along to another thread.
 */
public final class Stages {
  private static final ScopedValue<Scope> CURRENT = ScopedValue.newInstance();

  /** An operation of more stages than this keeps the first ones. */
  static final int LIMIT = 512;

  // Of one process; a hook that starts one program after another would make ever more of them.
  private static final int CHAINS = 16;

  private record Scope(Log log, @Nullable Running stage) {}

  /**
   * One stage of an operation, as it stood when it was asked for.
   *
   * @param subject what it works on, such as a host, a path or a handler; often empty
   * @param startedAt nanoseconds since the epoch
   * @param elapsed until now while it runs
   * @param error what ended it early, or null
   * @param depth how many stages it is within
   * @param parent the place in the list of the stage it is within; -1 if there is none
   * @param process the process it started last, or null
   */
  public record Stage(
      String name,
      String subject,
      long startedAt,
      Duration elapsed,
      boolean running,
      @Nullable String error,
      int depth,
      int parent,
      @Nullable Waited process) {
    /** Null while it runs. */
    public @Nullable Duration duration() {
      return running ? null : elapsed;
    }
  }

  /**
   * A process that a stage waits for.
   *
   * @param name its program's file name
   * @param chain its descendants down to the one at work, as in {@code runc > hook > sleep}; empty
   *     unless it took so long that somebody looked; once the stage has ended, the chain that was
   *     seen most often
   */
  public record Waited(String name, int pid, String chain) {}

  /** A stage that has begun. */
  public static final class Running {
    private final String name;
    private final String subject;
    private final int depth;
    private final @Nullable Running outer;
    private final long startedAt = now();
    private volatile Thread thread = Thread.currentThread();
    // Guarded by this: time of earlier stretches, and the start of the present one.
    private long elapsed;
    private long since = System.nanoTime();
    private boolean open = true;
    private @Nullable String error;
    private @Nullable Waited process;
    // How often each chain was seen, in the order of the first look; null until somebody looks.
    private @Nullable Map<String, Integer> sightings;

    private Running(String name, String subject, @Nullable Running outer) {
      this.name = name;
      this.subject = subject;
      this.outer = outer;
      this.depth = outer == null ? 0 : outer.depth + 1;
    }

    public Stage stage() {
      return stage(depth, -1);
    }

    private synchronized Stage stage(int within, int parent) {
      long total = open ? elapsed + System.nanoTime() - since : elapsed;
      return new Stage(
          name, subject, startedAt, Duration.ofNanos(total), open, error, within, parent, process);
    }

    /** The thread that is in this stage. */
    public Thread thread() {
      return thread;
    }

    /** Says what became of the process that the stage waits for, if it still is the same one. */
    public synchronized void saw(int pid, String chain) {
      if (process != null && process.pid() == pid) {
        process = new Waited(process.name(), pid, chain);
        if (sightings == null) {
          sightings = new LinkedHashMap<>();
        }
        if (sightings.size() < CHAINS || sightings.containsKey(chain)) {
          sightings.merge(chain, 1, Integer::sum);
        }
      }
    }

    private synchronized void end(@Nullable Throwable failure) {
      if (open) {
        open = false;
        elapsed += System.nanoTime() - since;
        remember();
      }
      if (failure != null) {
        error = failure.getMessage() == null ? failure.toString() : failure.getMessage();
      }
    }

    private synchronized void resume() {
      if (!open) {
        thread = Thread.currentThread();
        open = true;
        since = System.nanoTime();
      }
    }

    private synchronized void waitsFor(String program, int pid) {
      process = new Waited(program, pid, "");
      sightings = null;
    }

    // The last look may have met what is left when the wait is over, not what it was for.
    private void remember() {
      if (process != null && sightings != null && !sightings.isEmpty()) {
        String longest =
            Collections.max(sightings.entrySet(), Map.Entry.comparingByValue()).getKey();
        process = new Waited(process.name(), process.pid(), longest);
      }
    }
  }

  /** The stages of one operation. Any thread may read it. */
  public static final class Log {
    // Both guarded by this.
    private final List<Running> stages = new ArrayList<>(8);
    private final List<Joined> joined = new ArrayList<>(0);
    private final Background background;

    public Log() {
      this(Background.UNSEEN);
    }

    /**
     * @param background is told when the operation leaves work behind
     */
    public Log(Background background) {
      this.background = background;
    }

    Background background() {
      return background;
    }

    /** Another operation's, and the stage that waits for it. */
    private record Joined(Log log, @Nullable Running within) {}

    /**
     * A stage as this operation sees it.
     *
     * @param since its start, or that of the stage that joined it later
     */
    private record Placed(Running stage, @Nullable Running outer, long since) {}

    /**
     * In the order of their start, outer ones first; those of operations that this one has joined
     * are within the stage that waits for them.
     */
    public List<Stage> stages() {
      List<Placed> all = new ArrayList<>();
      collect(null, 0, all);
      if (hasJoined()) {
        all.sort(Comparator.comparingLong(Placed::since));
      }
      List<Stage> list = new ArrayList<>(all.size());
      IdentityHashMap<Running, Integer> places = new IdentityHashMap<>();
      for (Placed placed : all) {
        places.put(placed.stage(), list.size());
        int parent = placed.outer() == null ? -1 : places.getOrDefault(placed.outer(), -1);
        list.add(placed.stage().stage(parent < 0 ? 0 : list.get(parent).depth() + 1, parent));
      }
      return List.copyOf(list);
    }

    /** Those that run now, outer ones first. */
    public List<Running> running() {
      List<Placed> all = new ArrayList<>();
      collect(null, 0, all);
      return all.stream().map(Placed::stage).filter(stage -> stage.stage().running()).toList();
    }

    private void collect(@Nullable Running within, long since, List<Placed> into) {
      List<Joined> others;
      synchronized (this) {
        for (Running stage : stages) {
          into.add(
              new Placed(
                  stage,
                  stage.outer == null ? within : stage.outer,
                  Math.max(stage.startedAt, since)));
        }
        others = joined.isEmpty() ? List.of() : List.copyOf(joined);
      }
      for (Joined other : others) {
        Running waits = other.within() == null ? within : other.within();
        other.log().collect(waits, waits == null ? 0 : Math.max(waits.startedAt, since), into);
      }
    }

    private synchronized boolean hasJoined() {
      return !joined.isEmpty();
    }

    private synchronized void join(Log other, @Nullable Running within) {
      if (joined.stream().noneMatch(known -> known.log() == other)) {
        joined.add(new Joined(other, within));
      }
    }

    private synchronized void add(Running stage) {
      if (stages.size() < LIMIT) {
        stages.add(stage);
      }
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

  /**
   * One stage that is entered again and again, such as waiting for the next piece of a download:
   * its time is that within {@link #enter} and {@link #leave} alone. For one thread at a time.
   */
  public static final class Meter {
    private final Running stage;

    private Meter(Running stage) {
      this.stage = stage;
      stage.end(null);
    }

    /** Of a stage that no operation shows. */
    public static Meter unseen() {
      return new Meter(new Running("", "", null));
    }

    public void enter() {
      stage.resume();
    }

    public void leave() {
      stage.end(null);
    }
  }

  private Stages() {}

  /** Runs {@code body} with {@code log} as the current operation's. */
  public static <T extends @Nullable Object> T record(Log log, Callable<T> body) throws Exception {
    return ScopedValue.where(CURRENT, new Scope(log, null)).call(body::call);
  }

  /** The log of the current operation; a fresh one that nobody reads when there is none. */
  public static Log current() {
    return CURRENT.isBound() ? CURRENT.get().log() : new Log();
  }

  /** For work handed to another thread: its stages count as if they were run here. */
  public static <T extends @Nullable Object> Callable<T> inherit(Callable<T> body) {
    if (!CURRENT.isBound()) {
      return body;
    }
    Scope scope = CURRENT.get();
    return () -> ScopedValue.where(CURRENT, scope).call(body::call);
  }

  /**
   * Shows the stages of work that the current operation waits for, though others began it, within
   * the current stage.
   */
  public static void join(Log other) {
    if (CURRENT.isBound() && CURRENT.get().log() != other) {
      CURRENT.get().log().join(other, CURRENT.get().stage());
    }
  }

  public static <T extends @Nullable Object, E extends Exception> T time(
      String stage, Body<T, E> body) throws E {
    return time(stage, "", body);
  }

  /**
   * Runs a stage.
   *
   * @param subject what it works on; free text, but no secret
   */
  public static <T extends @Nullable Object, E extends Exception> T time(
      String stage, String subject, Body<T, E> body) throws E {
    if (!CURRENT.isBound()) {
      return body.run();
    }
    Scope scope = CURRENT.get();
    Running running = begin(scope, stage, subject);
    Throwable error = null;
    try {
      return ScopedValue.where(CURRENT, new Scope(scope.log(), running)).call(body::run);
    } catch (Throwable e) {
      error = e;
      throw e;
    } finally {
      running.end(error);
    }
  }

  public static <E extends Exception> void run(String stage, Action<E> body) throws E {
    run(stage, "", body);
  }

  public static <E extends Exception> void run(String stage, String subject, Action<E> body)
      throws E {
    var _ =
        Stages.<@Nullable Object, E>time(
            stage,
            subject,
            () -> {
              body.run();
              return null;
            });
  }

  /** A stage within the current one that begins with its first {@link Meter#enter}. */
  public static Meter meter(String stage, String subject) {
    return new Meter(
        CURRENT.isBound()
            ? begin(CURRENT.get(), stage, subject)
            : new Running(stage, subject, null));
  }

  /** The current stage waits for this process from now on. */
  public static void waitsFor(String program, int pid) {
    if (CURRENT.isBound()) {
      Running stage = CURRENT.get().stage();
      if (stage != null) {
        stage.waitsFor(program, pid);
      }
    }
  }

  private static Running begin(Scope scope, String name, String subject) {
    Running stage = new Running(name, subject, scope.stage());
    scope.log().add(stage);
    return stage;
  }

  private static long now() {
    Instant now = Instant.now();
    return now.getEpochSecond() * 1_000_000_000L + now.getNano();
  }
}
