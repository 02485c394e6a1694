package io.berth.bench;

import io.berth.bench.BenchException.Reason;
import io.berth.linux.FileTree;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;

/** The load generator: measures a runtime over its socket beside the floor of the bare binaries. */
@Command(
    name = "bench",
    description = "Measures a CRI runtime beside the floor of the bare binaries.",
    mixinStandardHelpOptions = true,
    sortOptions = false)
public final class Bench implements Callable<Integer> {
  private static final List<String> SLEEP = List.of("sleep", "86400");
  private static final Duration CLEAN_UP = Duration.ofSeconds(60);
  private static final Duration SETTLED = Duration.ofSeconds(1);

  enum Measurement {
    start,
    lifecycle,
    pull,
    memory,
    stream,
    stats,
    clean
  }

  enum Network {
    host,
    cni
  }

  @Option(
      names = "--socket",
      required = true,
      paramLabel = "PATH",
      description = "The runtime's socket.")
  Path socket = Path.of("");

  @Option(
      names = "--what",
      split = ",",
      paramLabel = "WHAT",
      description =
          "What to measure: ${COMPLETION-CANDIDATES}; default: start, lifecycle, pull, memory as far"
              + " as their options are given. stream measures execs and port-forwards, stats holds"
              + " --pods pods. clean only removes the pods that a broken run left.")
  Set<Measurement> what =
      Set.of(Measurement.start, Measurement.lifecycle, Measurement.pull, Measurement.memory);

  @Option(
      names = "--pods",
      paramLabel = "N",
      description =
          "Lives per kind, and pods held for memory and stats. Default: ${DEFAULT-VALUE}.")
  int pods = 50;

  @Option(
      names = "--warm-up",
      paramLabel = "N",
      description =
          "Lives that aren't counted, before each table. 5 shows a daemon that has just been started,"
              + " 100 one that has run for an hour. Default: ${DEFAULT-VALUE}.")
  int warmUp = 5;

  @Option(
      names = "--parallel",
      split = ",",
      paramLabel = "N",
      description = "Lives at a time, each number a run of its own. Default: ${DEFAULT-VALUE}.")
  List<Integer> parallel = List.of(1, 8);

  @Option(
      names = "--network",
      split = ",",
      paramLabel = "KIND",
      description = "${COMPLETION-CANDIDATES}, each a run of its own. Default: both.")
  List<Network> networks = List.of(Network.cni, Network.host);

  @Option(
      names = "--image",
      paramLabel = "NAME",
      description =
          "An image with sleep and true that is there already. Default: a busybox image made on the"
              + " spot and imported, which needs Berth.")
  @Nullable String image;

  @Option(
      names = "--handler",
      paramLabel = "NAME",
      description = "Runtime handler of the pods. Default: the runtime's own.")
  String handler = "";

  @Option(
      names = "--stuck",
      paramLabel = "HANDLER=FILE",
      description =
          "For stats: a handler whose runtime, asked to start, makes FILE.hangs and waits while FILE"
              + " is there. Without it nothing hangs.")
  Map<String, Path> stuck = Map.of();

  @Option(
      names = "--seconds",
      paramLabel = "N",
      description = "For stats: how long to ask at a kubelet's rates. Default: ${DEFAULT-VALUE}.")
  int seconds = 90;

  @Option(
      names = "--runtime",
      paramLabel = "BIN",
      description = "The floor's OCI runtime, the one behind the handler. Default: runc.")
  String runtime = "runc";

  @Option(
      names = "--cni-config",
      paramLabel = "FILE",
      description =
          "The floor's conflist: the plugins of the runtime's network under another name, with"
              + " another bridge and subnet.")
  @Nullable Path cniConfig;

  @Option(
      names = "--cni-bin",
      split = ",",
      paramLabel = "DIR",
      description = "Where the floor's plugins are. Default: ${DEFAULT-VALUE}.")
  List<Path> cniBin = List.of(Path.of("/opt/cni/bin"), Path.of("/usr/lib/cni"));

  @Option(
      names = "--pid",
      paramLabel = "PID",
      description = "The daemon's process. Default: the one that serves the socket.")
  int pid;

  @Option(
      names = "--registry",
      paramLabel = "HOST:PORT",
      description = "Registry without password or TLS, for the pulls.")
  @Nullable String registry;

  @Option(
      names = "--pulls",
      paramLabel = "N",
      description = "Default: ${DEFAULT-VALUE}, after one that does not count.")
  int pulls = 5;

  @Option(
      names = "--pull-size",
      paramLabel = "MIB",
      description = "Compressed size of the pulled image. Default: ${DEFAULT-VALUE}.")
  int pullSize = 340;

  /** Bytes of the image of many layers. */
  private static final long SMALL_IMAGE = 3 << 20;

  @Option(
      names = "--work",
      paramLabel = "DIR",
      description =
          "Folder on the file system of the runtime's images; keeps the image to be pulled."
              + " Default: ${DEFAULT-VALUE}.")
  Path work = Path.of(".work/bench");

  @Option(
      names = "--scratch",
      paramLabel = "DIR",
      description =
          "A tmpfs, like the one of the runtime's own state, for bundles and logs. Default:"
              + " ${DEFAULT-VALUE}.")
  Path scratchRoot = Path.of("/run");

  @Option(
      names = "--start-command",
      split = " ",
      paramLabel = "COMMAND",
      description = "Starts a daemon of its own in the foreground, to time the start.")
  List<String> startCommand = List.of();

  @Option(names = "--start-socket", paramLabel = "PATH", description = "Where that daemon serves.")
  @Nullable Path startSocket;

  @Option(
      names = "--starts",
      paramLabel = "N",
      description = "Default: ${DEFAULT-VALUE}, after one that does not count.")
  int starts = 10;

  @Option(names = "--out", paramLabel = "FILE", description = "Writes the tables here as well.")
  @Nullable Path out;

  private final StringBuilder report = new StringBuilder();

  public static void main(String[] args) {
    // Libraries have nothing to say here but errors.
    System.setProperty("org.slf4j.simpleLogger.defaultLogLevel", "error");
    Thread main = Thread.currentThread();
    var finished = new CountDownLatch(1);
    // SIGINT and SIGTERM become an interrupt, so that pods and namespaces are cleaned up.
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  main.interrupt();
                  try {
                    var _ = finished.await(CLEAN_UP.toSeconds(), TimeUnit.SECONDS);
                  } catch (InterruptedException e) {
                    // nobody interrupts this thread
                  }
                },
                "clean up"));
    var command = new CommandLine(new Bench());
    command.setExecutionExceptionHandler((failure, line, parsed) -> {
      line.getErr()
          .println(
              "bench: " + (failure instanceof BenchException ? failure.getMessage() : failure));
      return ExitCode.SOFTWARE;
    });
    int code = command.execute(args);
    finished.countDown();
    System.exit(code);
  }

  @Override
  public Integer call() throws IOException, InterruptedException {
    Files.createDirectories(work);
    work = work.toRealPath();
    try (var client = new CriClient(socket)) {
      if (what.contains(Measurement.clean)) {
        clean(client);
        return ExitCode.OK;
      }
      int daemon = pid != 0 ? pid : client.daemonPid();
      Path binary = Programs.find(runtime);
      Path scratch = Files.createTempDirectory(scratchRoot, "berth-bench-");
      try {
        section("Machine", MachineFacts.markdown(client.version(), binary, work));
        measure(client, daemon, binary, scratch);
      } finally {
        FileTree.delete(scratch);
      }
    }
    if (out != null) {
      Files.writeString(out, report);
    }
    return ExitCode.OK;
  }

  private void measure(CriClient client, int daemon, Path binary, Path scratch)
      throws IOException, InterruptedException {
    if (what.contains(Measurement.start) && startSocket != null && !startCommand.isEmpty()) {
      progress("start");
      Distribution times = new StartBenchmark(startCommand, startSocket).run(starts);
      section("Start", startTable(times).toString());
    }
    if (!what.contains(Measurement.lifecycle)
        && !what.contains(Measurement.memory)
        && !what.contains(Measurement.stream)
        && !what.contains(Measurement.stats)
        && !what.contains(Measurement.pull)) {
      return;
    }
    long fresh = what.contains(Measurement.memory) ? ProcessMemory.pss(daemon) : 0;
    if (what.contains(Measurement.lifecycle)
        || what.contains(Measurement.memory)
        || what.contains(Measurement.stream)
        || what.contains(Measurement.stats)) {
      pods(client, daemon, binary, scratch, fresh);
    }
    if (what.contains(Measurement.pull) && registry != null) {
      pull(client, daemon, registry);
    }
  }

  private void pods(CriClient client, int daemon, Path binary, Path scratch, long fresh)
      throws IOException, InterruptedException {
    String podImage = image != null ? image : importImage(client, scratch);
    var template =
        new PodLife.Template(
            podImage, handler, Files.createDirectories(scratch.resolve("logs")), SLEEP);
    OciFloor containers = OciFloor.prepare(binary, scratch, SLEEP);
    if (what.contains(Measurement.lifecycle)) {
      for (Network network : networks) {
        boolean host = network == Network.host;
        CniChain chain = host ? null : CniChain.read(floorConfig(), cniBin);
        var benchmark =
            new LifecycleBenchmark(
                new PodLife(client, template, host), new FloorLife(containers, chain, scratch));
        for (int atOnce : parallel) {
          progress("lifecycle, " + network + ", " + atOnce + " at once");
          LifecycleBenchmark.Lives lives =
              benchmark.run(network + "-" + atOnce, warmUp, pods, atOnce);
          section(
              "%d pods, %s, %s"
                  .formatted(
                      lives.runtime().size(),
                      atOnce == 1 ? "one at a time" : atOnce + " at once",
                      host ? "host network" : "CNI"),
              LifecycleReport.table(lives.runtime(), lives.floor(), atOnce == 1 && !host)
                  .toString());
          section("Of the last of these", OwnTime.table(client.operations("")).toString());
        }
      }
    }
    if (what.contains(Measurement.stream)) {
      progress("stream");
      var life = new PodLife(client, template, true);
      section("Streams", new StreamBenchmark(client, life, containers).run(pods).toString());
      progress("port-forward");
      boolean host = networks.equals(List.of(Network.host));
      section(
          "Port-forward",
          new PortForwardBenchmark(client, new PodLife(client, template, host))
              .run(pods)
              .toString());
    }
    if (what.contains(Measurement.memory)) {
      progress("memory");
      var life = new PodLife(client, template, networks.equals(List.of(Network.host)));
      section("Memory", new MemoryBenchmark(client, life, daemon).run(pods, fresh).toString());
    }
    if (what.contains(Measurement.stats)) {
      progress("stats");
      var life = new PodLife(client, template, networks.equals(List.of(Network.host)));
      section(
          "Stats of %d pods".formatted(pods),
          new StatsBenchmark(client, life, daemon, stuckRuntime(client, template), seconds)
              .run(pods));
    }
  }

  private @Nullable StuckRuntime stuckRuntime(CriClient client, PodLife.Template template) {
    for (Map.Entry<String, Path> one : stuck.entrySet()) {
      var hanging =
          new PodLife.Template(
              template.image(), one.getKey(), template.logFolder(), template.command());
      return new StuckRuntime(client, new PodLife(client, hanging, true), one.getValue());
    }
    return null;
  }

  private void pull(CriClient client, int daemon, String host)
      throws IOException, InterruptedException {
    pull(
        client,
        daemon,
        LargeImage.make(
            work.resolve("image-" + pullSize), (long) pullSize << 20, LargeImage.FEW_LAYERS),
        PullBenchmark.Floor.PARALLEL,
        host + "/berth-bench/large:" + pullSize);
    pull(
        client,
        daemon,
        LargeImage.make(work.resolve("image-of-60-layers"), SMALL_IMAGE, LargeImage.SIXTY_LAYERS),
        PullBenchmark.Floor.SEQUENTIAL,
        host + "/berth-bench/layers:60");
  }

  private void pull(
      CriClient client, int daemon, LargeImage image, PullBenchmark.Floor floor, String name)
      throws IOException, InterruptedException {
    progress("pull: push " + name);
    image.push(name);
    progress("pull " + name);
    MarkdownTable table = new PullBenchmark(client, daemon, image, floor, name, work).run(pulls);
    LargeImage.Facts facts = image.facts();
    section(
        "Pull of " + facts.layers().size() + " layers",
        String.format(
            Locale.ROOT,
            "%d MiB of gzip, %d MiB and %d files unpacked, on %s; %d pulls.%n%n%s",
            facts.compressed() >> 20,
            facts.unpacked() >> 20,
            facts.files(),
            Files.getFileStore(work).type(),
            pulls,
            table));
  }

  private static MarkdownTable startTable(Distribution times) {
    return new MarkdownTable("ms", "p50", "p95", "goal")
        .row(
            "launch to first answer",
            MarkdownTable.millis(times.median()),
            MarkdownTable.millis(times.percentile(95)),
            "≤ 1000");
  }

  private Path floorConfig() {
    if (cniConfig == null) {
      throw new BenchException(
          Reason.INPUT,
          "the floor of --network cni needs --cni-config; or measure --network host alone",
          null);
    }
    return cniConfig;
  }

  private static String importImage(CriClient client, Path scratch)
      throws IOException, InterruptedException {
    if (!client.hasImage(DemoImage.NAME)) {
      Path archive = scratch.resolve("image.tar");
      DemoImage.write(archive);
      client.importArchive(archive);
    }
    return DemoImage.NAME;
  }

  /** A call that was given up may still make its pod, so it looks again until there is none. */
  private static void clean(CriClient client) throws InterruptedException {
    for (int empty = 0; empty < 2; Thread.sleep(SETTLED)) {
      List<String> left = client.pods();
      for (String podId : left) {
        client.stopPod(podId);
        client.removePod(podId);
      }
      empty = left.isEmpty() ? empty + 1 : 0;
    }
  }

  private void section(String title, String body) {
    String text = "### " + title + "\n\n" + body + "\n";
    report.append(text);
    System.out.print(text);
    System.out.flush();
  }

  private static void progress(String text) {
    System.err.println("bench: " + text);
  }
}
