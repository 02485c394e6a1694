package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Background;
import io.berth.linux.DiskSpace;
import io.berth.snapshot.Snapshot;
import java.io.ByteArrayInputStream;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** A disk of a thousand bytes, of which each image takes a hundred. */
@Tag("root")
class ImageGcTest {
  private final Instant now = Instant.now().plus(Duration.ofHours(1));

  private ImageHouse house;
  private long others = 500;
  private long inodes;

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse();
  }

  @AfterEach
  void close() {
    house.close();
  }

  private Image load(String name) throws Exception {
    byte[] archive = new TestImage().gzipLayer(TestImage.tar("f", name)).archive(name);
    Image image = house.importer.importArchive(new ByteArrayInputStream(archive), "").getFirst();
    long came = System.currentTimeMillis();
    while (System.currentTimeMillis() == came) {
      Thread.onSpinWait(); // which came first is told by the clock
    }
    return image;
  }

  private DiskSpace disk() {
    long used = others + 100L * house.store.list().size();
    return new DiskSpace(1000, 1000 - used, 100, 100 - inodes);
  }

  private ImageGc gc(Duration minimumAge) {
    return new ImageGc(
        house.store,
        house.snapshotter,
        () -> StoreGraph.of(house.store, house.snapshotter),
        new ImageGc.Settings(85, 80, minimumAge, Duration.ofMinutes(1), Duration.ZERO),
        this::disk,
        Background.UNSEEN,
        Clock.fixed(now, ZoneOffset.UTC));
  }

  @Test
  void longestUnusedImagesGoUntilTheLowThresholdAndNoFurther() throws Exception {
    Image oldest = load("gc.example/oldest:1");
    Image used = load("gc.example/used:1");
    Image pinned = load("pinned.example/it:1");
    Image young = load("gc.example/young:1");
    Snapshot _ = house.snapshotter.prepare("c1", used.layers());
    assertThat(disk().usedPercent()).isEqualTo(90);

    assertThat(gc(Duration.ZERO).collect()).extracting(Image::id).containsExactly(oldest.id());
    assertThat(gc(Duration.ZERO).collect()).as("80 is below the high threshold").isEmpty();

    others = 900;
    assertThat(gc(Duration.ZERO).collect())
        .as("neither what is used nor what is pinned, however full it is")
        .hasSizeLessThanOrEqualTo(1);
    assertThat(house.store.list())
        .extracting(Image::id)
        .contains(used.id(), pinned.id())
        .doesNotContain(young.id());
  }

  @Test
  void youngImagesStayAndInodesCountToo() throws Exception {
    Image image = load("gc.example/one:1");
    inodes = 90;
    assertThat(gc(Duration.ofHours(2)).collect()).isEmpty();
    assertThat(gc(Duration.ofMinutes(1)).collect())
        .extracting(Image::id)
        .containsExactly(image.id());
  }

  @Test
  void imageThatWasUsedCountsFromThenOn() throws Exception {
    Image first = load("gc.example/first:1");
    Image second = load("gc.example/second:1");
    others = 600;
    inodes = 0;
    ImageGc gc = gc(Duration.ZERO);
    Snapshot _ = house.snapshotter.prepare("c1", first.layers());
    assertThat(gc.collect()).isEmpty();
    house.snapshotter.remove("c1");
    others = 700;
    assertThat(gc.collect()).extracting(Image::id).containsExactly(second.id());
  }
}
