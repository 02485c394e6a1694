package io.berth.image;

import io.berth.oci.Platform;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The machine this runs on. */
public final class HostPlatform {
  private static final Path CPU_INFO = Path.of("/proc/cpuinfo");

  private HostPlatform() {}

  public static Platform detect() {
    return Platform.machine(System.getProperty("os.arch", ""), cpuFlags());
  }

  /** Without the file the oldest micro-architecture is assumed, which every image supports. */
  private static String cpuFlags() {
    try (var lines = Files.lines(CPU_INFO)) {
      return lines
          .filter(line -> line.startsWith("flags"))
          .map(line -> line.substring(line.indexOf(':') + 1))
          .findFirst()
          .orElse("");
    } catch (IOException e) {
      return "";
    }
  }
}
