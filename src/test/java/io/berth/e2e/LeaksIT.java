package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.PodSandboxConfig;
import java.io.IOException;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What berthd holds after many lives of pods is what it held after the first ones. */
@Tag("root")
@Tag("alone") // counts the cgroups of the whole machine
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class LeaksIT {
  /** More by hand: {@code -Dberth.lives=1000}, as {@code ./dev soak} does. */
  private static final int LIVES = Integer.getInteger("berth.lives", 24);

  private static final int WARM_UP = 8;
  private static final int AT_ONCE = 4;
  private static final Duration SETTLE = Duration.ofSeconds(60);

  /** What comes and goes by itself: a connection, a carrier thread, room that the heap took. */
  private static final int FILES_MORE = 10;

  private static final int THREADS_MORE = 10;
  private static final long MEMORY_MORE = 80L << 20;

  /** Kept alive by pages of the cache, long after they were removed. */
  private static final Set<String> LAZY_CONTROLLERS = Set.of("memory", "blkio");

  private final DockerRegistry registry;

  LeaksIT(DockerRegistry registry) {
    this.registry = registry;
  }

  /**
   * @param memory resident, in bytes
   * @param cgroups of the whole machine, by controller
   * @param series of berthd's own metrics
   */
  private record Held(
      long files, long threads, long memory, Map<String, Long> cgroups, Set<String> series) {
    static Held by(BerthDaemon daemon, int metrics) throws IOException {
      Path process = Path.of("/proc", Long.toString(daemon.pid()));
      return new Held(
          entries(process.resolve("fd")),
          entries(process.resolve("task")),
          Files.readAllLines(process.resolve("status")).stream()
                  .filter(line -> line.startsWith("VmRSS:"))
                  .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
                  .sum()
              << 10,
          // Lines of name, hierarchy, number of cgroups, enabled.
          Files.readAllLines(Path.of("/proc/cgroups")).stream()
              .filter(line -> !line.startsWith("#"))
              .map(line -> line.split("\t"))
              .filter(words -> !LAZY_CONTROLLERS.contains(words[0]))
              .collect(Collectors.toMap(words -> words[0], words -> Long.parseLong(words[2]))),
          series(metrics));
    }

    private static long entries(Path folder) throws IOException {
      try (Stream<Path> entries = Files.list(folder)) {
        return entries.count();
      }
    }

    private static Set<String> series(int port) throws IOException {
      try (var body = URI.create("http://127.0.0.1:" + port + "/metrics").toURL().openStream()) {
        return new Exposition(new String(body.readAllBytes(), StandardCharsets.UTF_8))
            .series().keySet().stream()
                .filter(name -> name.startsWith("berth_"))
                .collect(Collectors.toCollection(TreeSet::new));
      }
    }

    boolean isNoMoreThan(Held before) {
      return files <= before.files + FILES_MORE
          && threads <= before.threads + THREADS_MORE
          && memory <= before.memory + MEMORY_MORE
          && cgroups.entrySet().stream()
              .allMatch(c -> c.getValue() <= before.cgroups.getOrDefault(c.getKey(), 0L))
          && before.series.equals(series);
    }
  }

  @Test
  void manyLivesLeaveNoFileThreadCgroupOrSeries() throws Exception {
    int metrics = MetricsIT.freePort();
    try (var daemon =
        BerthDaemon.with()
            .config("[metrics]\naddress = \"127.0.0.1:" + metrics + "\"\n")
            .registry(registry.address())
            .start()) {
      daemon.crictl().run("pull", Requests.BUSYBOX);
      live(daemon, WARM_UP);
      daemon.assertNothingLeft();
      Held before = Held.by(daemon, metrics);

      live(daemon, LIVES);
      daemon.assertNothingLeft();
      Await.until(
          "berthd holds no more than " + before,
          SETTLE,
          () -> {
            Held after = Held.by(daemon, metrics);
            if (!after.isNoMoreThan(before)) {
              throw new IllegalStateException("it holds " + after);
            }
            return true;
          });
      assertThat(new BerthCli(daemon).run("debts")).doesNotContain("attempt");
    }
  }

  private static void live(BerthDaemon daemon, int lives) throws Exception {
    var next = new AtomicInteger();
    List<Future<?>> clients = new ArrayList<>();
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int client = 0; client < AT_ONCE; client++) {
        clients.add(
            threads.submit(() -> {
              try (var life = new PodLife(daemon.socket(), () -> 60_000)) {
                for (int i = next.getAndIncrement(); i < lives; i = next.getAndIncrement()) {
                  live(daemon, life, i);
                }
              }
              return "";
            }));
      }
      for (Future<?> client : clients) {
        client.get();
      }
    }
  }

  /** Each third one ends slowly: it doesn't hear the signal and is killed after its grace. */
  private static void live(BerthDaemon daemon, PodLife life, int number)
      throws InterruptedException {
    PodSandboxConfig config = Requests.pod(daemon, "life-" + number).build();
    String pod = life.run(config);
    boolean slow = number % 3 == 0;
    ContainerConfig container =
        Requests.container(
                "main",
                Requests.BUSYBOX,
                slow ? List.of("sh", "-c", "trap '' TERM; sleep 3600") : Requests.SLEEP)
            .build();
    String id = life.create(pod, config, container);
    life.start(id);
    var _ = life.exec(id, "true");
    life.stop(id, slow ? 1 : 60);
    life.remove(id);
    life.stopPod(pod);
    life.removePod(pod);
  }
}
