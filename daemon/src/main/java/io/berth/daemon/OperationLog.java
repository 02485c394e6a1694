package io.berth.daemon;

import io.berth.linux.Stages;
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
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/// All running calls and the last finished ones with their stages, in memory: what `berth ops`
/// shows, also while a call hangs. Reading calls are kept only when they failed or were slow.
final class OperationLog {
  static final int CAPACITY = 512;
  private static final Duration SLOW = Duration.ofMillis(200);

  private final Set<Running> running = ConcurrentHashMap.newKeySet();
  // Guarded by itself; oldest first.
  private final Deque<Operation> finished = new ArrayDeque<>();
  private final AtomicLong changes = new AtomicLong();

  /// A call that has begun.
  final class Running {
    private final String requestId =
        HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextInt());
    private final String method;
    private final Instant startedAt = Instant.now();
    private final long startNanos = System.nanoTime();
    private final Stages.Log stages = new Stages.Log();
    private volatile String object = "";

    private Running(String method) {
      this.method = method;
    }

    String requestId() {
      return requestId;
    }

    Stages.Log stages() {
      return stages;
    }

    void concerns(String object) {
      this.object = object;
    }

    /// Ends the call, once: a later call returns null.
    @Nullable Operation finish(Status status) {
      if (!running.remove(this)) {
        return null;
      }
      if (!Operation.isReading(method)) {
        changes.incrementAndGet();
      }
      String description = status.getDescription();
      Operation operation =
          snapshot(status.getCode(), status.isOk() || description == null ? "" : description);
      boolean worthKeeping =
          !Operation.isReading(method)
              || !status.isOk()
              || operation.elapsed().compareTo(SLOW) >= 0;
      if (worthKeeping) {
        synchronized (finished) {
          if (finished.size() == CAPACITY) {
            finished.removeFirst();
          }
          finished.addLast(operation);
        }
      }
      return operation;
    }

    private Operation snapshot(Status.@Nullable Code code, String error) {
      return new Operation(
          requestId,
          method,
          object,
          startedAt,
          Duration.ofNanos(System.nanoTime() - startNanos),
          code,
          error,
          stages.stages());
    }
  }

  Running begin(String method) {
    var call = new Running(method);
    running.add(call);
    return call;
  }

  int runningCount() {
    return running.size();
  }

  /// How many calls that change something have ended so far.
  long changes() {
    return changes.get();
  }

  /// Newest first.
  ///
  /// @param objectPrefix empty for all
  List<Operation> list(String objectPrefix) {
    var all = new ArrayList<Operation>();
    running.forEach(call -> all.add(call.snapshot(null, "")));
    synchronized (finished) {
      all.addAll(finished);
    }
    all.removeIf(operation -> !operation.concerns(objectPrefix));
    all.sort(Comparator.comparing(Operation::startedAt).reversed());
    return List.copyOf(all);
  }
}
