package io.berth.linux;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Room that the content of a folder takes, the folder itself left out.
 *
 * @param bytes allocated on disk, in bytes: what du(1) counts
 * @param inodes each counted once, however many names it has
 */
public record TreeUsage(long bytes, long inodes) {

  /**
   * Counts a folder's content, which may change meanwhile; what disappears isn't counted, nor a
   * folder that doesn't exist.
   *
   * @param mostInodes gives up when there are more
   * @return empty when it gave up
   * @throws ErrnoException when a folder can't be read
   */
  public static Optional<TreeUsage> of(Path folder, long mostInodes) {
    int top =
        Libc.open(
            Libc.path(folder), Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_CLOEXEC, 0 /* no mode */);
    if (top < 0) {
      if (Native.getLastError() == Errno.ENOENT) {
        return Optional.of(new TreeUsage(0, 0));
      }
      throw new ErrnoException("count the room taken by " + folder, Native.getLastError());
    }
    try (Fd fd = new Fd(top);
        Memory stat = new Memory(256)) {
      var walk = new Walk(stat, mostInodes);
      walk.count(fd, 0);
      return walk.names > mostInodes ? Optional.empty() : Optional.of(walk.result());
    }
  }

  /**
   * Holds no more than one page of names of each folder on the way down, whatever a container has
   * piled up there.
   */
  private static final class Walk {
    /** One descriptor each; a path names no folder deeper than PATH_MAX / 2. */
    private static final int DEPTH = 2048;

    private static final int PAGE = 4096;
    private static final int STATX_MODE_LINKS_BLOCKS = 0x1 | 0x2 | 0x4 | 0x400;
    private static final int S_IFMT = 0170000;
    private static final int S_IFDIR = 0040000;

    private final Memory stat;
    private final long mostNames;
    private long names;
    private long blocks;
    private long inodes;

    /**
     * Names and blocks of files with several names, by how many they have. A file of n names is met
     * n times and counts 1/n each, so that no inode has to be remembered.
     */
    private final TreeMap<Integer, long[]> linked = new TreeMap<>();

    Walk(Memory stat, long mostNames) {
      this.stat = stat;
      this.mostNames = mostNames;
    }

    void count(Fd folder, int depth) {
      byte[] page = new byte[PAGE];
      ByteBuffer records = ByteBuffer.wrap(page).order(ByteOrder.nativeOrder());
      while (names <= mostNames) {
        int size =
            (int)
                Libc.check(
                    Libc.getdents64(folder.number(), page, page.length), "list a folder of a tree");
        if (size == 0) {
          return;
        }
        // struct linux_dirent64: d_ino 8, d_off 8, d_reclen 2, d_type 1, d_name NUL-terminated
        for (int at = 0; at < size; at += records.getShort(at + 16) & 0xffff) {
          byte[] name = name(page, at + 19);
          if (name.length > 0 && entry(folder, name) && depth < DEPTH) {
            down(folder, name, depth);
          }
        }
      }
    }

    /** With its NUL; of no length for the folder itself and the one above. */
    private static byte[] name(byte[] page, int start) {
      int end = start;
      while (page[end] != 0) {
        end++;
      }
      boolean dots =
          page[start] == '.' && (end - start == 1 || (end - start == 2 && page[start + 1] == '.'));
      return dots ? new byte[0] : java.util.Arrays.copyOfRange(page, start, end + 1);
    }

    /** True for a folder. */
    private boolean entry(Fd folder, byte[] name) {
      if (Libc.statx(folder.number(), name, Libc.AT_SYMLINK_NOFOLLOW, STATX_MODE_LINKS_BLOCKS, stat)
          < 0) {
        int errno = Native.getLastError();
        if (errno != Errno.ENOENT) {
          throw new ErrnoException("look at an entry of a tree", errno);
        }
        return false;
      }
      names++;
      // Offsets of struct statx, the same on every architecture.
      boolean isFolder = (stat.getShort(28) & S_IFMT) == S_IFDIR;
      int links = stat.getInt(16);
      if (links > 1 && !isFolder) {
        long[] sum = linked.computeIfAbsent(links, _ -> new long[2]);
        sum[0]++;
        sum[1] += stat.getLong(48);
      } else {
        inodes++;
        blocks += stat.getLong(48);
      }
      return isFolder;
    }

    private void down(Fd folder, byte[] name, int depth) {
      int child =
          Libc.openat(
              folder.number(),
              name,
              Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW | Libc.O_CLOEXEC,
              0);
      if (child < 0) {
        int errno = Native.getLastError();
        if (errno != Errno.ENOENT && errno != Errno.ENOTDIR && errno != Errno.ELOOP) {
          throw new ErrnoException("open a folder of a tree", errno);
        }
        return; // gone, or replaced, meanwhile
      }
      try (Fd fd = new Fd(child)) {
        count(fd, depth + 1);
      }
    }

    TreeUsage result() {
      long allBlocks = blocks;
      long allInodes = inodes;
      for (var sum : linked.entrySet()) {
        allInodes += Math.ceilDiv(sum.getValue()[0], (long) sum.getKey());
        allBlocks += sum.getValue()[1] / sum.getKey();
      }
      return new TreeUsage(allBlocks * 512, allInodes); // blocks of 512 bytes, statx(2)
    }
  }
}
