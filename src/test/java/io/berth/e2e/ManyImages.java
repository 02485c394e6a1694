package io.berth.e2e;

import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/** An archive as docker save writes it, of images that share one small layer. */
final class ManyImages {
  private static final int BLOCK = 512;

  private ManyImages() {}

  /**
   * @param count they are called {@code example.test/image-0:1} and so on
   */
  static void write(Path archive, int count) throws IOException {
    var json = new JsonMapper();
    var layer = new ByteArrayOutputStream();
    file(layer, "hello", "hello\n".getBytes(StandardCharsets.UTF_8));
    end(layer);
    String diffId = "sha256:" + sha256(layer.toByteArray());
    List<Map<String, Object>> images = new ArrayList<>();
    try (OutputStream tar = Files.newOutputStream(archive)) {
      file(tar, "layer.tar", layer.toByteArray());
      for (int i = 0; i < count; i++) {
        String config = "config-" + i + ".json";
        file(
            tar,
            config,
            json.writeValueAsBytes(
                Map.of(
                    "architecture", System.getProperty("os.arch").replace("aarch64", "arm64"),
                    "os", "linux",
                    "config", Map.of("Cmd", List.of("/hello"), "Labels", Map.of("number", "" + i)),
                    "rootfs", Map.of("type", "layers", "diff_ids", List.of(diffId)))));
        images.add(
            Map.of(
                "Config", config,
                "RepoTags", List.of("example.test/image-" + i + ":1"),
                "Layers", List.of("layer.tar")));
      }
      file(tar, "manifest.json", json.writeValueAsBytes(images));
      end(tar);
    }
  }

  private static String sha256(byte[] content) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
    } catch (NoSuchAlgorithmException impossible) {
      throw new AssertionError(impossible); // every Java has it
    }
  }

  /** A regular file's header (ustar) and its content. */
  private static void file(OutputStream tar, String name, byte[] content) throws IOException {
    byte[] header = new byte[BLOCK];
    put(header, 0, name);
    put(header, 100, "0000644\0");
    put(header, 108, "0000000\0");
    put(header, 116, "0000000\0");
    put(header, 124, "%011o\0".formatted(content.length));
    put(header, 136, "00000000000\0");
    put(header, 148, "        "); // the sum is taken over blanks in its place
    header[156] = '0';
    put(header, 257, "ustar\00000");
    int sum = 0;
    for (byte b : header) {
      sum += b;
    }
    put(header, 148, "%06o\0 ".formatted(sum));
    tar.write(header);
    tar.write(content);
    tar.write(new byte[(BLOCK - content.length % BLOCK) % BLOCK]);
  }

  private static void end(OutputStream tar) throws IOException {
    tar.write(new byte[2 * BLOCK]);
  }

  private static void put(byte[] header, int at, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(bytes, 0, header, at, bytes.length);
  }
}
