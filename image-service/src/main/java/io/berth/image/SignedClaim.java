package io.berth.image;

import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import java.io.IOException;
import java.util.Optional;

/**
 * What a signature says, of either kind: containers-signature(5), "The JSON data format". To be
 * asked only once the signature itself has been verified.
 */
final class SignedClaim {
  static final String SIGSTORE = "cosign container image signature";
  static final String OPENPGP = "atomic container signature";

  /** A document that two readers could understand differently proves nothing. */
  private static final ObjectMapper STRICT =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private SignedClaim() {}

  /**
   * Why a signed text doesn't vouch for an image; empty when it does.
   *
   * @param type that it must say of itself
   * @param manifest beside which the signature was found
   */
  static Optional<String> objection(
      byte[] text, String type, Digest manifest, SignedIdentity identity, ImageReference asked) {
    JsonNode critical;
    try {
      critical = STRICT.readTree(text).path("critical");
    } catch (IOException e) {
      return Optional.of("what was signed is not JSON");
    }
    if (!critical.path("type").asText().equals(type)) {
      return Optional.of("what was signed is not about an image");
    }
    String digest = critical.path("image").path("docker-manifest-digest").asText();
    if (!digest.equals(manifest.toString())) {
      return Optional.of("it was made for another manifest, " + digest);
    }
    String claimed = critical.path("identity").path("docker-reference").asText();
    try {
      return identity.accepts(claimed, asked)
          ? Optional.empty()
          : Optional.of("it was made for \"" + claimed + "\", the rule wants " + identity);
    } catch (IllegalArgumentException e) {
      return Optional.of("it was made for \"" + claimed + "\", which is no name");
    }
  }
}
