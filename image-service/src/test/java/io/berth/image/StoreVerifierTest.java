package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.image.StoreVerifier.Checked;
import io.berth.linux.Background;
import io.berth.linux.Mounts;
import io.berth.snapshot.Pace;
import io.berth.snapshot.Snapshot;
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Stores that don't stay as they were pulled, and get well again. */
@Tag("root")
class StoreVerifierTest {
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

  private static TestImage threeLayers() {
    TestImage image = new TestImage();
    for (String layer : List.of("a", "b", "c")) {
      var tar = new TarBuilder();
      for (int i = 0; i < 15; i++) {
        tar.file(layer + "/" + i, (layer + i).repeat(100));
      }
      image.gzipLayer(tar.build());
    }
    return image;
  }

  private StoreVerifier verifier() {
    return new StoreVerifier(house.store, house.snapshotter, house.registries(), house.layers);
  }

  private List<Checked> verify(boolean repair) throws InterruptedException {
    List<Checked> checked = new ArrayList<>();
    StoreVerifier verifier = verifier();
    verifier.verify(verifier.allLayers(), _ -> true, repair, Pace.unlimited(), checked::add);
    return checked;
  }

  private void damage(Image image, int layer, String... files) throws Exception {
    for (String file : files) {
      Path path = house.file(image, layer, file);
      Files.write(path, new byte[file.endsWith("0") ? 0 : (int) Files.size(path)]);
    }
  }

  @Test
  void damagedFilesAreNamedAndTheirLayersAloneFetchedAnewWhileAContainerRuns() throws Exception {
    TestImage content = threeLayers();
    registry.add("app", "v1", content);
    Image image = house.pull(registry.address() + "/app:v1");
    Snapshot _ = house.snapshotter.prepare("c1", image.layers());
    Path rootfs = Files.createDirectory(house.root.resolve("rootfs"));
    house.snapshotter.mount("c1", rootfs);
    String[] ofA = IntStream.range(0, 10).mapToObj(i -> "a/" + i).toArray(String[]::new);
    String[] ofC = IntStream.range(0, 10).mapToObj(i -> "c/" + i).toArray(String[]::new);
    damage(image, 0, ofA);
    damage(image, 2, ofC);
    registry.requests.clear();

    List<Checked> found = verify(false);
    assertThat(found).extracting(Checked::sound).containsExactly(false, true, false);
    assertThat(found.getFirst().found().flaws())
        .extracting(flaw -> flaw.path())
        .containsExactlyInAnyOrder(ofA);
    assertThat(found.getFirst().found().flaws().getFirst())
        .hasToString("a/0 has 0 bytes instead of 200");
    assertThat(registry.requests).isEmpty();
    List<Checked> repaired = verify(true);

    assertThat(repaired).extracting(Checked::sound).containsExactly(true, true, true);
    assertThat(repaired.getFirst().repair())
        .isEqualTo("fetched anew from " + registry.address() + "/app");
    assertThat(registry.lines().stream().filter(line -> line.contains("/blobs/")))
        .containsExactlyInAnyOrder(
            "GET /v2/app/blobs/" + content.layers.get(0).digest(),
            "GET /v2/app/blobs/" + content.layers.get(2).digest());
    assertThat(verify(false)).allMatch(Checked::sound);
    assertThat(house.file(image, 0, "a/0")).hasContent("a0".repeat(100));
    assertThat(house.file(image, 2, "c/9")).hasContent("c9".repeat(100));
    assertThat(rootfs.resolve("a/0")).as("what runs keeps its ground").isEmptyFile();
    assertThat(house.store.find(image.id().toString())).contains(image);
    Mounts.detach(rootfs);
    house.snapshotter.remove("c1");
    assertThat(house.root.resolve(".retired")).isEmptyDirectory();
  }

  @Test
  void pullOfADamagedImageFetchesWhatIsDamaged() throws Exception {
    TestImage content = threeLayers();
    registry.add("app", "v1", content);
    Image image = house.pull(registry.address() + "/app:v1");
    damage(image, 1, "b/3");
    assertThat(verify(false)).anyMatch(checked -> !checked.sound());
    registry.requests.clear();

    Image again = house.pull(registry.address() + "/app:v1");

    assertThat(again.id()).isEqualTo(image.id());
    assertThat(registry.lines())
        .contains("GET /v2/app/blobs/" + content.layers.get(1).digest())
        .doesNotContain("GET /v2/app/blobs/" + content.layers.get(0).digest());
    assertThat(house.file(image, 1, "b/3")).hasContent("b3".repeat(100));
    assertThat(verify(false)).allMatch(Checked::sound);
  }

  @Test
  void importOfADamagedImageMendsIt() throws Exception {
    byte[] archive = threeLayers().archive("store.example/app:1");
    Image image = house.importer.importArchive(new ByteArrayInputStream(archive), "").getFirst();
    damage(image, 1, "b/3");
    List<Checked> stays = verify(true);
    assertThat(stays).extracting(Checked::sound).containsExactly(true, false, true);
    assertThat(stays.get(1).images()).containsExactly("store.example/app:1");
    assertThat(stays.get(1).repair()).startsWith("couldn't be fetched anew: ");

    var _ = house.importer.importArchive(new ByteArrayInputStream(archive), "");

    assertThat(verify(false)).allMatch(Checked::sound);
  }

  @Test
  void withoutTheRegistryADamagedLayerStaysAndIsMendedLater() throws Exception {
    registry.add("app", "v1", threeLayers());
    Image image = house.pull(registry.address() + "/app:v1");
    damage(image, 2, "c/1");
    registry.script = exchange -> ScriptedRegistry.answer(exchange, 404, "{}");

    assertThat(verify(true)).extracting(Checked::sound).containsExactly(true, true, false);
    assertThat(house.store.list()).hasSize(1);
    assertThat(house.file(image, 2, "c/2")).hasContent("c2".repeat(100));

    registry.script = exchange -> false;
    assertThat(verify(true)).allMatch(Checked::sound);
  }

  @Test
  void uncleanBootMakesTheStoreMendItselfAndACleanOneDoesNot() throws Exception {
    registry.add("app", "v1", threeLayers());
    Image image = house.pull(registry.address() + "/app:v1");
    damage(image, 0, "a/0");
    var settings = new Scrubber.ScrubSettings(true, Duration.ZERO, 1L << 30, true);

    new ScrubMark(house.root, "boot-1", Clock.systemUTC()).close();
    ScrubMark clean = new ScrubMark(house.root, "boot-2", Clock.systemUTC());
    assertThat(clean.pendingSince()).isZero();
    // Killed, and started again while the machine ran on.
    assertThat(new ScrubMark(house.root, "boot-2", Clock.systemUTC()).pendingSince()).isZero();

    ScrubMark unclean = new ScrubMark(house.root, "boot-3", Clock.systemUTC());
    assertThat(unclean.pendingSince()).isPositive();
    assertThat(new ScrubMark(house.root, "boot-3", Clock.systemUTC()).pendingSince())
        .as("still to be done after a restart")
        .isEqualTo(unclean.pendingSince());
    try (var _ =
        Scrubber.start(
            verifier(),
            house.snapshotter,
            unclean,
            settings,
            Background.UNSEEN,
            Clock.systemUTC())) {
      long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
      while (unclean.pendingSince() > 0 && System.nanoTime() < deadline) {
        Thread.sleep(10);
      }
    }
    assertThat(unclean.pendingSince()).isZero();
    assertThat(unclean.completedAt()).isPositive();
    assertThat(house.file(image, 0, "a/0")).hasContent("a0".repeat(100));
    assertThat(verify(false)).allMatch(Checked::sound);
  }

  @Test
  void damagedMarkCountsAsDoubt() throws Exception {
    Files.write(house.root.resolve("scrub.json"), new byte[10]);
    assertThat(new ScrubMark(house.root, "boot-1", Clock.systemUTC()).pendingSince()).isPositive();
  }

  @Test
  void layerThatNoImageHasIsComparedToo() throws Exception {
    registry.add("app", "v1", threeLayers());
    Image image = house.pull(registry.address() + "/app:v1");
    Snapshot _ = house.snapshotter.prepare("c1", image.layers());
    damage(image, 0, "a/0");
    house.store.remove(image.id().toString());

    Checked first = verify(true).stream().filter(c -> !c.sound()).findFirst().orElseThrow();

    assertThat(first.repair()).startsWith("no image has it any more");
    house.snapshotter.remove("c1");
  }
}
