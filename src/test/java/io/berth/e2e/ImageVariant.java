package io.berth.e2e;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.errorprone.annotations.CanIgnoreReturnValue;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.jspecify.annotations.Nullable;

/** The fixture image with another configuration or more files, under a tag of its own. */
final class ImageVariant {
  private static final String REPOSITORY = "e2e-test-images/busybox";
  private static final String ORIGINAL = "1.29-2";
  private static final String MANIFEST = "application/vnd.oci.image.manifest.v1+json";
  private static final String LAYER = "application/vnd.oci.image.layer.v1.tar+gzip";
  private static final JsonMapper JSON = new JsonMapper();

  private final DockerRegistry registry;
  private final String tag;
  private final ObjectNode settings = JSON.createObjectNode();
  private @Nullable Path files;

  ImageVariant(DockerRegistry registry, String tag) {
    this.registry = registry;
    this.tag = tag;
  }

  /** A field of the image's execution parameters, such as {@code User}. */
  @CanIgnoreReturnValue
  ImageVariant config(String field, Object value) {
    settings.set(field, JSON.valueToTree(value));
    return this;
  }

  /** What lies in a folder, owned by root, becomes a further layer. */
  @CanIgnoreReturnValue
  ImageVariant files(Path folder) {
    files = folder;
    return this;
  }

  /**
   * @return the name by which it can be pulled
   */
  String push() throws IOException, InterruptedException {
    try (var client = HttpClient.newHttpClient()) {
      ObjectNode manifest = (ObjectNode) get(client, "manifests/" + ORIGINAL);
      ObjectNode image =
          (ObjectNode) get(client, "blobs/" + manifest.at("/config/digest").asText());
      ((ObjectNode) image.get("config")).setAll(settings);
      if (files != null) {
        Path tar = Files.createTempFile("layer-", ".tar");
        Path layer = Files.createTempFile("layer-", ".tar.gz");
        try {
          Commands.run(
              List.of(
                  TestTools.installed("tar", "tar").toString(),
                  "-C",
                  files.toString(),
                  "--owner=0",
                  "--mode=u=rwX,go=rX",
                  "--group=0",
                  "--sparse",
                  "-cf",
                  "" + tar,
                  "."));
          try (OutputStream out = new GZIPOutputStream(Files.newOutputStream(layer))) {
            Files.copy(tar, out);
          }
          ((ArrayNode) image.at("/rootfs/diff_ids")).add(digest(Files.newInputStream(tar)));
          ((ArrayNode) manifest.get("layers"))
              .add(
                  upload(
                      client,
                      LAYER,
                      digest(Files.newInputStream(layer)),
                      Files.size(layer),
                      BodyPublishers.ofFile(layer)));
        } finally {
          Files.delete(tar);
          Files.delete(layer);
        }
      }
      byte[] config = JSON.writeValueAsBytes(image);
      manifest.set(
          "config",
          upload(
              client,
              manifest.at("/config/mediaType").asText(),
              digest(new java.io.ByteArrayInputStream(config)),
              config.length,
              BodyPublishers.ofByteArray(config)));
      send(
          client,
          HttpRequest.newBuilder(uri("manifests/" + tag))
              .header("Content-Type", MANIFEST)
              .PUT(BodyPublishers.ofByteArray(JSON.writeValueAsBytes(manifest))));
      return registry.address() + "/" + REPOSITORY + ":" + tag;
    }
  }

  /**
   * @return its descriptor
   */
  private ObjectNode upload(
      HttpClient client, String type, String digest, long size, BodyPublisher content)
      throws IOException, InterruptedException {
    String place =
        send(client, HttpRequest.newBuilder(uri("blobs/uploads/")).POST(BodyPublishers.noBody()))
            .headers()
            .firstValue("Location")
            .orElseThrow();
    URI target = uri("").resolve(place + (place.contains("?") ? "&" : "?") + "digest=" + digest);
    send(
        client,
        HttpRequest.newBuilder(target)
            .header("Content-Type", "application/octet-stream")
            .PUT(content));
    return JSON.createObjectNode().put("mediaType", type).put("digest", digest).put("size", size);
  }

  private JsonNode get(HttpClient client, String what) throws IOException, InterruptedException {
    return JSON.readTree(
        send(client, HttpRequest.newBuilder(uri(what)).header("Accept", MANIFEST)).body());
  }

  @CanIgnoreReturnValue
  private static HttpResponse<String> send(HttpClient client, HttpRequest.Builder request)
      throws IOException, InterruptedException {
    HttpResponse<String> answer =
        client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() / 100 != 2) {
      throw new IOException(answer + ": " + answer.body());
    }
    return answer;
  }

  private URI uri(String what) {
    return URI.create("http://" + registry.address() + "/v2/" + REPOSITORY + "/" + what);
  }

  private static String digest(InputStream content) throws IOException {
    try (var in = new DigestInputStream(content, MessageDigest.getInstance("SHA-256"))) {
      in.transferTo(OutputStream.nullOutputStream());
      return "sha256:" + HexFormat.of().formatHex(in.getMessageDigest().digest());
    } catch (NoSuchAlgorithmException impossible) {
      throw new IllegalStateException(impossible);
    }
  }
}
