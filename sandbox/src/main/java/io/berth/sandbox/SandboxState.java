package io.berth.sandbox;

/// Where a sandbox stands.
///
/// ```
/// (absent) --run--> CREATING --everything made--> READY --stop, reboot--> STOPPING --torn down--> STOPPED
///     ^                 |                                                                            |
///     |                 v failed, or found at a restart                                              |
///     +-----------------+------------------------------------------------------------------- remove --+
/// ```
///
/// CREATING and STOPPING are intents: they are recorded before the first step is taken, so that a
/// restart finds what has to be undone or finished. CRI knows two states; a sandbox that is being
/// made isn't visible at all.
public enum SandboxState {
  /// Being made. Not visible, but its name is taken.
  CREATING,
  /// Containers may be created.
  READY,
  /// No container may be created any more; namespaces and address may still be there.
  STOPPING,
  /// Namespaces, mounts and address are gone; the record and the files of containers remain.
  STOPPED;

  /// Whether a sandbox in this state may be recorded in the next.
  boolean mayBecome(SandboxState next) {
    return switch (this) {
      case CREATING -> next == READY;
      case READY -> next == STOPPING;
      case STOPPING -> next == STOPPED;
      case STOPPED -> false;
    };
  }

  /// Whether the record of a sandbox in this state may be deleted.
  boolean mayVanish() {
    return switch (this) {
      case CREATING, STOPPED -> true;
      case READY, STOPPING -> false;
    };
  }

  /// Whether CRI's lists show a sandbox in this state.
  public boolean visible() {
    return this != CREATING;
  }
}
