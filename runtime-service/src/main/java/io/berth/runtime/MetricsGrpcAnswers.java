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
 * Metrics as CRI's messages, written straight as the wire has them: a hundred pods have six
 * thousand metrics, which differ in little but their value. What a metric is called, and the labels
 * that each of a container's has, are encoded once.
 */
final class MetricsGrpcAnswers implements UsageReports.PodSink {
  private static final List<String> LABELS =
      List.of("id", "image", "namespace", "pod", "container");

  private static final int FEW = 16 << 10; // bytes, what the metrics of a container take

  private static final Map<Metric, byte[]> HEADS = heads();

  private final List<ByteString> pods = new ArrayList<>();
  private final WireGrpcBuffer pod = new WireGrpcBuffer(FEW);
  private final WireGrpcBuffer container = new WireGrpcBuffer(FEW);
  private final WireGrpcBuffer scratch = new WireGrpcBuffer(128);
  private final Map<String, byte[]> extraLabels = new HashMap<>();
  private @Nullable Sandbox sandbox;
  private int containerIsEmpty; // length of a container that has no metrics

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
    finishPod();
    sandbox = next;
    String id = next.id().value();
    pod.string(PodSandboxMetrics.POD_SANDBOX_ID_FIELD_NUMBER, id);
    byte[] labels = labels(id, "", next, "");
    return (metric, value, extra) ->
        write(pod, PodSandboxMetrics.METRICS_FIELD_NUMBER, metric, value, labels, extra);
  }

  @Override
  public MetricSink container(Container next) {
    if (sandbox == null) {
      throw new IllegalStateException("a container comes after its pod");
    }
    finishContainer();
    String id = next.id().value();
    container.string(ContainerMetrics.CONTAINER_ID_FIELD_NUMBER, id);
    containerIsEmpty = container.length();
    byte[] labels = labels(id, next.imageName(), sandbox, next.config().name());
    return (metric, value, extra) ->
        write(container, ContainerMetrics.METRICS_FIELD_NUMBER, metric, value, labels, extra);
  }

  /** A PodSandboxMetrics for each pod; containers that had gone are left out. */
  List<ByteString> pods() {
    finishPod();
    return List.copyOf(pods);
  }

  private void finishContainer() {
    if (container.length() > containerIsEmpty) {
      pod.message(PodSandboxMetrics.CONTAINER_METRICS_FIELD_NUMBER, container);
    }
    container.clear();
    containerIsEmpty = 0;
  }

  private void finishPod() {
    finishContainer();
    if (sandbox != null) {
      pods.add(pod.toByteString());
      pod.clear();
      sandbox = null;
    }
  }

  private void write(
      WireGrpcBuffer out, int field, Metric metric, long value, byte[] labels, String[] extra) {
    byte[] head = HEADS.get(metric);
    if (head == null) {
      throw new IllegalArgumentException("metric " + metric);
    }
    int size = head.length + labels.length;
    for (String label : extra) {
      size += extraLabel(label).length; // encoded by way of the scratch: before the value
    }
    scratch.clear();
    if (value != 0) { // proto3 leaves out what is zero
      scratch.number(UInt64Value.VALUE_FIELD_NUMBER, value);
    }
    size += 2 + scratch.length(); // a tag and a length below 128
    out.head(field, size);
    out.raw(head);
    out.raw(labels);
    for (String label : extra) {
      out.raw(extraLabel(label));
    }
    out.message(io.berth.cri.v1.Metric.VALUE_FIELD_NUMBER, scratch);
  }

  private byte[] labels(String id, String image, Sandbox of, String name) {
    return encoded(id, image, of.name().namespace(), of.name().name(), name);
  }

  private byte[] extraLabel(String label) {
    return extraLabels.computeIfAbsent(label, this::encoded);
  }

  private byte[] encoded(String... labels) {
    scratch.clear();
    for (String label : labels) {
      scratch.string(io.berth.cri.v1.Metric.LABEL_VALUES_FIELD_NUMBER, label);
    }
    return scratch.toByteArray();
  }

  /** Name and type of each metric. */
  private static Map<Metric, byte[]> heads() {
    Map<Metric, byte[]> heads = new EnumMap<>(Metric.class);
    for (Metric metric : Metric.values()) {
      heads.put(
          metric,
          io.berth.cri.v1.Metric.newBuilder()
              .setName(metric.fullName())
              .setMetricType(
                  switch (metric.type()) {
                    case COUNTER -> MetricType.COUNTER;
                    case GAUGE -> MetricType.GAUGE;
                  })
              .build()
              .toByteArray());
    }
    return heads;
  }
}
