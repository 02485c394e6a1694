package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.RecordFolder;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.oci.Json;
import io.berth.snapshot.LayerDraft;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Records of images go from one version of Berth to another, and back. */
class ImageRecordTest {
  private static final Digest DIFF_ID = Digest.parse("sha256:" + "5f".repeat(32));

  @TempDir private Path root;

  /** What the first version knew of an image. */
  record FirstVersion(
      Digest id,
      List<String> repoTags,
      List<String> repoDigests,
      long size,
      String config,
      List<ImageRecord.LayerRecord> layers,
      Map<String, String> annotations,
      long updatedAt) {}

  @Test
  void recordOfTheFirstVersionIsReadWholeAndThatVersionReadsWhatBecomesOfIt() throws Exception {
    Path images = Files.createDirectories(root.resolve("images"));
    Digest id;
    try (InputStream golden =
        ImageRecordTest.class.getResourceAsStream("image-record-of-the-first-version.json")) {
      byte[] content = Objects.requireNonNull(golden).readAllBytes();
      id = Json.read(content, FirstVersion.class, "golden record").id();
      Files.write(images.resolve(id.hex() + ".json"), content);
    }
    FirstVersion before = readByTheFirst(images, id);
    try (ImageHouse house = new ImageHouse(root)) {
      ChainId chain = ChainId.of(List.of(DIFF_ID)).getFirst();
      try (LayerDraft draft = house.snapshotter.draft(chain, null, DIFF_ID)) {
        assertThat(draft.commit().chainId()).isEqualTo(chain);
      }

      try (ImageHouse again = new ImageHouse(root)) {
        Image image = again.store.find("quay.io/team/app:v1").orElseThrow();
        assertThat(image.id()).isEqualTo(id);
        assertThat(image.repoDigests()).isEqualTo(before.repoDigests());
        assertThat(image.layers()).containsExactly(chain);
        assertThat(image.annotations()).isEqualTo(Map.of("io.example/why", "kept"));
        assertThat(image.signatures()).isEmpty();
        assertThat(image.artifactType()).isNull();

        var _ = again.store.addNames(id, List.of("quay.io/team/app:v2"), List.of(), Map.of());
        FirstVersion after = readByTheFirst(images, id);
        assertThat(after.repoTags()).containsExactly("quay.io/team/app:v1", "quay.io/team/app:v2");
        assertThat(after.layers()).isEqualTo(before.layers());
        assertThat(after.config()).isEqualTo(before.config());
        assertThat(after.size()).isEqualTo(before.size());
      }
    }
  }

  /** As that version did: one folder, unknown fields ignored. */
  private static FirstVersion readByTheFirst(Path images, Digest id) {
    FirstVersion record =
        new RecordFolder<>(images, FirstVersion.class, ImageRecord.FORMAT).readAll().get(id.hex());
    return Objects.requireNonNull(record);
  }
}
