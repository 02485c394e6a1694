package io.berth.linux;

import com.sun.jna.Native;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;

/**
 * Whole trees whose content is not ours: what containers and images put there. Walked by
 * descriptors and single names, so that links are never followed and depth is no matter: a
 * container may nest folders deeper than any path can name.
 */
public final class FileTree {
  private static final int OPEN_FOLDERS = 64;

  private FileTree() {}

  /**
   * Removes a tree; one that doesn't exist is fine. In linear time, with a bounded number of
   * descriptors: what lies too deep is first moved up to the top.
   *
   * @throws ErrnoException for the first entry that can't be removed, as with EBUSY for a mount in
   *     it
   */
  public static void delete(Path tree) {
    try (RootedTree parent = RootedTree.open(parent(tree))) {
      delete(parent, parent.root(), String.valueOf(tree.getFileName()));
    } catch (ErrnoException e) {
      if (!e.is(Errno.ENOENT)) {
        throw e;
      }
    }
  }

  /** As {@link #delete(Path)}, of an entry of an open folder. */
  public static void delete(RootedTree tree, Fd folder, String name) {
    Optional<RootedTree.Stat> found = tree.find(folder, name);
    if (found.isEmpty()) {
      return;
    }
    if (!found.get().isDirectory()) {
      tree.removeFile(folder, name);
      return;
    }
    try (Fd top = tree.openChild(folder, name)) {
      var deleter = new Deleter(tree, top);
      do {
        deleter.movedUp = false;
        deleter.empty(top, 0);
      } while (deleter.movedUp);
    }
    tree.removeDirectory(folder, name);
  }

  private static final class Deleter {
    private final RootedTree tree;
    private final Fd top;
    private int names;
    boolean movedUp;

    Deleter(RootedTree tree, Fd top) {
      this.tree = tree;
      this.top = top;
    }

    void empty(Fd folder, int depth) {
      for (RootedTree.Entry entry : tree.list(folder)) {
        if (!entry.mayBeFolder() || !removeFolder(folder, entry.name(), depth)) {
          tree.removeFile(folder, entry.name());
        }
      }
    }

    /** False when it turns out to be no folder. */
    private boolean removeFolder(Fd folder, String name, int depth) {
      if (depth == OPEN_FOLDERS) {
        moveUp(folder, name);
        return true;
      }
      try (Fd child = tree.openChild(folder, name)) {
        empty(child, depth + 1);
      } catch (ErrnoException e) {
        if (e.is(Errno.ENOTDIR) || e.is(Errno.ELOOP)) {
          return false;
        }
        throw e;
      }
      tree.removeDirectory(folder, name);
      return true;
    }

    private void moveUp(Fd folder, String name) {
      while (true) {
        try {
          tree.rename(folder, name, top, ".berth-delete-" + names++);
          movedUp = true;
          return;
        } catch (ErrnoException e) {
          if (!e.is(Errno.ENOTEMPTY) && !e.is(Errno.EEXIST) && !e.is(Errno.ENOTDIR)) {
            throw e;
          }
        }
      }
    }
  }

  /**
   * Room that the content of a folder takes, the folder itself left out.
   *
   * @param bytes allocated on disk, in bytes
   * @param inodes each counted once, however many names it has
   */
  public record Usage(long bytes, long inodes) {}

  /**
   * Counts a folder's content, which may change meanwhile; what disappears isn't counted, nor a
   * folder that doesn't exist.
   */
  public static Usage usage(Path folder) {
    try (RootedTree tree = RootedTree.open(folder);
        Fd top = tree.openDirectory("")) {
      var counter = new Counter(tree);
      counter.count(top, 0);
      return new Usage(
          counter.blocks * 512, counter.inodes); // st_blocks are of 512 bytes, statx(2)
    } catch (ErrnoException e) {
      if (e.is(Errno.ENOENT)) {
        return new Usage(0, 0);
      }
      throw e;
    }
  }

  private static final class Counter {
    /**
     * A path names no folder deeper than PATH_MAX / 2; a container that goes further isn't counted
     * there.
     */
    private static final int DEPTH = 2048;

    private final RootedTree tree;
    private final Set<Long> linked = new HashSet<>();
    long blocks;
    long inodes;

    Counter(RootedTree tree) {
      this.tree = tree;
    }

    void count(Fd folder, int depth) {
      for (RootedTree.Entry entry : tree.list(folder)) {
        Optional<RootedTree.Stat> found = tree.find(folder, entry.name());
        if (found.isEmpty()) {
          continue;
        }
        RootedTree.Stat stat = found.get();
        if (stat.links() > 1 && !stat.isDirectory() && !linked.add(stat.inode())) {
          continue;
        }
        blocks += stat.blocks();
        inodes++;
        if (stat.isDirectory() && depth < DEPTH) {
          try (Fd child = tree.openChild(folder, entry.name())) {
            count(child, depth + 1);
          } catch (ErrnoException e) {
            if (!e.is(Errno.ENOENT) && !e.is(Errno.ENOTDIR) && !e.is(Errno.ELOOP)) {
              throw e;
            }
          }
        }
      }
    }
  }

  /**
   * Starts the write-back of a file's pages without waiting, so that a later sync finds little to
   * do.
   */
  public static void startWriteback(Fd file) {
    int failed = Libc.sync_file_range(file.number(), 0, 0, 2 /* SYNC_FILE_RANGE_WRITE */);
    if (failed < 0 && Native.getLastError() == Errno.EIO) {
      throw new ErrnoException("write back", Errno.EIO);
    }
  }

  private static Path parent(Path path) {
    Path parent = path.toAbsolutePath().getParent();
    if (parent == null) {
      throw new IllegalArgumentException("not to be removed: " + path);
    }
    return parent;
  }
}
