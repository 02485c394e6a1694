package io.berth.streaming;

/** What a remote command's streams are joined to: a process in a container, or its first one. */
public interface CommandTarget {
  /**
   * Runs the command, or follows the running one, to its end. Called once, on a virtual thread of
   * its own, after every stream that the client asked for is open. The streams are flushed and
   * closed by the server after the return, and the result is told after the last byte.
   *
   * @throws InterruptedException if the client went away or the server stops; the target has then
   *     ended what it must not leave behind
   */
  CommandResult run(CommandStreams streams) throws InterruptedException;
}
