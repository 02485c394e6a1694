package io.berth.image;

import io.berth.image.ImageException.Reason;
import io.berth.oci.ImageReference;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.PublicKey;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** One requirement of a rule of the trust policy. */
sealed interface TrustRequirement {

  /** Whether it can only be met by a signature, which then has to be looked for. */
  default boolean needsSignature() {
    return false;
  }

  /**
   * Judges an image.
   *
   * @return why it isn't met; empty when it is
   * @throws ImageException CONFIGURATION when a key can't be read
   */
  Optional<String> unmet(ImageReference asked, List<ImageSignature> signatures);

  /** Anything will do. */
  record AcceptAnything() implements TrustRequirement {
    @Override
    public Optional<String> unmet(ImageReference asked, List<ImageSignature> signatures) {
      return Optional.empty();
    }

    @Override
    public String toString() {
      return "anything is accepted";
    }
  }

  /** Nothing will do. */
  record Reject() implements TrustRequirement {
    @Override
    public Optional<String> unmet(ImageReference asked, List<ImageSignature> signatures) {
      return Optional.of("the rule rejects every image");
    }

    @Override
    public String toString() {
      return "everything is rejected";
    }
  }

  /**
   * A signature in cosign's form, made by any of some keys.
   *
   * @param keys read at each use, so that an edit counts at once
   */
  record SigstoreSigned(List<KeySource> keys, SignedIdentity identity) implements TrustRequirement {
    @Override
    public boolean needsSignature() {
      return true;
    }

    @Override
    public Optional<String> unmet(ImageReference asked, List<ImageSignature> signatures) {
      if (signatures.isEmpty()) {
        return Optional.of("no sigstore signature was found beside it");
      }
      List<PublicKey> trusted = keys.stream().map(KeySource::read).toList();
      List<String> objections = new ArrayList<>();
      for (ImageSignature signature : signatures) {
        Optional<String> objection = SigstorePayload.objection(signature, trusted, identity, asked);
        if (objection.isEmpty()) {
          return Optional.empty();
        }
        objections.add(objection.get());
      }
      return Optional.of(
          "none of its "
              + signatures.size()
              + " signatures will do: "
              + String.join("; ", objections.stream().distinct().toList()));
    }

    @Override
    public String toString() {
      return "signed (sigstore) by "
          + String.join(" or ", keys.stream().map(KeySource::toString).toList())
          + " for "
          + identity;
    }
  }

  /** Where a public key comes from. */
  sealed interface KeySource {
    /** Reads it now. */
    PublicKey read();

    record InFile(Path file) implements KeySource {
      @Override
      public PublicKey read() {
        try {
          return PublicKeys.parse(Files.readString(file), file.toString());
        } catch (IOException e) {
          throw new ImageException(
              Reason.CONFIGURATION, "public key " + file + " can't be read: " + e, e);
        }
      }

      @Override
      public String toString() {
        return file.toString();
      }
    }

    record Inline(PublicKey key) implements KeySource {
      @Override
      public PublicKey read() {
        return key;
      }

      @Override
      public String toString() {
        return "the key in the policy";
      }
    }
  }
}
