package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.RemovePodSandboxRequest;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.cri.v1.RuntimeServiceGrpc.RuntimeServiceBlockingStub;
import io.berth.cri.v1.StopPodSandboxRequest;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import io.opentelemetry.proto.common.v1.KeyValue;
import io.opentelemetry.proto.trace.v1.Span;
import io.opentelemetry.proto.trace.v1.Status;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HexFormat;
import java.util.Map;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What a collector of traces gets from berthd, and what it costs when there is none. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class TracingIT {
  private static final Duration SOON = Duration.ofSeconds(60);
  private static final String TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
  private static final String PARENT = "00f067aa0ba902b7";

  private final DockerRegistry registry;

  TracingIT(DockerRegistry registry) {
    this.registry = registry;
  }

  /** As a kubelet sends its place in a trace. */
  private static RuntimeServiceBlockingStub within(BerthDaemon daemon, String traceParent) {
    var headers = new Metadata();
    headers.put(Metadata.Key.of("traceparent", Metadata.ASCII_STRING_MARSHALLER), traceParent);
    return daemon
        .client()
        .runtime()
        .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
  }

  private static String run(RuntimeServiceBlockingStub runtime, PodSandboxConfig.Builder pod) {
    return runtime
        .runPodSandbox(RunPodSandboxRequest.newBuilder().setConfig(pod).build())
        .getPodSandboxId();
  }

  private static void remove(BerthDaemon daemon, String podId) {
    var runtime = daemon.client().runtime();
    var _ =
        runtime.stopPodSandbox(StopPodSandboxRequest.newBuilder().setPodSandboxId(podId).build());
    var _ =
        runtime.removePodSandbox(
            RemovePodSandboxRequest.newBuilder().setPodSandboxId(podId).build());
  }

  private static String hex(com.google.protobuf.ByteString id) {
    return HexFormat.of().formatHex(id.toByteArray());
  }

  private static Map<String, String> attributes(Span span) {
    return span.getAttributesList().stream()
        .collect(Collectors.toMap(KeyValue::getKey, a -> a.getValue().getStringValue()));
  }

  /** Of the kubelet's trace. */
  private static Span only(TraceCollector collector, String name) throws InterruptedException {
    Predicate<Span> wanted =
        span -> span.getName().equals(name) && hex(span.getTraceId()).equals(TRACE);
    Await.until("a span " + name, SOON, () -> !collector.spans(wanted).isEmpty());
    var found = collector.spans(wanted);
    assertThat(found).as("spans " + name).hasSize(1);
    return found.getFirst();
  }

  private static void assertWithin(Span inner, Span outer) {
    assertThat(inner.getTraceId()).isEqualTo(outer.getTraceId());
    assertThat(inner.getParentSpanId()).as(inner.getName()).isEqualTo(outer.getSpanId());
    assertThat(inner.getStartTimeUnixNano()).isLessThanOrEqualTo(inner.getEndTimeUnixNano());
  }

  @Test
  void callsAndTheirStagesAreSpansOfTheCallersTrace() throws Exception {
    try (var collector = TraceCollector.start();
        var daemon =
            BerthDaemon.with()
                .config("[tracing]\nendpoint = \"" + collector.endpoint() + "\"\n")
                .registry(registry.address())
                .start()) {
      var kubelet = within(daemon, "00-" + TRACE + "-" + PARENT + "-01");
      var unsampled = within(daemon, "00-" + TRACE + "-" + PARENT + "-00");
      PodSandboxConfig.Builder pod = Requests.pod(daemon, "traced");
      String podId = run(kubelet, pod);
      var _ = kubelet.listContainers(ListContainersRequest.getDefaultInstance());
      var unknown =
          CreateContainerRequest.newBuilder()
              .setPodSandboxId(podId)
              .setSandboxConfig(pod)
              .setConfig(Requests.container("main", "registry.k8s.io/no/such:1", Requests.SLEEP));
      assertThatThrownBy(() -> kubelet.createContainer(unknown.build()))
          .isInstanceOf(StatusRuntimeException.class);
      String unsampledPod = run(unsampled, Requests.pod(daemon, "unsampled"));
      // Without a caller's trace: reading calls have none, others one of their own.
      var _ = daemon.client().runtime().listContainers(ListContainersRequest.getDefaultInstance());
      remove(daemon, unsampledPod);
      remove(daemon, podId);
      daemon.stop(); // which sends what is still there

      Span call = only(collector, "RunPodSandbox");
      assertThat(hex(call.getParentSpanId())).isEqualTo(PARENT);
      assertThat(call.getKind()).isEqualTo(Span.SpanKind.SPAN_KIND_SERVER);
      assertThat(call.getStatus().getCode()).isEqualTo(Status.StatusCode.STATUS_CODE_UNSET);
      assertThat(attributes(call))
          .containsEntry("rpc.method", "RunPodSandbox")
          .containsEntry("k8s.namespace.name", "e2e")
          .containsEntry("k8s.pod.name", "traced")
          .containsEntry("berth.pod.id", podId);
      Span network = only(collector, "cni");
      assertWithin(network, call);
      Span plugin = only(collector, "cni add bridge");
      assertWithin(plugin, network);
      assertThat(attributes(plugin)).containsEntry("process.executable.name", "bridge");

      Span list = only(collector, "ListContainers");
      assertThat(hex(list.getParentSpanId())).isEqualTo(PARENT);
      Span failed = only(collector, "CreateContainer");
      assertThat(failed.getStatus().getCode()).isEqualTo(Status.StatusCode.STATUS_CODE_ERROR);
      assertThat(failed.getStatus().getMessage()).contains("registry.k8s.io/no/such:1");
      assertThat(collector.spans(s -> s.getName().equals("StopPodSandbox")))
          .hasSize(2)
          .allSatisfy(stop -> {
            assertThat(stop.getParentSpanId()).isEmpty();
            assertThat(hex(stop.getTraceId())).isNotEqualTo(TRACE);
          });
      assertThat(collector.senders())
          .allSatisfy(sender ->
              assertThat(sender.getAttributesList())
                  .anyMatch(a ->
                      a.getKey().equals("service.name")
                          && a.getValue().getStringValue().equals("berthd")));
      daemon.restart();
    }
  }

  @Test
  void aCollectorThatIsAwayHoldsUpNothing() throws Exception {
    String gone;
    try (var collector = TraceCollector.start()) {
      gone = collector.endpoint();
    }
    try (var daemon =
        BerthDaemon.with()
            .config("[tracing]\nendpoint = \"" + gone + "\"\n")
            .registry(registry.address())
            .start()) {
      remove(daemon, run(daemon.client().runtime(), Requests.pod(daemon, "untold")));
      Await.until(
          "the log says that spans don't arrive",
          SOON,
          () -> Files.readString(daemon.log()).contains("Failed to export spans"));
      remove(daemon, run(daemon.client().runtime(), Requests.pod(daemon, "untold-too")));
    }
  }

  @Test
  void withoutACollectorNothingOfTracingIsLoaded() throws Exception {
    Path loaded = Files.createTempFile("berth-e2e-classes", ".log");
    try (var daemon =
        BerthDaemon.with()
            .environment("BERTH_JAVA_OPTIONS", "-Xlog:class+load:file=" + loaded)
            .registry(registry.address())
            .start()) {
      remove(daemon, run(daemon.client().runtime(), Requests.pod(daemon, "plain")));
      assertThat(Files.readAllLines(loaded))
          .anyMatch(line -> line.contains("io.berth.daemon.Services "))
          .noneMatch(line -> line.contains("io.opentelemetry."))
          .noneMatch(line -> line.contains("io.berth.daemon.Tracing "));
    } finally {
      Files.delete(loaded);
    }
  }
}
