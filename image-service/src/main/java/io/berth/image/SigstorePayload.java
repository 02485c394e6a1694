package io.berth.image;

import io.berth.oci.ImageReference;
import java.security.PublicKey;
import java.util.List;
import java.util.Optional;

/** Judges signatures in cosign's form. */
final class SigstorePayload {
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
    return signed
        ? SignedClaim.objection(
            signature.payload(), SignedClaim.SIGSTORE, signature.manifest(), identity, asked)
        : Optional.of("no key of the policy made it");
  }
}
