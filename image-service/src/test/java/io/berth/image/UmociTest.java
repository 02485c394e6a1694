package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.linux.FileTree;
import io.berth.linux.Subprocess;
import io.berth.oci.Json;
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.zip.GZIPInputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Images of several layers give the tree that umoci unpacks, be they made by umoci or by others.
 */
@Tag("root")
class UmociTest {
  private Path folder;
  private LayerStack layers;

  @BeforeEach
  void open() throws Exception {
    layers = new LayerStack();
    folder = Files.createTempDirectory("berth-umoci");
  }

  @AfterEach
  void close() {
    if (layers != null) {
      layers.close();
      FileTree.delete(folder);
    }
  }

  private static TarBuilder tar() {
    return new TarBuilder();
  }

  /** Every folder is described: where one isn't, umoci makes it anew and Berth asks the layers. */
  private static TarBuilder base() {
    return tar()
        .folder("./")
        .mode(0750)
        .owner(5, 6)
        .mtime(1234)
        .folder("d")
        .mode(0644)
        .file("d/a", "1")
        .file("d/b", "2")
        .owner(0, 0)
        .mode(0755)
        .folder("d/sub")
        .file("d/sub/x", "x")
        .mode(04711)
        .file("tool", "tool")
        .link("same", "tool")
        .symlink("l", "d");
  }

  static List<List<TarBuilder>> images() {
    return List.of(
        List.of(base()),
        List.of(base(), tar().folder("./").file(".wh.tool", "").file(".wh.l", "")),
        List.of(base(), tar().folder("./").file(".wh.d", "")),
        List.of(base(), tar().folder("./").folder("d").file("d/.wh.a", "").file("d/c", "3")),
        List.of(base(), tar().folder("./").folder("d").file("d/.wh..wh..opq", "").file("d/c", "3")),
        List.of(base(), tar().folder("./").folder("d").file("d/c", "3").file("d/.wh..wh..opq", "")),
        List.of(base(), tar().folder("./").file("d", "no folder any more")),
        List.of(base(), tar().folder("./").folder("tool").file("tool/x", "a folder now")),
        List.of(base(), tar().folder("./").symlink("tool", "d/a")),
        List.of(base(), tar().folder("./").file("l", "no link any more")),
        List.of(
            base(),
            tar().folder("./").file(".wh.d", ""),
            tar().folder("./").folder("d").file("d/again", "1")),
        List.of(
            base(),
            tar().folder("./").mode(0600).file("tool", "new"),
            tar().folder("./").link("other", "tool").mode(0700).folder("d")));
  }

  @ParameterizedTest
  @MethodSource("images")
  void layersOfAllKindsGiveTheTreeOfUmoci(List<TarBuilder> tars) throws Exception {
    TestImage image = new TestImage();
    for (TarBuilder tar : tars) {
      byte[] archive = tar.build();
      image.gzipLayer(archive);
      layers.add(archive);
    }
    Path layout = image.writeLayout(folder, "it");

    assertThat(TreeListing.ofAll(layers.mount())).isEqualTo(unpackedByUmoci(layout, "it"));
  }

  /** What somebody does in a container, and umoci makes a layer of. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "rm -rf d",
        "rm d/a; echo 3 > d/c",
        "rm -rf d; mkdir d; echo new > d/n",
        "rm -rf d; echo file > d",
        "rm tool; mkdir tool; echo x > tool/x",
        "rm l; mkdir l; echo x > l/x",
        "rm same; echo mine > same",
        "chmod 0700 d/sub; chown 7:8 d/sub/x",
        "ln tool third; ln -s /nowhere d/dangling",
        "mkfifo p; mknod c c 1 3; mknod d/b2 b 8 1",
        "mkdir -p 'very deep/in here'; echo x > \"very deep/in here/$(printf 'n%.0s' $(seq 200))\"",
        "printf x > \"$(printf 'gr\\374n')\"; printf y > \"$(printf 'gr\\303\\274n')\"",
        "truncate -s 1M holes; echo end >> holes",
        "setfattr -n user.x -v y d/a || :; setcap cap_net_raw+ep tool || :",
        "touch -d '1965-05-05' tool; touch -d '2030-01-01 00:00:00.5' d/a",
        "mv d e; ln -s e d; echo 1 > e/n"
      })
  void layersThatUmociMakesGiveItsTree(String change) throws Exception {
    Path layout = new TestImage().gzipLayer(base().build()).writeLayout(folder, "it");
    Map<String, String> _ = unpackedByUmoci(layout, "it");
    Path bundle = folder.resolve("bundle-it");
    run(bundle.resolve("rootfs"), "sh", "-ec", change);
    run(folder, "umoci", "repack", "--image", layout + ":changed", bundle.toString());
    for (byte[] archive : archives(layout, "changed")) {
      layers.add(archive);
    }

    Map<String, String> unpacked = TreeListing.ofAll(layers.mount());

    assertThat(unpacked).isEqualTo(unpackedByUmoci(layout, "changed"));
    assertThat(unpacked.keySet()).isEqualTo(TreeListing.ofAll(bundle.resolve("rootfs")).keySet());
  }

  private Map<String, String> unpackedByUmoci(Path layout, String tag) throws Exception {
    Path bundle = folder.resolve("bundle-" + tag);
    run(folder, "umoci", "unpack", "--image", layout + ":" + tag, bundle.toString());
    return TreeListing.ofAll(bundle.resolve("rootfs"));
  }

  private static List<byte[]> archives(Path layout, String tag) throws Exception {
    JsonNode named =
        json(layout.resolve("index.json"))
            .get("manifests")
            .valueStream()
            .filter(entry ->
                entry.at("/annotations/org.opencontainers.image.ref.name").asText().equals(tag))
            .findFirst()
            .orElseThrow();
    JsonNode manifest = json(blob(layout, named));
    List<byte[]> archives = new ArrayList<>();
    for (JsonNode layer : manifest.get("layers")) {
      try (var in =
          new GZIPInputStream(new ByteArrayInputStream(Files.readAllBytes(blob(layout, layer))))) {
        archives.add(in.readAllBytes());
      }
    }
    return archives;
  }

  private static Path blob(Path layout, JsonNode descriptor) {
    return layout.resolve("blobs").resolve(descriptor.get("digest").asText().replace(':', '/'));
  }

  private static JsonNode json(Path file) throws Exception {
    return Json.read(Files.readAllBytes(file), JsonNode.class, file.toString());
  }

  private static void run(Path in, String... argv) throws Exception {
    List<String> command = new ArrayList<>(List.of("/usr/bin/env"));
    command.addAll(List.of(argv));
    var result =
        Subprocess.command(command)
            .environment(
                Map.of("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL", "C.UTF-8", "TZ", "UTC"))
            .directory(in)
            .run();
    assertThat(result.ok()).as("%s: %s", List.of(argv), result.err()).isTrue();
  }
}
