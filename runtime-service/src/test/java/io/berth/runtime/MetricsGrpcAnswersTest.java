package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.ByteString;
import io.berth.cri.v1.ContainerMetrics;
import io.berth.cri.v1.MetricType;
import io.berth.cri.v1.PodSandboxMetrics;
import io.berth.cri.v1.UInt64Value;
import io.berth.sandbox.Sandbox;
import io.berth.stats.Metric;
import io.berth.stats.MetricSink;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class MetricsGrpcAnswersTest {
  private final Sandbox pod = new RequestFixture().request().sandbox();
  private final Container container =
      Containers.of(Containers.id("a"), "größe", ContainerState.RUNNING);

  private io.berth.cri.v1.Metric metric(
      Metric metric, long value, String id, String image, String name, String... extra) {
    return io.berth.cri.v1.Metric.newBuilder()
        .setName(metric.fullName())
        .setMetricType(metric.type() == Metric.Type.COUNTER ? MetricType.COUNTER : MetricType.GAUGE)
        .addLabelValues(id)
        .addLabelValues(image)
        .addLabelValues(pod.name().namespace())
        .addLabelValues(pod.name().name())
        .addLabelValues(name)
        .addAllLabelValues(List.of(extra))
        .setValue(UInt64Value.newBuilder().setValue(value))
        .build();
  }

  private static List<PodSandboxMetrics> read(MetricsGrpcAnswers answers) throws Exception {
    List<PodSandboxMetrics> read = new ArrayList<>();
    for (ByteString bytes : answers.pods()) {
      read.add(PodSandboxMetrics.parseFrom(bytes));
    }
    return read;
  }

  @Test
  void whatIsWrittenStraightIsWhatTheMessagesWouldBe() throws Exception {
    String podId = pod.id().value();
    String id = container.id().value();
    var answers = new MetricsGrpcAnswers();
    MetricSink ofPod = answers.pod(pod);
    ofPod.value(Metric.RECEIVE_BYTES, 1L << 40, "eth0");
    ofPod.value(Metric.TRANSMIT_BYTES, 127, "eth0");
    MetricSink ofContainer = answers.container(container);
    ofContainer.value(Metric.MEMORY_RSS, 0);
    ofContainer.value(Metric.MEMORY_CACHE, -1);
    ofContainer.value(Metric.MEMORY_USAGE, Long.MAX_VALUE);
    ofContainer.value(Metric.MEMORY_FAILURES, 128, "pgfault", "");
    String image = container.imageName();
    String name = container.config().name();
    assertThat(read(answers))
        .containsExactly(
            PodSandboxMetrics.newBuilder()
                .setPodSandboxId(podId)
                .addMetrics(metric(Metric.RECEIVE_BYTES, 1L << 40, podId, "", "", "eth0"))
                .addMetrics(metric(Metric.TRANSMIT_BYTES, 127, podId, "", "", "eth0"))
                .addContainerMetrics(
                    ContainerMetrics.newBuilder()
                        .setContainerId(id)
                        .addMetrics(metric(Metric.MEMORY_RSS, 0, id, image, name))
                        .addMetrics(metric(Metric.MEMORY_USAGE, Long.MAX_VALUE, id, image, name))
                        .addMetrics(
                            metric(Metric.MEMORY_FAILURES, 128, id, image, name, "pgfault", "")))
                .build());
  }

  @Test
  void aContainerThatHadGoneIsLeftOutAndItsPodIsNot() throws Exception {
    var answers = new MetricsGrpcAnswers();
    answers.pod(pod);
    answers.container(container);
    assertThat(read(answers))
        .containsExactly(PodSandboxMetrics.newBuilder().setPodSandboxId(pod.id().value()).build());
  }
}
