package io.berth.linux;

import com.sun.jna.Memory;
import java.nio.file.Path;

/**
 * How large the file system under a folder is, statfs(2).
 *
 * @param bytes what it can hold
 * @param availableBytes what is left to everybody but root
 * @param inodes how many it can have; 0 where it makes them as needed, as Btrfs does
 */
public record DiskSpace(long bytes, long availableBytes, long inodes, long freeInodes) {
  /** Bytes or inodes, whichever is used more, as df(1) tells it: rounded up. */
  public int usedPercent() {
    long usedBytes = percent(bytes - availableBytes, bytes);
    return (int) Math.max(usedBytes, percent(inodes - freeInodes, inodes));
  }

  private static long percent(long used, long of) {
    return of == 0 ? 0 : Math.ceilDiv(used * 100, of);
  }

  /**
   * @throws ErrnoException when there is no such folder
   */
  public static DiskSpace of(Path folder) {
    try (Memory out = new Memory(256)) {
      Libc.check(Libc.statfs(Libc.path(folder), out), "look at the file system of", folder);
      // struct statfs on 64 bits: type, bsize, blocks, bfree, bavail, files, ffree; 8 bytes each
      long block = out.getLong(8);
      return new DiskSpace(
          block * out.getLong(16), block * out.getLong(32), out.getLong(40), out.getLong(48));
    }
  }
}
