package io.berth.sandbox;

import org.jspecify.annotations.Nullable;

/// A sandbox could not be made, found or ended. The message names the operation, the sandbox, the
/// cause and what to do.
public final class SandboxException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final Reason reason;

  /// Why, in the terms in which callers act differently.
  public enum Reason {
    /// No sandbox has this id.
    NOT_FOUND,
    /// The request can't be fulfilled by anyone.
    INVALID,
    /// The name is taken by a sandbox that differs from the one asked for.
    CONFLICT,
    /// The request is legal but this version can't fulfil it.
    UNSUPPORTED,
    /// The pod network isn't ready; the same request may succeed later.
    UNAVAILABLE,
    /// The sandbox isn't in a state that allows the operation.
    NOT_READY,
    /// A step failed; everything was undone.
    FAILED
  }

  public SandboxException(Reason reason, String message) {
    this(reason, message, null);
  }

  public SandboxException(Reason reason, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
  }

  public Reason reason() {
    return reason;
  }
}
