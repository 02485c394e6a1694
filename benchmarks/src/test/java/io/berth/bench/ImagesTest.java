package io.berth.bench;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Subprocess;
import io.berth.oci.Digest;
import io.berth.oci.ImageConfig;
import io.berth.oci.ImageIndex;
import io.berth.oci.ImageManifest;
import io.berth.oci.Json;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.zip.GZIPInputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.opentest4j.TestAbortedException;

final class ImagesTest {
  private static final long SMALL = 3 << 20;

  @TempDir Path folder = Path.of("");

  @BeforeEach
  void needBusybox() {
    if (!Files.isExecutable(Path.of("/bin/busybox"))) {
      String missing = "/bin/busybox is missing: apt-get install busybox-static";
      if ("true".equals(System.getenv("CI"))) {
        throw new AssertionError(missing);
      }
      throw new TestAbortedException(missing);
    }
  }

  @Test
  void demoImageIsTheSameEachTime() throws Exception {
    DemoImage.write(folder.resolve("one.tar"));
    DemoImage.write(folder.resolve("two.tar"));
    assertThat(folder.resolve("one.tar")).hasSameBinaryContentAs(folder.resolve("two.tar"));
  }

  @Test
  void demoImageIsADockerArchiveOfHardLinks() throws Exception {
    DemoImage.write(folder.resolve("image.tar"));
    Map<String, byte[]> archive = contents(Files.newInputStream(folder.resolve("image.tar")));
    var manifest = Json.MAPPER.readTree(archive.get("manifest.json")).get(0);
    assertThat(manifest.at("/RepoTags/0").asText()).isEqualTo(DemoImage.NAME);
    byte[] layer = archive.getOrDefault(manifest.at("/Layers/0").asText(), new byte[0]);
    ImageConfig config =
        Json.read(
            archive.getOrDefault(manifest.at("/Config").asText(), new byte[0]),
            ImageConfig.class,
            "the configuration");
    assertThat(config.rootfs().diffIds()).containsExactly(Digest.sha256(layer));
    Map<String, TarArchiveEntry> files = entries(new ByteArrayInputStream(layer));
    assertThat(files).containsKeys("bin/busybox", "www/index.html", "tmp/");
    assertThat(files.get("bin/httpd")).isNotNull().matches(TarArchiveEntry::isLink);
  }

  @Test
  void unpackedImageRuns() throws Exception {
    Path root = DemoImage.unpack(folder.resolve("root"));
    assertThat(Subprocess.command(root.resolve("bin/echo").toString(), "hello").run().out())
        .isEqualTo("hello\n");
  }

  @Test
  void largeImageIsTheSameEachTime() throws Exception {
    LargeImage one = LargeImage.make(folder.resolve("one"), SMALL, LargeImage.FEW_LAYERS);
    LargeImage two = LargeImage.make(folder.resolve("two"), SMALL, LargeImage.FEW_LAYERS);
    assertThat(one.facts()).isEqualTo(two.facts());
    assertThat(folder.resolve("one/index.json"))
        .hasSameBinaryContentAs(folder.resolve("two/index.json"));
  }

  @Test
  void largeImageIsMadeOncePerFolder() throws Exception {
    LargeImage.make(folder.resolve("image"), SMALL, LargeImage.FEW_LAYERS);
    Path layer =
        LargeImage.make(folder.resolve("image"), SMALL, LargeImage.FEW_LAYERS).layers().getFirst();
    Files.delete(layer); // would come back if it were made again
    assertThat(LargeImage.make(folder.resolve("image"), SMALL, LargeImage.FEW_LAYERS).layers())
        .contains(layer);
    assertThat(layer).doesNotExist();
  }

  @Test
  void largeImageHoldsWhatItsManifestSays() throws Exception {
    LargeImage image = LargeImage.make(folder.resolve("image"), SMALL, LargeImage.FEW_LAYERS);
    assertThat(image.facts().compressed()).isBetween(SMALL, SMALL + (4 << 20));
    assertThat(image.facts().unpacked()).isGreaterThan(2 * image.facts().compressed());
    ImageIndex index =
        Json.read(
            Files.readAllBytes(folder.resolve("image/index.json")), ImageIndex.class, "the index");
    ImageManifest manifest = blob(index.manifests().getFirst().digest(), ImageManifest.class);
    ImageConfig config = blob(manifest.config().digest(), ImageConfig.class);
    assertThat(manifest.layers()).hasSize(5);
    for (int i = 0; i < 5; i++) {
      byte[] gzip = Files.readAllBytes(image.layers().get(i));
      assertThat(Digest.sha256(gzip)).isEqualTo(manifest.layers().get(i).digest());
      assertThat(gzip.length).isEqualTo(manifest.layers().get(i).size());
      try (var tar = new GZIPInputStream(new ByteArrayInputStream(gzip))) {
        assertThat(Digest.sha256(tar.readAllBytes())).isEqualTo(config.rootfs().diffIds().get(i));
      }
    }
  }

  private <T> T blob(Digest digest, Class<T> type) throws IOException {
    return Json.read(
        Files.readAllBytes(folder.resolve("image/blobs/sha256/" + digest.hex())),
        type,
        digest.toString());
  }

  private static Map<String, byte[]> contents(InputStream archive) throws IOException {
    Map<String, byte[]> contents = new HashMap<>();
    try (var tar = new TarArchiveInputStream(archive)) {
      for (var entry = tar.getNextEntry(); entry != null; entry = tar.getNextEntry()) {
        contents.put(entry.getName(), tar.readAllBytes());
      }
    }
    return contents;
  }

  private static Map<String, TarArchiveEntry> entries(InputStream archive) throws IOException {
    Map<String, TarArchiveEntry> entries = new HashMap<>();
    try (var tar = new TarArchiveInputStream(archive)) {
      for (var entry = tar.getNextEntry(); entry != null; entry = tar.getNextEntry()) {
        entries.put(entry.getName(), entry);
      }
    }
    return entries;
  }
}
