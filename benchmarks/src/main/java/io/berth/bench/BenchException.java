package io.berth.bench;

import org.jspecify.annotations.Nullable;

/** A measurement or the demo could not be carried out; the message says what to do. */
final class BenchException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** What failed. */
  enum Reason {
    /** Options that do not go together, or a file that is not what it should be. */
    INPUT,
    /** The runtime answered a call with an error. */
    CALL,
    /** A program of the floor failed. */
    PROGRAM,
    /** A file could not be read or written. */
    FILES
  }

  private final Reason reason;

  BenchException(Reason reason, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
  }

  Reason reason() {
    return reason;
  }
}
