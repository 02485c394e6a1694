package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.sun.net.httpserver.HttpExchange;
import io.berth.image.ImageException.Reason;
import io.berth.oci.Digest;
import io.berth.oci.MediaTypes;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Transfers that break off, and go on. */
@Tag("root")
@Timeout(120)
class ResumeTest {
  private static final int SIZE = 8 << 20;

  private final byte[] file = new byte[SIZE];
  private TestImage image;
  private Digest layer;
  private byte[] blob;
  private ImageHouse house;
  private ScriptedRegistry registry;

  @BeforeEach
  void open() throws Exception {
    new Random(1).nextBytes(file);
    image = new TestImage().gzipLayer(new TarBuilder().entry('0', "f", "", file).build());
    layer = image.layers.getFirst().digest();
    blob = image.blob(layer);
    house = new ImageHouse();
    registry = new ScriptedRegistry();
    registry.add("app", "v1", image);
  }

  @AfterEach
  void close() {
    registry.close();
    house.close();
    assertThat(house.debts).isEmpty();
  }

  private Image pull() throws InterruptedException {
    return house.pull(registry.address() + "/app:v1");
  }

  private void requireWhole(Image pulled) throws IOException {
    assertThat(Files.readAllBytes(house.file(pulled, 0, "f"))).isEqualTo(file);
    assertThat(kept()).isEmpty();
  }

  private List<Path> kept() throws IOException {
    Path folder = house.root.resolve("partial");
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (var files = Files.list(folder)) {
      return files.toList();
    }
  }

  private List<String> ranges(ScriptedRegistry asked) {
    return asked.requests.stream()
        .filter(request -> request.path().endsWith("/blobs/" + layer))
        .map(request -> Objects.requireNonNullElse(request.range(), "whole"))
        .toList();
  }

  /** Of what is sent in all, this much of the layer may be lost on the way. */
  private void requireSentOnce() {
    assertThat(registry.sent.get()).isLessThan((long) (1.05 * blob.length));
  }

  private void cutAt(ScriptedRegistry at, HttpExchange exchange, int end) throws IOException {
    at.send(exchange, blob, end);
    exchange.close();
  }

  @Test
  void connectionThatBreaksIsMadeAgainAndGoesOnWhereItStopped() throws Exception {
    AtomicInteger cuts = new AtomicInteger();
    registry.script =
        exchange -> {
          int cut = cuts.get() + 1;
          if (!ScriptedRegistry.isBlob(exchange, layer) || cut > 7) {
            return false;
          }
          cuts.set(cut);
          cutAt(registry, exchange, blob.length / 8 * cut);
          return true;
        };

    requireWhole(pull());

    assertThat(cuts).hasValue(7);
    requireSentOnce();
    assertThat(ranges(registry)).hasSize(8).startsWith("whole");
  }

  @Test
  void hostThatCannotBeginAmidABlobIsReadFromItsBeginning() throws Exception {
    AtomicInteger requests = new AtomicInteger();
    registry.script =
        exchange -> {
          if (!ScriptedRegistry.isBlob(exchange, layer)) {
            return false;
          }
          int end = requests.incrementAndGet() == 1 ? blob.length / 2 : blob.length;
          registry.send(exchange, blob, 0, end);
          return true;
        };

    requireWhole(pull());

    assertThat(requests).hasValue(2);
  }

  @Test
  void stalledHostIsLeftForTheNextWhichGoesOnWhereItStopped() throws Exception {
    CountDownLatch release = new CountDownLatch(1);
    try (ScriptedRegistry mirror = new ScriptedRegistry()) {
      mirror.putManifest("app", "v1", MediaTypes.OCI_MANIFEST, image.manifestBytes());
      mirror.script =
          exchange -> {
            if (!ScriptedRegistry.isBlob(exchange, layer)) {
              return false;
            }
            mirror.send(exchange, blob, blob.length / 2);
            try {
              release.await();
            } catch (InterruptedException e) {
              Thread.currentThread().interrupt();
            }
            return true;
          };
      house.configure(
          "reg.example",
          "server = \"http://"
              + registry.address()
              + "\"\n[host.\"http://"
              + mirror.address()
              + "\"]\n");

      requireWhole(house.pull("reg.example/app:v1"));

      assertThat(ranges(mirror)).hasSize(1);
      assertThat(ranges(registry))
          .singleElement()
          .satisfies(range -> assertThat(range).matches("bytes=[1-9][0-9]*-"));
      assertThat(registry.sent.get()).isLessThan((long) (0.55 * blob.length));
    } finally {
      release.countDown();
    }
  }

  /** Leaves a pull after nine tenths of the layer, as a caller's deadline or a SIGKILL does. */
  private void abandonAtNineTenths() throws Exception {
    CountDownLatch release = new CountDownLatch(1);
    int most = blob.length / 10 * 9;
    registry.script =
        exchange -> {
          if (!ScriptedRegistry.isBlob(exchange, layer)) {
            return false;
          }
          registry.send(exchange, blob, most);
          try {
            release.await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          return true;
        };
    AtomicReference<Throwable> outcome = new AtomicReference<>();
    Thread caller = Thread.ofVirtual().start(() -> outcome.set(catchThrowable(this::pull)));
    Path file = house.root.resolve("partial").resolve(layer.toString().replace(':', '-'));
    while (!Files.exists(file) || Files.size(file) < blob.length / 100L * 89) {
      assertThat(outcome.get()).isNull();
      TimeUnit.MILLISECONDS.sleep(5);
    }
    caller.interrupt();
    caller.join();
    // The transfer ends after its caller; it would go on with a registry that broke off first.
    house.awaitNothingLeft();
    release.countDown();
    registry.script = exchange -> false;
    assertThat(outcome.get()).isInstanceOf(InterruptedException.class);
    assertThat(kept()).containsExactly(file);
  }

  @Test
  void abandonedLayerGoesOnWhereItStoppedAlsoInAnotherDaemon() throws Exception {
    abandonAtNineTenths();
    ImageHouse before = house;
    house = new ImageHouse(before.root);

    requireWhole(pull());

    requireSentOnce();
    before.close();
  }

  @Test
  void whatAPowerCutHasSpoiltIsFetchedAnew() throws Exception {
    abandonAtNineTenths();
    byte[] spoilt = Files.readAllBytes(kept().getFirst());
    java.util.Arrays.fill(spoilt, spoilt.length / 2, spoilt.length, (byte) 0);
    Files.write(kept().getFirst(), spoilt);

    requireWhole(pull());

    assertThat(ranges(registry)).endsWith("whole");
  }

  @Test
  void layerThatWasFetchedWholeButNotStoredNeedsNoRequest() throws Exception {
    Files.createDirectories(house.root.resolve("partial"));
    Files.write(house.root.resolve("partial").resolve(layer.toString().replace(':', '-')), blob);

    requireWhole(pull());

    assertThat(ranges(registry)).isEmpty();
  }

  @Test
  void contentThatIsWrongIsNotKept() throws Exception {
    byte[] wrong = blob.clone();
    wrong[wrong.length - 9] ^= 1;
    registry.putBlob("app", layer, wrong);

    ImageException failure = catchThrowableOfType(ImageException.class, this::pull);

    assertThat(failure.reason()).isEqualTo(Reason.CORRUPT);
    assertThat(kept()).isEmpty();
    house.awaitNothingLeft();
  }

  @Test
  void unreachableRegistryAmidALayerLeavesWhatCame() throws Exception {
    registry.script =
        exchange -> {
          if (ScriptedRegistry.isBlob(exchange, layer)) {
            cutAt(registry, exchange, blob.length / 2);
            return true;
          }
          return false;
        };

    ImageException failure = catchThrowableOfType(ImageException.class, this::pull);

    assertThat(failure.reason()).isEqualTo(Reason.REGISTRY_UNAVAILABLE);
    assertThat(failure).hasMessageContaining("broke off serving blob " + layer);
    assertThat(kept()).hasSize(1);
    house.awaitNothingLeft();
  }
}
