package io.berth.runtime;

import org.jspecify.annotations.Nullable;

/**
 * A container could not be made, run, entered or ended. The message names operation, container,
 * cause and next step.
 */
public final class ContainerException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final Reason reason;

  /** Why, in the terms in which callers act differently. */
  public enum Reason {
    /** No container has this id. */
    NOT_FOUND,
    /** The request can't be fulfilled by anyone. */
    INVALID,
    /** The name is taken by a container that differs from the one asked for. */
    CONFLICT,
    /** Legal, but this version can't fulfil it. */
    UNSUPPORTED,
    /** The container or its sandbox isn't in a state that allows the operation. */
    WRONG_STATE,
    /** The image isn't on this machine. */
    NO_IMAGE,
    /** The OCI runtime or conmon refused or failed; everything was undone. */
    RUNTIME_FAILED,
    /** The command in the container did not end in time, and was killed. */
    TIMED_OUT,
    /** A subscriber did not take its events in time, and some are lost to it. */
    OVERRUN
  }

  public ContainerException(Reason reason, String message) {
    this(reason, message, null);
  }

  public ContainerException(Reason reason, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
  }

  public Reason reason() {
    return reason;
  }
}
