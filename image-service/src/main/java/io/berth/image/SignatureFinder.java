package io.berth.image;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageIndex;
import io.berth.oci.ImageManifest;
import io.berth.oci.Json;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Optional;

/**
 * Looks for sigstore signatures where cosign puts them: under the tag {@code sha256-<hex>.sig} of
 * the same repository, and among the referrers of the manifest (distribution-spec, "Listing
 * Referrers"). In both places each layer of an OCI manifest is a signed text, and its signature an
 * annotation.
 */
final class SignatureFinder {
  private static final String PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json";
  private static final String ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json";
  private static final String ANNOTATION = "dev.cosignproject.cosign/signature";

  /** An image has a few; whoever pushes more must not make every pull slow. */
  private static final int MOST = 32;

  private static final int PAYLOAD_LIMIT = 64 << 10;

  private SignatureFinder() {}

  /**
   * Signatures of a manifest, not yet verified; two requests where there are none.
   *
   * @throws ImageException as the registry fails; not having any is no failure
   */
  static List<ImageSignature> find(Repository repository, Digest manifest)
      throws InterruptedException {
    List<ImageManifest> holders = new ArrayList<>();
    repository
        .find(manifest.algorithm() + "-" + manifest.hex() + ".sig")
        .flatMap(SignatureFinder::parse)
        .ifPresent(holders::add);
    for (Descriptor referrer : referrers(repository, manifest)) {
      parse(repository.manifest(referrer.digest(), referrer.size())).ifPresent(holders::add);
    }
    List<ImageSignature> found = new ArrayList<>();
    for (ImageManifest holder : holders) {
      for (Descriptor layer : holder.layers()) {
        String signature = layer.annotation(ANNOTATION);
        if (PAYLOAD.equals(layer.mediaType()) && signature != null && found.size() < MOST) {
          Optional<byte[]> bytes = base64(signature);
          if (bytes.isPresent()) {
            found.add(
                ImageSignature.sigstore(
                    manifest, repository.blob(layer, PAYLOAD_LIMIT), bytes.get()));
          }
        }
      }
    }
    return found.stream().distinct().toList();
  }

  private static List<Descriptor> referrers(Repository repository, Digest manifest)
      throws InterruptedException {
    Optional<ServedManifest> list = repository.referrers(manifest);
    byte[] content = list.isEmpty() ? null : list.get().content();
    if (content == null) {
      return List.of();
    }
    try {
      return Json.read(content, ImageIndex.class, "referrers").manifests().stream()
          .filter(each -> ARTIFACT.equals(each.artifactType()))
          .limit(MOST)
          .toList();
    } catch (IllegalArgumentException noIndex) {
      return List.of();
    }
  }

  /** Something else under that name is no signature, and no reason to fail. */
  private static Optional<ImageManifest> parse(ServedManifest served) {
    byte[] content = served.content();
    if (content == null) {
      return Optional.empty();
    }
    try {
      JsonNode tree = Json.read(content, JsonNode.class, "signatures");
      return tree.has("layers")
          ? Optional.of(Json.read(content, ImageManifest.class, "signatures"))
          : Optional.empty();
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }

  private static Optional<byte[]> base64(String text) {
    try {
      return Optional.of(Base64.getDecoder().decode(text));
    } catch (IllegalArgumentException e) {
      return Optional.empty();
    }
  }
}
