package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.image.ImageException.Reason;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Names, ids and removal, with images that have no layers. */
class ImageStoreTest {
  private ImageHouse house;
  private ImageStore store;

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse();
    store = house.store;
  }

  @AfterEach
  void close() {
    house.close();
  }

  private Image put(TestImage image, List<String> tags, List<String> digests) {
    byte[] config = image.blob(image.id());
    return store.put(ImageParts.of(config, List.of()).record(tags, digests, Map.of(), List.of()));
  }

  private static TestImage user(String user) {
    return new TestImage().user(user);
  }

  @Test
  void everyNameFindsTheSameImage() {
    TestImage image = user("1");
    String digest = "quay.io/a/b@" + image.manifest().digest();
    Image put = put(image, List.of("docker.io/library/b:1", "quay.io/a/b:1"), List.of(digest));

    for (String name :
        List.of(
            "b:1",
            "docker.io/library/b:1",
            "quay.io/a/b:1",
            digest,
            image.id().toString(),
            image.id().hex(),
            image.id().hex().substring(0, 12),
            "sha256:" + image.id().hex().substring(0, 5))) {
      assertThat(store.find(name)).as(name).contains(put);
    }
    for (String name : List.of("b:2", "b", "quay.io/a/b", "sha256:zz", "", "a b")) {
      assertThat(store.find(name)).as(name).isEmpty();
    }
  }

  @Test
  void nameThatLooksLikeAnIdsBeginningMeansTheName() {
    TestImage image = user("1");
    String prefix = image.id().hex().substring(0, 1);
    Image other = put(user("2"), List.of("docker.io/library/" + prefix + ":latest"), List.of());
    Image unused = put(image, List.of(), List.of());

    assertThat(store.find(prefix)).contains(other);
    assertThat(store.find(unused.id().hex())).contains(unused);
  }

  @Test
  void ambiguousBeginningIsAnErrorThatListsTheIds() {
    List<Image> images = new ArrayList<>();
    for (int i = 0; i < 17; i++) { // one hexadecimal digit must repeat
      images.add(put(user("" + i), List.of(), List.of()));
    }
    String shared =
        images.stream()
            .map(image -> image.id().hex().substring(0, 1))
            .filter(digit ->
                images.stream().filter(image -> image.id().hex().startsWith(digit)).count() > 1)
            .findFirst()
            .orElseThrow();

    assertThatThrownBy(() -> store.find(shared))
        .isInstanceOf(ImageException.class)
        .hasMessageContaining("is ambiguous")
        .extracting(e -> ((ImageException) e).reason())
        .isEqualTo(Reason.AMBIGUOUS);
  }

  @Test
  void namesOfTheSameImageAddUpSortedAndOnce() {
    TestImage image = user("1");
    put(image, List.of("x.io/c:1"), List.of());
    put(image, List.of("x.io/a:1", "x.io/c:1"), List.of());
    Image put = put(image, List.of("x.io/b:1"), List.of());

    assertThat(put.repoTags()).containsExactly("x.io/a:1", "x.io/b:1", "x.io/c:1");
    assertThat(store.list()).containsExactly(put);
  }

  @Test
  void removalByAnyNameRemovesAllNames() throws Exception {
    TestImage image = user("1");
    put(image, List.of("x.io/a:1", "y.io/a:2"), List.of());

    store.remove("y.io/a:2");

    assertThat(store.find("x.io/a:1")).isEmpty();
    assertThat(store.find(image.id().toString())).isEmpty();
    assertThat(store.list()).isEmpty();
    store.remove("y.io/a:2");
    house.awaitNothingLeft();
  }

  @Test
  void parallelRemovalsAllSucceedAndNoneReturnsBeforeTheImageIsGone() throws Exception {
    for (int round = 0; round < 20; round++) {
      put(user("1"), List.of("x.io/a:1"), List.of());
      List<Future<Boolean>> gone = new ArrayList<>();
      try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
        for (int i = 0; i < 5; i++) {
          gone.add(
              executor.submit(() -> {
                store.remove("x.io/a:1");
                return store.find("x.io/a:1").isEmpty();
              }));
        }
      }
      for (Future<Boolean> each : gone) {
        assertThat(each.get()).isTrue();
      }
    }
  }

  @Test
  void pinnedNamesMarkTheirImageWhichCanStillBeRemoved() {
    TestImage image = user("1");
    assertThat(put(image, List.of("x.io/a:1"), List.of()).pinned()).isFalse();
    assertThat(put(image, List.of("pinned.example/it:1"), List.of()).pinned()).isTrue();

    store.remove("x.io/a:1");

    assertThat(store.list()).isEmpty();
  }

  @Test
  void filterMatchesNamesIdsAndWholeRepositories() {
    Image one = put(user("1"), List.of("x.io/a:1"), List.of());
    Image two = put(user("2"), List.of("x.io/a:2"), List.of());
    Image other = put(user("3"), List.of("x.io/ab:1"), List.of());

    assertThat(store.matching("x.io/a:1")).containsExactly(one);
    assertThat(store.matching("x.io/a")).containsExactlyInAnyOrder(one, two);
    assertThat(store.matching(other.id().toString())).containsExactly(other);
    assertThat(store.matching("x.io/a:3")).isEmpty();
    assertThat(store.matching("no such")).isEmpty();
  }

  @Test
  void recordsAreReadAgainAndTheYoungerOfTwoClaimsWins() throws Exception {
    TestImage image = user("1");
    Image put = put(image, List.of("x.io/a:1"), List.of());
    Path record = house.root.resolve("images/" + image.id().hex() + ".json");
    String claim = Files.readString(record);
    Thread.sleep(2); // the records' clock counts milliseconds
    Image younger = put(user("2"), List.of("x.io/a:1"), List.of());
    Files.writeString(record, claim); // as if the crash came before the tag was taken away

    try (ImageHouse again = new ImageHouse(house.root)) {
      assertThat(again.store.find("x.io/a:1")).contains(younger);
      assertThat(again.store.find(put.id().toString()).orElseThrow().repoTags()).isEmpty();
    }
  }

  @Test
  void usageCountsRecordsWithoutWalking() {
    assertThat(store.use().bytes()).isZero();
    put(user("1"), List.of("x.io/a:1"), List.of());
    assertThat(store.use().bytes()).isPositive();
    assertThat(store.use().bytes()).isEqualTo(4096);
    assertThat(store.use().inodes()).isEqualTo(1);
    assertThat(store.use().mountpoint()).isEqualTo(house.root);
  }
}
