package io.berth.daemon;

/// What the doctor has to say about one thing.
///
/// @param found a fact of this machine
/// @param advice what to do about it; empty when nothing needs doing
record Finding(Level level, String subject, String found, String advice) {
  /// How bad it is.
  enum Level {
    OK,
    /// Works, with something missing or at risk.
    WARNING,
    /// Pods, or some of them, will not run.
    FAILURE
  }

  static Finding ok(String subject, String found) {
    return new Finding(Level.OK, subject, found, "");
  }

  static Finding warning(String subject, String found, String advice) {
    return new Finding(Level.WARNING, subject, found, advice);
  }

  static Finding failure(String subject, String found, String advice) {
    return new Finding(Level.FAILURE, subject, found, advice);
  }
}
