package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.sun.net.httpserver.HttpExchange;
import io.berth.image.ImageException.Reason;
import io.berth.oci.Digest;
import io.berth.oci.MediaTypes;
import java.io.IOException;
import java.io.OutputStream;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Registries that lie about what they serve, or serve too much of it. */
@Timeout(120)
class HostileRegistryTest {
  private static final int PIECE = 64 << 10;

  /** More than any answer may hold, and what an endless one must not come near. */
  private static final long ENDLESS = 1L << 30;

  private static final long FAR_TOO_MUCH = 64L << 20;

  private ScriptedRegistry registry;
  private ImageHouse house;
  private final AtomicLong poured = new AtomicLong();

  @BeforeEach
  void open() throws Exception {
    registry = new ScriptedRegistry();
    house = new ImageHouse();
  }

  @AfterEach
  void close() {
    house.close();
    registry.close();
  }

  private static TestImage image() {
    return new TestImage().gzipLayer(TestImage.tar("a", "one")).plainLayer(TestImage.tar("b", "2"));
  }

  private String name() {
    return registry.address() + "/app:v1";
  }

  private ImageException failure() {
    return catchThrowableOfType(ImageException.class, () -> house.pull(name()));
  }

  /** Never ends of its own accord, and doesn't say how long it is. */
  private boolean pour(HttpExchange exchange, int status) throws IOException {
    exchange.sendResponseHeaders(status, 0);
    byte[] piece = new byte[PIECE];
    try (OutputStream body = exchange.getResponseBody()) {
      while (poured.get() < ENDLESS) {
        body.write(piece);
        poured.addAndGet(PIECE);
      }
    }
    return true;
  }

  private static boolean isGetOf(HttpExchange exchange, String part) {
    return exchange.getRequestMethod().equals("GET")
        && exchange.getRequestURI().getPath().contains(part);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "text/html",
        "text/plain; charset=utf-8",
        "application/octet-stream",
        "nonsense"
      })
  void contentTypesOfManifestsAndLayersNeedNotBeRight(String type) throws Exception {
    TestImage image = image();
    registry.add("app", "v1", image);
    registry.served = path -> type;

    assertThat(house.pull(name()).id()).isEqualTo(image.id());
  }

  @Test
  void pageForPeopleInPlaceOfAManifestIsNoImage() throws Exception {
    registry.putManifest(
        "app", "v1", "text/html", "<html>Log in to the hotel's network</html>".getBytes(UTF_8));

    assertThat(failure().reason()).isEqualTo(Reason.CORRUPT);
    house.awaitNothingLeft();
  }

  @Test
  void manifestThatNeverEndsIsNotReadFurtherThanAllowed() throws Exception {
    registry.add("app", "v1", image());
    registry.script = exchange -> isGetOf(exchange, "/manifests/") && pour(exchange, 200);

    ImageException failure = failure();

    assertThat(failure.reason()).isEqualTo(Reason.CORRUPT);
    assertThat(failure).hasMessageContaining("larger than 4 MiB");
    assertThat(poured.get()).isLessThan(FAR_TOO_MUCH);
    house.awaitNothingLeft();
  }

  @Test
  void layerThatNeverEndsIsNotReadBeyondItsSize() throws Exception {
    TestImage image = image();
    registry.add("app", "v1", image);
    Digest layer = image.layers.get(1).digest();
    registry.script = exchange -> ScriptedRegistry.isBlob(exchange, layer) && pour(exchange, 200);

    assertThat(failure().reason()).isEqualTo(Reason.CORRUPT);
    assertThat(poured.get()).isLessThan(FAR_TOO_MUCH);
    house.awaitNothingLeft();
  }

  @Test
  void refusalThatNeverEndsIsReadForItsFirstWords() throws Exception {
    registry.script = exchange -> isGetOf(exchange, "/manifests/") && pour(exchange, 404);

    assertThat(failure().reason()).isEqualTo(Reason.NOT_FOUND);
    assertThat(poured.get()).isLessThan(FAR_TOO_MUCH);
  }

  @Test
  void tokenThatNeverEndsIsNone() throws Exception {
    registry.add("app", "v1", image());
    registry.script =
        exchange -> {
          if (exchange.getRequestURI().getPath().equals("/token")) {
            return pour(exchange, 200);
          }
          exchange
              .getResponseHeaders()
              .set("WWW-Authenticate", "Bearer realm=\"http://" + registry.address() + "/token\"");
          return ScriptedRegistry.answer(exchange, 401, "");
        };

    assertThat(failure().reason()).isEqualTo(Reason.REGISTRY_UNAVAILABLE);
    assertThat(poured.get()).isLessThan(FAR_TOO_MUCH);
  }

  @Test
  void configThatIsLargerThanAnyIsNotFetched() throws Exception {
    TestImage image = image();
    registry.add("app", "v1", image);
    String config = image.id().toString();
    String huge =
        new String(image.manifestBytes(), UTF_8)
            .replaceFirst("(\"digest\":\"" + config + "\",\"size\":)[0-9]+", "$1" + (1L << 40));
    registry.putManifest("app", "v1", MediaTypes.OCI_MANIFEST, huge.getBytes(UTF_8));

    ImageException failure = failure();

    assertThat(failure.reason()).isEqualTo(Reason.UNSUPPORTED);
    assertThat(failure).hasMessageContaining("larger than");
    assertThat(registry.lines()).noneMatch(line -> line.contains("/blobs/"));
  }

  @Test
  void layerThatInflatesBeyondAllLimitsIsRefusedAndLeavesNothing() throws Exception {
    house.close();
    house = new ImageHouse(new UnpackLimits(1000, 4095, 1 << 20, 8 << 20));
    TestImage image = new TestImage().gzipLayer(TestImage.tar("bomb", "\0".repeat(32 << 20)));
    registry.add("app", "v1", image);
    assertThat(image.layers.getFirst().size()).isLessThan(64 << 10);

    ImageException failure = failure();

    assertThat(failure.reason()).isEqualTo(Reason.CORRUPT);
    assertThat(failure).hasMessageContaining("more than " + (8 << 20) + " bytes");
    house.awaitNothingLeft();
  }

  @Test
  void zeroesWithoutEndBehindAnArchiveAreBoundedByTheLimits() throws Exception {
    house.close();
    house = new ImageHouse(new UnpackLimits(1000, 4095, 1 << 20, 8 << 20));
    byte[] archive = TestImage.tar("a", "1");
    TestImage image = new TestImage().gzipLayer(Arrays.copyOf(archive, 32 << 20));
    registry.add("app", "v1", image);

    ImageException failure = failure();

    assertThat(failure.reason()).isEqualTo(Reason.CORRUPT);
    assertThat(failure).hasMessageContaining((8 << 20) + " bytes follow the end of the archive");
    house.awaitNothingLeft();
  }

  @Test
  void digestThatIsNoneIsComputedFromTheContent() throws Exception {
    TestImage image = image();
    registry.add("app", "v1", image);
    registry.script =
        exchange -> {
          if (exchange.getRequestMethod().equals("HEAD")) {
            exchange.getResponseHeaders().set("Docker-Content-Digest", "sha256:../../etc/passwd");
            return ScriptedRegistry.answer(exchange, 200, "");
          }
          return false;
        };

    Image pulled = house.pull(name());

    assertThat(pulled.repoDigests())
        .containsExactly(registry.address() + "/app@" + image.manifest().digest());
  }

  @Test
  void circleOfRedirectsEnds() throws Exception {
    registry.script =
        exchange -> {
          exchange.getResponseHeaders().set("Location", exchange.getRequestURI().toString());
          return ScriptedRegistry.answer(exchange, 307, "");
        };

    ImageException failure = failure();

    assertThat(failure.reason()).isEqualTo(Reason.REGISTRY_UNAVAILABLE);
    assertThat(failure).hasMessageContaining("was redirected more than");
    assertThat(registry.requests).hasSizeLessThan(50);
  }

  @ParameterizedTest
  @ValueSource(strings = {"file:///etc/shadow", "ftp://a.example/x", "//", "http://", "ht tp://x"})
  void redirectToWhatIsNoWebServerIsRefused(String location) throws Exception {
    registry.script =
        exchange -> {
          exchange.getResponseHeaders().set("Location", location);
          return ScriptedRegistry.answer(exchange, 302, "");
        };

    ImageException failure = failure();

    assertThat(failure.reason()).isEqualTo(Reason.REGISTRY_UNAVAILABLE);
    assertThat(failure).hasMessageContaining("redirects to");
  }
}
