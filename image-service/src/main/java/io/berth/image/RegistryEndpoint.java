package io.berth.image;

import com.fasterxml.jackson.databind.JsonNode;
import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.image.RegistryHost.Capability;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import io.berth.oci.Json;
import io.berth.oci.MediaTypes;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpRequest;
import java.nio.charset.StandardCharsets;

/** One repository at one host: the requests of OCI distribution-spec, "Pull". */
final class RegistryEndpoint {
  private static final int MANIFEST_LIMIT = 4 << 20;
  private static final int ERROR_LIMIT = 64 << 10;
  private static final int WORDS_LIMIT = 300;

  private final RegistryClient client;
  private final RegistryHost host;
  private final ImageReference image;
  private final Caller caller;
  private final RegistryAuth auth;
  private volatile boolean failing;

  RegistryEndpoint(RegistryClient client, RegistryHost host, ImageReference image, Caller caller) {
    this.client = client;
    this.host = host;
    this.image = image;
    this.caller = caller;
    this.auth =
        new RegistryAuth(client, host, caller, "repository:" + image.repository() + ":pull");
  }

  boolean can(Capability capability) {
    return host.capabilities().contains(capability);
  }

  /** It could not be reached or was too slow; from now on the others are asked first. */
  void failed() {
    failing = true;
  }

  boolean failing() {
    return failing;
  }

  @Override
  public String toString() {
    return host.origin();
  }

  /**
   * Which manifest a tag stands for now, or that the digest exists: one HEAD, or one GET more where
   * HEAD says too little.
   *
   * @throws ImageException NOT_FOUND, UNAUTHORIZED, REGISTRY_UNAVAILABLE
   */
  ServedManifest resolve(String tagOrDigest) throws InterruptedException {
    try (var answer = documentRequest("HEAD", "/manifests/" + tagOrDigest)) {
      String digest = answer.header("Docker-Content-Digest");
      if (answer.status() == 200 && digest != null) {
        try {
          return new ServedManifest(Digest.parse(digest), answer.header("Content-Type"), null);
        } catch (IllegalArgumentException e) {
          // Not a digest that can be verified: the content itself tells.
        }
      }
    } catch (IOException e) {
      throw brokeOff("manifest " + tagOrDigest, e);
    }
    return manifest(tagOrDigest);
  }

  /**
   * A manifest's content. The digest is computed from it, so it's for the caller to compare.
   *
   * @throws ImageException NOT_FOUND, UNAUTHORIZED, REGISTRY_UNAVAILABLE, CORRUPT when too large
   */
  ServedManifest manifest(String tagOrDigest) throws InterruptedException {
    return document("/manifests/" + tagOrDigest, "manifest " + tagOrDigest, tagOrDigest);
  }

  /**
   * The index of what refers to a manifest.
   *
   * @throws ImageException NOT_FOUND when the registry keeps none, UNAUTHORIZED,
   *     REGISTRY_UNAVAILABLE, CORRUPT when too large
   */
  ServedManifest referrers(Digest manifest) throws InterruptedException {
    return document("/referrers/" + manifest, "list of referrers of " + manifest, "");
  }

  /**
   * @param wanted a digest of another algorithm than SHA-256 is computed where this is one
   */
  private ServedManifest document(String path, String what, String wanted)
      throws InterruptedException {
    try (var answer = documentRequest("GET", path)) {
      if (answer.status() != 200) {
        throw refusal(answer, what);
      }
      byte[] content;
      try (InputStream body = answer.body()) {
        content = body.readNBytes(MANIFEST_LIMIT + 1);
      }
      if (content.length > MANIFEST_LIMIT) {
        throw new ImageException(
            Reason.CORRUPT, what + " at " + host.origin() + " is larger than 4 MiB");
      }
      Digest digest = Digest.sha256(content);
      if (wanted.startsWith(Digest.SHA512 + ":")) {
        Digest longer = Digest.parse(wanted);
        digest = longer.matches(content) ? longer : digest;
      }
      return new ServedManifest(digest, answer.header("Content-Type"), content);
    } catch (IOException e) {
      throw brokeOff(what, e);
    }
  }

  /**
   * A blob's content as it arrives, not yet verified. Reading throws REGISTRY_UNAVAILABLE when the
   * transfer breaks off.
   *
   * @param from the first byte wanted; a host that can't begin there begins at 0, and what comes
   *     before is dropped
   * @throws ImageException NOT_FOUND, UNAUTHORIZED, REGISTRY_UNAVAILABLE, CORRUPT when the size
   *     announced is another
   */
  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // the answer is closed with the stream that is returned
  InputStream blob(Descriptor blob, long from) throws InterruptedException {
    String what = "blob " + blob.digest();
    HttpRequest.Builder request = request("GET", "/blobs/" + blob.digest());
    if (from > 0) {
      request.header("Range", "bytes=" + from + "-");
    }
    var answer = send(request);
    try {
      boolean ranged = from > 0 && answer.status() == 206;
      if (answer.status() != 200 && !ranged) {
        throw refusal(answer, what);
      }
      long begin = ranged ? from : 0;
      String range = answer.header("Content-Range");
      if (ranged && (range == null || !range.matches("bytes " + from + "-\\d+/(\\d+|\\*)"))) {
        throw new ImageException(
            Reason.REGISTRY_UNAVAILABLE,
            "registry " + host.origin() + " sends another part of " + what + " than asked for");
      }
      long length = answer.response().headers().firstValueAsLong("Content-Length").orElse(-1);
      if (length >= 0 && length != blob.size() - begin) {
        throw new ImageException(
            Reason.CORRUPT,
            what
                + " at "
                + host.origin()
                + " has "
                + (begin + length)
                + " bytes where the manifest says "
                + blob.size());
      }
      InputStream body = answer.body();
      body.skipNBytes(from - begin);
      return new BlobStream(body, what);
    } catch (IOException | RuntimeException e) {
      RegistryClient.closeQuietly(answer);
      throw e instanceof RuntimeException failure ? failure : brokeOff(what, (IOException) e);
    }
  }

  private HttpRequest.Builder request(String method, String path) {
    // Mirrors that serve several registries tell them apart by this parameter.
    String query =
        host.mirror() ? "?ns=" + URLEncoder.encode(image.registry(), StandardCharsets.UTF_8) : "";
    return HttpRequest.newBuilder(URI.create(host.root() + "/" + image.repository() + path + query))
        .method(method, HttpRequest.BodyPublishers.noBody());
  }

  @MustBeClosed
  private RegistryClient.Answer documentRequest(String method, String path)
      throws InterruptedException {
    return send(
        request(method, path)
            .timeout(caller.answer())
            .header("Accept", String.join(", ", MediaTypes.MANIFESTS) + ", */*;q=0.1"));
  }

  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // returned or closed
  private RegistryClient.Answer send(HttpRequest.Builder request) throws InterruptedException {
    String shown = auth.header();
    var answer = client.send(request, host, shown, caller);
    // A challenge from where we were redirected to isn't the registry's: it gets no credentials.
    if (answer.status() != 401 || answer.foreign()) {
      return answer;
    }
    var challenges = answer.response().headers().allValues("WWW-Authenticate");
    String better;
    try {
      better = auth.renew(challenges, shown);
    } catch (RuntimeException | InterruptedException e) {
      RegistryClient.closeQuietly(answer);
      throw e;
    }
    if (better == null) {
      return answer;
    }
    RegistryClient.closeQuietly(answer);
    return client.send(request, host, better, caller);
  }

  private ImageException refusal(RegistryClient.Answer answer, String what) throws IOException {
    String said = " (" + words(answer) + ")";
    String who = "registry " + host.origin();
    String object = what + " of " + image.repository();
    return switch (answer.status()) {
      case 404 ->
          new ImageException(
              Reason.NOT_FOUND, who + " has no " + object + said + "; check name and tag");
      case 401, 403 ->
          new ImageException(
              Reason.UNAUTHORIZED,
              who
                  + " refuses "
                  + object
                  + said
                  + (caller.credentials().isEmpty()
                      ? "; no credentials for it were given, or the image doesn't exist"
                      : "; check the credentials"));
      case 429 ->
          new ImageException(
              Reason.REGISTRY_UNAVAILABLE,
              who
                  + " limits requests for "
                  + object
                  + said
                  + "; try again later, give credentials with a higher limit, or name a mirror");
      case 400 ->
          new ImageException(Reason.INVALID, who + " rejects the request for " + object + said);
      default ->
          new ImageException(Reason.REGISTRY_UNAVAILABLE, who + " fails to serve " + object + said);
    };
  }

  private ImageException brokeOff(String what, IOException e) {
    return new ImageException(
        Reason.REGISTRY_UNAVAILABLE,
        "registry "
            + host.origin()
            + " broke off serving "
            + what
            + ": "
            + RegistryClient.describe(e),
        e);
  }

  /** Status and the registry's own words (distribution-spec, "Error Codes"), on one line. */
  static String words(RegistryClient.Answer answer) throws IOException {
    byte[] body;
    try (InputStream in = answer.body()) {
      body = in.readNBytes(ERROR_LIMIT);
    }
    StringBuilder said = new StringBuilder("HTTP ").append(answer.status());
    try {
      JsonNode json = Json.read(body, JsonNode.class, "error");
      for (JsonNode error : json.path("errors")) {
        String code = error.path("code").asText("");
        String message = error.path("message").asText("");
        said.append(": ").append(code).append(code.isEmpty() ? "" : " ").append(message);
      }
      String details = json.path("details").asText(json.path("message").asText(""));
      if (!details.isEmpty()) {
        said.append(": ").append(details);
      }
    } catch (IllegalArgumentException e) {
      // A page for people, or nothing: the status says enough.
    }
    String line = said.toString().replaceAll("\\p{Cntrl}+", " ").strip();
    return line.length() <= WORDS_LIMIT ? line : line.substring(0, WORDS_LIMIT) + "…";
  }

  /** Tells failures of the network from those of the content. */
  private final class BlobStream extends FilterInputStream {
    private final String what;

    BlobStream(InputStream body, String what) {
      super(body);
      this.what = what;
    }

    @Override
    public int read() {
      byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
    }

    @Override
    public int read(byte[] buffer, int offset, int length) {
      try {
        return in.read(buffer, offset, length);
      } catch (IOException e) {
        throw brokeOff(what, e);
      }
    }
  }
}
