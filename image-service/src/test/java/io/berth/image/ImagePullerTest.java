package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.image.ImageException.Reason;
import io.berth.linux.Mounts;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.MediaTypes;
import io.berth.oci.Platform;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Pulls into a real snapshotter, whose whiteouts and owners need root. */
@Tag("root")
@Timeout(60)
class ImagePullerTest {
  private ImageHouse house;
  private ScriptedRegistry registry;

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse();
    registry = new ScriptedRegistry();
  }

  @AfterEach
  void close() {
    registry.close();
    house.close();
    assertThat(house.debts).isEmpty();
  }

  private String name(String rest) {
    return registry.address() + "/" + rest;
  }

  private ImageException failure(String image) {
    return catchThrowableOfType(ImageException.class, () -> house.pull(image));
  }

  private static TestImage threeLayers() {
    return new TestImage()
        .gzipLayer(TestImage.tar("a", "gzip"))
        .zstdLayer(TestImage.tar("b", "zstd"))
        .plainLayer(TestImage.tar("c", "plain"))
        .user("1000:50");
  }

  @Test
  void imagePushedBySkopeoIsPulledFromDockerRegistry(@TempDir Path folder) throws Exception {
    TestImage image = // without a plain layer, which skopeo would compress
        new TestImage().gzipLayer(TestImage.tar("a", "gzip")).zstdLayer(TestImage.tar("b", "zstd"));
    try (DockerRegistry real = new DockerRegistry(false)) {
      real.push("oci:" + image.writeLayout(folder, "v1") + ":v1", "team/app:v1");

      Image pulled = house.pull(real.address() + "/team/app:v1");

      assertThat(pulled.id()).isEqualTo(image.id());
      assertThat(pulled.size()).isPositive();
      assertThat(pulled.repoTags()).containsExactly(real.address() + "/team/app:v1");
      assertThat(pulled.repoDigests())
          .containsExactly(real.address() + "/team/app@" + image.manifest().digest());
      assertThat(house.file(pulled, 0, "a")).hasContent("gzip");
      assertThat(house.file(pulled, 1, "b")).hasContent("zstd");
      assertThat(house.store.list()).containsExactly(pulled);
    }
  }

  @Test
  void schema2ImageConvertedBySkopeoIsPulled(@TempDir Path folder) throws Exception {
    TestImage image =
        new TestImage().gzipLayer(TestImage.tar("a", "1")).gzipLayer(TestImage.tar("b", "2"));
    try (DockerRegistry real = new DockerRegistry(false)) {
      real.push("oci:" + image.writeLayout(folder, "v1") + ":v1", "app:v1", "--format", "v2s2");

      Image pulled = house.pull(real.address() + "/app:v1");

      assertThat(house.file(pulled, 1, "b")).hasContent("2");
    }
  }

  @Test
  void passwordOfHtpasswdRegistryIsAskedForAndUsed(@TempDir Path folder) throws Exception {
    TestImage image = threeLayers();
    try (DockerRegistry real = new DockerRegistry(true)) {
      real.push(
          "oci:" + image.writeLayout(folder, "v1") + ":v1",
          "app:v1",
          "--dest-creds",
          DockerRegistry.USER + ":" + DockerRegistry.PASSWORD);
      String name = real.address() + "/app:v1";

      assertThat(failure(name).reason()).isEqualTo(Reason.UNAUTHORIZED);
      ImageException wrong =
          catchThrowableOfType(
              ImageException.class,
              () ->
                  house.puller.pull(
                      new PullRequest(
                          name,
                          RegistryCredentials.of("berth", "secret-guess", "", "", "", ""),
                          "",
                          "",
                          Map.of())));
      assertThat(wrong.reason()).isEqualTo(Reason.UNAUTHORIZED);
      assertThat(wrong).hasMessageContaining("check the credentials");
      assertThat(wrong.getMessage()).doesNotContain("secret-guess");
      house.awaitNothingLeft();

      RegistryCredentials right =
          RegistryCredentials.of(DockerRegistry.USER, DockerRegistry.PASSWORD, "", "", "", "");
      Image pulled = house.puller.pull(new PullRequest(name, right, "", "", Map.of()));
      assertThat(pulled.id()).isEqualTo(image.id());
    }
  }

  @Test
  void secondPullOfPresentImageCostsOneManifestRequest() throws Exception {
    registry.add("app", "v1", threeLayers());
    Image first = house.pull(name("app:v1"));
    registry.requests.clear();

    Image second = house.pull(name("app:v1"));

    assertThat(second).isEqualTo(first);
    assertThat(registry.lines()).containsExactly("HEAD /v2/app/manifests/v1");
  }

  @Test
  void plainLayerIsStoredAsItIs() throws Exception {
    TestImage image = threeLayers();
    registry.add("app", "v1", image);

    Image pulled = house.pull(name("app:v1"));

    assertThat(pulled.size()).isPositive();
    assertThat(house.file(pulled, 2, "c")).hasContent("plain");
  }

  @Test
  void imageKnownByAnotherNameIsNotFetchedAgain() throws Exception {
    TestImage image = threeLayers();
    registry.add("app", "v1", image).add("copy", "v2", image);
    Image first = house.pull(name("app:v1"));
    registry.requests.clear();

    Image second = house.pull(name("copy:v2"));

    assertThat(second.id()).isEqualTo(first.id());
    assertThat(second.repoTags()).containsExactly(name("app:v1"), name("copy:v2"));
    assertThat(registry.lines())
        .noneMatch(
            line -> image.layers.stream().anyMatch(layer -> line.contains(layer.digest().hex())));
  }

  @Test
  void pullByDigestGivesTheDigestNameAlone() throws Exception {
    TestImage image = threeLayers();
    registry.add("app", "v1", image);
    String wanted = name("app@" + image.manifest().digest());

    Image pulled = house.pull(wanted);

    assertThat(pulled.repoTags()).isEmpty();
    assertThat(pulled.repoDigests()).containsExactly(wanted);
    assertThat(house.store.find(wanted)).contains(pulled);
  }

  @Test
  void movedTagLeavesTheOldImageItsDigestName() throws Exception {
    TestImage before = new TestImage().gzipLayer(TestImage.tar("a", "old"));
    TestImage after = new TestImage().gzipLayer(TestImage.tar("a", "new"));
    registry.add("app", "v1", before);
    Image old = house.pull(name("app:v1"));
    registry.add("app", "v1", after);

    Image current = house.pull(name("app:v1"));

    assertThat(current.id()).isEqualTo(after.id());
    Image left = house.store.find(old.id().toString()).orElseThrow();
    assertThat(left.repoTags()).isEmpty();
    assertThat(left.repoDigests()).isEqualTo(old.repoDigests());
    assertThat(house.store.find(name("app:v1"))).contains(current);
  }

  @Test
  void concatenatedMembersAndFramesAreAllRead() throws Exception {
    byte[] tar = TestImage.tar("a", "x".repeat(100_000));
    byte[] head = Arrays.copyOf(tar, 50_000);
    byte[] tail = Arrays.copyOfRange(tar, 50_000, tar.length);
    byte[] other = TestImage.tar("b", "y");
    TestImage image =
        new TestImage()
            .layer(
                TestImage.join(TestImage.gzip(head), TestImage.gzip(tail)),
                tar,
                MediaTypes.OCI_LAYER) // told by its magic, not by the type
            .layer(
                TestImage.join(
                    com.github.luben.zstd.Zstd.compress(Arrays.copyOf(other, 512)),
                    com.github.luben.zstd.Zstd.compress(
                        Arrays.copyOfRange(other, 512, other.length))),
                other,
                MediaTypes.DOCKER_LAYER_GZIP);
    registry.add("app", "v1", image);

    Image pulled = house.pull(name("app:v1"));

    assertThat(house.file(pulled, 0, "a")).hasSize(100_000);
    assertThat(house.file(pulled, 1, "b")).hasContent("y");
  }

  @Test
  void paddingAfterTheArchiveCountsForTheDiffId() throws Exception {
    byte[] padded = TestImage.join(TestImage.tar("a", "1"), new byte[100_000]);
    registry.add("app", "v1", new TestImage().gzipLayer(padded));

    assertThat(house.file(house.pull(name("app:v1")), 0, "a")).hasContent("1");
  }

  // Sharing

  @Test
  void concurrentPullsFetchEachLayerOnce() throws Exception {
    byte[] shared = TestImage.tar("base", "shared".repeat(10_000));
    TestImage one = new TestImage().gzipLayer(shared).gzipLayer(TestImage.tar("one", "1"));
    TestImage two = new TestImage().gzipLayer(shared).gzipLayer(TestImage.tar("two", "2"));
    registry.add("one", "v1", one).add("two", "v1", two);
    List<Future<Image>> pulls = new ArrayList<>();
    try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < 5; i++) {
        pulls.add(executor.submit(() -> house.pull(name("one:v1"))));
        pulls.add(executor.submit(() -> house.pull(name("two:v1"))));
      }
    }

    for (Future<Image> pull : pulls) {
      assertThat(pull.get().id()).isIn(one.id(), two.id());
    }
    List<Descriptor> blobs = new ArrayList<>(one.layers);
    blobs.addAll(two.layers);
    for (Descriptor blob : blobs) {
      assertThat(registry.lines().stream().filter(line -> line.endsWith("/" + blob.digest())))
          .hasSize(1);
    }
    assertThat(house.snapshotter.layers()).hasSize(3);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void abandonedPullLeavesNothingAndCanBeRepeatedAtOnce(boolean checkFirst) throws Exception {
    TestImage image = threeLayers();
    registry.add("app", "v1", image);
    CountDownLatch reached = new CountDownLatch(1);
    CountDownLatch release = new CountDownLatch(1);
    Digest stuck = image.layers.getLast().digest();
    registry.script =
        exchange -> {
          if (ScriptedRegistry.isBlob(exchange, stuck)) {
            exchange.sendResponseHeaders(200, image.layers.getLast().size());
            exchange.getResponseBody().write(new byte[1000]);
            exchange.getResponseBody().flush();
            reached.countDown();
            try {
              release.await();
            } catch (InterruptedException e) {
              Thread.currentThread().interrupt();
            }
            return true;
          }
          return false;
        };
    AtomicReference<Throwable> outcome = new AtomicReference<>();
    Thread caller =
        Thread.ofVirtual()
            .start(() -> outcome.set(catchThrowable(() -> house.pull(name("app:v1")))));
    assertThat(reached.await(10, TimeUnit.SECONDS)).isTrue();

    caller.interrupt();
    caller.join();
    registry.script = exchange -> false;

    assertThat(outcome.get()).isInstanceOf(InterruptedException.class);
    if (checkFirst) {
      house.awaitNothingLeft();
    }
    assertThat(house.pull(name("app:v1")).id()).isEqualTo(image.id());
    release.countDown();
  }

  // Content that is not what it should be

  @Test
  void corruptLayerIsRefusedAndLeavesNothing() throws Exception {
    TestImage image = threeLayers();
    registry.add("app", "v1", image);
    Digest broken = image.layers.get(1).digest();
    byte[] bytes = image.blob(broken).clone();
    bytes[bytes.length - 1] ^= 1;
    registry.putBlob("app", broken, bytes);

    ImageException failure = failure(name("app:v1"));

    assertThat(failure.reason()).isEqualTo(Reason.CORRUPT);
    assertThat(failure)
        .hasMessageStartingWith("pull " + name("app:v1") + ": ")
        .hasMessageContaining(broken.toString());
    house.awaitNothingLeft();
    assertThat(house.store.list()).isEmpty();
  }

  @Test
  void nextTryOfAPullThatFailedFetchesOnlyWhatIsMissing() throws Exception {
    try (ImageHouse keeping = new ImageHouse(Duration.ofMinutes(10))) {
      TestImage image = threeLayers();
      registry.add("app", "v1", image);
      Digest last = image.layers.getLast().digest();
      registry.script =
          exchange -> {
            if (!ScriptedRegistry.isBlob(exchange, last)) {
              return false;
            }
            while (keeping.snapshotter.layers().size() < 2) {
              Thread.onSpinWait(); // the others are there when it fails
            }
            return ScriptedRegistry.answer(exchange, 404, "");
          };
      assertThatThrownBy(() -> keeping.pull(name("app:v1"))).isInstanceOf(ImageException.class);
      assertThat(keeping.store.list()).isEmpty();
      assertThat(keeping.snapshotter.unreferenced()).hasSize(2);
      registry.script = exchange -> false;

      assertThat(keeping.pull(name("app:v1")).id()).isEqualTo(image.id());

      assertThat(keeping.snapshotter.unreferenced()).isEmpty();
      for (Descriptor layer : image.layers.subList(0, 2)) {
        assertThat(registry.lines())
            .filteredOn(line -> line.endsWith("/" + layer.digest()))
            .hasSize(1);
      }
    }
  }

  @Test
  void layerOfAnotherSizeThanTheManifestSaysIsRefused() throws Exception {
    TestImage image = threeLayers();
    registry.add("app", "v1", image);
    Digest broken = image.layers.getFirst().digest();
    registry.putBlob("app", broken, TestImage.join(image.blob(broken), "more".getBytes(UTF_8)));

    assertThat(failure(name("app:v1")).reason()).isEqualTo(Reason.CORRUPT);
    house.awaitNothingLeft();
  }

  @Test
  void layerWhoseContentHasAnotherDiffIdIsRefused() throws Exception {
    byte[] tar = TestImage.tar("a", "this");
    TestImage image =
        new TestImage()
            .layer(TestImage.gzip(TestImage.tar("a", "that")), tar, MediaTypes.OCI_LAYER_GZIP);
    registry.add("app", "v1", image);

    ImageException failure = failure(name("app:v1"));

    assertThat(failure.reason()).isEqualTo(Reason.CORRUPT);
    assertThat(failure).hasMessageContaining("unpacked has the digest");
    house.awaitNothingLeft();
  }

  @Test
  void connectionThatBreaksAmidALayerIsTheRegistrysFault() throws Exception {
    TestImage image = new TestImage().gzipLayer(TestImage.tar("a", "x".repeat(1000)));
    registry.add("app", "v1", image);
    registry.script =
        exchange -> {
          if (!ScriptedRegistry.isBlob(exchange, image.layers.getFirst().digest())) {
            return false;
          }
          exchange.sendResponseHeaders(200, image.layers.getFirst().size());
          exchange.getResponseBody().write(image.blob(image.layers.getFirst().digest()), 0, 20);
          return true; // closing the exchange with bytes missing cuts the connection
        };

    ImageException failure = failure(name("app:v1"));

    assertThat(failure.reason()).isEqualTo(Reason.REGISTRY_UNAVAILABLE);
    assertThat(failure).hasMessageStartingWith("RegistryUnavailable: pull ");
    house.awaitNothingLeft();
  }

  @Test
  void silentRegistryIsGivenUp() throws Exception {
    TestImage image = new TestImage().gzipLayer(TestImage.tar("a", "x".repeat(1000)));
    registry.add("app", "v1", image);
    CountDownLatch release = new CountDownLatch(1);
    registry.script =
        exchange -> {
          if (!ScriptedRegistry.isBlob(exchange, image.layers.getFirst().digest())) {
            return false;
          }
          exchange.sendResponseHeaders(200, image.layers.getFirst().size());
          exchange.getResponseBody().write(new byte[] {0x1f, (byte) 0x8b});
          exchange.getResponseBody().flush();
          try {
            release.await();
          } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
          }
          return true;
        };

    ImageException failure = failure(name("app:v1"));
    release.countDown();

    assertThat(failure.reason()).isEqualTo(Reason.REGISTRY_UNAVAILABLE);
    assertThat(failure).hasMessageContaining("less than 1 bytes a second for 1 s");
  }

  @Test
  void manifestWithAnotherDigestThanAskedForIsRefused() throws Exception {
    TestImage image = threeLayers();
    registry.add("app", "v1", image);
    Digest asked = Digest.sha256("other".getBytes(UTF_8));
    registry.script =
        exchange -> {
          if (!exchange.getRequestURI().getPath().endsWith(asked.toString())) {
            return false;
          }
          exchange.getResponseHeaders().set("Content-Type", MediaTypes.OCI_MANIFEST);
          return ScriptedRegistry.answer(exchange, 200, new String(image.manifestBytes(), UTF_8));
        };

    assertThat(failure(name("app@" + asked)).reason()).isEqualTo(Reason.CORRUPT);
  }

  // Kinds of manifests

  @Test
  void bestPlatformOfAnIndexIsPulledUnderTheIndexsDigest() throws Exception {
    TestImage amd64 = threeLayers();
    TestImage arm64 = new TestImage().gzipLayer(TestImage.tar("a", "arm")).architecture("arm64");
    registry.add("app", "amd64", amd64).add("app", "arm64", arm64);
    Digest index =
        registry.putManifest(
            "app",
            "v1",
            MediaTypes.OCI_INDEX,
            TestImage.index(
                TestImage.entry(arm64.manifest(), Platform.linux("arm64", "v8")),
                TestImage.entry(
                    arm64.manifest(), new Platform("unknown", "unknown", null, null, null)),
                TestImage.entry(amd64.manifest(), Platform.linux("amd64", null))));

    Image pulled = house.pull(name("app:v1"));

    assertThat(pulled.id()).isEqualTo(amd64.id());
    assertThat(pulled.repoDigests()).containsExactly(name("app@" + index));
  }

  @Test
  void imageForOtherPlatformsNamesThemAll() throws Exception {
    TestImage arm64 = new TestImage().architecture("arm64");
    registry.add("app", "arm64", arm64);
    registry.putManifest(
        "app",
        "v1",
        MediaTypes.DOCKER_INDEX,
        TestImage.index(TestImage.entry(arm64.manifest(), Platform.linux("arm64", "v8"))));

    ImageException failure = failure(name("app:v1"));

    assertThat(failure.reason()).isEqualTo(Reason.NO_PLATFORM);
    assertThat(failure)
        .hasMessage(
            "pull "
                + name("app:v1")
                + ": the image has nothing for linux/amd64/v1, only for linux/arm64/v8;"
                + " build it for this platform");
  }

  @Test
  void schema1AndArtifactsAreRefusedByName() {
    registry.putManifest(
        "old",
        "v1",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "{\"schemaVersion\":1,\"fsLayers\":[]}".getBytes(UTF_8));
    registry.putManifest(
        "chart",
        "v1",
        MediaTypes.OCI_MANIFEST,
        ("{\"schemaVersion\":2,\"mediaType\":\""
                + MediaTypes.OCI_MANIFEST
                + "\",\"config\":{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\","
                + "\"digest\":\""
                + Digest.sha256(new byte[0])
                + "\",\"size\":0},\"layers\":[]}")
            .getBytes(UTF_8));

    assertThat(failure(name("old:v1")))
        .hasMessageContaining("schema 1")
        .extracting(ImageException::reason)
        .isEqualTo(Reason.UNSUPPORTED);
    assertThat(failure(name("chart:v1")))
        .hasMessageContaining("application/vnd.cncf.helm.config.v1+json")
        .extracting(ImageException::reason)
        .isEqualTo(Reason.UNSUPPORTED);
  }

  // Registries that refuse

  @Test
  void missingImageIsToldInTheRegistrysWords() {
    ImageException failure = failure(name("app:v9"));

    assertThat(failure.reason()).isEqualTo(Reason.NOT_FOUND);
    assertThat(failure)
        .hasMessage(
            "pull "
                + name("app:v9")
                + ": registry http://"
                + registry.address()
                + " has no manifest v9 of app"
                + " (HTTP 404: MANIFEST_UNKNOWN manifest unknown); check name and tag");
  }

  @Test
  void registryThatFailsOrIsDownIsUnavailable() throws Exception {
    registry.script = exchange -> ScriptedRegistry.answer(exchange, 500, "<html>oops</html>");
    assertThat(failure(name("app:v1")))
        .hasMessageStartingWith("RegistryUnavailable: pull " + name("app:v1"))
        .hasMessageContaining("HTTP 500")
        .extracting(ImageException::reason)
        .isEqualTo(Reason.REGISTRY_UNAVAILABLE);
    registry.close();
    assertThat(failure(name("app:v1")))
        .hasMessageStartingWith("RegistryUnavailable: pull " + name("app:v1"))
        .hasMessageContaining("connection refused");
  }

  @Test
  void malformedReferencesAndUnknownHandlersAreRefused() {
    assertThat(failure("team/UPPER").reason()).isEqualTo(Reason.INVALID);
    assertThatThrownBy(() ->
            house.puller.pull(
                new PullRequest(name("app:v1"), RegistryCredentials.NONE, "kata", "", Map.of())))
        .hasMessageContaining("unknown runtime handler \"kata\"; configured are [runc]");
    assertThat(registry.requests).isEmpty();
  }

  // Mirrors

  @Test
  void mirrorIsAskedFirstAndTheRegistryLast() throws Exception {
    TestImage image = threeLayers();
    try (ScriptedRegistry mirror = new ScriptedRegistry()) {
      mirror.add("app", "v1", image);
      house.configure(
          "reg.example",
          "server = \"http://"
              + registry.address()
              + "\"\n[host.\"http://"
              + mirror.address()
              + "\"]\n");
      RegistryCredentials secret = RegistryCredentials.of("u", "p", "", "", "", "");

      Image pulled =
          house.puller.pull(new PullRequest("reg.example/app:v1", secret, "", "", Map.of()));

      assertThat(pulled.repoTags()).containsExactly("reg.example/app:v1");
      assertThat(registry.requests).isEmpty();
      assertThat(mirror.requests)
          .allMatch(request -> "ns=reg.example".equals(request.query()))
          .allMatch(request -> request.authorization() == null);
    }
  }

  @Test
  void mirrorThatLacksOrCorruptsALayerIsPassedOver() throws Exception {
    TestImage image = threeLayers();
    registry.add("app", "v1", image);
    try (ScriptedRegistry mirror = new ScriptedRegistry()) {
      mirror.putManifest("app", "v1", MediaTypes.OCI_MANIFEST, image.manifestBytes());
      Digest first = image.layers.getFirst().digest();
      byte[] corrupt = image.blob(first).clone();
      corrupt[12] ^= 1;
      mirror.putBlob("app", first, corrupt);
      house.configure(
          "reg.example",
          "server = \"http://"
              + registry.address()
              + "\"\n[host.\"http://"
              + mirror.address()
              + "\"]\n");

      Image pulled = house.pull("reg.example/app:v1");

      assertThat(house.file(pulled, 0, "a")).hasContent("gzip");
      assertThat(mirror.lines()).contains("HEAD /v2/app/manifests/v1");
      assertThat(registry.requests).allMatch(request -> request.query() == null);
    }
  }

  @Test
  void failureTellsWhatEveryHostSaid() throws Exception {
    try (ScriptedRegistry mirror = new ScriptedRegistry()) {
      mirror.script = exchange -> ScriptedRegistry.answer(exchange, 503, "");
      house.configure(
          "reg.example",
          "server = \"http://"
              + registry.address()
              + "\"\n[host.\"http://"
              + mirror.address()
              + "\"]\n");

      ImageException failure = failure("reg.example/app:v1");

      assertThat(failure.reason()).isEqualTo(Reason.NOT_FOUND);
      assertThat(failure)
          .hasMessageContaining("registry http://" + registry.address() + " has no manifest")
          .hasMessageContaining("before that: ")
          .hasMessageContaining("registry http://" + mirror.address() + " fails to serve")
          .hasMessageContaining("503");
    }
  }

  @Test
  void editedHostsFileCountsAtTheNextPull() throws Exception {
    registry.add("app", "v1", threeLayers());
    house.configure("reg.example", "server = \"http://127.0.0.1:1\"\n");
    assertThat(failure("reg.example/app:v1").reason()).isEqualTo(Reason.REGISTRY_UNAVAILABLE);

    house.configure("reg.example", "server = \"http://" + registry.address() + "\"\n");

    assertThat(house.pull("reg.example/app:v1").repoTags()).containsExactly("reg.example/app:v1");
  }

  // A full disk

  @Test
  void fullDiskFailsThePullLeavesNothingAndLetsImagesBeRemoved(@TempDir Path folder)
      throws Exception {
    Mounts.tmpfs(folder, "size=2m", true);
    try (ImageHouse small = new ImageHouse(Files.createDirectory(folder.resolve("root")))) {
      registry.add("app", "small", threeLayers());
      byte[] tooMuch = new byte[4 << 20];
      new Random(1).nextBytes(tooMuch);
      registry.add(
          "app",
          "large",
          new TestImage().gzipLayer(new TarBuilder().entry('0', "f", "", tooMuch).build()));
      Image present = small.pull(name("app:small"));

      ImageException failure =
          catchThrowableOfType(ImageException.class, () -> small.pull(name("app:large")));

      assertThat(failure.reason()).isEqualTo(Reason.DISK);
      assertThat(small.store.list()).containsExactly(present);
      try (var fill = Files.newOutputStream(folder.resolve("fill"))) {
        fill.write(tooMuch);
      } catch (IOException e) {
        assertThat(e).hasMessageContaining("No space left");
      }
      small.store.remove(present.id().toString());
      small.awaitNothingLeft();
    } finally {
      Mounts.detach(folder);
    }
  }

  // After a restart

  @Test
  void imagesAndTheirLayersSurviveARestart() throws Exception {
    registry.add("app", "v1", threeLayers());
    Image pulled = house.pull(name("app:v1"));

    try (ImageHouse again = new ImageHouse(house.root)) {
      again.snapshotter.removeUnreferenced();

      assertThat(again.store.list()).containsExactly(pulled);
      assertThat(Files.readString(again.file(pulled, 0, "a"))).isEqualTo("gzip");
      again.store.remove(pulled.id().toString());
      again.awaitNothingLeft();
    }
  }
}
