package io.berth.snapshot;

import io.berth.linux.Errno;
import io.berth.linux.ErrnoException;
import io.berth.linux.Fd;
import io.berth.linux.Sha256;
import java.security.MessageDigest;
import java.util.Arrays;

/** Digests of files as they are on disk. */
final class FileContent {
  private static final int BLOCK = 4096;
  private static final byte[] ZEROS = new byte[BLOCK];

  private static final int PIECE = 64 << 10;

  private byte[] piece = {}; // made when something is read
  private final Pace pace;
  private long bytes;

  FileContent(Pace pace) {
    this.pace = pace;
  }

  /** Read so far. */
  long bytes() {
    return bytes;
  }

  /** SHA-256 of the whole content. */
  byte[] digest(Fd file) throws InterruptedException {
    MessageDigest hash = Sha256.start();
    if (piece.length != PIECE) {
      piece = new byte[PIECE];
    }
    for (int n = file.read(piece); n > 0; n = file.read(piece)) {
      hash.update(piece, 0, n);
      bytes += n;
      pace.spend(n);
    }
    file.dropFromCache();
    return hash.digest();
  }

  /**
   * SHA-256 of what isn't zero, block by block with the block's offset, so that holes cost nothing:
   * a file of a few bytes may claim terabytes. The same whether a file system has stored a block of
   * zeros or left it out.
   */
  byte[] sparseDigest(Fd file) throws InterruptedException {
    MessageDigest hash = Sha256.start();
    byte[] block = new byte[BLOCK];
    long at = 0;
    while (true) {
      try {
        at = file.seekData(at) / BLOCK * BLOCK;
      } catch (ErrnoException e) {
        if (e.is(Errno.ENXIO)) { // no data from here on
          file.dropFromCache();
          return hash.digest();
        }
        throw e;
      }
      file.seek(at);
      int length = file.read(block); // short at the end of the file alone
      if (!Arrays.equals(block, 0, length, ZEROS, 0, length)) {
        for (int shift = 56; shift >= 0; shift -= 8) {
          hash.update((byte) (at >>> shift));
        }
        hash.update(block, 0, length);
      }
      bytes += length;
      pace.spend(length);
      at += BLOCK;
    }
  }
}
