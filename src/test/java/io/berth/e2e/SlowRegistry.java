package io.berth.e2e;

import com.google.errorprone.annotations.MustBeClosed;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** A registry seen through a narrow line: large blobs trickle until {@link #hurry}. */
final class SlowRegistry implements AutoCloseable {
  private static final int LARGE = 64 << 10;
  private static final int DROP = 1 << 10;

  private final String behind;
  private final HttpServer server;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
  private final HttpClient client = HttpClient.newHttpClient();
  private final CountDownLatch hurry = new CountDownLatch(1);

  private SlowRegistry(String behind, HttpServer server) {
    this.behind = behind;
    this.server = server;
  }

  /**
   * @param behind address of the registry to which requests are handed on
   */
  @MustBeClosed
  static SlowRegistry start(String behind) throws IOException {
    HttpServer server =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    var slow = new SlowRegistry(behind, server);
    server.createContext("/", slow::handOn);
    server.setExecutor(slow.threads);
    server.start();
    return slow;
  }

  String address() {
    return "127.0.0.1:" + server.getAddress().getPort();
  }

  void hurry() {
    hurry.countDown();
  }

  private void handOn(HttpExchange exchange) throws IOException {
    try (exchange) {
      var request =
          HttpRequest.newBuilder(URI.create("http://" + behind + exchange.getRequestURI()));
      for (String accepted : exchange.getRequestHeaders().getOrDefault("Accept", List.of())) {
        request.header("Accept", accepted);
      }
      boolean head = exchange.getRequestMethod().equals("HEAD");
      HttpResponse<InputStream> answer =
          client.send(
              (head ? request.HEAD() : request.GET()).build(),
              HttpResponse.BodyHandlers.ofInputStream());
      for (String name : List.of("Content-Type", "Docker-Content-Digest")) {
        answer
            .headers()
            .firstValue(name)
            .ifPresent(v -> exchange.getResponseHeaders().set(name, v));
      }
      long length = answer.headers().firstValueAsLong("Content-Length").orElse(0);
      if (head) {
        exchange.getResponseHeaders().set("Content-Length", Long.toString(length));
      }
      exchange.sendResponseHeaders(answer.statusCode(), head || length == 0 ? -1 : length);
      try (InputStream in = answer.body();
          OutputStream out = exchange.getResponseBody()) {
        boolean trickle = length > LARGE;
        for (byte[] part = in.readNBytes(DROP); part.length > 0; part = in.readNBytes(DROP)) {
          out.write(part);
          if (trickle) {
            out.flush();
            var _ = hurry.await(50, TimeUnit.MILLISECONDS);
          }
        }
      }
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    hurry();
    server.stop(0);
    threads.shutdownNow();
    client.shutdownNow();
  }
}
