package io.berth.image;

import io.berth.oci.Digest;
import java.util.Arrays;

/**
 * What somebody signed about a manifest, as it was found beside the image and is kept in its
 * record, so that it can be judged again without a registry. Whether it is worth anything is for
 * {@link ImageTrust} to say.
 *
 * @param manifest beside which it was found, and which leads to the image that keeps it
 * @param payload the signed bytes: containers-signature(5), "JSON data format"
 * @param signature by the algorithm of the key; ECDSA in ASN.1 DER
 */
@SuppressWarnings("ArrayRecordComponent") // compared by content, below
public record ImageSignature(Digest manifest, byte[] payload, byte[] signature) {

  @Override
  public boolean equals(Object other) {
    return other instanceof ImageSignature that
        && manifest.equals(that.manifest)
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
