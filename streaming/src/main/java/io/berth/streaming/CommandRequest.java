package io.berth.streaming;

/**
 * What an exec or attach asked for.
 *
 * @param target run once, when the client has come and its streams are open
 *     <p>A {@link StreamingException} INVALID answers combinations that the CRI forbids
 */
public record CommandRequest(
    boolean stdin, boolean stdout, boolean stderr, boolean tty, CommandTarget target) {
  public CommandRequest {
    if (!stdin && !stdout && !stderr) {
      throw new StreamingException(
          StreamingException.Reason.INVALID,
          "open streams: none of stdin, stdout and stderr is asked for; ask for one");
    }
    if (tty && stderr) {
      throw new StreamingException(
          StreamingException.Reason.INVALID,
          "open streams: a terminal has no stderr of its own; ask for tty or stderr, not both");
    }
  }

  /** Streams that a SPDY client opens: these and the error stream; resize comes on top. */
  int streams() {
    return (stdin ? 1 : 0) + (stdout ? 1 : 0) + (stderr ? 1 : 0);
  }
}
