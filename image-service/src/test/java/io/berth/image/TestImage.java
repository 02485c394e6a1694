package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.github.luben.zstd.Zstd;
import io.berth.linux.FileTree;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageIndex;
import io.berth.oci.ImageManifest;
import io.berth.oci.Json;
import io.berth.oci.MediaTypes;
import io.berth.oci.Platform;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.jspecify.annotations.Nullable;

/** An image made up for a test: its manifest and all of its blobs. */
final class TestImage {
  final Map<Digest, byte[]> blobs = new LinkedHashMap<>();
  final List<Descriptor> layers = new ArrayList<>();
  private final List<Digest> diffIds = new ArrayList<>();
  private String user = "";
  private String architecture = "amd64";
  private @Nullable Built built;

  private record Built(Descriptor config, Descriptor manifest) {}

  static byte[] gzip(byte[] content) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
      gzip.write(content);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
    return out.toByteArray();
  }

  static byte[] join(byte[]... parts) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      out.writeBytes(part);
    }
    return out.toByteArray();
  }

  /** A layer holding one file. */
  static byte[] tar(String name, String content) {
    return new TarBuilder().file(name, content).build();
  }

  TestImage gzipLayer(byte[] tar) {
    return layer(gzip(tar), tar, MediaTypes.OCI_LAYER_GZIP);
  }

  TestImage zstdLayer(byte[] tar) {
    return layer(Zstd.compress(tar), tar, MediaTypes.OCI_LAYER_ZSTD);
  }

  TestImage plainLayer(byte[] tar) {
    return layer(tar, tar, MediaTypes.OCI_LAYER);
  }

  TestImage layer(byte[] blob, byte[] tar, String mediaType) {
    layers.add(Descriptor.of(mediaType, add(blob), blob.length));
    diffIds.add(Digest.sha256(tar));
    return this;
  }

  TestImage user(String value) {
    user = value;
    return this;
  }

  TestImage architecture(String value) {
    architecture = value;
    return this;
  }

  private Digest add(byte[] blob) {
    Digest digest = Digest.sha256(blob);
    blobs.put(digest, blob);
    return digest;
  }

  private Built built() {
    Built done = built;
    if (done == null) {
      ObjectNode config = Json.MAPPER.createObjectNode();
      config.put("created", "2026-01-01T00:00:00Z");
      config.put("architecture", architecture).put("os", "linux");
      config.putObject("config").put("User", user).putArray("Cmd").add("/bin/true");
      ArrayNode ids = config.putObject("rootfs").put("type", "layers").putArray("diff_ids");
      diffIds.forEach(id -> ids.add(id.toString()));
      byte[] configBytes = Json.write(config);
      Descriptor configBlob =
          Descriptor.of(MediaTypes.OCI_CONFIG, add(configBytes), configBytes.length);
      byte[] manifest =
          Json.write(new ImageManifest(2, MediaTypes.OCI_MANIFEST, null, configBlob, layers, null));
      done =
          new Built(
              configBlob, Descriptor.of(MediaTypes.OCI_MANIFEST, add(manifest), manifest.length));
      built = done;
    }
    return done;
  }

  Digest id() {
    return built().config().digest();
  }

  Descriptor manifest() {
    return built().manifest();
  }

  byte[] manifestBytes() {
    return blob(manifest().digest());
  }

  byte[] blob(Digest digest) {
    return Objects.requireNonNull(blobs.get(digest));
  }

  long size() {
    return layers.stream().mapToLong(Descriptor::size).sum() + built().config().size();
  }

  static Descriptor entry(Descriptor manifest, Platform platform) {
    return new Descriptor(
        manifest.mediaType(), manifest.digest(), manifest.size(), null, null, null, platform);
  }

  static byte[] index(Descriptor... entries) {
    return Json.write(new ImageIndex(2, MediaTypes.OCI_INDEX, List.of(entries), null));
  }

  /** Writes an OCI image layout in which the image has this name. */
  Path writeLayout(Path folder, String refName) throws IOException {
    Path sha256 = Files.createDirectories(folder.resolve("blobs/sha256"));
    Descriptor manifest = manifest();
    for (var blob : blobs.entrySet()) {
      Files.write(sha256.resolve(blob.getKey().hex()), blob.getValue());
    }
    Files.writeString(folder.resolve("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}", UTF_8);
    Descriptor named =
        new Descriptor(
            manifest.mediaType(),
            manifest.digest(),
            manifest.size(),
            null,
            null,
            Map.of(Descriptor.REF_NAME, refName),
            null);
    Files.write(folder.resolve("index.json"), index(named));
    return folder;
  }

  /** An OCI archive in which the image has this name. */
  byte[] archive(String refName) throws IOException {
    Path folder = Files.createTempDirectory("berth-archive");
    try {
      Path layout = writeLayout(folder, refName);
      ByteArrayOutputStream bytes = new ByteArrayOutputStream();
      try (TarArchiveOutputStream tar = new TarArchiveOutputStream(bytes);
          Stream<Path> files = Files.walk(layout)) {
        for (Path file : files.filter(Files::isRegularFile).toList()) {
          tar.putArchiveEntry(
              new TarArchiveEntry(file.toFile(), layout.relativize(file).toString()));
          Files.copy(file, tar);
          tar.closeArchiveEntry();
        }
      }
      return bytes.toByteArray();
    } finally {
      FileTree.delete(folder);
    }
  }
}
