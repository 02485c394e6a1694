package io.berth.daemon;

import com.sun.net.httpserver.HttpServer;
import io.berth.daemon.DaemonException.Reason;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/// Serves `/metrics` in Prometheus's text form.
final class MetricsEndpoint implements AutoCloseable {
  private final HttpServer server;

  private MetricsEndpoint(HttpServer server) {
    this.server = server;
  }

  static MetricsEndpoint start(InetSocketAddress address, PrometheusMeterRegistry registry) {
    try {
      HttpServer server = HttpServer.create(address, 0);
      server.setExecutor(
          Executors.newThreadPerTaskExecutor(Thread.ofVirtual().name("metrics").factory()));
      server.createContext(
          "/metrics",
          exchange -> {
            byte[] body = registry.scrape().getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "text/plain; version=0.0.4");
            exchange.sendResponseHeaders(200, body.length);
            try (var stream = exchange.getResponseBody()) {
              stream.write(body);
            }
          });
      server.start();
      return new MetricsEndpoint(server);
    } catch (IOException failure) {
      throw new DaemonException(
          Reason.METRICS,
          "listen for metrics on %s: %s; correct metrics.address"
              .formatted(address, failure.getMessage()),
          failure);
    }
  }

  InetSocketAddress address() {
    return server.getAddress();
  }

  @Override
  public void close() {
    server.stop(0);
  }
}
