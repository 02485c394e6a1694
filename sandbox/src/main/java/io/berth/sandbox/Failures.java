package io.berth.sandbox;

import java.nio.file.FileSystemException;

/// What went wrong, in words for a message.
final class Failures {
  private Failures() {}

  /// The JDK's file exceptions often have the path as their whole message.
  static String text(Throwable failure) {
    if (failure instanceof FileSystemException e) {
      String reason = e.getReason() == null ? e.getClass().getSimpleName() : e.getReason();
      return e.getFile() + ": " + reason;
    }
    String message = failure.getMessage();
    return message == null ? failure.getClass().getSimpleName() : message;
  }
}
