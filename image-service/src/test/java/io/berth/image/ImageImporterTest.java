package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.github.luben.zstd.Zstd;
import io.berth.image.ImageException.Reason;
import io.berth.oci.Digest;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("root")
class ImageImporterTest {
  @TempDir private Path folder;
  private ImageHouse house;
  private final TestImage image =
      new TestImage()
          .gzipLayer(TestImage.tar("a", "1"))
          .gzipLayer(TestImage.tar("b", "2"))
          .user("app");

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse();
  }

  @AfterEach
  void close() {
    house.close();
  }

  private List<Image> load(byte[] archive, String name) throws InterruptedException {
    return house.importer.importArchive(new ByteArrayInputStream(archive), name);
  }

  private byte[] archiveBySkopeo(String transport, String name) throws Exception {
    Path layout = image.writeLayout(folder.resolve("layout"), "v1");
    Path archive = folder.resolve("archive.tar");
    DockerRegistry.skopeo(
        "copy",
        "oci:" + layout + ":v1",
        transport + ":" + archive + (name.isEmpty() ? "" : ":" + name));
    return Files.readAllBytes(archive);
  }

  private static byte[] tarOf(Path layout) throws IOException {
    TarBuilder tar = new TarBuilder();
    try (var files = Files.walk(layout)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        tar.entry('0', layout.relativize(file).toString(), "", Files.readAllBytes(file));
      }
    }
    return tar.build();
  }

  @Test
  void ociArchiveOfSkopeoIsImported() throws Exception {
    Image imported = load(archiveBySkopeo("oci-archive", "example.com/app:v1"), "").getFirst();

    assertThat(imported.id()).isEqualTo(image.id());
    assertThat(imported.repoTags()).containsExactly("example.com/app:v1");
    assertThat(imported.repoDigests()).hasSize(1);
    assertThat(house.file(imported, 1, "b")).hasContent("2");
    assertThat(house.store.list()).containsExactly(imported);
    assertThat(house.root.resolve("import")).isEmptyDirectory();
  }

  @ParameterizedTest
  @ValueSource(strings = {"plain", "gzip", "zstd"})
  void dockerArchiveIsImportedWhateverItsCompression(String compression) throws Exception {
    byte[] archive = archiveBySkopeo("docker-archive", "example.com/app:v1");
    byte[] packed =
        switch (compression) {
          case "gzip" -> TestImage.gzip(archive);
          case "zstd" -> Zstd.compress(archive);
          default -> archive;
        };

    Image imported = load(packed, "").getFirst();

    assertThat(imported.repoTags()).containsExactly("example.com/app:v1");
    assertThat(imported.config().config().user()).isEqualTo("app");
    assertThat(imported.size()).isPositive();
    assertThat(house.file(imported, 0, "a")).hasContent("1");
  }

  @Test
  void bareTagIsCompletedByTheGivenName() throws Exception {
    byte[] archive = tarOf(image.writeLayout(folder.resolve("layout"), "v7"));

    assertThatThrownBy(() -> load(archive, ""))
        .isInstanceOf(ImageException.class)
        .hasMessageContaining("doesn't name its image");
    house.awaitNothingLeft();
    assertThat(load(archive, "example.com/app").getFirst().repoTags())
        .containsExactly("example.com/app:v7");
  }

  @Test
  void corruptBlobIsRefusedAndLeavesNothing() throws Exception {
    Path layout = image.writeLayout(folder.resolve("layout"), "example.com/app:v1");
    Digest broken = image.layers.getLast().digest();
    byte[] bytes = image.blob(broken).clone();
    bytes[bytes.length - 2] ^= 1;
    Files.write(layout.resolve("blobs/sha256/" + broken.hex()), bytes);

    assertThatThrownBy(() -> load(tarOf(layout), ""))
        .isInstanceOf(ImageException.class)
        .hasMessageStartingWith("import archive: ")
        .hasMessageContaining(broken.toString())
        .extracting(e -> ((ImageException) e).reason())
        .isEqualTo(Reason.CORRUPT);
    house.awaitNothingLeft();
  }

  @ParameterizedTest
  @ValueSource(strings = {"a text", "an archive of something else", "a cut archive"})
  void whatIsNoImageArchiveIsRefused(String what) throws Exception {
    byte[] good = tarOf(image.writeLayout(folder.resolve("layout"), "example.com/app:v1"));
    byte[] archive =
        switch (what) {
          case "a text" -> "hello\n".repeat(1000).getBytes(UTF_8);
          case "a cut archive" -> java.util.Arrays.copyOf(good, 700);
          default -> TestImage.tar("etc/passwd", "root");
        };

    assertThatThrownBy(() -> load(archive, "")).isInstanceOf(ImageException.class);
    house.awaitNothingLeft();
  }

  @Test
  void namesInTheArchiveNeverBecomePaths() throws Exception {
    Path canary = folder.resolve("canary");
    byte[] evil =
        new TarBuilder()
            .file("../../../../../../../../" + canary, "evil")
            .symlink("index.json", "/etc/passwd")
            .file("oci-layout", "{}")
            .build();

    assertThatThrownBy(() -> load(evil, ""))
        .isInstanceOf(ImageException.class)
        .message()
        .doesNotContain("root:");
    assertThat(canary).doesNotExist();
    house.awaitNothingLeft();
  }

  @Test
  void preloadFolderIsReadAndUnchangedFilesAreSkipped() throws Exception {
    Path preload = Files.createDirectories(folder.resolve("preload"));
    Files.write(
        preload.resolve("app.tar.gz"),
        TestImage.gzip(tarOf(image.writeLayout(folder.resolve("layout"), "example.com/app:v1"))));
    Files.writeString(preload.resolve("broken.tar"), "broken");
    Files.writeString(preload.resolve("README"), "not an archive");

    house.importer.preload(preload);
    house.importer.preload(folder.resolve("absent"));

    assertThat(house.store.find("example.com/app:v1")).isPresent();
    byte[] record = onlyFile(house.root.resolve("preloaded"));
    house.importer.preload(preload);
    assertThat(onlyFile(house.root.resolve("preloaded"))).isEqualTo(record);
    house.store.remove("example.com/app:v1");
    house.importer.preload(preload);
    assertThat(house.store.find("example.com/app:v1")).isPresent();
  }

  private static byte[] onlyFile(Path parent) throws IOException {
    try (var files = Files.list(parent)) {
      return Files.readAllBytes(files.findFirst().orElseThrow());
    }
  }
}
