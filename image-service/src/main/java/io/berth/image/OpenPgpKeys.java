package io.berth.image;

import io.berth.image.ImageException.Reason;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.bouncycastle.bcpg.ArmoredInputStream;
import org.bouncycastle.bcpg.sig.KeyFlags;
import org.bouncycastle.openpgp.PGPException;
import org.bouncycastle.openpgp.PGPPublicKey;
import org.bouncycastle.openpgp.PGPPublicKeyRing;
import org.bouncycastle.openpgp.PGPSignature;
import org.bouncycastle.openpgp.PGPSignatureList;
import org.bouncycastle.openpgp.PGPSignatureSubpacketVector;
import org.bouncycastle.openpgp.bc.BcPGPPublicKeyRingCollection;
import org.bouncycastle.openpgp.operator.bc.BcPGPContentVerifierBuilderProvider;
import org.jspecify.annotations.Nullable;

/**
 * OpenPGP public keys as {@code gpg --export} writes them, armoured or not, and whether one may
 * sign now. Whoever can add packets to a key file must not be able to add a signer: what ties a
 * subkey to its key, and its limits, counts only if the key itself signed it (RFC 4880, 5.2.1).
 */
final class OpenPgpKeys {
  private static final String ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----";

  private final List<PGPPublicKeyRing> rings;

  private OpenPgpKeys(List<PGPPublicKeyRing> rings) {
    this.rings = rings;
  }

  /** A key that made some signature, with the ring that it stands in. */
  record Signer(PGPPublicKeyRing ring, PGPPublicKey key) {
    @Override
    public String toString() {
      return "OpenPGP key " + id(key.getKeyID());
    }
  }

  /**
   * Reads all keys of some files.
   *
   * @throws ImageException CONFIGURATION
   */
  static OpenPgpKeys of(List<OpenPgpKeySource> sources) {
    List<PGPPublicKeyRing> rings = new ArrayList<>();
    for (OpenPgpKeySource source : sources) {
      int before = rings.size();
      try {
        read(source.read(), rings);
      } catch (IOException | PGPException | RuntimeException e) {
        if (e instanceof ImageException failure) {
          throw failure;
        }
        throw unusable(source, String.valueOf(e.getMessage()));
      }
      if (rings.size() == before) {
        throw unusable(source, "there is no public key in it");
      }
    }
    return new OpenPgpKeys(rings);
  }

  private static ImageException unusable(OpenPgpKeySource source, String why) {
    return new ImageException(
        Reason.CONFIGURATION,
        "OpenPGP key " + source + " can't be used: " + why + "; give what gpg --export prints");
  }

  private static void read(byte[] keys, List<PGPPublicKeyRing> rings)
      throws IOException, PGPException {
    String text = new String(keys, StandardCharsets.ISO_8859_1);
    int block = text.indexOf(ARMOUR);
    if (block < 0) {
      add(new ByteArrayInputStream(keys), rings);
    }
    while (block >= 0) {
      add(
          new ArmoredInputStream(new ByteArrayInputStream(keys, block, keys.length - block)),
          rings);
      block = text.indexOf(ARMOUR, block + ARMOUR.length());
    }
  }

  private static void add(InputStream keys, List<PGPPublicKeyRing> rings)
      throws IOException, PGPException {
    new BcPGPPublicKeyRingCollection(keys).forEach(rings::add);
  }

  /** The key of an id, whether or not it may sign. */
  Optional<Signer> find(long id) {
    for (PGPPublicKeyRing ring : rings) {
      PGPPublicKey key = ring.getPublicKey(id);
      if (key != null) {
        return Optional.of(new Signer(ring, key));
      }
    }
    return Optional.empty();
  }

  /** As gpg shows it. */
  static String id(long id) {
    return String.format(Locale.ROOT, "%016X", id);
  }

  /** Why a key's signatures don't count now; empty when they do. */
  static Optional<String> objection(Signer signer, Instant now) {
    PGPPublicKey primary = signer.ring().getPublicKey();
    boolean itself = signer.key().getKeyID() == primary.getKeyID();
    if (hasValid(primary, PGPSignature.KEY_REVOCATION, s -> s.verifyCertification(primary))) {
      return Optional.of("the key has been revoked");
    }
    PGPSignature self = latest(selfSignatures(primary));
    if (self == null) {
      return Optional.of("the key has no valid signature of its own");
    }
    Optional<String> expired = expired("key", primary, self, now);
    if (expired.isPresent()) {
      return expired;
    }
    return itself ? purpose("key", self, true) : subkeyObjection(primary, signer.key(), now);
  }

  private static Optional<String> subkeyObjection(
      PGPPublicKey primary, PGPPublicKey subkey, Instant now) {
    if (hasValid(
        primary,
        subkey,
        PGPSignature.SUBKEY_REVOCATION,
        s -> s.verifyCertification(primary, subkey))) {
      return Optional.of("the subkey has been revoked");
    }
    List<PGPSignature> bindings =
        valid(
            primary,
            subkey.getSignaturesOfType(PGPSignature.SUBKEY_BINDING),
            s -> s.verifyCertification(primary, subkey));
    PGPSignature binding = latest(bindings);
    if (binding == null) {
      return Optional.of("the subkey isn't bound to its key");
    }
    Optional<String> expired = expired("subkey", subkey, binding, now);
    if (expired.isPresent()) {
      return expired;
    }
    Optional<String> purpose = purpose("subkey", binding, false);
    if (purpose.isPresent()) {
      return purpose;
    }
    return agrees(primary, subkey, binding)
        ? Optional.empty()
        : Optional.of("the subkey hasn't signed that it belongs to the key");
  }

  /** Else anyone could take another's signing key for his own subkey. */
  private static boolean agrees(PGPPublicKey primary, PGPPublicKey subkey, PGPSignature binding) {
    for (PGPSignatureSubpacketVector packets :
        List.of(binding.getHashedSubPackets(), binding.getUnhashedSubPackets())) {
      PGPSignatureList embedded;
      try {
        embedded = packets.getEmbeddedSignatures();
      } catch (PGPException malformed) {
        continue;
      }
      for (PGPSignature each : embedded) {
        if (each.getSignatureType() == PGPSignature.PRIMARYKEY_BINDING
            && isValid(subkey, each, s -> s.verifyCertification(primary, subkey))) {
          return true;
        }
      }
    }
    return false;
  }

  private static Optional<String> expired(
      String what, PGPPublicKey key, PGPSignature self, Instant now) {
    long seconds = self.getHashedSubPackets().getKeyExpirationTime();
    Instant end = key.getCreationTime().toInstant().plus(Duration.ofSeconds(seconds));
    return seconds > 0 && !now.isBefore(end)
        ? Optional.of("the " + what + " has expired, at " + end)
        : Optional.empty();
  }

  /**
   * @param byDefault what it may where its flags are silent
   */
  private static Optional<String> purpose(String what, PGPSignature self, boolean byDefault) {
    int flags = self.getHashedSubPackets().getKeyFlags();
    boolean maySign = flags == 0 ? byDefault : (flags & KeyFlags.SIGN_DATA) != 0;
    return maySign ? Optional.empty() : Optional.of("the " + what + " isn't for signing");
  }

  private static List<PGPSignature> selfSignatures(PGPPublicKey primary) {
    List<PGPSignature> found =
        valid(
            primary,
            primary.getSignaturesOfType(PGPSignature.DIRECT_KEY),
            s -> s.verifyCertification(primary));
    for (Iterator<byte[]> ids = primary.getRawUserIDs(); ids.hasNext(); ) {
      byte[] id = ids.next();
      List<PGPSignature> ofId =
          valid(primary, primary.getSignaturesForID(id), s -> s.verifyCertification(id, primary));
      PGPSignature newest = latest(ofId);
      if (newest != null && newest.getSignatureType() != PGPSignature.CERTIFICATION_REVOCATION) {
        found.add(newest);
      }
    }
    return found;
  }

  /** One way of verifying a signature about a key. */
  private interface Check {
    boolean holds(PGPSignature initialised) throws PGPException;
  }

  private static boolean hasValid(PGPPublicKey key, int type, Check check) {
    return hasValid(key, key, type, check);
  }

  private static boolean hasValid(PGPPublicKey primary, PGPPublicKey about, int type, Check check) {
    return !valid(primary, about.getSignaturesOfType(type), check).isEmpty();
  }

  /** Those that the key itself made. */
  private static List<PGPSignature> valid(
      PGPPublicKey primary, @Nullable Iterator<PGPSignature> signatures, Check check) {
    List<PGPSignature> found = new ArrayList<>();
    while (signatures != null && signatures.hasNext()) {
      PGPSignature each = signatures.next();
      if (each.getKeyID() == primary.getKeyID() && isValid(primary, each, check)) {
        found.add(each);
      }
    }
    return found;
  }

  private static boolean isValid(PGPPublicKey signer, PGPSignature signature, Check check) {
    try {
      signature.init(new BcPGPContentVerifierBuilderProvider(), signer);
      return check.holds(signature);
    } catch (PGPException | RuntimeException malformed) {
      return false;
    }
  }

  private static @Nullable PGPSignature latest(List<PGPSignature> signatures) {
    return signatures.stream()
        .max(Comparator.comparing(PGPSignature::getCreationTime))
        .orElse(null);
  }
}
