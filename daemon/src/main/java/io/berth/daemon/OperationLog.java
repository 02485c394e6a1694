package io.berth.daemon;

import io.berth.linux.Background;
import io.berth.linux.Stages;
import io.grpc.Context;
import io.grpc.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/// All running operations and the last finished ones with their stages, in memory: what `berth ops`
/// shows, also while a call hangs. Reading calls are kept only when they failed or were slow.
final class OperationLog {
  static final int CAPACITY = 256;
  private static final Duration SLOW = Duration.ofMillis(200);
  private static final Pattern ID = Pattern.compile("\\b[0-9a-f]{64}\\b");

  private final Subject.Directory directory;
  private final List<OperationListener> listeners = new CopyOnWriteArrayList<>();
  private final Set<Running> running = ConcurrentHashMap.newKeySet();
  // Guarded by itself; oldest first.
  private final Deque<Operation> finished = new ArrayDeque<>();
  private final AtomicLong changes = new AtomicLong();

  OperationLog(Subject.Directory directory) {
    this.directory = directory;
  }

  /// An operation that has begun.
  final class Running {
    private final String requestId =
        HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextInt());
    private final String method;
    private final String trace;
    private final boolean endless;
    private final Instant startedAt = Instant.now();
    private final long startNanos = System.nanoTime();
    private final Stages.Log stages;
    private volatile String object = "";
    private volatile Subject subject = Subject.NONE;
    private boolean told; // of the call's thread

    private Running(String method, String trace, boolean endless, Stages.Log stages) {
      this.method = method;
      this.trace = trace;
      this.endless = endless;
      this.stages = stages;
    }

    String requestId() {
      return requestId;
    }

    Stages.Log stages() {
      return stages;
    }

    /// Whether it may run for as long as the client likes.
    boolean isEndless() {
      return endless;
    }

    Duration elapsed() {
      return Duration.ofNanos(System.nanoTime() - startNanos);
    }

    void concerns(String object) {
      this.object = object;
    }

    /// Tells from the request what the call is about.
    void asks(Object request) {
      String named = CallObject.of(request);
      if (!named.isEmpty()) {
        object = named;
      }
      if (!told && !Operation.isReading(method)) {
        told = true;
        subject = CallObject.subject(request, directory);
        begun(this);
      }
    }

    /// Takes from the answer what the call has made.
    void answers(Object answer) {
      if (!Operation.isReading(method)) {
        subject = CallObject.made(answer, subject);
      }
    }

    Operation now() {
      return snapshot(null, "");
    }

    /// Ends the call, once: a later call returns null.
    @Nullable Operation finish(Status status) {
      if (!running.remove(this)) {
        return null;
      }
      boolean reading = Operation.isReading(method);
      if (!reading) {
        changes.incrementAndGet();
      }
      String description = status.getDescription();
      Operation operation =
          snapshot(status.getCode(), status.isOk() || description == null ? "" : description);
      if (!reading || !status.isOk() || operation.elapsed().compareTo(SLOW) >= 0) {
        synchronized (finished) {
          if (finished.size() == CAPACITY) {
            finished.removeFirst();
          }
          finished.addLast(operation);
        }
      }
      listeners.forEach(listener -> listener.ended(operation));
      return operation;
    }

    private Operation snapshot(Status.@Nullable Code code, String error) {
      return new Operation(
          requestId,
          method,
          object,
          subject,
          startedAt,
          elapsed(),
          code,
          error,
          trace,
          stages.stages());
    }
  }

  /// Told of all that begins and ends from now on.
  void tell(OperationListener listener) {
    listeners.add(listener);
  }

  Running begin(String method) {
    return begin(method, "", false);
  }

  /// Begins a call.
  ///
  /// @param trace the caller's `traceparent`, or empty
  /// @param endless whether it may run for as long as the client likes
  Running begin(String method, String trace, boolean endless) {
    var call = new Running(method, trace, endless, new Stages.Log(this::beginInBackground));
    running.add(call);
    return call;
  }

  /// Begins work that no call waits for.
  Background.Ending beginInBackground(String name, String object, Stages.Log stages) {
    var work = new Running(name, "", false, stages);
    work.object = object;
    work.subject = subjectOf(object);
    running.add(work);
    begun(work);
    return failure ->
        work.finish(failure == null ? Status.OK : GrpcErrors.status(failure, Context.ROOT));
  }

  private void begun(Running operation) {
    if (!listeners.isEmpty()) {
      Operation begun = operation.now();
      listeners.forEach(listener -> listener.began(begun));
    }
  }

  private Subject subjectOf(String object) {
    Matcher id = ID.matcher(object);
    return id.find()
        ? directory
            .container(id.group())
            .or(() -> directory.sandbox(id.group()))
            .orElse(Subject.NONE)
        : Subject.NONE;
  }

  int runningCount() {
    return running.size();
  }

  /// How long the operation has been running that has been running longest, of those that are to
  /// end; zero if none does.
  Duration oldest() {
    return running.stream()
        .filter(operation -> !operation.isEndless())
        .map(Running::elapsed)
        .max(Comparator.naturalOrder())
        .orElse(Duration.ZERO);
  }

  /// How many calls that change something have ended so far.
  long changes() {
    return changes.get();
  }

  /// All that run now, in no order.
  Set<Running> running() {
    return Set.copyOf(running);
  }

  /// Newest first.
  ///
  /// @param object the beginning of an id, the name of a pod, or an image; empty for all
  /// @param all the finished ones, too
  List<Operation> list(String object, boolean all) {
    var found = new ArrayList<Operation>();
    running.forEach(call -> found.add(call.now()));
    if (all) {
      synchronized (finished) {
        found.addAll(finished);
      }
    }
    found.removeIf(operation -> !operation.concerns(object));
    found.sort(Comparator.comparing(Operation::startedAt).reversed());
    return List.copyOf(found);
  }
}
