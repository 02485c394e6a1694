package io.berth.image;

import io.berth.oci.MediaTypes;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.List;
import java.util.Objects;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;
import org.jspecify.annotations.Nullable;

/** Whatever the indexes of an archive say, it is imported or refused, and leaves nothing. */
class ArchiveFuzzTest {
  private static final String ID = "0a".repeat(32);

  private static final List<String> LAYOUT =
      List.of(
          "{\"schemaVersion\": 2, \"manifests\": [",
          "{\"mediaType\": \"" + MediaTypes.OCI_MANIFEST + "\",",
          "{\"mediaType\": \"" + MediaTypes.OCI_INDEX + "\",",
          "\"digest\": \"sha256:" + ID + "\", \"size\": 2",
          "\"digest\": \"sha256:../../../etc/passwd\", \"size\": 2",
          ", \"annotations\": {\"org.opencontainers.image.ref.name\": \"v1\"}",
          "}",
          "]}",
          ",",
          "null");
  private static final List<String> DOCKER =
      List.of(
          "[{\"Config\": \"" + ID + ".json\",",
          "\"Config\": \"../../etc/passwd\",",
          "\"RepoTags\": [\"a:b\", null],",
          "\"Layers\": [\"" + ID + "/layer.tar\"",
          "\"Layers\": null",
          "]",
          "}]",
          "}",
          ",",
          "5");

  private static @Nullable ImageHouse house;

  @BeforeContainer
  static void open() throws IOException {
    house = new ImageHouse();
  }

  @AfterContainer
  static void close() {
    if (house != null) {
      house.close();
    }
  }

  @Provide
  Arbitrary<String> layout() {
    return SpoiltText.of(LAYOUT);
  }

  @Provide
  Arbitrary<String> docker() {
    return SpoiltText.of(DOCKER);
  }

  private static void imported(TarBuilder tar) throws Exception {
    ImageHouse here = Objects.requireNonNull(house);
    tar.file("blobs/sha256/" + ID, "{}").file(ID + ".json", "{}").file(ID + "/layer.tar", "");
    SpoiltText.answered(
        () -> here.importer.importArchive(new ByteArrayInputStream(tar.build()), "x.io/fuzz:1"));
    for (Image image : here.store.list()) {
      here.store.remove(image.id().toString());
    }
    here.awaitNothingLeft();
  }

  @Property
  void layouts(@ForAll("layout") String index) throws Exception {
    imported(
        new TarBuilder()
            .file("oci-layout", "{\"imageLayoutVersion\": \"1.0.0\"}")
            .file("index.json", index));
  }

  @Property
  void dockerArchives(@ForAll("docker") String index) throws Exception {
    imported(new TarBuilder().file("manifest.json", index));
  }
}
