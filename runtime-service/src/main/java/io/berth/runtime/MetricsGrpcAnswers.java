package io.berth.runtime;

import com.google.protobuf.ByteString;
import io.berth.cri.v1.ContainerMetrics;
import io.berth.cri.v1.MetricDescriptor;
import io.berth.cri.v1.MetricType;
import io.berth.cri.v1.PodSandboxMetrics;
import io.berth.cri.v1.UInt64Value;
import io.berth.sandbox.Sandbox;
import io.berth.stats.Metric;
import io.berth.stats.MetricSink;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Metrics as CRI's messages. The labels that every metric has come first; what they say is encoded
 * once for all the metrics of a container.
 */
final class MetricsGrpcAnswers implements UsageReports.PodSink {
  private static final List<String> LABELS =
      List.of("id", "image", "namespace", "pod", "container");

  private static final Map<Metric, ByteString> NAMES = names();

  private final List<PodSandboxMetrics.Builder> pods = new ArrayList<>();
  private final Map<String, ByteString> extraLabels = new HashMap<>();
  private @Nullable Sandbox sandbox;

  static MetricDescriptor descriptor(Metric metric) {
    return MetricDescriptor.newBuilder()
        .setName(metric.fullName())
        .setHelp(metric.help())
        .addAllLabelKeys(LABELS)
        .addAllLabelKeys(metric.labels())
        .build();
  }

  @Override
  public MetricSink pod(Sandbox next) {
    sandbox = next;
    PodSandboxMetrics.Builder builder =
        PodSandboxMetrics.newBuilder().setPodSandboxId(next.id().value());
    pods.add(builder);
    List<ByteString> labels = labels(next.id().value(), "", next, "");
    return (metric, value, extra) -> builder.addMetrics(metric(metric, value, labels, extra));
  }

  @Override
  public MetricSink container(Container container) {
    if (sandbox == null) {
      throw new IllegalStateException("a container comes after its pod");
    }
    ContainerMetrics.Builder builder =
        pods.getLast().addContainerMetricsBuilder().setContainerId(container.id().value());
    List<ByteString> labels =
        labels(container.id().value(), container.imageName(), sandbox, container.config().name());
    return (metric, value, extra) -> builder.addMetrics(metric(metric, value, labels, extra));
  }

  /** One for each pod; containers that had gone are left out. */
  List<PodSandboxMetrics> pods() {
    List<PodSandboxMetrics> built = new ArrayList<>(pods.size());
    for (PodSandboxMetrics.Builder pod : pods) {
      for (int i = pod.getContainerMetricsCount() - 1; i >= 0; i--) {
        if (pod.getContainerMetricsBuilder(i).getMetricsCount() == 0) {
          pod.removeContainerMetrics(i);
        }
      }
      built.add(pod.build());
    }
    return built;
  }

  private static List<ByteString> labels(
      String id, String image, Sandbox sandbox, String container) {
    return List.of(
        ByteString.copyFromUtf8(id),
        ByteString.copyFromUtf8(image),
        ByteString.copyFromUtf8(sandbox.name().namespace()),
        ByteString.copyFromUtf8(sandbox.name().name()),
        ByteString.copyFromUtf8(container));
  }

  private io.berth.cri.v1.Metric metric(
      Metric metric, long value, List<ByteString> labels, String[] extra) {
    io.berth.cri.v1.Metric.Builder built =
        io.berth.cri.v1.Metric.newBuilder()
            .setNameBytes(NAMES.get(metric))
            .setMetricType(
                switch (metric.type()) {
                  case COUNTER -> MetricType.COUNTER;
                  case GAUGE -> MetricType.GAUGE;
                })
            .setValue(UInt64Value.newBuilder().setValue(value));
    for (ByteString label : labels) {
      built.addLabelValuesBytes(label);
    }
    for (String label : extra) {
      built.addLabelValuesBytes(extraLabels.computeIfAbsent(label, ByteString::copyFromUtf8));
    }
    return built.build();
  }

  private static Map<Metric, ByteString> names() {
    Map<Metric, ByteString> names = new EnumMap<>(Metric.class);
    for (Metric metric : Metric.values()) {
      names.put(metric, ByteString.copyFromUtf8(metric.fullName()));
    }
    return names;
  }
}
