package io.berth.streaming;

/** How a remote command ended, as the error channel of the remote command protocol tells it. */
public sealed interface CommandResult {
  /**
   * The process ended; an attach ends with 0 whatever its container's code.
   *
   * @param code 0 to 255
   */
  record Exited(int code) implements CommandResult {}

  /**
   * The command could not be run or followed.
   *
   * @param message operation, object, cause and next step, for the person at the client
   */
  record Failed(String message) implements CommandResult {}
}
