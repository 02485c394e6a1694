package io.berth.image;

import io.berth.image.ImageException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Where OpenPGP keys come from. Read at each use, so that an edit counts at once. */
sealed interface OpenPgpKeySource {

  /**
   * The keys as they are.
   *
   * @throws ImageException CONFIGURATION
   */
  byte[] read();

  record InFile(Path file) implements OpenPgpKeySource {
    @Override
    public byte[] read() {
      try {
        return Files.readAllBytes(file);
      } catch (IOException e) {
        throw new ImageException(
            Reason.CONFIGURATION, "OpenPGP key " + file + " can't be read: " + e, e);
      }
    }

    @Override
    public String toString() {
      return file.toString();
    }
  }

  @SuppressWarnings("ArrayRecordComponent") // never compared
  record Inline(byte[] keys) implements OpenPgpKeySource {
    @Override
    public byte[] read() {
      return keys;
    }

    @Override
    public String toString() {
      return "the key in the policy";
    }
  }
}
