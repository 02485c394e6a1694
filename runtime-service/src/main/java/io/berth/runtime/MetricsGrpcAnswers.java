package io.berth.runtime;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.UnsafeByteOperations;
import com.google.protobuf.WireFormat;
import io.berth.cri.v1.ContainerMetrics;
import io.berth.cri.v1.MetricDescriptor;
import io.berth.cri.v1.MetricType;
import io.berth.cri.v1.PodSandboxMetrics;
import io.berth.cri.v1.UInt64Value;
import io.berth.sandbox.Sandbox;
import io.berth.stats.Metric;
import io.berth.stats.MetricSink;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Metrics as CRI's messages, written straight as the wire has them: a hundred pods have six
 * thousand metrics, which differ in little but their value. What a metric is called, and the labels
 * that each of a container's has, are encoded once.
 */
final class MetricsGrpcAnswers implements UsageReports.PodSink {
  private static final List<String> LABELS =
      List.of("id", "image", "namespace", "pod", "container");

  private static final int FEW = 8192; // bytes, about what the metrics of a container take

  private static final Map<Metric, byte[]> HEADS = heads();

  private final List<Pod> pods = new ArrayList<>();
  private final Map<String, byte[]> extraLabels = new HashMap<>();

  static MetricDescriptor descriptor(Metric metric) {
    return MetricDescriptor.newBuilder()
        .setName(metric.fullName())
        .setHelp(metric.help())
        .addAllLabelKeys(LABELS)
        .addAllLabelKeys(metric.labels())
        .build();
  }

  /** The metrics of a pod itself, then those of its containers. */
  private record Pod(Sandbox sandbox, Metrics metrics, List<Metrics> containers) {}

  @Override
  public MetricSink pod(Sandbox next) {
    String id = next.id().value();
    Metrics metrics = new Metrics(id, PodSandboxMetrics.METRICS_FIELD_NUMBER, id, "", next, "");
    pods.add(new Pod(next, metrics, new ArrayList<>()));
    return metrics;
  }

  @Override
  public MetricSink container(Container container) {
    if (pods.isEmpty()) {
      throw new IllegalStateException("a container comes after its pod");
    }
    Pod pod = pods.getLast();
    String id = container.id().value();
    Metrics metrics =
        new Metrics(
            id,
            ContainerMetrics.METRICS_FIELD_NUMBER,
            id,
            container.imageName(),
            pod.sandbox,
            container.config().name());
    pod.containers.add(metrics);
    return metrics;
  }

  /** A PodSandboxMetrics for each pod; containers that had gone are left out. */
  List<ByteString> pods() {
    return pods.stream().map(MetricsGrpcAnswers::encoded).toList();
  }

  private static ByteString encoded(Pod pod) {
    List<byte[]> containers =
        pod.containers.stream().filter(Metrics::any).map(Metrics::finish).toList();
    byte[] own = pod.metrics.finish();
    int size = own.length;
    for (byte[] container : containers) {
      size +=
          CodedOutputStream.computeByteArraySize(
              PodSandboxMetrics.CONTAINER_METRICS_FIELD_NUMBER, container);
    }
    byte[] bytes = new byte[size];
    try {
      CodedOutputStream out = CodedOutputStream.newInstance(bytes);
      out.writeRawBytes(own);
      for (byte[] container : containers) {
        out.writeByteArray(PodSandboxMetrics.CONTAINER_METRICS_FIELD_NUMBER, container);
      }
      out.checkNoSpaceLeft();
    } catch (IOException e) {
      throw new UncheckedIOException(e); // of memory
    }
    return UnsafeByteOperations.unsafeWrap(bytes);
  }

  /** A PodSandboxMetrics or ContainerMetrics: an id, which is field 1 of both, and metrics. */
  private final class Metrics implements MetricSink {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(FEW);
    private final CodedOutputStream out = CodedOutputStream.newInstance(bytes, FEW);
    private final int field;
    private final byte[] labels;
    private boolean any;

    /**
     * @param field number of the metrics
     */
    Metrics(String id, int field, String label, String image, Sandbox sandbox, String container) {
      this.field = field;
      this.labels =
          encodedLabels(label, image, sandbox.name().namespace(), sandbox.name().name(), container);
      try {
        out.writeString(PodSandboxMetrics.POD_SANDBOX_ID_FIELD_NUMBER, id);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    boolean any() {
      return any;
    }

    @Override
    public void add(Metric metric, long value, String... extra) {
      any = true;
      byte[] head = HEADS.get(metric);
      int size = labels.length;
      if (head == null) {
        throw new IllegalArgumentException("metric " + metric);
      }
      size += head.length;
      for (String label : extra) {
        size += extraLabel(label).length;
      }
      int valueSize =
          value == 0
              ? 0
              : CodedOutputStream.computeUInt64Size(UInt64Value.VALUE_FIELD_NUMBER, value);
      size += 2 + valueSize; // a tag and a length below 128
      try {
        out.writeTag(field, WireFormat.WIRETYPE_LENGTH_DELIMITED);
        out.writeUInt32NoTag(size);
        out.writeRawBytes(head);
        out.writeRawBytes(labels);
        for (String label : extra) {
          out.writeRawBytes(extraLabel(label));
        }
        out.writeTag(
            io.berth.cri.v1.Metric.VALUE_FIELD_NUMBER, WireFormat.WIRETYPE_LENGTH_DELIMITED);
        out.writeUInt32NoTag(valueSize);
        if (value != 0) { // proto3 leaves out what is zero
          out.writeUInt64(UInt64Value.VALUE_FIELD_NUMBER, value);
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    byte[] finish() {
      try {
        out.flush();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      return bytes.toByteArray();
    }
  }

  private byte[] extraLabel(String label) {
    return extraLabels.computeIfAbsent(label, MetricsGrpcAnswers::encodedLabels);
  }

  private static byte[] encodedLabels(String... labels) {
    return io.berth.cri.v1.Metric.newBuilder()
        .addAllLabelValues(List.of(labels))
        .build()
        .toByteArray();
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
