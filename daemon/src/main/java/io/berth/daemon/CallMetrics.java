package io.berth.daemon;

import io.berth.linux.Stages;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import java.time.Duration;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/// Calls by method and code, their stages by name, failures by runtime handler, and how many run.
/// No label grows with pods or images.
final class CallMetrics implements OperationListener {
  /// Methods, stages and handlers are few; should ever a name be made of something else, this is
  /// where it ends.
  static final int NAMES = 200;

  private static final String OTHER = "other";
  private static final Duration[] BUCKETS = {
    Duration.ofMillis(1),
    Duration.ofMillis(10),
    Duration.ofMillis(50),
    Duration.ofMillis(250),
    Duration.ofSeconds(1),
    Duration.ofSeconds(5),
    Duration.ofSeconds(30),
    Duration.ofMinutes(2)
  };

  private final MeterRegistry registry;
  private final ConcurrentMap<String, Timer> calls = new ConcurrentHashMap<>();
  private final ConcurrentMap<String, Timer> stages = new ConcurrentHashMap<>();
  private final ConcurrentMap<String, Counter> stageErrors = new ConcurrentHashMap<>();
  private final ConcurrentMap<String, Counter> runtimeErrors = new ConcurrentHashMap<>();

  CallMetrics(MeterRegistry registry, OperationLog operations) {
    this.registry = registry;
    Gauge.builder("berth.calls.running", operations, OperationLog::runningCount)
        .description("calls in progress")
        .register(registry);
  }

  @Override
  public void ended(Operation operation) {
    String code = String.valueOf(operation.code());
    timer(calls, operation.method() + ' ' + code, () -> call(operation.method(), code))
        .record(operation.elapsed());
    for (Stages.Stage stage : operation.stages()) {
      timer(stages, stage.name(), () -> stage(stage.name())).record(stage.elapsed());
      if (stage.error() != null) {
        count(stageErrors, "berth.stage.errors", "stage", stage.name());
        if (stage.name().startsWith("runtime ")) {
          count(runtimeErrors, "berth.runtime.errors", "handler", stage.subject());
        }
      }
    }
  }

  private Timer call(String method, String code) {
    return Timer.builder("berth.calls")
        .description("finished calls, and work in the background")
        .tag("method", calls.size() < NAMES ? method : OTHER)
        .tag("code", code)
        .serviceLevelObjectives(BUCKETS)
        .register(registry);
  }

  private Timer stage(String name) {
    return Timer.builder("berth.stages")
        .description("stages of calls")
        .tag("stage", stages.size() < NAMES ? name : OTHER)
        .serviceLevelObjectives(BUCKETS)
        .register(registry);
  }

  private static Timer timer(
      ConcurrentMap<String, Timer> known, String key, java.util.function.Supplier<Timer> make) {
    Timer timer = known.get(key);
    if (timer == null) {
      timer = make.get(); // the registry gives the same one to all who race here
      if (known.size() < NAMES) {
        known.put(key, timer);
      }
    }
    return timer;
  }

  private void count(
      ConcurrentMap<String, Counter> known, String metric, String label, String name) {
    String bounded = known.size() < NAMES || known.containsKey(name) ? name : OTHER;
    known
        .computeIfAbsent(
            bounded,
            value ->
                Counter.builder(metric)
                    .description("stages that ended with an error")
                    .tag(label, value)
                    .register(registry))
        .increment();
  }
}
