package io.berth.streaming;

import org.jspecify.annotations.Nullable;

/**
 * A stream could not be offered. The message names the operation, the object, the cause and what to
 * do.
 */
public final class StreamingException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final Reason reason;

  /** Why, in the terms in which callers act differently. */
  public enum Reason {
    /** The request can't be fulfilled by anyone. */
    INVALID,
    /** Too many URLs wait for their clients. */
    TOO_MANY,
    /** The server can't listen, or its certificate can't be used. */
    UNAVAILABLE
  }

  public StreamingException(Reason reason, String message) {
    this(reason, message, null);
  }

  public StreamingException(Reason reason, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
  }

  public Reason reason() {
    return reason;
  }
}
