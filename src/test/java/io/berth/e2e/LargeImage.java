package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.linux.FileTree;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;

/** An image of one layer that can't be compressed, pushed by skopeo. */
final class LargeImage {
  private LargeImage() {}

  /**
   * Makes and pushes one of a single layer.
   *
   * @param folder for what is made on the way
   * @param bytes of the one file in it
   * @param name {@code HOST:PORT/REPOSITORY:TAG}
   */
  static void push(Path folder, int bytes, String name) throws IOException, InterruptedException {
    push(folder, List.of(bytes), name);
  }

  /**
   * Layers of equal size are equal, whatever image they are in.
   *
   * @param sizes in bytes, of the one file that each layer holds; bottom first
   * @param options of skopeo copy
   */
  static void push(Path folder, List<Integer> sizes, String name, String... options)
      throws IOException, InterruptedException {
    Path root = folder.resolve("layout");
    FileTree.delete(root);
    Path blobs = Files.createDirectories(root.resolve("blobs/sha256"));
    List<String> diffIds = new ArrayList<>();
    List<String> layers = new ArrayList<>();
    for (int size : sizes) {
      byte[] content = new byte[size];
      new Random(size).nextBytes(content);
      Files.write(folder.resolve("file-" + size), content);
      Path tar = folder.resolve("layer.tar");
      var _ =
          Commands.run(
              List.of(
                  "/bin/tar",
                  "--mtime=@0",
                  "-C",
                  folder.toString(),
                  "-cf",
                  tar.toString(),
                  "file-" + size));
      Files.delete(folder.resolve("file-" + size));
      byte[] layer = Files.readAllBytes(tar);
      String digest = put(blobs, layer);
      diffIds.add("\"sha256:" + digest + "\"");
      layers.add(
          """
          {"mediaType": "application/vnd.oci.image.layer.v1.tar",
           "digest": "sha256:%s", "size": %d}\
          """
              .formatted(digest, layer.length));
    }
    String config =
        """
        {"architecture": "amd64", "os": "linux", "config": {},
         "rootfs": {"type": "layers", "diff_ids": [%s]}}\
        """
            .formatted(String.join(", ", diffIds));
    String manifest =
        """
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": "sha256:%s", "size": %d},
         "layers": [%s]}\
        """
            .formatted(
                put(blobs, config.getBytes(UTF_8)), config.length(), String.join(", ", layers));
    Files.writeString(root.resolve("oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}");
    Files.writeString(
        root.resolve("index.json"),
        """
        {"schemaVersion": 2, "manifests": [
          {"mediaType": "application/vnd.oci.image.manifest.v1+json",
           "digest": "sha256:%s", "size": %d,
           "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}\
        """
            .formatted(put(blobs, manifest.getBytes(UTF_8)), manifest.length()));
    List<String> command = new ArrayList<>();
    command.add(TestTools.installed("skopeo", "skopeo").toString());
    command.addAll(List.of("copy", "--insecure-policy", "--dest-tls-verify=false"));
    command.addAll(List.of(options));
    command.addAll(List.of("oci:" + root + ":v1", "docker://" + name));
    var _ = Commands.run(command);
  }

  /** Returns the digest in hexadecimal. */
  private static String put(Path blobs, byte[] content) throws IOException {
    try {
      String hex = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
      Files.write(blobs.resolve(hex), content);
      return hex;
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
