package io.berth.bench;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.bench.BenchException.Reason;
import io.berth.linux.Debt;
import io.berth.linux.FileTree;
import io.berth.linux.Rollback;
import java.io.IOException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;

/** What Berth does, shown in one screen: a pod with two containers, from image to removal. */
@Command(
    name = "demo",
    description = "Shows a pod's life on a running berthd.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
public final class Demo implements Callable<Integer> {
  private static final int PORT = 8080;
  private static final Duration PATIENCE = Duration.ofSeconds(10);
  private static final Duration POLL = Duration.ofMillis(50);
  private static final Duration BETWEEN_SAMPLES = Duration.ofSeconds(1);

  /** Counts aloud and, so that there is something to measure, does a little work each second. */
  private static final List<String> COUNTER =
      List.of(
          "sh",
          "-c",
          "trap 'echo goodbye; exit' TERM; n=0; while :; do n=$((n+1)); echo line $n from $HOSTNAME;"
              + " i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1 & wait $!; done");

  private static final List<String> WHO_AM_I = List.of("ip", "-o", "-4", "addr", "show", "eth0");

  /** Behind a shell, because a first process without a handler never sees SIGTERM. */
  private static final List<String> WEB =
      List.of(
          "sh",
          "-c",
          "trap 'exit 0' TERM; echo serving %1$s on port %2$d; httpd -f -p %2$d -h %1$s & wait $!"
              .formatted(DemoImage.WEB_ROOT, PORT));

  @Option(
      names = "--socket",
      required = true,
      paramLabel = "PATH",
      description = "berthd's socket.")
  Path socket = Path.of("");

  @Option(
      names = "--folder",
      required = true,
      paramLabel = "DIR",
      description = "Where the image's archive and the containers' logs are written.")
  Path folder = Path.of("");

  @Option(
      names = "--handler",
      paramLabel = "NAME",
      description = "Runtime handler. Default: the daemon's own.")
  String handler = "";

  @Option(names = "--keep", description = "Leaves pod and image there.")
  boolean keep;

  /** A container that runs. */
  private record Running(String name, String id) {}

  public static void main(String[] args) {
    System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
    var command = new CommandLine(new Demo());
    command.setExecutionExceptionHandler((failure, line, parsed) -> {
      line.getErr()
          .println("demo: " + (failure instanceof BenchException ? failure.getMessage() : failure));
      return ExitCode.SOFTWARE;
    });
    System.exit(command.execute(args));
  }

  @Override
  public Integer call() throws IOException, InterruptedException {
    folder = Files.createDirectories(folder).toRealPath();
    Instant begun = Instant.now();
    try (var client = new CriClient(socket);
        var rollback = new Rollback("demo", Leftovers.REPORTED)) {
      say("%s on %s".formatted(client.version(), socket));
      for (String kept : client.pods()) {
        throw new BenchException(
            Reason.INPUT,
            "show a pod: the one of an earlier demo is still there; remove it with crictl rmp -f "
                + kept,
            null);
      }
      image(client, rollback);

      var pod = new CriClient.Pod("demo", handler, false, folder.resolve("logs"));
      String podId = client.runPod(pod);
      rollback.add(
          new Debt("remove-pod", podId, Map.of()),
          () -> {
            client.stopPod(podId);
            client.removePod(podId);
          });
      String address = client.podAddress(podId);
      title("pod demo");
      say("id       " + podId);
      say("address  " + address);
      List<Running> containers =
          List.of(
              start(client, pod, podId, "counter", COUNTER), start(client, pod, podId, "web", WEB));

      title("its web server answers " + url(address));
      say(page(address).strip());
      title("log lines, as CRI keeps them in " + pod.logFolder());
      for (Running container : containers) {
        Path log = pod.logFolder().resolve(container.name() + ".log");
        firstLines(log, container.name().equals("counter") ? 2 : 1)
            .forEach(line -> say(container.name() + "  " + line));
      }
      title("exec in counter: " + String.join(" ", WHO_AM_I));
      say(client.exec(containers.getFirst().id(), WHO_AM_I).stdout().strip());
      streamed(client, containers.getFirst().id());
      title("live stats, two samples");
      stats(client, containers);
      title("how long each stage took");
      operations(client, begun);

      if (keep) {
        rollback.commit();
        return ExitCode.OK;
      }
      remove(client, podId, containers);
      rollback.commit();
      return ExitCode.OK;
    }
  }

  private void image(CriClient client, Rollback rollback) throws IOException, InterruptedException {
    Path archive = folder.resolve("image.tar");
    long start = System.nanoTime();
    DemoImage.write(archive);
    Duration made = since(start);
    start = System.nanoTime();
    List<String> names = client.importArchive(archive);
    rollback.add(
        new Debt("remove-image", DemoImage.NAME, Map.of()),
        () -> client.removeImage(DemoImage.NAME));
    say(
        "image %s: made from this machine's busybox in %s ms, imported in %s ms"
            .formatted(
                String.join(", ", names),
                MarkdownTable.millis(made),
                MarkdownTable.millis(since(start))));
    Files.delete(archive);
  }

  private static Running start(
      CriClient client, CriClient.Pod pod, String podId, String name, List<String> command) {
    String id = client.createContainer(podId, pod, name, DemoImage.NAME, command);
    client.startContainer(id);
    say("running  %-8s %s".formatted(name, id));
    return new Running(name, id);
  }

  private static String url(String address) {
    String host = address.contains(":") ? "[" + address + "]" : address;
    return "http://" + host + ":" + PORT + "/index.html";
  }

  /** A started container is not yet a listening server. */
  private static String page(String address) throws InterruptedException {
    URI uri = URI.create(url(address));
    for (long start = System.nanoTime(); ; Thread.sleep(POLL)) {
      try {
        HttpURLConnection connection = (HttpURLConnection) uri.toURL().openConnection();
        connection.setConnectTimeout((int) PATIENCE.toMillis());
        connection.setReadTimeout((int) PATIENCE.toMillis());
        try (var body = connection.getInputStream()) {
          return new String(body.readAllBytes(), UTF_8);
        }
      } catch (IOException e) {
        if (since(start).compareTo(PATIENCE) > 0) {
          throw new BenchException(Reason.CALL, "get " + uri + ": " + e.getMessage(), e);
        }
      }
    }
  }

  private static List<String> firstLines(Path log, int count)
      throws IOException, InterruptedException {
    for (long start = System.nanoTime(); ; Thread.sleep(POLL)) {
      List<String> lines = lines(log);
      if (lines.size() >= count) {
        return lines.subList(0, count);
      }
      if (since(start).compareTo(PATIENCE) > 0) {
        throw new BenchException(
            Reason.FILES,
            "read %s: %d lines after %d s, %d expected"
                .formatted(log, lines.size(), PATIENCE.toSeconds(), count),
            null);
      }
    }
  }

  private static List<String> lines(Path log) throws IOException {
    try {
      return Files.readAllLines(log);
    } catch (NoSuchFileException notYet) {
      return List.of();
    }
  }

  private static void streamed(CriClient client, String container) {
    List<String> command = List.of("echo", "hello");
    title("the same as a stream, as kubectl exec does it: " + String.join(" ", command));
    long begun = System.nanoTime();
    String url = client.execUrl(container, command);
    StreamTimes times =
        WebSocketReader.read(url, WebSocketReader.COMMANDS, WebSocketReader.STDOUT, 0, begun);
    say("first byte after %s ms".formatted(MarkdownTable.millis(times.firstByte())));
  }

  private static void stats(CriClient client, List<Running> containers)
      throws InterruptedException {
    List<CriClient.Stats> first =
        containers.stream().map(container -> client.stats(container.id())).toList();
    Thread.sleep(BETWEEN_SAMPLES);
    for (int i = 0; i < containers.size(); i++) {
      CriClient.Stats then = first.get(i);
      CriClient.Stats now = client.stats(containers.get(i).id());
      say(
          String.format(
              Locale.ROOT,
              "%-8s cpu %5.1f ms/s, %.1f ms so far; memory %s MiB, %s MiB a second before",
              containers.get(i).name(),
              1000.0 * (now.cpuNanos() - then.cpuNanos()) / Math.max(1, now.at() - then.at()),
              now.cpuNanos() / 1e6,
              MarkdownTable.mebibytes(now.memoryBytes()),
              MarkdownTable.mebibytes(then.memoryBytes())));
    }
  }

  private static void operations(CriClient client, Instant since) {
    for (CriClient.Operation operation : client.operations("")) {
      if (!operation.startedAt().isBefore(since) && !operation.stages().isEmpty()) {
        say(
            "%-16s %6s ms: %s"
                .formatted(
                    operation.method(),
                    MarkdownTable.millis(operation.took()),
                    String.join(
                        ", ",
                        operation.stages().stream()
                            .map(s -> s.name() + " " + MarkdownTable.millis(s.took()))
                            .toList())));
      }
    }
  }

  private void remove(CriClient client, String podId, List<Running> containers) {
    long start = System.nanoTime();
    for (Running container : containers) {
      client.stopContainer(container.id(), PATIENCE);
      client.removeContainer(container.id());
    }
    client.stopPod(podId);
    client.removePod(podId);
    client.removeImage(DemoImage.NAME);
    FileTree.delete(folder.resolve("logs"));
    title("pod, containers and image removed in " + MarkdownTable.millis(since(start)) + " ms");
  }

  private static Duration since(long start) {
    return Duration.ofNanos(System.nanoTime() - start);
  }

  private static void title(String text) {
    System.out.println();
    System.out.println("== " + text);
  }

  private static void say(String text) {
    System.out.println(text);
  }
}
