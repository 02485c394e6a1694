package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;

/** An image of one layer that can't be compressed, pushed by skopeo. */
final class LargeImage {
  private LargeImage() {}

  /**
   * @param folder to work in, empty
   * @param bytes of the one file in it, called {@code file}
   * @param name {@code HOST:PORT/REPOSITORY:TAG}
   */
  static void push(Path folder, int bytes, String name) throws IOException, InterruptedException {
    byte[] content = new byte[bytes];
    new Random(bytes).nextBytes(content);
    Files.write(folder.resolve("file"), content);
    Path tar = folder.resolve("layer.tar");
    var _ =
        Commands.run(List.of("/bin/tar", "-C", folder.toString(), "-cf", tar.toString(), "file"));
    Path layout = folder.resolve("layout/blobs");
    Files.createDirectories(layout.resolve("sha256"));
    byte[] layer = Files.readAllBytes(tar);
    String diffId = put(layout, layer);
    String config =
        """
        {"architecture": "amd64", "os": "linux", "config": {},
         "rootfs": {"type": "layers", "diff_ids": ["sha256:%s"]}}\
        """
            .formatted(diffId);
    String manifest =
        """
        {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
         "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": "sha256:%s", "size": %d},
         "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar",
                     "digest": "sha256:%s", "size": %d}]}\
        """
            .formatted(put(layout, config.getBytes(UTF_8)), config.length(), diffId, layer.length);
    Path root = folder.resolve("layout");
    Files.writeString(root.resolve("oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}");
    Files.writeString(
        root.resolve("index.json"),
        """
        {"schemaVersion": 2, "manifests": [
          {"mediaType": "application/vnd.oci.image.manifest.v1+json",
           "digest": "sha256:%s", "size": %d,
           "annotations": {"org.opencontainers.image.ref.name": "v1"}}]}\
        """
            .formatted(put(layout, manifest.getBytes(UTF_8)), manifest.length()));
    var _ =
        Commands.run(
            List.of(
                TestTools.installed("skopeo", "skopeo").toString(),
                "copy",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "oci:" + root + ":v1",
                "docker://" + name));
  }

  /** Returns the digest in hexadecimal. */
  private static String put(Path blobs, byte[] content) throws IOException {
    try {
      String hex = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
      Files.write(blobs.resolve("sha256").resolve(hex), content);
      return hex;
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
