package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.image.ImageException.Reason;
import io.berth.image.ImageExporter.Format;
import io.berth.image.ImageExporter.Packing;
import io.berth.linux.Subprocess;
import io.berth.oci.Digest;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Images that come, go out as an archive, and come again elsewhere. */
@Tag("root")
@Timeout(300)
class ImageExporterTest {
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

  private Image pull(TestImage image) throws Exception {
    registry.add("team/app", "v1", image);
    return house.pull(name());
  }

  private String name() {
    return registry.address() + "/team/app:v1";
  }

  private byte[] export(Format format, Packing packing, String... names) throws Exception {
    var out = new ByteArrayOutputStream();
    exporter().export(List.of(names), format, packing, out, (layer, number, count, bytes) -> {});
    return out.toByteArray();
  }

  private ImageExporter exporter() {
    return new ImageExporter(house.root, house.store, house.snapshotter);
  }

  private byte[] layerOf(byte[] tar) throws Exception {
    Image image = pull(new TestImage().gzipLayer(tar));
    var out = new ByteArrayOutputStream();
    try (var archive =
        new LayerArchive(house.snapshotter, image.layers(), house.root.resolve("unused"), out)) {
      archive.write();
      assertThat(archive.length()).isEqualTo(out.size());
    }
    return out.toByteArray();
  }

  private static final TestImage THREE =
      new TestImage()
          .gzipLayer(
              new TarBuilder()
                  .folder("usr/")
                  .folder("usr/lib/")
                  .symlink("lib", "usr/lib")
                  .file("usr/lib/a", "below")
                  .file("etc/gone", "soon")
                  .build())
          .zstdLayer(
              new TarBuilder()
                  .file("lib/b", "through a link of the layer below")
                  .file("etc/.wh.gone", "")
                  .link("etc/linked", "usr/lib/a")
                  .build())
          .plainLayer(TestImage.tar("c", "x".repeat(300_000)));

  @ParameterizedTest
  @CsvSource({"OCI,NONE", "OCI,GZIP", "OCI,ZSTD", "DOCKER,NONE", "DOCKER,GZIP", "DOCKER,ZSTD"})
  void anArchiveMakesTheSameImageElsewhere(Format format, Packing packing) throws Exception {
    Image image = pull(THREE);
    byte[] archive = export(format, packing, name());
    registry.close();
    try (ImageHouse other = new ImageHouse()) {
      List<Image> imported = other.importer.importArchive(new ByteArrayInputStream(archive), "");
      assertThat(imported)
          .singleElement()
          .satisfies(found -> {
            assertThat(found.id()).isEqualTo(image.id());
            assertThat(found.repoTags()).containsExactly(name());
            assertThat(found.layers()).isEqualTo(image.layers());
          });
      assertThat(other.file(imported.getFirst(), 1, "usr/lib/b"))
          .hasContent("through a link of the layer below");
    }
    assertThat(house.root.resolve("export")).isEmptyDirectory();
  }

  @Test
  void skopeoReadsAnArchive() throws Exception {
    Image image = pull(THREE);
    for (Format format : Format.values()) {
      Path file = house.root.resolve(format + ".tar");
      Files.write(file, export(format, Packing.NONE, name()));
      String source =
          format == Format.OCI ? "oci-archive:" + file + ":v1" : "docker-archive:" + file;
      Subprocess.Result shown =
          Subprocess.command("/usr/bin/skopeo", "inspect", "--config", "--raw", source)
              .environment(Map.of("PATH", "/usr/bin:/bin", "HOME", "/root"))
              .outputLimit(1 << 20)
              .run(Duration.ofMinutes(2));
      assertThat(shown.ok()).as(shown.err()).isTrue();
      assertThat(Digest.sha256(shown.stdout())).isEqualTo(image.id());
    }
  }

  /** What tools write, and what only a test would. */
  static List<byte[]> tars() {
    List<byte[]> tars = new ArrayList<>();
    tars.add(new TarBuilder().build());
    tars.add(new TarBuilder().file("empty", "").file("a", "one").file("d/b", "two").build());
    tars.add(
        new TarBuilder()
            .pax("SCHILY.xattr.user.team", "blue")
            .pax("comment", "any")
            .file("p", "content with attributes")
            .build());
    tars.add(new TarBuilder().file("n".repeat(90) + "/" + "m".repeat(200), "long").build());
    tars.add(
        new TarBuilder()
            .file("a", "x".repeat(200_000))
            .link("b", "a")
            .symlink("c", "a")
            .folder("d/")
            .build());
    // Not whole blocks at the end, as some tools write; and much behind it.
    byte[] plain = TestImage.tar("a", "b");
    tars.add(Arrays.copyOf(plain, 1024));
    tars.add(TestImage.join(plain, new byte[100_000], "behind".getBytes(UTF_8)));
    // Content that isn't a file of the tree: of notes, of whiteouts, of links.
    tars.add(
        new TarBuilder()
            .file(".wh..wh.plnk/1.2", "a note of aufs")
            .file(".wh.x", "content of a whiteout")
            .file("d/.wh..wh..opq", "")
            .build());
    tars.add(new TarBuilder().file("x/../a", "cleaned").file("./b", "dotted").build());
    return tars;
  }

  @Test
  void layersComeOutByteForByte() throws Exception {
    for (byte[] tar : tars()) {
      assertThat(Digest.sha256(layerOf(tar))).isEqualTo(Digest.sha256(tar));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"gnu", "posix", "oldgnu", "ustar", "v7"})
  void whatGnuTarWritesComesOutByteForByte(String form) throws Exception {
    Path tree = Files.createDirectories(house.root.resolve("tree/deep/deeper"));
    Files.writeString(tree.resolve("text"), "some text\n".repeat(10_000));
    Files.createSymbolicLink(tree.resolve("link"), Path.of("text"));
    Files.createLink(tree.resolve("hard"), tree.resolve("text"));
    try (var sparse = new RandomAccessFile(tree.resolve("sparse").toFile(), "rw")) {
      for (int piece = 0; piece < 30; piece++) {
        sparse.seek(piece * 1_000_000L);
        sparse.writeBytes("island " + piece);
      }
      sparse.setLength(40_000_000);
    }
    List<String> command =
        new ArrayList<>(List.of("/usr/bin/tar", "--format=" + form, "-cf", "-", "-C"));
    command.addAll(List.of(house.root.resolve("tree").toString(), "."));
    if (!form.equals("ustar") && !form.equals("v7")) {
      command.add(1, "--sparse");
    }
    Subprocess.Result written =
        Subprocess.command(command)
            .environment(Map.of("PATH", "/usr/bin:/bin"))
            .outputLimit(64 << 20)
            .run(Duration.ofMinutes(2));
    assertThat(written.ok()).as(written.err()).isTrue();
    assertThat(Digest.sha256(layerOf(written.stdout()))).isEqualTo(Digest.sha256(written.stdout()));
  }

  @Test
  void anArchiveThatNamesAFileTwiceIsRefusedAndNothingRemains() throws Exception {
    pull(new TestImage().gzipLayer(new TarBuilder().file("a", "first").file("a", "later").build()));
    assertThatThrownBy(() -> export(Format.OCI, Packing.GZIP, name()))
        .isInstanceOfSatisfying(
            ImageException.class, e -> assertThat(e.reason()).isEqualTo(Reason.CORRUPT))
        .hasMessageContaining("export " + name())
        .hasMessageContaining("named a file twice");
    assertThat(house.root.resolve("export")).isEmptyDirectory();
  }

  @Test
  void aLayerWhoseFilesHaveChangedIsNamed() throws Exception {
    Image image = pull(new TestImage().gzipLayer(TestImage.tar("a", "content")));
    Path file = house.file(image, 0, "a");
    Files.writeString(file, "CONTENT");
    assertThatThrownBy(() -> export(Format.DOCKER, Packing.NONE, name()))
        .hasMessageContaining("layer " + image.layers().getFirst())
        .hasMessageContaining("image verify --repair");
    Files.writeString(file, "con");
    assertThatThrownBy(() -> export(Format.OCI, Packing.ZSTD, name()))
        .hasMessageContaining("a is shorter");
    Files.delete(file);
    assertThatThrownBy(() -> export(Format.OCI, Packing.NONE, name()))
        .hasMessageContaining("isn't what was pulled: a ")
        .hasMessageContaining("image verify --repair");
  }

  @Test
  void aLayerOfAnEarlierVersionIsRefusedWithWhatHelps() throws Exception {
    Image image = pull(new TestImage().gzipLayer(TestImage.tar("a", "content")));
    Files.delete(house.snapshotter.archiveRecord(image.layers().getFirst()).orElseThrow());
    assertThatThrownBy(() -> export(Format.OCI, Packing.GZIP, name()))
        .isInstanceOfSatisfying(
            ImageException.class, e -> assertThat(e.reason()).isEqualTo(Reason.UNSUPPORTED))
        .hasMessageContaining("has no record of the archive")
        .hasMessageContaining("remove the image");
  }

  @Test
  void whatIsNotHereIsNotFound() {
    assertThatThrownBy(() -> export(Format.OCI, Packing.GZIP, "absent:1"))
        .isInstanceOfSatisfying(
            ImageException.class, e -> assertThat(e.reason()).isEqualTo(Reason.NOT_FOUND));
  }

  @Test
  void aReceiverThatFailsEndsTheExportAndNothingRemains() throws Exception {
    pull(THREE);
    var full =
        new OutputStream() {
          @Override
          public void write(int b) {
            throw new IllegalStateException("no room");
          }
        };
    assertThatThrownBy(() ->
            exporter()
                .export(
                    List.of(name()),
                    Format.OCI,
                    Packing.GZIP,
                    full,
                    (layer, number, count, bytes) -> {}))
        .hasMessageContaining("no room");
    assertThat(house.root.resolve("export")).isEmptyDirectory();
    assertThat(house.snapshotter.holds().keySet()).noneMatch(owner -> owner.startsWith("export:"));
  }

  @Test
  void severalImagesShareTheirLayersInAnArchive() throws Exception {
    byte[] base = TestImage.tar("base", "b".repeat(400_000));
    registry.add("team/one", "v1", new TestImage().plainLayer(base).user("1"));
    registry.add("team/two", "v1", new TestImage().plainLayer(base).user("2"));
    Image one = house.pull(registry.address() + "/team/one:v1");
    Image two = house.pull(registry.address() + "/team/two:v1");
    byte[] archive =
        export(Format.OCI, Packing.NONE, one.id().toString(), two.repoTags().getFirst());
    assertThat(archive.length).isLessThan(2 * base.length);
    try (ImageHouse other = new ImageHouse()) {
      assertThat(other.importer.importArchive(new ByteArrayInputStream(archive), ""))
          .extracting(Image::id)
          .containsExactly(one.id(), two.id());
    }
  }

  @Test
  void whatALayerTakesIncludesTheRecordOfItsArchive() throws Exception {
    TarBuilder tar = new TarBuilder();
    for (int i = 0; i < 5_000; i++) {
      tar.file("file-" + i * 7919L % 100_003, "");
    }
    Image image = pull(new TestImage().gzipLayer(tar.build()));
    Path folder = house.file(image, 0, "..");
    Subprocess.Result du =
        Subprocess.command("/usr/bin/du", "-s", "-B1", folder.toString())
            .environment(Map.of("PATH", "/usr/bin"))
            .run(Duration.ofMinutes(1));
    long bytes = Long.parseLong(du.out().split("\\s")[0]);
    var usage = house.snapshotter.layer(image.layers().getFirst()).orElseThrow().usage();
    assertThat(usage.bytes()).isBetween(bytes * 99 / 100, bytes * 101 / 100);
  }
}
