package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.snapshot.Snapshot;
import java.io.ByteArrayInputStream;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("root")
class StoreGraphTest {
  private static final byte[] BASE = TestImage.tar("base", "shared".repeat(2000));

  private ImageHouse house;

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse();
  }

  @AfterEach
  void close() {
    house.close();
  }

  @Test
  void layersOfSeveralImagesCountAsSharedAndNameAllTheirHolders() throws Exception {
    Image a = load("store.example/a:1", "one");
    Image b = load("store.example/b:1", "two");

    StoreGraph graph = graph();

    StoreGraph.ImageNode node = graph.image(a.id()).orElseThrow();
    assertThat(node.layers()).hasSize(2);
    assertThat(node.uniqueBytes()).isLessThan(node.bytes()).isPositive();
    assertThat(node.inUse()).isFalse();
    StoreGraph.LayerNode shared = layer(graph, a, 0);
    assertThat(shared.holders())
        .containsExactlyInAnyOrder("image store.example/a:1", "image store.example/b:1");
    assertThat(layer(graph, b, 1).holders()).containsExactly("image store.example/b:1");
  }

  @Test
  void pruningLeavesWhatIsUsedOrPinnedAndFreesWhatItSaid() throws Exception {
    Image used = load("store.example/used:1", "one");
    Image pinned = load("pinned.example/it:1", "two");
    Image idle = load("store.example/idle:1", "three");
    Snapshot _ = house.snapshotter.prepare("c1", used.layers());
    var pruner = new ImagePruner(house.store, house.snapshotter, this::graph);

    ImagePruner.Pruned promised = pruner.prune(false, Long.MAX_VALUE, true);
    assertThat(house.store.list()).hasSize(3);
    ImagePruner.Pruned done = pruner.prune(false, Long.MAX_VALUE, false);

    assertThat(done.images()).extracting(node -> node.image().id()).containsExactly(idle.id());
    assertThat(done.bytes()).isPositive();
    assertThat(promised.images()).hasSize(1);
    assertThat(promised.bytes()).isEqualTo(layerBytes(promised)).isEqualTo(done.bytes());
    assertThat(house.store.list())
        .extracting(Image::id)
        .containsExactlyInAnyOrder(used.id(), pinned.id());
    assertThat(graph().image(used.id()).orElseThrow().users()).containsExactly("container c1");
  }

  @Test
  void pruningCanBeLimitedToWhatHasNoTagOrIsOld() throws Exception {
    Image old = load("store.example/it:1", "one");
    Image _ = load("store.example/it:1", "two"); // takes the tag
    Image digestOnly = house.store.find(old.id().toString()).orElseThrow();
    assertThat(digestOnly.repoTags()).isEmpty();
    var pruner = new ImagePruner(house.store, house.snapshotter, this::graph);

    assertThat(pruner.prune(false, 1, false).images()).isEmpty();
    assertThat(pruner.prune(true, Long.MAX_VALUE, false).images())
        .extracting(node -> node.image().id())
        .containsExactly(old.id());
  }

  @Test
  void ofImagesThatDifferInTheirConfigsAloneOnlyTheOneThatIsUsedCountsAsUsed() throws Exception {
    Image used = load("store.example/used:1", "one", "root");
    Image idle = load("store.example/idle:1", "one", "1000");
    assertThat(idle.layers()).isEqualTo(used.layers());
    Snapshot _ = house.snapshotter.prepare("c1", used.layers());
    StoreGraph.Containers containers =
        id -> id.equals("c1") ? Optional.of(used.id()) : Optional.empty();

    StoreGraph graph = StoreGraph.of(house.store, house.snapshotter, containers);
    assertThat(graph.image(used.id()).orElseThrow().users()).containsExactly("container c1");
    assertThat(graph.image(idle.id()).orElseThrow().inUse()).isFalse();

    house.snapshotter.hold("volume:" + "ab".repeat(32) + ":" + idle.id().hex(), idle.layers());
    graph = StoreGraph.of(house.store, house.snapshotter, containers);
    assertThat(graph.image(idle.id()).orElseThrow().users()).hasSize(1);

    Snapshot _ = house.snapshotter.prepare("unknown", used.layers());
    graph = StoreGraph.of(house.store, house.snapshotter, containers);
    assertThat(graph.images())
        .as("of whom nothing is known may use either")
        .allMatch(node -> node.users().contains("container unknown"));
  }

  @Test
  void layersThatNothingRefersToSaySinceWhen() throws Exception {
    Image image = load("store.example/a:1", "one");
    house.snapshotter.hold("pull:1", image.layers());
    assertThat(graph().layers()).allMatch(layer -> layer.unreferencedSince() == 0);

    try (ImageHouse kept = new ImageHouse(Duration.ofMinutes(10))) {
      Image pulled =
          kept.importer
              .importArchive(
                  new ByteArrayInputStream(
                      new TestImage().gzipLayer(BASE).archive("store.example/b:1")),
                  "")
              .getFirst();
      kept.snapshotter.hold("pull:1", pulled.layers());
      kept.store.remove("store.example/b:1");
      kept.snapshotter.releaseLater("pull:1");

      assertThat(StoreGraph.of(kept.store, kept.snapshotter).layers())
          .hasSize(1)
          .allMatch(layer -> layer.holders().isEmpty() && layer.unreferencedSince() > 0);
      assertThat(
              new ImagePruner(
                      kept.store,
                      kept.snapshotter,
                      () -> StoreGraph.of(kept.store, kept.snapshotter))
                  .collect())
          .isPositive();
      assertThat(kept.snapshotter.layers()).isEmpty();
    }
  }

  private static long layerBytes(ImagePruner.Pruned pruned) {
    return pruned.images().stream().mapToLong(StoreGraph.ImageNode::uniqueBytes).sum();
  }

  private StoreGraph graph() {
    return StoreGraph.of(house.store, house.snapshotter);
  }

  private static StoreGraph.LayerNode layer(StoreGraph graph, Image image, int index) {
    return graph.layers().stream()
        .filter(node -> node.layer().chainId().equals(image.layers().get(index)))
        .findFirst()
        .orElseThrow();
  }

  /** An image of the common layer and one of its own. */
  private Image load(String name, String content) throws Exception {
    return load(name, content, "");
  }

  private Image load(String name, String content, String user) throws Exception {
    var image = new TestImage().gzipLayer(BASE).gzipLayer(TestImage.tar("own", content)).user(user);
    return house
        .importer
        .importArchive(new ByteArrayInputStream(image.archive(name)), "")
        .getFirst();
  }
}
