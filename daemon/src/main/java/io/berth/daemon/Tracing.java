package io.berth.daemon;

import io.berth.linux.Stages;
import io.grpc.Status;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanBuilder;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.sdk.resources.Resource;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.BatchSpanProcessor;
import io.opentelemetry.sdk.trace.samplers.Sampler;
import java.net.URI;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/// Hands operations that have ended to an OpenTelemetry collector: a span for each and one for each
/// of its stages, all made at the end, so that nothing is kept for it while a call runs. Whether a
/// call is sampled is its caller's decision, if it has taken one; calls that only read, which come
/// every second, have spans in their callers' traces alone.
///
/// The one class that knows OpenTelemetry: without a collector it isn't loaded.
final class Tracing implements OperationListener, AutoCloseable {
  private static final String PATH = "v1/traces"; // of OTLP over HTTP, beneath the endpoint
  private static final Duration DELAY = Duration.ofSeconds(2);
  private static final Duration FLUSH = Duration.ofSeconds(3);

  private final SdkTracerProvider provider;
  private final Tracer tracer;

  private Tracing(SdkTracerProvider provider) {
    this.provider = provider;
    this.tracer = provider.get("io.berth");
  }

  /// @param endpoint the collector's address, without the path of a signal
  static Tracing start(URI endpoint, String version) {
    String base = endpoint.toString();
    var exporter =
        OtlpHttpSpanExporter.builder()
            .setEndpoint(base.endsWith("/") ? base + PATH : base + "/" + PATH)
            .setCompression("gzip")
            .build();
    return new Tracing(
        SdkTracerProvider.builder()
            .setResource(
                Resource.getDefault()
                    .merge(
                        Resource.create(
                            Attributes.builder()
                                .put("service.name", "berthd")
                                .put("service.version", version)
                                .build())))
            .setSampler(Sampler.parentBased(Sampler.alwaysOn()))
            // Its queue is bounded: what a collector that is away doesn't take is dropped.
            .addSpanProcessor(BatchSpanProcessor.builder(exporter).setScheduleDelay(DELAY).build())
            .build());
  }

  @Override
  public void ended(Operation operation) {
    Context caller =
        W3CTraceContextPropagator.getInstance()
            .extract(Context.root(), operation, TraceParent.INSTANCE);
    if (Operation.isReading(operation.method())
        && !Span.fromContext(caller).getSpanContext().isValid()) {
      return;
    }
    long start = OperationJson.nanos(operation.startedAt());
    Span span = describe(operation, caller, start);
    Context within = caller.with(span);
    List<Context> places = new ArrayList<>(operation.stages().size());
    for (Stages.Stage stage : operation.stages()) {
      places.add(send(stage, stage.parent() < 0 ? within : places.get(stage.parent())));
    }
    if (operation.code() != Status.Code.OK) {
      span.setStatus(StatusCode.ERROR, operation.error());
    }
    span.end(start + operation.elapsed().toNanos(), TimeUnit.NANOSECONDS);
  }

  private Span describe(Operation operation, Context caller, long start) {
    SpanBuilder span =
        tracer
            .spanBuilder(operation.method())
            .setParent(caller)
            .setStartTimestamp(start, TimeUnit.NANOSECONDS)
            .setAttribute("berth.request_id", operation.requestId());
    if (operation.isCall()) {
      span.setSpanKind(SpanKind.SERVER)
          .setAttribute("rpc.system", "grpc")
          .setAttribute("rpc.method", operation.method());
      if (operation.code() != null) {
        span.setAttribute("rpc.grpc.status_code", operation.code().value());
      }
    }
    put(span, "berth.object", operation.object());
    Subject subject = operation.subject();
    int slash = subject.podName().indexOf('/');
    put(span, "k8s.namespace.name", subject.podName().substring(0, Math.max(0, slash)));
    put(span, "k8s.pod.name", subject.podName().substring(slash + 1));
    put(span, "k8s.pod.uid", subject.podUid());
    put(span, "k8s.container.name", subject.container());
    put(span, "berth.pod.id", subject.podId());
    return span.startSpan();
  }

  private Context send(Stages.Stage stage, Context parent) {
    SpanBuilder builder =
        tracer
            .spanBuilder(stage.name())
            .setParent(parent)
            .setStartTimestamp(stage.startedAt(), TimeUnit.NANOSECONDS);
    put(builder, "berth.subject", stage.subject());
    Stages.Waited process = stage.process();
    if (process != null) {
      builder.setAttribute("process.pid", process.pid());
      put(builder, "process.executable.name", process.name());
      put(builder, "berth.process.chain", process.chain());
    }
    Span span = builder.startSpan();
    if (stage.error() != null) {
      span.setStatus(StatusCode.ERROR, stage.error());
    }
    span.end(stage.startedAt() + stage.elapsed().toNanos(), TimeUnit.NANOSECONDS);
    return parent.with(span);
  }

  private static void put(SpanBuilder span, String key, String value) {
    if (!value.isEmpty()) {
      span.setAttribute(key, value);
    }
  }

  /// What has ended until now is still sent, unless the collector keeps it waiting.
  @Override
  public void close() {
    provider.shutdown().join(FLUSH.toMillis(), TimeUnit.MILLISECONDS);
  }

  /// The header that a call came with.
  private enum TraceParent implements TextMapGetter<Operation> {
    INSTANCE;

    @Override
    public Iterable<String> keys(Operation operation) {
      return operation.trace().isEmpty() ? List.of() : List.of(CallInterceptor.TRACE.name());
    }

    @Override
    public @Nullable String get(@Nullable Operation operation, String key) {
      return operation != null
              && key.equals(CallInterceptor.TRACE.name())
              && !operation.trace().isEmpty()
          ? operation.trace()
          : null;
    }
  }
}
