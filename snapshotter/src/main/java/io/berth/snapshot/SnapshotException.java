package io.berth.snapshot;

/**
 * A snapshotter's refusal. The message names the operation, the object, the cause and the next
 * step.
 */
public final class SnapshotException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final Reason reason;

  /** Why, as far as callers act on it. */
  public enum Reason {
    /** A layer that is needed isn't on disk: pull the image again. */
    LAYER_MISSING,
    /** No snapshot has that key. */
    SNAPSHOT_MISSING,
    /** The key is taken by a snapshot of other layers, or can't be a key. */
    KEY_REFUSED,
    /** The disk or its inodes are used up. */
    NO_SPACE,
    /** Anything else the file system or the kernel refused. */
    FILE_SYSTEM
  }

  public SnapshotException(Reason reason, String message) {
    super(message);
    this.reason = reason;
  }

  public SnapshotException(Reason reason, String message, Throwable cause) {
    super(message, cause);
    this.reason = reason;
  }

  public Reason reason() {
    return reason;
  }
}
