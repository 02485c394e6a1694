package io.berth.stats;

import java.util.ArrayList;
import java.util.List;

/**
 * What of a cgroup stands still as long as nobody changes its limits: they themselves, and counts
 * that move only under a limit.
 *
 * @param memoryLimit bytes; absent or above what can be had when there is none
 * @param swapLimit as the kernel keeps it, with memory on v1 and without on v2
 * @param cpuLimited whether the count of throttled periods moves
 * @param memoryLimited whether the count of refused charges moves
 * @param hugePages whether the machine has any to be used
 * @param samples the metrics made of these
 */
record Standing(
    long memoryLimit,
    long swapLimit,
    boolean cpuLimited,
    boolean memoryLimited,
    boolean hugePages,
    List<Sample> samples) {

  /** One value of a metric. */
  record Sample(Metric metric, long value, List<String> labels) {}

  /** Keeps what it is told. */
  static final class Recorder implements MetricSink {
    private final List<Sample> samples = new ArrayList<>();

    @Override
    public void add(Metric metric, long value, String... labels) {
      samples.add(new Sample(metric, value, List.of(labels)));
    }

    List<Sample> samples() {
      return List.copyOf(samples);
    }
  }

  void tell(MetricSink sink) {
    for (Sample sample : samples) {
      sink.add(sample.metric(), sample.value(), sample.labels().toArray(String[]::new));
    }
  }
}
