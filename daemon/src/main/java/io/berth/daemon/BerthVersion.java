package io.berth.daemon;

import java.io.IOException;
import java.io.InputStream;
import java.util.Properties;
import picocli.CommandLine.IVersionProvider;

/// The version of this build, as Maven knows it.
final class BerthVersion implements IVersionProvider {
  static String current() {
    var properties = new Properties();
    try (InputStream resource =
        BerthVersion.class.getResourceAsStream("/berth-version.properties")) {
      if (resource != null) {
        properties.load(resource);
      }
    } catch (IOException unreadable) {
      throw new IllegalStateException("the resource berth-version.properties", unreadable);
    }
    return properties.getProperty("version", "unknown");
  }

  @Override
  public String[] getVersion() {
    return new String[] {
      "${COMMAND-FULL-NAME} " + current() + " (Java " + System.getProperty("java.version") + ")"
    };
  }
}
