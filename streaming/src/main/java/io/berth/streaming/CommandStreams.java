package io.berth.streaming;

import java.io.InputStream;
import java.io.OutputStream;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * One client's side of a remote command, negotiated and complete. All streams block, are bounded in
 * memory, and are meant for virtual threads; each is used by one thread at a time.
 */
public interface CommandStreams {
  /** Whether the client asked for a terminal; standard error is absent then. */
  boolean tty();

  /** What the client sends; ends when the client half-closes. Absent if it asked for none. */
  Optional<InputStream> stdin();

  /**
   * To the client. A write waits while the client does not read, and throws an {@link
   * java.io.IOException} when the client is gone. Absent if the client asked for none.
   */
  Optional<OutputStream> stdout();

  /** As {@link #stdout}. */
  Optional<OutputStream> stderr();

  /**
   * Sizes of the client's terminal, in order, the latest one that is already known first. Called
   * from a thread that must not be held up.
   */
  void onResize(Consumer<TerminalSize> listener);
}
