package io.berth.daemon;

import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import java.time.Duration;

/// Calls by method and code, and how many are running. No label grows with pods or images.
final class CallMetrics {
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

  CallMetrics(MeterRegistry registry, OperationLog operations) {
    this.registry = registry;
    Gauge.builder("berth.calls.running", operations, OperationLog::runningCount)
        .description("calls in progress")
        .register(registry);
  }

  void finished(Operation operation) {
    Timer.builder("berth.calls")
        .description("finished calls")
        .tag("method", operation.method())
        .tag("code", String.valueOf(operation.code()))
        .serviceLevelObjectives(BUCKETS)
        .register(registry)
        .record(operation.elapsed());
  }
}
