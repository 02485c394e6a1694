package io.berth.image;

import io.berth.image.ImageException.Reason;
import io.berth.oci.ImageReference;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.PublicKey;
import java.time.Instant;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;

/** One requirement of a rule of the trust policy. */
sealed interface TrustRequirement {

  /** The kind of signature without which it can't be met, and which then has to be looked for. */
  default Optional<ImageSignature.Kind> needed() {
    return Optional.empty();
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
    public Optional<ImageSignature.Kind> needed() {
      return Optional.of(ImageSignature.Kind.SIGSTORE);
    }

    @Override
    public Optional<String> unmet(ImageReference asked, List<ImageSignature> signatures) {
      List<ImageSignature> own = of(ImageSignature.Kind.SIGSTORE, signatures);
      if (own.isEmpty()) {
        return Optional.of("no sigstore signature was found beside it");
      }
      List<PublicKey> trusted = keys.stream().map(KeySource::read).toList();
      return noneWillDo(own, each -> SigstorePayload.objection(each, trusted, identity, asked));
    }

    @Override
    public String toString() {
      return "signed (sigstore) by "
          + String.join(" or ", keys.stream().map(KeySource::toString).toList())
          + " for "
          + identity;
    }
  }

  /** A signed OpenPGP message by any of some keys ("simple signing"). */
  record SignedBy(List<OpenPgpKeySource> keys, SignedIdentity identity)
      implements TrustRequirement {
    @Override
    public Optional<ImageSignature.Kind> needed() {
      return Optional.of(ImageSignature.Kind.OPENPGP);
    }

    @Override
    public Optional<String> unmet(ImageReference asked, List<ImageSignature> signatures) {
      List<ImageSignature> own = of(ImageSignature.Kind.OPENPGP, signatures);
      if (own.isEmpty()) {
        return Optional.of("no OpenPGP signature of it was found");
      }
      OpenPgpKeys trusted = OpenPgpKeys.of(keys);
      Instant now = Instant.now();
      return noneWillDo(own, each -> objection(each, trusted, asked, now));
    }

    private Optional<String> objection(
        ImageSignature signature, OpenPgpKeys trusted, ImageReference asked, Instant now) {
      try {
        return SignedClaim.objection(
            OpenPgpMessage.verified(signature.signature(), trusted, now),
            SignedClaim.OPENPGP,
            signature.manifest(),
            identity,
            asked);
      } catch (OpenPgpMessage.Unverified e) {
        return Optional.of(e.why());
      }
    }

    @Override
    public String toString() {
      return "signed (OpenPGP) by "
          + String.join(" or ", keys.stream().map(OpenPgpKeySource::toString).toList())
          + " for "
          + identity;
    }
  }

  private static List<ImageSignature> of(
      ImageSignature.Kind kind, List<ImageSignature> signatures) {
    return signatures.stream().filter(each -> each.kind() == kind).toList();
  }

  /**
   * @param objection why a signature doesn't count, empty when it does
   */
  private static Optional<String> noneWillDo(
      List<ImageSignature> signatures, Function<ImageSignature, Optional<String>> objection) {
    Set<String> objections = new LinkedHashSet<>();
    for (ImageSignature signature : signatures) {
      Optional<String> why = objection.apply(signature);
      if (why.isEmpty()) {
        return Optional.empty();
      }
      objections.add(why.get());
    }
    return Optional.of(
        signatures.size() == 1
            ? "its signature won't do: " + String.join("; ", objections)
            : "none of its "
                + signatures.size()
                + " signatures will do: "
                + String.join("; ", objections));
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
