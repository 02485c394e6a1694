package io.berth.oci;

import com.fasterxml.jackson.annotation.JsonCreator;
import com.fasterxml.jackson.annotation.JsonValue;
import java.util.Locale;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A name under which a registry serves an image, in the full form that docker made customary:
 * {@code busybox} is {@code docker.io/library/busybox:latest}. {@link #tag} and {@link #digest} are
 * never both set nor both null, because a digest makes the tag irrelevant.
 *
 * @param registry host and optional port, for example {@code docker.io} or {@code [::1]:5000}
 * @param repository path within the registry, for example {@code library/busybox}
 */
public record ImageReference(
    String registry, String repository, @Nullable String tag, @Nullable Digest digest) {

  private static final String HOST_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?";

  /** More than the longest host, repository, tag and digest together. */
  private static final int LENGTH_LIMIT = 1024;

  private static final int SHOWN = 64;

  private static final Pattern REGISTRY =
      Pattern.compile(
          "(?:" + HOST_LABEL + "(?:\\." + HOST_LABEL + ")*|\\[[a-fA-F0-9:]+])(?::[0-9]{1,5})?");
  private static final String PATH_PART = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
  private static final Pattern REPOSITORY = Pattern.compile(PATH_PART + "(?:/" + PATH_PART + ")*");
  private static final Pattern TAG = Pattern.compile("\\w[\\w.-]{0,127}");
  private static final Pattern BARE_ID = Pattern.compile("[a-f0-9]{64}");

  /** The limit of registry/repository that the distribution project sets. */
  private static final int NAME_LIMIT = 255;

  private static final String DEFAULT_REGISTRY = "docker.io";
  private static final String OFFICIAL = "library/";

  public ImageReference {
    if (!REGISTRY.matcher(registry).matches()) {
      throw new IllegalArgumentException("\"" + registry + "\" is not a registry's host[:port]");
    }
    if (!REPOSITORY.matcher(repository).matches()) {
      String hint =
          repository.equals(repository.toLowerCase(Locale.ROOT))
              ? ""
              : ": repository names are lower case";
      throw new IllegalArgumentException("\"" + repository + "\" is not a repository name" + hint);
    }
    if (registry.length() + 1 + repository.length() > NAME_LIMIT) {
      throw new IllegalArgumentException(
          "image name is longer than " + NAME_LIMIT + " characters: " + registry + "/…");
    }
    if ((tag == null) == (digest == null)) {
      throw new IllegalArgumentException("a reference has either a tag or a digest");
    }
    if (tag != null && !TAG.matcher(tag).matches()) {
      throw new IllegalArgumentException("\"" + tag + "\" is not a tag");
    }
  }

  /**
   * Completes and checks a name as people and pods write it. A tag beside a digest is dropped.
   *
   * @throws IllegalArgumentException if it isn't a name; ids ({@code <64 hex>}) are no names
   */
  @JsonCreator
  public static ImageReference parse(String text) {
    if (text.length() > LENGTH_LIMIT) {
      throw new IllegalArgumentException(
          "invalid image reference \""
              + text.substring(0, SHOWN)
              + "…\": it is longer than "
              + LENGTH_LIMIT
              + " characters");
    }
    try {
      return parseParts(text);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "invalid image reference \"" + text + "\": " + e.getMessage(), e);
    }
  }

  private static ImageReference parseParts(String text) {
    if (text.isEmpty()) {
      throw new IllegalArgumentException("it is empty");
    }
    if (BARE_ID.matcher(text).matches()) {
      throw new IllegalArgumentException("it is an image id, which no registry can be asked for");
    }
    String name = text;
    Digest digest = null;
    int at = name.indexOf('@');
    if (at >= 0) {
      digest = Digest.parse(name.substring(at + 1));
      name = name.substring(0, at);
    }
    String tag = null;
    int colon = name.lastIndexOf(':');
    if (colon > name.lastIndexOf('/')) { // a colon further left belongs to the port
      tag = name.substring(colon + 1);
      name = name.substring(0, colon);
      if (!TAG.matcher(tag).matches()) {
        throw new IllegalArgumentException("\"" + tag + "\" is not a tag");
      }
    }
    if (digest != null) {
      tag = null;
    } else if (tag == null) {
      tag = "latest";
    }

    int slash = name.indexOf('/');
    String first = slash < 0 ? "" : name.substring(0, slash);
    // The first part is a host only if it can't be mistaken for a folder of Docker Hub.
    boolean hasRegistry =
        first.contains(".")
            || first.contains(":")
            || first.equals("localhost")
            || !first.equals(first.toLowerCase(Locale.ROOT));
    String registry = hasRegistry ? first : DEFAULT_REGISTRY;
    String repository = hasRegistry ? name.substring(slash + 1) : name;
    if (registry.equals("index.docker.io")) {
      registry = DEFAULT_REGISTRY;
    }
    if (registry.equals(DEFAULT_REGISTRY) && !repository.contains("/")) {
      repository = OFFICIAL + repository;
    }
    return new ImageReference(registry, repository, tag, digest);
  }

  /** Registry and repository, without tag or digest. */
  public String name() {
    return registry + "/" + repository;
  }

  public ImageReference withDigest(Digest other) {
    return new ImageReference(registry, repository, null, other);
  }

  public ImageReference withTag(String other) {
    return new ImageReference(registry, repository, other, null);
  }

  /** What a registry's manifest endpoint is asked for: the tag, else the digest. */
  public String tagOrDigest() {
    return tag != null ? tag : String.valueOf(digest);
  }

  /** The short form that people write: {@code busybox:1.36}. */
  public String familiar() {
    String shortName =
        !registry.equals(DEFAULT_REGISTRY)
            ? name()
            : repository.startsWith(OFFICIAL) && repository.indexOf('/', OFFICIAL.length()) < 0
                ? repository.substring(OFFICIAL.length())
                : repository;
    return shortName + suffix();
  }

  private String suffix() {
    return tag != null ? ":" + tag : "@" + digest;
  }

  @Override
  @JsonValue
  public String toString() {
    return name() + suffix();
  }
}
