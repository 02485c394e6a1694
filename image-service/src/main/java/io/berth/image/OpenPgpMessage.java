package io.berth.image;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.time.Instant;
import java.util.Arrays;
import java.util.Optional;
import java.util.Set;
import org.bouncycastle.bcpg.HashAlgorithmTags;
import org.bouncycastle.bcpg.SignatureSubpacketTags;
import org.bouncycastle.openpgp.PGPCompressedData;
import org.bouncycastle.openpgp.PGPException;
import org.bouncycastle.openpgp.PGPLiteralData;
import org.bouncycastle.openpgp.PGPObjectFactory;
import org.bouncycastle.openpgp.PGPOnePassSignatureList;
import org.bouncycastle.openpgp.PGPSignature;
import org.bouncycastle.openpgp.PGPSignatureList;
import org.bouncycastle.openpgp.bc.BcPGPObjectFactory;
import org.bouncycastle.openpgp.operator.bc.BcPGPContentVerifierBuilderProvider;
import org.jspecify.annotations.Nullable;

/**
 * A text with one signature around it, as {@code gpg --sign} makes it: compressed or not, a
 * one-pass signature, the text, the signature (RFC 4880, 11.3). Anything else is refused, so that
 * no two readers see different texts in it.
 */
final class OpenPgpMessage {
  /** Of a message, and of the text in it: a real one has less than a kilobyte. */
  static final int LIMIT = 64 << 10;

  private static final Set<Integer> HASHES =
      Set.of(
          HashAlgorithmTags.SHA224,
          HashAlgorithmTags.SHA256,
          HashAlgorithmTags.SHA384,
          HashAlgorithmTags.SHA512);

  private static final Set<Integer> UNDERSTOOD =
      Set.of(
          SignatureSubpacketTags.CREATION_TIME,
          SignatureSubpacketTags.EXPIRE_TIME,
          SignatureSubpacketTags.ISSUER_KEY_ID,
          SignatureSubpacketTags.ISSUER_FINGERPRINT,
          SignatureSubpacketTags.SIGNER_USER_ID);

  private OpenPgpMessage() {}

  /** Why a message proves nothing. */
  static final class Unverified extends Exception {
    private static final long serialVersionUID = 1L;

    Unverified(String why) {
      super(why);
    }

    String why() {
      return String.valueOf(getMessage());
    }
  }

  /** A text and what vouches for it, not yet verified. */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  private record Parts(byte[] text, PGPSignature signature) {}

  /**
   * The text of a message that one of the keys signed, and which may sign now.
   *
   * @throws Unverified saying why there is no such text
   */
  static byte[] verified(byte[] message, OpenPgpKeys keys, Instant now) throws Unverified {
    if (message.length > LIMIT) {
      throw new Unverified("it is larger than " + (LIMIT >> 10) + " KiB");
    }
    try {
      Parts parts = parts(message);
      verify(parts, keys, now);
      return parts.text();
    } catch (IOException | PGPException | RuntimeException malformed) {
      throw new Unverified("it is damaged or no OpenPGP message");
    }
  }

  private static Parts parts(byte[] message) throws IOException, PGPException, Unverified {
    PGPObjectFactory outer = new BcPGPObjectFactory(new ByteArrayInputStream(message));
    Object first = outer.nextObject();
    PGPObjectFactory inner = outer;
    if (first instanceof PGPCompressedData compressed) {
      inner = new BcPGPObjectFactory(compressed.getDataStream());
      first = inner.nextObject();
    }
    if (!(first instanceof PGPOnePassSignatureList announced)
        || !(inner.nextObject() instanceof PGPLiteralData literal)) {
      throw new Unverified("it is damaged or no signed OpenPGP message");
    }
    byte[] text = literal.getInputStream().readNBytes(LIMIT + 1);
    if (text.length > LIMIT) {
      throw new Unverified("its text is larger than " + (LIMIT >> 10) + " KiB");
    }
    if (!(inner.nextObject() instanceof PGPSignatureList signatures)) {
      throw new Unverified("it is damaged: its signature is missing");
    }
    if (announced.size() != 1 || signatures.size() != 1) {
      throw new Unverified("it has several signatures");
    }
    if (isMore(inner) || isMore(outer)) {
      throw new Unverified("something follows its signature");
    }
    return new Parts(text, signatures.get(0));
  }

  private static boolean isMore(PGPObjectFactory packets) throws IOException {
    @Nullable Object next = packets.nextObject();
    return next != null;
  }

  private static void verify(Parts parts, OpenPgpKeys keys, Instant now)
      throws PGPException, Unverified {
    PGPSignature signature = parts.signature();
    OpenPgpKeys.Signer signer =
        keys.find(signature.getKeyID())
            .orElseThrow(() ->
                new Unverified(
                    "no key of the policy made it, but " + OpenPgpKeys.id(signature.getKeyID())));
    if (signature.getSignatureType() != PGPSignature.BINARY_DOCUMENT) {
      throw new Unverified("it isn't a signature of a document");
    }
    if (!HASHES.contains(signature.getHashAlgorithm())) {
      throw new Unverified("its hash algorithm isn't safe any more");
    }
    boolean understood =
        Arrays.stream(signature.getHashedSubPackets().getCriticalTags())
            .allMatch(UNDERSTOOD::contains);
    if (!understood) {
      throw new Unverified("it has a condition that Berth doesn't know");
    }
    signature.init(new BcPGPContentVerifierBuilderProvider(), signer.key());
    signature.update(parts.text());
    if (!signature.verify()) {
      throw new Unverified("it is forged or damaged: " + signer + " didn't sign this");
    }
    Optional<String> unfit = OpenPgpKeys.objection(signer, now);
    if (unfit.isPresent()) {
      throw new Unverified(signer + " made it, but " + unfit.get());
    }
    Instant made = signature.getCreationTime().toInstant();
    if (made.isBefore(signer.key().getCreationTime().toInstant())) {
      throw new Unverified("it is older than " + signer);
    }
    long seconds = signature.getHashedSubPackets().getSignatureExpirationTime();
    if (seconds > 0 && !now.isBefore(made.plusSeconds(seconds))) {
      throw new Unverified("it has expired, at " + made.plusSeconds(seconds));
    }
  }
}
