package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ImageStatusRequest;
import io.berth.cri.v1.PullImageRequest;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Images on their way in, with the real registry at the other end of a wire that fails. */
@Tag("root")
@ExtendWith(DaemonLogs.class)
class TransferIT {
  private static final int SIZE = 32 << 20;
  private static final Duration PATIENCE = Duration.ofMinutes(1);

  @TempDir Path folder = Path.of("");

  private static String pull(BerthDaemon daemon, String image) {
    return daemon
        .client()
        .images()
        .pullImage(
            PullImageRequest.newBuilder().setImage(ImageSpec.newBuilder().setImage(image)).build())
        .getImageRef();
  }

  /** How much of the layer is kept for another try. */
  private static long kept(BerthDaemon daemon) throws IOException {
    Path partial = daemon.rootFolder().resolve("partial");
    if (!Files.isDirectory(partial)) {
      return 0;
    }
    long bytes = 0;
    for (Path file : Leftovers.entries(partial)) {
      bytes += Files.size(file);
    }
    return bytes;
  }

  @Test
  void killedDaemonGoesOnWithALayerWhereItStopped() throws Exception {
    try (DockerRegistry registry = DockerRegistry.start();
        MeteredWire wire = new MeteredWire(registry.address());
        var daemon = BerthDaemon.with().start();
        ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor()) {
      LargeImage.push(folder, SIZE, registry.address() + "/large:v1");
      String image = wire.address() + "/large:v1";
      long cut = SIZE / 10L * 9;
      wire.letPass(cut);
      Future<String> first = callers.submit(() -> pull(daemon, image));
      Await.until("nine tenths", PATIENCE, () -> wire.passed() == cut && kept(daemon) > cut * 0.97);

      daemon.kill9();

      assertThatThrownBy(first::get)
          .isInstanceOf(ExecutionException.class)
          .hasCauseInstanceOf(StatusRuntimeException.class);
      wire.letPass(Long.MAX_VALUE);
      daemon.restart();
      String id = pull(daemon, image);

      assertThat(wire.passed()).isLessThan((long) (1.05 * SIZE));
      assertThat(kept(daemon)).isZero();
      assertThat(
              daemon
                  .client()
                  .images()
                  .imageStatus(
                      ImageStatusRequest.newBuilder()
                          .setImage(ImageSpec.newBuilder().setImage(image))
                          .build())
                  .getImage()
                  .getId())
          .isEqualTo(id);
    }
  }

  @Test
  void silentMirrorIsLeftForTheRegistryWhichGoesOnWhereItStopped() throws Exception {
    try (DockerRegistry registry = DockerRegistry.start();
        MeteredWire mirror = new MeteredWire(registry.address());
        MeteredWire upstream = new MeteredWire(registry.address());
        var daemon = BerthDaemon.with().config("[images]\nstall_time = \"2s\"\n").start()) {
      LargeImage.push(folder, SIZE, registry.address() + "/large:v1");
      Path hosts = daemon.mirrors().resolve("images.example").resolve("hosts.toml");
      Files.createDirectories(hosts.getParent());
      Files.writeString(
          hosts,
          """
          server = "http://%s"
          [host."http://%s"]
          """
              .formatted(upstream.address(), mirror.address()));
      mirror.letPass(SIZE / 2);

      assertThat(pull(daemon, "images.example/large:v1")).startsWith("sha256:");

      assertThat(upstream.passed()).isLessThan((long) (0.55 * SIZE));
      assertThat(kept(daemon)).isZero();
    }
  }

  @Test
  void mirrorThatCrawlsIsLeftAndOneThatIsMerelySlowIsNot() throws Exception {
    try (DockerRegistry registry = DockerRegistry.start();
        MeteredWire mirror = new MeteredWire(registry.address());
        MeteredWire upstream = new MeteredWire(registry.address());
        var daemon = BerthDaemon.with().start()) {
      int small = 3 << 20;
      LargeImage.push(folder, small, registry.address() + "/large:v1");
      Path hosts = daemon.mirrors().resolve("images.example").resolve("hosts.toml");
      Files.createDirectories(hosts.getParent());
      Files.writeString(
          hosts,
          """
          server = "http://%s"
          [host."http://%s"]
          """
              .formatted(upstream.address(), mirror.address()));
      mirror.slowDown(1);
      upstream.slowDown(200_000);

      long began = System.nanoTime();
      String id = pull(daemon, "images.example/large:v1");
      Duration took = Duration.ofNanos(System.nanoTime() - began);

      assertThat(id).startsWith("sha256:");
      assertThat(upstream.passed()).isBetween((long) small, (long) (1.05 * small));
      assertThat(took).isGreaterThan(Duration.ofSeconds(15)).isLessThan(Duration.ofMinutes(2));
    }
  }

  @Test
  void tenPullsOfImagesThatShareLayersFetchEachLayerOnceAndOnesThatAreHereNothing()
      throws Exception {
    List<Integer> shared = List.of(8 << 20, 4 << 20);
    int own = 100_000;
    try (DockerRegistry registry = DockerRegistry.start();
        MeteredWire wire = new MeteredWire(registry.address());
        var daemon = BerthDaemon.with().start();
        ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < 10; i++) {
        List<Integer> layers = new ArrayList<>(shared);
        layers.add(own + i);
        LargeImage.push(folder, layers, registry.address() + "/app" + i + ":v1");
      }
      List<Future<String>> pulls = new ArrayList<>();
      for (int i = 0; i < 10; i++) {
        String image = wire.address() + "/app" + i + ":v1";
        pulls.add(callers.submit(() -> pull(daemon, image)));
      }
      Set<String> ids = new HashSet<>();
      for (Future<String> pull : pulls) {
        ids.add(pull.get());
      }

      long all = shared.stream().mapToLong(Integer::longValue).sum() + 10L * own;
      assertThat(ids).hasSize(10);
      assertThat(wire.passed()).isBetween(all, (long) (1.05 * all));

      long before = wire.passed();
      assertThat(ids).contains(pull(daemon, wire.address() + "/app7:v1"));
      assertThat(wire.passed() - before).isLessThan(2000);
    }
  }

  @Test
  void pullsShowHowFarTheyAre() throws Exception {
    try (DockerRegistry registry = DockerRegistry.start();
        MeteredWire wire = new MeteredWire(registry.address());
        var daemon = BerthDaemon.with().config("[images]\nstall_time = \"0s\"\n").start();
        ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor()) {
      LargeImage.push(folder, SIZE, registry.address() + "/large:v1");
      String image = wire.address() + "/large:v1";
      wire.letPass(SIZE / 2);
      Future<String> pull = callers.submit(() -> pull(daemon, image));
      Await.until("half of it", PATIENCE, () -> wire.passed() == SIZE / 2);
      Future<String> command = callers.submit(() -> berth(daemon, "pull", image));
      Await.until(
          "both wait",
          PATIENCE,
          () -> {
            String operations = berth(daemon, "ops");
            return operations.contains(" PullImage ") && operations.contains(" Pull ");
          });

      JsonNode shown = new JsonMapper().readTree(berth(daemon, "pulls", "-o", "json"));
      String text = berth(daemon, "pulls");

      assertThat(shown).hasSize(1); // both pulls are one
      JsonNode layer = shown.get(0).get("layers").get(0);
      assertThat(layer.get("state").textValue()).isEqualTo("fetching");
      assertThat(layer.get("host").textValue()).isEqualTo("http://" + wire.address());
      assertThat(layer.get("size").longValue()).isGreaterThan(SIZE);
      assertThat(layer.get("fetched").longValue()).isBetween(SIZE / 2 - 100_000L, SIZE / 2L);
      assertThat(text).contains(image).containsPattern("4[89]% fetching from http://127");

      wire.letPass(Long.MAX_VALUE);
      assertThat(command.get().lines())
          .anyMatch(line -> line.contains("32.0 MiB fetching from http://" + wire.address()))
          .last()
          .isEqualTo(pull.get());
      assertThat(berth(daemon, "pulls")).isEqualTo("no image is being pulled\n");
      assertThat(Files.readString(daemon.log())).contains("pulled " + image + ": 1 of 1 layers");
    }
  }

  private static String berth(BerthDaemon daemon, String... arguments) throws InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(BerthDaemon.distribution().resolve("berth").toString());
    command.addAll(List.of(arguments));
    command.addAll(List.of("--socket", daemon.socket().toString()));
    return Commands.run(command);
  }
}
