package io.berth.streaming;

/** What a token stands for. */
sealed interface StreamingRequest {
  record Exec(CommandRequest command) implements StreamingRequest {}

  record Attach(CommandRequest command) implements StreamingRequest {}

  record PortForward(PortForwardRequest forward) implements StreamingRequest {}

  /** The URL's path before the token. */
  default String path() {
    return switch (this) {
      case Exec _ -> "/exec/";
      case Attach _ -> "/attach/";
      case PortForward _ -> "/portforward/";
    };
  }
}
