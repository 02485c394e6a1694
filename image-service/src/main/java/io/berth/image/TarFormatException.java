package io.berth.image;

import java.io.IOException;

/**
 * The bytes aren't a tar archive that can be unpacked; the message says what is wrong with them.
 */
final class TarFormatException extends IOException {
  private static final long serialVersionUID = 1;

  TarFormatException(String message) {
    super(message);
  }
}
