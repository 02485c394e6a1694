package io.berth.stats;

import io.berth.linux.KernelFile;
import io.berth.linux.KernelFolder;

/** Takes the values of one container or pod, one after the other. */
@FunctionalInterface
public interface MetricSink {
  /** Of the cpu label, as no count is kept for each processor. */
  String ALL_CPUS = "total";

  /**
   * @param labels as many as {@link Metric#labels}, in that order
   */
  void add(Metric metric, long value, String... labels);

  /** Leaves out what isn't known, and what CRI's unsigned numbers can't say. */
  default void value(Metric metric, long value, String... labels) {
    if (value >= 0) {
      add(metric, value, labels);
    }
  }

  /** Whole seconds of a number of nanoseconds. */
  default void seconds(Metric metric, long nanos, String... labels) {
    value(metric, nanos >= 0 ? nanos / 1_000_000_000L : nanos, labels);
  }

  /** What a file limits to, 0 when it says that there is no limit. */
  default void limit(Metric metric, KernelFile file, KernelFolder folder, byte[] name) {
    if (file.read(folder, name)) {
      long limit = file.nextLine() && file.nextWord() ? file.number() : KernelFile.ABSENT;
      value(metric, limit == KernelFile.ABSENT || CgroupReader.unlimited(limit) ? 0 : limit);
    }
  }
}
