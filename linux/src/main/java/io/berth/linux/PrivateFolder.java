package io.berth.linux;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;

/** Folders that only root can look into: what containers are made of is no one else's business. */
public final class PrivateFolder {
  private PrivateFolder() {}

  /**
   * Makes the folder, and parents that are missing, with mode 0700; one that exists stays as it is.
   */
  public static Path make(Path folder) {
    try {
      return Files.createDirectories(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    } catch (IOException e) {
      throw new UncheckedIOException("make folder " + folder + ": " + e.getMessage(), e);
    }
  }
}
