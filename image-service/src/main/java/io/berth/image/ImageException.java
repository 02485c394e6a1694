package io.berth.image;

import org.jspecify.annotations.Nullable;

/**
 * An image could not be pulled, imported, found or removed. The message names the operation, the
 * image or layer, the cause and the next step.
 */
public final class ImageException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final Reason reason;

  /** Why, in the terms in which callers act differently. */
  public enum Reason {
    /** The registry, or the store, has no such image. */
    NOT_FOUND,
    /** The request can't be fulfilled by anyone: a malformed reference, unusable credentials. */
    INVALID,
    /** An abbreviated id fits several images. */
    AMBIGUOUS,
    /** The registry wants credentials, or others than those given. */
    UNAUTHORIZED,
    /** The registry can't be reached or fails; the same request may succeed later. */
    REGISTRY_UNAVAILABLE("RegistryUnavailable: "),
    /** The trust policy doesn't allow it; the message cites the rule. */
    SIGNATURE("SignatureValidationFailed: "),
    /** Content isn't what its digest, size or format promise. */
    CORRUPT,
    /** Well-formed content of a kind that Berth can't run. */
    UNSUPPORTED,
    /** The image exists, but for other platforms. */
    NO_PLATFORM,
    /** A file of the administrator is wrong; the message names file and line. */
    CONFIGURATION,
    /** The disk is full or fails. */
    DISK;

    /** What the kubelet looks for at the beginning of the message (cri-api, errors.go). */
    private final String prefix;

    Reason() {
      this("");
    }

    Reason(String prefix) {
      this.prefix = prefix;
    }
  }

  public ImageException(Reason reason, String message) {
    this(reason, message, null);
  }

  public ImageException(Reason reason, String message, @Nullable Throwable cause) {
    super(message.startsWith(reason.prefix) ? message : reason.prefix + message, cause);
    this.reason = reason;
  }

  public Reason reason() {
    return reason;
  }

  /** The message as people read it amid other text, without the prefix for the kubelet. */
  String words() {
    return String.valueOf(getMessage()).substring(reason.prefix.length());
  }

  /** This failure seen from the operation around it: same reason, with {@code context} in front. */
  ImageException within(String context) {
    return new ImageException(reason, context + ": " + words(), this);
  }
}
