package io.berth.image;

import io.berth.oci.ImageReference;

/**
 * Which name a signature must speak of for an image to be meant: {@code signedIdentity} of
 * containers-policy.json(5).
 */
sealed interface SignedIdentity {

  /**
   * Whether a signature that says {@code claimed} was made for the image asked for.
   *
   * @param claimed the docker-reference in the signature, which may lack tag and digest
   */
  boolean accepts(String claimed, ImageReference asked);

  /** The same name with the same tag or digest. */
  record Exact() implements SignedIdentity {
    @Override
    public boolean accepts(String claimed, ImageReference asked) {
      return isComplete(claimed) && parse(claimed).equals(asked);
    }

    @Override
    public String toString() {
      return "the name with its tag or digest";
    }
  }

  /** The same tag; of an image asked for by digest, the same repository. The format's default. */
  record RepositoryOfDigestOrExact() implements SignedIdentity {
    @Override
    public boolean accepts(String claimed, ImageReference asked) {
      return asked.digest() == null
          ? new Exact().accepts(claimed, asked)
          : isComplete(claimed) && parse(claimed).name().equals(asked.name());
    }

    @Override
    public String toString() {
      return "the tag, or the repository of a digest";
    }
  }

  /** The same repository, whatever the tag: what cosign signs for. */
  record SameRepository() implements SignedIdentity {
    @Override
    public boolean accepts(String claimed, ImageReference asked) {
      return parse(claimed).name().equals(asked.name());
    }

    @Override
    public String toString() {
      return "the repository";
    }
  }

  /** A name given in the policy. */
  record Given(ImageReference name) implements SignedIdentity {
    @Override
    public boolean accepts(String claimed, ImageReference asked) {
      return isComplete(claimed) && parse(claimed).equals(name);
    }

    @Override
    public String toString() {
      return "exactly " + name;
    }
  }

  /** A repository given in the policy. */
  record GivenRepository(String name) implements SignedIdentity {
    @Override
    public boolean accepts(String claimed, ImageReference asked) {
      return parse(claimed).name().equals(name);
    }

    @Override
    public String toString() {
      return "the repository " + name;
    }
  }

  /** For mirrors: names beginning with one prefix were signed under another. */
  record Remapped(String prefix, String signedPrefix) implements SignedIdentity {
    @Override
    public boolean accepts(String claimed, ImageReference asked) {
      return new RepositoryOfDigestOrExact().accepts(claimed, remap(asked));
    }

    private ImageReference remap(ImageReference asked) {
      String full = asked.toString();
      boolean within =
          full.startsWith(prefix)
              && (full.length() == prefix.length()
                  || "/:@".indexOf(full.charAt(prefix.length())) >= 0);
      return within ? parse(signedPrefix + full.substring(prefix.length())) : asked;
    }

    @Override
    public String toString() {
      return "the name under " + signedPrefix + " instead of " + prefix;
    }
  }

  /** {@link ImageReference#parse} adds the tag latest where there is none; nobody signed that. */
  private static boolean isComplete(String claimed) {
    ImageReference reference = parse(claimed);
    return reference.digest() != null || claimed.endsWith(":" + reference.tag());
  }

  private static ImageReference parse(String name) {
    return ImageReference.parse(name);
  }
}
