package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsParameters;
import com.sun.net.httpserver.HttpsServer;
import io.berth.oci.Digest;
import io.berth.oci.MediaTypes;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import org.jspecify.annotations.Nullable;

/** A registry that does what a test tells it, on a free loopback port. */
final class ScriptedRegistry implements AutoCloseable {

  /** What a client asked. */
  record Request(
      String method,
      String path,
      @Nullable String query,
      @Nullable String authorization,
      @Nullable String range) {
    String line() {
      return method + " " + path;
    }
  }

  /** Answers a request, or returns false to leave it to the stored content. */
  interface Script {
    boolean answer(HttpExchange exchange) throws IOException;
  }

  private static final class Stored {
    final String mediaType;
    final byte[] bytes;

    Stored(String mediaType, byte[] bytes) {
      this.mediaType = mediaType;
      this.bytes = bytes;
    }
  }

  private static final int PIECE = 16 << 10;

  private final HttpServer server;
  private final String host;
  private final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();
  private final Map<String, Stored> content = new ConcurrentHashMap<>();
  final List<Request> requests = new CopyOnWriteArrayList<>();

  /** Bytes of content sent so far. */
  final AtomicLong sent = new AtomicLong();

  volatile Script script = exchange -> false;

  /** The Content-Type of a path whatever is stored there, null for the right one, "" for none. */
  volatile Function<String, @Nullable String> served = path -> null;

  ScriptedRegistry() throws IOException {
    this(null, false);
  }

  ScriptedRegistry(@Nullable SSLContext tls) throws IOException {
    this(tls, false);
  }

  /**
   * @param certified whether clients must show a certificate
   */
  ScriptedRegistry(@Nullable SSLContext tls, boolean certified) throws IOException {
    this(tls, certified, "127.0.0.1");
  }

  /**
   * @param loopback which of this machine's own addresses to listen on
   */
  ScriptedRegistry(String loopback) throws IOException {
    this(null, false, loopback);
  }

  private ScriptedRegistry(@Nullable SSLContext tls, boolean certified, String loopback)
      throws IOException {
    InetSocketAddress any = new InetSocketAddress(InetAddress.getByName(loopback), 0);
    host = loopback.contains(":") ? "[" + loopback + "]" : loopback;
    if (tls == null) {
      server = HttpServer.create(any, 0);
    } else {
      HttpsServer secure = HttpsServer.create(any, 0);
      secure.setHttpsConfigurator(
          new HttpsConfigurator(tls) {
            @Override
            public void configure(HttpsParameters parameters) {
              SSLParameters settings = tls.getDefaultSSLParameters();
              settings.setNeedClientAuth(certified);
              parameters.setSSLParameters(settings);
            }
          });
      server = secure;
    }
    server.setExecutor(executor);
    server.createContext("/", this::handle);
    server.start();
  }

  String address() {
    return host + ":" + server.getAddress().getPort();
  }

  /** Serves an image under a tag, and everything in it by digest. */
  ScriptedRegistry add(String repository, String tag, TestImage image) {
    putManifest(repository, tag, MediaTypes.OCI_MANIFEST, image.manifestBytes());
    image.blobs.forEach((digest, bytes) -> putBlob(repository, digest, bytes));
    return this;
  }

  Digest putManifest(String repository, String tag, String mediaType, byte[] bytes) {
    Digest digest = Digest.sha256(bytes);
    content.put("/v2/" + repository + "/manifests/" + tag, new Stored(mediaType, bytes));
    content.put("/v2/" + repository + "/manifests/" + digest, new Stored(mediaType, bytes));
    return digest;
  }

  void putBlob(String repository, Digest digest, byte[] bytes) {
    content.put(
        "/v2/" + repository + "/blobs/" + digest, new Stored("application/octet-stream", bytes));
  }

  List<String> lines() {
    return requests.stream().map(Request::line).toList();
  }

  private void handle(HttpExchange exchange) throws IOException {
    try (exchange) {
      String path = exchange.getRequestURI().getPath();
      requests.add(
          new Request(
              exchange.getRequestMethod(),
              path,
              exchange.getRequestURI().getRawQuery(),
              exchange.getRequestHeaders().getFirst("Authorization"),
              exchange.getRequestHeaders().getFirst("Range")));
      if (script.answer(exchange)) {
        return;
      }
      Stored stored = content.get(path);
      if (stored == null) {
        answer(
            exchange,
            404,
            "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}");
        return;
      }
      String type = served.apply(path);
      if (type == null || !type.isEmpty()) {
        exchange.getResponseHeaders().set("Content-Type", type == null ? stored.mediaType : type);
      }
      if (path.contains("/manifests/")) {
        exchange
            .getResponseHeaders()
            .set("Docker-Content-Digest", Digest.sha256(stored.bytes).toString());
      }
      if (exchange.getRequestMethod().equals("HEAD")) {
        exchange.getResponseHeaders().set("Content-Length", "" + stored.bytes.length);
        exchange.sendResponseHeaders(200, -1);
        return;
      }
      send(exchange, stored.bytes, stored.bytes.length);
    }
  }

  /**
   * Answers with content, from where the request wants it.
   *
   * @param end where the connection is cut, the content's length for not at all
   */
  void send(HttpExchange exchange, byte[] content, int end) throws IOException {
    String range = exchange.getRequestHeaders().getFirst("Range");
    send(
        exchange,
        content,
        range == null ? 0 : Integer.parseInt(range.replaceAll("bytes=(\\d+)-", "$1")),
        end);
  }

  void send(HttpExchange exchange, byte[] content, int from, int end) throws IOException {
    if (from > 0) {
      exchange
          .getResponseHeaders()
          .set(
              "Content-Range", "bytes " + from + "-" + (content.length - 1) + "/" + content.length);
    }
    int length = content.length - from;
    exchange.sendResponseHeaders(from == 0 ? 200 : 206, length == 0 ? -1 : length);
    OutputStream body = exchange.getResponseBody(); // closed with the exchange, which may cut it
    for (int at = from; at < end; at += PIECE) {
      int piece = Math.min(PIECE, end - at);
      body.write(content, at, piece);
      sent.addAndGet(piece);
    }
    body.flush();
  }

  static boolean answer(HttpExchange exchange, int status, String body) throws IOException {
    byte[] bytes = body.getBytes(UTF_8);
    boolean head = exchange.getRequestMethod().equals("HEAD");
    exchange.sendResponseHeaders(status, head || bytes.length == 0 ? -1 : bytes.length);
    if (!head) {
      exchange.getResponseBody().write(bytes);
    }
    return true;
  }

  static boolean isBlob(HttpExchange exchange, Digest digest) {
    return exchange.getRequestURI().getPath().endsWith("/blobs/" + digest);
  }

  @Override
  public void close() {
    server.stop(0);
    executor.shutdownNow();
  }
}
