package io.berth.linux;

import com.sun.jna.Native;
import java.nio.file.Path;
import java.util.Optional;

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
   * Starts the write-back of a file's pages without waiting, so that a later sync finds little to
   * do.
   */
  public static void startWriteback(Fd file) {
    int failed = Libc.sync_file_range(file.number(), 0, 0, 2 /* SYNC_FILE_RANGE_WRITE */);
    if (failed < 0 && Native.getLastError() == Errno.EIO) {
      throw new ErrnoException("write back", Errno.EIO);
    }
  }

  /**
   * Lets two trees of one file system change places, in one step: rename(2), RENAME_EXCHANGE. Who
   * has one of them open or mounted keeps it.
   */
  public static void exchange(Path one, Path other) {
    Libc.check(
        Libc.renameat2(
            Libc.AT_FDCWD, Libc.path(one), Libc.AT_FDCWD, Libc.path(other), 2 /* EXCHANGE */),
        "exchange " + one + " for",
        other);
  }

  private static Path parent(Path path) {
    Path parent = path.toAbsolutePath().getParent();
    if (parent == null) {
      throw new IllegalArgumentException("not to be removed: " + path);
    }
    return parent;
  }
}
