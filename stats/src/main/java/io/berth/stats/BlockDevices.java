package io.berth.stats;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/** Names of block devices by their numbers, from sysfs; each is looked up once. */
final class BlockDevices {
  private static final Path BY_NUMBER = Path.of("/sys/dev/block");

  private final ConcurrentMap<Long, Device> devices = new ConcurrentHashMap<>();

  /**
   * A device, its numbers as text.
   *
   * @param name as in {@code /dev/sda}; empty when it isn't there any more
   */
  record Device(String name, String major, String minor) {}

  Device get(long major, long minor) {
    return devices.computeIfAbsent(
        (major << 32) | minor,
        _ -> new Device(name(major, minor), Long.toString(major), Long.toString(minor)));
  }

  private static String name(long major, long minor) {
    Path event = BY_NUMBER.resolve(major + ":" + minor).resolve("uevent");
    try {
      return Files.readAllLines(event).stream()
          .filter(line -> line.startsWith("DEVNAME="))
          .map(line -> "/dev/" + line.substring("DEVNAME=".length()))
          .findFirst()
          .orElse("");
    } catch (IOException e) {
      return "";
    }
  }
}
