package io.berth.image;

import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.oci.ImageReference;
import java.io.IOException;
import java.security.PublicKey;
import java.util.List;
import java.util.Optional;

/** What a sigstore signature says: containers-signature(5), "The JSON data format". */
final class SigstorePayload {
  static final String TYPE = "cosign container image signature";

  /** A document that two readers could understand differently proves nothing. */
  private static final ObjectMapper STRICT =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private SigstorePayload() {}

  /**
   * Why a signature doesn't vouch for an image; empty when it does. The key is tried first: nothing
   * in a payload counts before that.
   */
  static Optional<String> objection(
      ImageSignature signature,
      List<PublicKey> trusted,
      SignedIdentity identity,
      ImageReference asked) {
    boolean signed =
        trusted.stream()
            .anyMatch(key -> PublicKeys.verifies(key, signature.payload(), signature.signature()));
    if (!signed) {
      return Optional.of("no key of the policy made it");
    }
    JsonNode critical;
    try {
      critical = STRICT.readTree(signature.payload()).path("critical");
    } catch (IOException e) {
      return Optional.of("what was signed is not JSON");
    }
    if (!critical.path("type").asText().equals(TYPE)) {
      return Optional.of("what was signed is not about an image");
    }
    String digest = critical.path("image").path("docker-manifest-digest").asText();
    if (!digest.equals(signature.manifest().toString())) {
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
