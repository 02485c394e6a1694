package io.berth.image;

import io.berth.image.ImageException.Reason;
import java.security.GeneralSecurityException;
import java.security.InvalidKeyException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.Signature;
import java.security.SignatureException;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.List;

/** The kinds of keys that cosign makes and takes: ECDSA, RSA, Ed25519. */
final class PublicKeys {
  private static final String BEGIN = "-----BEGIN PUBLIC KEY-----";
  private static final String END = "-----END PUBLIC KEY-----";
  private static final List<String> ALGORITHMS = List.of("EC", "RSA", "Ed25519");

  private PublicKeys() {}

  /**
   * Reads a key in PEM (RFC 7468, SubjectPublicKeyInfo).
   *
   * @param source for the message
   * @throws ImageException CONFIGURATION
   */
  static PublicKey parse(String pem, String source) {
    int begin = pem.indexOf(BEGIN);
    int end = pem.indexOf(END);
    if (begin < 0 || end < begin) {
      throw unusable(source, "it has no \"" + BEGIN + "\"");
    }
    byte[] der;
    try {
      der = Base64.getMimeDecoder().decode(pem.substring(begin + BEGIN.length(), end));
    } catch (IllegalArgumentException e) {
      throw unusable(source, "it is not base64");
    }
    for (String algorithm : ALGORITHMS) {
      try {
        return KeyFactory.getInstance(algorithm).generatePublic(new X509EncodedKeySpec(der));
      } catch (GeneralSecurityException otherKind) {
        // The next one, then.
      }
    }
    throw unusable(source, "it is none of ECDSA, RSA and Ed25519");
  }

  private static ImageException unusable(String source, String why) {
    return new ImageException(
        Reason.CONFIGURATION,
        "public key " + source + " can't be used: " + why + "; give what cosign public-key prints");
  }

  /** As cosign signs: SHA-256 beneath ECDSA and RSA (PKCS #1 v1.5), the bytes themselves else. */
  static boolean verifies(PublicKey key, byte[] payload, byte[] signature) {
    String algorithm =
        switch (key.getAlgorithm()) {
          case "EC" -> "SHA256withECDSA";
          case "RSA" -> "SHA256withRSA";
          default -> "Ed25519";
        };
    try {
      Signature verifier = Signature.getInstance(algorithm);
      verifier.initVerify(key);
      verifier.update(payload);
      return verifier.verify(signature);
    } catch (SignatureException malformed) {
      return false;
    } catch (InvalidKeyException weak) {
      throw new ImageException(
          Reason.CONFIGURATION, "a public key of the policy can't be used: " + weak, weak);
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("every JDK has " + algorithm, e);
    }
  }
}
