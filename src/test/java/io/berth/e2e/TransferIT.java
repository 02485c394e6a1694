package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ImageStatusRequest;
import io.berth.cri.v1.PullImageRequest;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
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
}
