package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.errorprone.annotations.MustBeClosed;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;

/**
 * Debian's {@code docker-registry} on a free loopback port, with a configuration and a storage
 * folder of its own, both gone when it is closed. Plain HTTP; blobs and manifests may be deleted.
 */
final class DockerRegistry implements AutoCloseable {
  /** The one account of a registry started by {@link #startWithPassword}. */
  static final String USER = "berth";

  static final String PASSWORD = "anchor-of-the-test";

  /** What {@link #changePassword} makes of it. */
  static final String NEXT_PASSWORD = "another-anchor";

  /** crypt(5) of {@link #PASSWORD} by bcrypt, the only method the registry knows; lowest cost. */
  private static final String PASSWORD_HASH =
      "$2b$04$berthregistrytestsaltuHqUFsfFSzG8anxl8z7U/cWbU5bbxG2S";

  private static final String NEXT_PASSWORD_HASH =
      "$2b$04$berthregistrytestsalt.xUXr2S8rcJx5OklZCHZ346sB.GmvNRO";

  private static final String LISTENING = "listening on ";
  private static final int START_SECONDS = 20;
  private static final int LOG_LINES = 400;

  private final Path folder;
  private final Process process;
  private final Deque<String> log = new ArrayDeque<>();
  private final CompletableFuture<String> address = new CompletableFuture<>();

  private DockerRegistry(Path folder, Process process) {
    this.folder = folder;
    this.process = process;
    Thread.ofVirtual().name("registry log").start(this::readLog);
  }

  /** Open to everyone. */
  @MustBeClosed
  static DockerRegistry start() throws IOException, InterruptedException {
    return start("");
  }

  /** Open to {@link #USER} with {@link #PASSWORD} only, by basic authentication. */
  @MustBeClosed
  static DockerRegistry startWithPassword() throws IOException, InterruptedException {
    return start("auth: {htpasswd: {realm: test, path: htpasswd}}\n");
  }

  @MustBeClosed
  private static DockerRegistry start(String authentication)
      throws IOException, InterruptedException {
    Path program = TestTools.installed("docker-registry", "docker-registry");
    Path folder = Files.createTempDirectory("berth-registry-");
    try {
      Files.writeString(folder.resolve("htpasswd"), USER + ":" + PASSWORD_HASH + "\n");
      // Port 0: the registry takes a free one and says in its log which. No cache of descriptors,
      // which would go stale when a test damages a blob on disk.
      Files.writeString(
          folder.resolve("config.yml"),
          """
          version: 0.1
          log: {level: info, formatter: text, accesslog: {disabled: true}}
          storage:
            filesystem: {rootdirectory: storage}
            delete: {enabled: true}
          http: {addr: "127.0.0.1:0"}
          """
              + authentication);
      Process process =
          new ProcessBuilder(program.toString(), "serve", "config.yml")
              .directory(folder.toFile())
              .redirectErrorStream(true)
              .start();
      process.getOutputStream().close();
      var registry = new DockerRegistry(folder, process);
      try {
        registry.awaitAnswer();
        return registry;
      } catch (Throwable failure) {
        registry.close();
        throw failure;
      }
    } catch (Throwable failure) {
      delete(folder);
      throw failure;
    }
  }

  /** Host and port, as the first part of an image's name: {@code 127.0.0.1:PORT}. */
  String address() {
    return address.join();
  }

  /** From now on the one account's password is {@link #NEXT_PASSWORD}. */
  void changePassword() throws IOException {
    Files.writeString(folder.resolve("htpasswd"), USER + ":" + NEXT_PASSWORD_HASH + "\n");
  }

  /** Where blobs and manifests lie, for tests that damage them. */
  Path storage() {
    return folder.resolve("storage");
  }

  /** The latest lines of the registry's log, for failure messages. */
  String log() {
    synchronized (log) {
      return String.join("\n", log);
    }
  }

  /** Builds and pushes the images that critest pulls; some seconds. */
  void pushFixtureImages() throws IOException, InterruptedException {
    TestTools.installed("skopeo", "skopeo");
    String script = TestTools.repository("src/test/fixture-images").toString();
    Process push = new ProcessBuilder(script, address()).redirectErrorStream(true).start();
    push.getOutputStream().close();
    String output = new String(push.getInputStream().readAllBytes(), UTF_8);
    if (push.waitFor() != 0) {
      throw new IOException("push fixture images to " + address() + ": " + output);
    }
  }

  /** Ends the registry and deletes all it has stored. */
  @Override
  public void close() throws IOException {
    process.destroyForcibly(); // nothing of it is worth an orderly end
    process.onExit().join();
    delete(folder);
  }

  private void awaitAnswer() throws IOException, InterruptedException {
    String listening;
    try {
      listening = address.orTimeout(START_SECONDS, TimeUnit.SECONDS).get();
    } catch (ExecutionException e) {
      String what = e.getCause() instanceof TimeoutException ? "does not start" : "ended";
      throw new IOException("docker-registry " + what + ": " + log(), e);
    }
    // The socket is bound before the line is logged, so the first request waits for its turn.
    try (var client = HttpClient.newHttpClient()) {
      var request = HttpRequest.newBuilder(URI.create("http://" + listening + "/v2/")).build();
      int status = client.send(request, HttpResponse.BodyHandlers.discarding()).statusCode();
      if (!List.of(200, 401).contains(status)) {
        throw new IOException("docker-registry answers /v2/ with " + status + ": " + log());
      }
    }
  }

  private void readLog() {
    try (BufferedReader output = process.inputReader(UTF_8)) {
      for (String line = output.readLine(); line != null; line = output.readLine()) {
        synchronized (log) {
          log.addLast(line);
          if (log.size() > LOG_LINES) {
            log.removeFirst();
          }
        }
        int at = line.indexOf(LISTENING);
        if (at >= 0) {
          // … level=info msg="listening on 127.0.0.1:43210" go.version=…
          address.complete(line.substring(at + LISTENING.length()).replaceAll("[^0-9.:].*", ""));
        }
      }
      address.completeExceptionally(new IOException("the log ended"));
    } catch (IOException e) {
      address.completeExceptionally(e);
    }
  }

  private static void delete(Path folder) throws IOException {
    if (Files.notExists(folder)) {
      return;
    }
    try (Stream<Path> tree = Files.walk(folder)) {
      for (Path path : tree.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    }
  }
}
