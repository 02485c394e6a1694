package io.berth.linux;

import com.sun.jna.Memory;
import java.nio.file.Path;

/**
 * How large the file system under a folder is, statfs(2).
 *
 * @param bytes what it can hold
 * @param inodes how many it can have; 0 where it makes them as needed, as Btrfs does
 */
public record DiskSpace(long bytes, long inodes, long freeInodes) {
  /**
   * @throws ErrnoException when there is no such folder
   */
  public static DiskSpace of(Path folder) {
    try (Memory out = new Memory(256)) {
      Libc.check(Libc.statfs(Libc.path(folder), out), "look at the file system of", folder);
      // struct statfs on 64 bits: type, bsize, blocks, bfree, bavail, files, ffree; 8 bytes each
      return new DiskSpace(out.getLong(8) * out.getLong(16), out.getLong(40), out.getLong(48));
    }
  }
}
