package io.berth.image;

import io.berth.oci.Digest;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * What somebody signed about a manifest, as it was found beside the image and is kept in its
 * record, so that it can be judged again without a registry. Whether it is worth anything is for
 * {@link ImageTrust} to say.
 *
 * @param manifest beside which it was found, and which leads to the image that keeps it
 * @param payload the signed bytes: containers-signature(5), "JSON data format"; of OPENPGP none, as
 *     they are within the signature
 * @param signature of SIGSTORE by the algorithm of the key, ECDSA in ASN.1 DER; of OPENPGP a whole
 *     message
 */
@SuppressWarnings("ArrayRecordComponent") // compared by content, below
public record ImageSignature(Digest manifest, byte[] payload, byte[] signature, Kind kind) {

  /** How it was made. */
  public enum Kind {
    SIGSTORE,
    OPENPGP
  }

  /** Records of earlier versions don't tell the kind: there was one. */
  @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
  public ImageSignature(Digest manifest, byte[] payload, byte[] signature, @Nullable Kind kind) {
    this.manifest = manifest;
    this.payload = payload;
    this.signature = signature;
    this.kind = kind == null ? Kind.SIGSTORE : kind;
  }

  static ImageSignature sigstore(Digest manifest, byte[] payload, byte[] signature) {
    return new ImageSignature(manifest, payload, signature, Kind.SIGSTORE);
  }

  static ImageSignature openPgp(Digest manifest, byte[] message) {
    return new ImageSignature(manifest, new byte[0], message, Kind.OPENPGP);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof ImageSignature that
        && manifest.equals(that.manifest)
        && kind == that.kind
        && Arrays.equals(payload, that.payload)
        && Arrays.equals(signature, that.signature);
  }

  @Override
  public int hashCode() {
    return 31 * Arrays.hashCode(payload) + Arrays.hashCode(signature);
  }

  @Override
  public String toString() {
    return "signature of " + manifest;
  }
}
