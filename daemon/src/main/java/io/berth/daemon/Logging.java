package io.berth.daemon;

import java.util.Locale;
import java.util.logging.LogManager;
import org.slf4j.bridge.SLF4JBridgeHandler;
import org.slf4j.event.Level;

/// Sets up the log; must run before the first logger is made.
final class Logging {
  private Logging() {}

  /// Lines of this level and above go to standard error, those of java.util.logging among them.
  static void configure(Level level) {
    System.setProperty(
        "org.slf4j.simpleLogger.defaultLogLevel", level.name().toLowerCase(Locale.ROOT));
    LogManager.getLogManager().reset();
    SLF4JBridgeHandler.install();
  }
}
