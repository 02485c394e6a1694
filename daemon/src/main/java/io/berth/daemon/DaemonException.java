package io.berth.daemon;

import org.jspecify.annotations.Nullable;

/// berthd cannot serve, or `berth` cannot reach it. The message is for the administrator.
public final class DaemonException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /// What to tell apart.
  public enum Reason {
    /// Another berthd is at work on this socket or these folders.
    ALREADY_RUNNING,
    /// The root folder cannot be used.
    STATE,
    /// The socket cannot be made as configured.
    SOCKET,
    /// The metrics listener cannot be opened.
    METRICS,
    /// The environment names a proxy that cannot be used.
    PROXY,
    /// `berth` found no daemon.
    UNREACHABLE,
    /// The daemon's answer to `berth` was an error.
    REFUSED
  }

  private final Reason reason;

  DaemonException(Reason reason, String message, @Nullable Throwable cause) {
    super(message, cause);
    this.reason = reason;
  }

  public Reason reason() {
    return reason;
  }
}
