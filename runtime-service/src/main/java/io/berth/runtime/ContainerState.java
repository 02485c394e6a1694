package io.berth.runtime;

/**
 * Where a container stands.
 *
 * <pre>
 * (absent) --create--> CREATING --made--> CREATED --start--> STARTING --started--> RUNNING --exit--> EXITED
 *     ^                   |                  |                   |                                     |
 *     |                   | failed           +---- exit ---------+--------------- exit ------------->--+
 *     +-------------------+------------------------------------------------------- remove, REMOVING <--+
 * </pre>
 *
 * CREATING, STARTING and REMOVING are intents: recorded before the first step, so that a restart
 * finds what has to be undone, asked of the kernel or finished. CRI knows CREATED, RUNNING and
 * EXITED.
 */
public enum ContainerState {
  /** Being made. Not visible, but its name is taken. */
  CREATING,
  /** The OCI runtime has made it; its program hasn't begun. */
  CREATED,
  /** Told to begin, and nothing more is known. */
  STARTING,
  /** Its program runs. */
  RUNNING,
  /** Its program has ended, or it can never begin. */
  EXITED,
  /** Being taken apart. */
  REMOVING;

  /** Whether a container in this state may be recorded in the next. */
  boolean mayBecome(ContainerState next) {
    return switch (this) {
      case CREATING -> next == CREATED || next == REMOVING;
      case CREATED -> next == STARTING || next == EXITED || next == REMOVING;
      // Back when a restart finds that the program was never told.
      case STARTING -> next == RUNNING || next == EXITED || next == CREATED;
      case RUNNING -> next == EXITED;
      case EXITED -> next == REMOVING;
      case REMOVING -> false;
    };
  }

  /** Whether CRI's lists show a container in this state. */
  public boolean visible() {
    return this != CREATING;
  }

  /** Whether there may be a process. */
  public boolean live() {
    return this == CREATED || this == STARTING || this == RUNNING;
  }
}
