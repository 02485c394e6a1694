package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import io.grpc.Status;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Objects;
import org.junit.jupiter.api.Test;

class MetricsEndpointTest {
  @Test
  void callsAreCountedByMethodAndCodeAlone() throws Exception {
    var registry = new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
    var operations = new OperationLog(Subject.Directory.EMPTY);
    var metrics = new CallMetrics(registry, operations);
    for (String pod : new String[] {"default/a", "default/b"}) {
      OperationLog.Running call = operations.begin("RunPodSandbox");
      call.concerns(pod);
      metrics.ended(Objects.requireNonNull(call.finish(Status.OK)));
    }
    var any = new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
    try (var endpoint = MetricsEndpoint.start(any, registry)) {
      URI uri = URI.create("http://127.0.0.1:" + endpoint.address().getPort() + "/metrics");
      try (var body = uri.toURL().openStream()) {
        assertThat(new String(body.readAllBytes(), StandardCharsets.UTF_8))
            .contains("berth_calls_running 0.0")
            .contains("berth_calls_seconds_count{code=\"OK\",method=\"RunPodSandbox\"} 2")
            .doesNotContain("default/");
      }
    }
  }
}
