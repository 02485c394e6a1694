package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.image.PullStatus.LayerState;
import io.berth.image.PullStatus.LayerStatus;
import io.berth.oci.Digest;
import io.berth.oci.Platform;
import java.nio.file.Files;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Predicate;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Tag("root")
@Timeout(120)
class PullBoardTest {
  private static final TransferSettings PATIENT =
      new TransferSettings(
          Duration.ofSeconds(30),
          Duration.ofSeconds(30),
          Duration.ofSeconds(60),
          1,
          2,
          Duration.ofMillis(10),
          Duration.ofSeconds(5),
          2);

  private ImageHouse house;
  private ScriptedRegistry registry;

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse(Files.createTempDirectory("berth-images-"), PATIENT);
    registry = new ScriptedRegistry();
  }

  @AfterEach
  void close() {
    registry.close();
    house.close();
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private List<PullStatus> awaitBoard(Predicate<List<PullStatus>> condition) throws Exception {
    for (int i = 0; i < 6000; i++) {
      List<PullStatus> now = house.board.list();
      if (condition.test(now)) {
        return now;
      }
      TimeUnit.MILLISECONDS.sleep(10);
    }
    throw new AssertionError("the board stays " + house.board.list());
  }

  @Test
  void pullsInFlightShowEachLayersBytesStateAndHost() throws Exception {
    byte[] base = TestImage.tar("base", "b".repeat(1000));
    TestImage before = new TestImage().plainLayer(base);
    byte[] large = TestImage.tar("large", "l".repeat(100_000));
    TestImage image =
        new TestImage().plainLayer(base).plainLayer(large).plainLayer(TestImage.tar("c", "c"));
    registry.add("before", "v1", before).add("app", "v1", image);
    house.pull(registry.address() + "/before:v1");
    CountDownLatch release = new CountDownLatch(1);
    Digest stuck = image.layers.get(1).digest();
    registry.script =
        exchange -> {
          if (!ScriptedRegistry.isBlob(exchange, stuck)) {
            return false;
          }
          exchange.sendResponseHeaders(200, image.layers.get(1).size());
          exchange.getResponseBody().write(image.blob(stuck), 0, 50_000);
          exchange.getResponseBody().flush();
          awaitQuietly(release);
          exchange.getResponseBody().write(image.blob(stuck), 50_000, large.length - 50_000);
          return true;
        };
    long earlier = house.board.fetched();
    try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
      Future<Image> one = executor.submit(() -> house.pull(registry.address() + "/app:v1"));

      PullStatus status =
          awaitBoard(pulls ->
                  pulls.size() == 1
                      && pulls.getFirst().layers().size() == 3
                      && pulls.getFirst().layers().get(1).fetched() > 0
                      && pulls.getFirst().layers().get(2).state() == LayerState.STORING)
              .getFirst();
      release.countDown();

      assertThat(status.image()).isEqualTo(registry.address() + "/app:v1");
      assertThat(status.layers())
          .extracting(LayerStatus::state)
          .containsExactly(LayerState.PRESENT, LayerState.FETCHING, LayerState.STORING);
      assertThat(status.layers().get(1).host()).isEqualTo("http://" + registry.address());
      assertThat(status.layers().get(1).fetched()).isLessThanOrEqualTo(50_000);
      assertThat(status.size()).isEqualTo(large.length + image.layers.get(2).size());
      assertThat(one.get().id()).isEqualTo(image.id());
    } finally {
      release.countDown();
    }
    assertThat(house.board.list()).isEmpty();
    assertThat(house.board.fetched() - earlier)
        .isEqualTo(large.length + image.layers.get(2).size());
  }

  @Test
  void oneRegistryTakesNoMorePlacesThanItsShare() throws Exception {
    TestImage image = new TestImage();
    for (int i = 0; i < 6; i++) {
      image.plainLayer(TestImage.tar("f" + i, "x"));
    }
    registry.add("app", "v1", image);
    CountDownLatch two = new CountDownLatch(2);
    AtomicInteger now = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    registry.script =
        exchange -> {
          if (image.layers.stream()
              .noneMatch(layer -> ScriptedRegistry.isBlob(exchange, layer.digest()))) {
            return false;
          }
          most.accumulateAndGet(now.incrementAndGet(), Math::max);
          two.countDown();
          try {
            two.await(5, TimeUnit.SECONDS);
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          now.decrementAndGet(); // before the answer, after which the client may go on
          return false;
        };

    house.pull(registry.address() + "/app:v1");

    assertThat(most).hasValue(PATIENT.perRegistry());
  }

  @Test
  void anotherPlatformIsPulledWhenAskedFor() throws Exception {
    TestImage mine = new TestImage().plainLayer(TestImage.tar("a", "amd64"));
    TestImage other = new TestImage().plainLayer(TestImage.tar("a", "arm64"));
    registry.add("app", "amd64", mine).add("app", "arm64", other);
    String index =
        """
        {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
         {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d,
          "platform":{"os":"linux","architecture":"amd64"}},
         {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d,
          "platform":{"os":"linux","architecture":"arm64"}}]}\
        """
            .formatted(
                mine.manifest().digest(),
                mine.manifest().size(),
                other.manifest().digest(),
                other.manifest().size());
    registry.putManifest(
        "app",
        "v1",
        "application/vnd.oci.image.index.v1+json",
        index.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    String name = registry.address() + "/app:v1";

    assertThat(house.pull(name).id()).isEqualTo(mine.id());
    Image pulled =
        house.puller.pull(
            new PullRequest(
                name, RegistryCredentials.NONE, "", "", Map.of(), Platform.linux("arm64", null)));

    assertThat(pulled.id()).isEqualTo(other.id());
    assertThat(house.store.find(name)).contains(pulled);
  }

  @Test
  void remainingTimeFollowsFromTheRateOfWhatComes() {
    Digest digest = Digest.sha256(new byte[0]);
    PullStatus status =
        new PullStatus(
            "app",
            Instant.EPOCH,
            List.of(
                new LayerStatus(digest, 999, 0, LayerState.PRESENT, "", 0),
                new LayerStatus(digest, 1000, 400, LayerState.FETCHING, "h", 50),
                new LayerStatus(digest, 1000, 0, LayerState.WAITING, "", 0)));

    assertThat(status.size()).isEqualTo(2000);
    assertThat(status.remaining()).contains(Duration.ofSeconds(32));
    assertThat(new PullStatus("app", Instant.EPOCH, List.of()).remaining()).isEmpty();
    assertThat(PullBoard.size(0)).isEqualTo("0 B");
    assertThat(PullBoard.size(356_515_840)).isEqualTo("340.0 MiB");
  }
}
