package io.berth.daemon;

import io.micrometer.core.instrument.FunctionCounter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.DoubleSupplier;
import java.util.function.LongSupplier;

/// Figures that parts keep of themselves, read when somebody asks for the metrics. Names as in
/// `berth.debts`; no label, so that each is one series.
final class Figures {
  private final MeterRegistry registry;
  // The registry itself refers to counted objects weakly.
  private final List<LongSupplier> totals = new CopyOnWriteArrayList<>();

  Figures(MeterRegistry registry) {
    this.registry = registry;
  }

  /// What goes up and down.
  void gauge(String name, String description, DoubleSupplier now) {
    Gauge.builder(name, now::getAsDouble)
        .description(description)
        .strongReference(true)
        .register(registry);
  }

  /// What only grows.
  void counter(String name, String description, LongSupplier total) {
    totals.add(total);
    FunctionCounter.builder(name, total, LongSupplier::getAsLong)
        .description(description)
        .register(registry);
  }
}
