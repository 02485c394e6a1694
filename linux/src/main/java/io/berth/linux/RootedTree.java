package io.berth.linux;

import com.google.errorprone.annotations.MustBeClosed;
import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * A file tree that its paths can't leave: every name is resolved by openat2(2) with
 * RESOLVE_IN_ROOT, so that symbolic links and {@code ..} end at the root, even when the tree
 * changes meanwhile (kernel 5.6). Operations on an entry take the descriptor of its folder and one
 * name without slashes, and never follow that last name.
 */
public final class RootedTree implements AutoCloseable {
  private static final long RESOLVE_NO_MAGICLINKS = 0x02;
  private static final long RESOLVE_NO_SYMLINKS = 0x04;
  private static final long RESOLVE_IN_ROOT = 0x10;
  private static final int STATX_BASIC_STATS = 0x7ff;
  private static final int S_IFMT = 0170000;

  private final Path path;
  private final Fd root;

  /**
   * What statx(2) says of an entry.
   *
   * @param mode type and permissions, as st_mode
   * @param mtimeNanos nanoseconds within the second
   */
  public record Stat(
      int mode,
      int uid,
      int gid,
      long size,
      long inode,
      long device,
      int links,
      long mtimeSeconds,
      int mtimeNanos,
      long rdev,
      long blocks) {
    public boolean isDirectory() {
      return (mode & S_IFMT) == 0040000;
    }

    public boolean isSymlink() {
      return (mode & S_IFMT) == 0120000;
    }

    public boolean isRegular() {
      return (mode & S_IFMT) == 0100000;
    }

    public int permissions() {
      return mode & 07777;
    }

    /** Of the device that this entry is. */
    public int major() {
      return (int) (((rdev >>> 32) & 0xfffff000L) | ((rdev >>> 8) & 0xfffL));
    }

    public int minor() {
      return (int) (((rdev >>> 12) & 0xffffff00L) | (rdev & 0xffL));
    }
  }

  private RootedTree(Path path, Fd root) {
    this.path = path;
    this.root = root;
  }

  @MustBeClosed
  public static RootedTree open(Path root) {
    return new RootedTree(
        root,
        new Fd(
            Libc.check(
                Libc.open(Libc.path(root), Libc.O_PATH | Libc.O_DIRECTORY | Libc.O_CLOEXEC, 0),
                "open root folder " + root)));
  }

  /** The descriptor of the root; owned by this object. */
  public Fd root() {
    return root;
  }

  /**
   * Opens a folder by a path inside the tree, following links within the root; the empty path is
   * the root.
   *
   * @throws ErrnoException ENOENT, ENOTDIR, ELOOP as in openat2(2)
   */
  @MustBeClosed
  public Fd openDirectory(String relative) {
    return openAt(root, relative.isEmpty() ? "." : relative, Libc.O_RDONLY | Libc.O_DIRECTORY, 0);
  }

  /** As {@link #openDirectory}, but a link anywhere in the path is refused with ELOOP. */
  @MustBeClosed
  public Fd openRealDirectory(String relative) {
    return openAt(
        root,
        relative.isEmpty() ? "." : relative,
        Libc.O_RDONLY | Libc.O_DIRECTORY,
        0,
        RESOLVE_NO_SYMLINKS);
  }

  /** Opens a folder that is an entry of an open one, not following a link. */
  @MustBeClosed
  public Fd openChild(Fd folder, String name) {
    return openAt(folder, single(name), Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_NOFOLLOW, 0);
  }

  /**
   * Makes a new file for writing; fails with EEXIST when there is an entry of that name, link or
   * not.
   */
  @MustBeClosed
  public Fd createFile(Fd folder, String name, int mode) {
    return openAt(
        folder, single(name), Libc.O_WRONLY | Libc.O_CREAT | Libc.O_EXCL | Libc.O_NOFOLLOW, mode);
  }

  /** Opens a file for reading by a path inside the tree, following links within the root. */
  @MustBeClosed
  public Fd openFile(String relative) {
    return openAt(root, relative, Libc.O_RDONLY | Libc.O_NONBLOCK, 0);
  }

  /** Opens a file for reading that is an entry of an open folder, not following a link. */
  @MustBeClosed
  public Fd openFile(Fd folder, String name) {
    return openAt(folder, single(name), Libc.O_RDONLY | Libc.O_NONBLOCK | Libc.O_NOFOLLOW, 0);
  }

  @MustBeClosed
  private Fd openAt(Fd folder, String relative, int flags, int mode) {
    return openAt(folder, relative, flags, mode, 0);
  }

  @MustBeClosed
  private Fd openAt(Fd folder, String relative, int flags, int mode, long resolve) {
    byte[] name = Libc.path(relative);
    // struct open_how: flags, mode, resolve, 8 bytes each
    try (Memory how = new Memory(24);
        Memory text = new Memory(name.length)) {
      text.write(0, name, 0, name.length);
      how.setLong(0, flags | Libc.O_CLOEXEC);
      how.setLong(8, mode);
      how.setLong(16, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve);
      while (true) {
        long fd =
            Libc.syscall(
                Libc.SYS_OPENAT2,
                folder.number(),
                Pointer.nativeValue(text),
                Pointer.nativeValue(how),
                24,
                0);
        if (fd >= 0) {
          return new Fd((int) fd);
        }
        int errno = Native.getLastError();
        // EAGAIN: a rename elsewhere made the ".." check uncertain; openat2(2) asks to try again.
        if (errno != Errno.EAGAIN && errno != Errno.EINTR) {
          throw new ErrnoException("open " + relative + " in " + path, errno);
        }
      }
    }
  }

  /**
   * Reads a whole file inside the tree.
   *
   * @param limit most bytes to read; a longer file is cut there
   * @return empty when there is no such file, or something else than a file
   */
  public Optional<byte[]> readFile(String relative, int limit) {
    // Looked at before it is opened: opening some devices has effects, and an image may hold any.
    try (Fd handle = openAt(root, relative, Libc.O_PATH, 0)) {
      if (!stat(handle, "").isRegular()) {
        return Optional.empty();
      }
      return Optional.of(readAll(handle, limit));
    } catch (ErrnoException e) {
      if (e.is(Errno.ENOENT) || e.is(Errno.ENOTDIR) || e.is(Errno.ELOOP)) {
        return Optional.empty();
      }
      throw e;
    }
  }

  private static byte[] readAll(Fd handle, int limit) {
    try (Fd fd = Fd.openRead(handle.procPath())) {
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      byte[] buffer = new byte[16 << 10];
      while (out.size() < limit) {
        int n = fd.read(buffer);
        if (n == 0) {
          break;
        }
        out.write(buffer, 0, Math.min(n, limit - out.size()));
      }
      return out.toByteArray();
    }
  }

  public void makeDirectory(Fd folder, String name, int mode) {
    Libc.check(Libc.mkdirat(folder.number(), Libc.path(single(name)), mode), "make folder", name);
  }

  /** Makes a symbolic link; {@code target} is its text, kept as it is. */
  public void makeSymlink(Fd folder, String name, String target) {
    Libc.check(
        Libc.symlinkat(Libc.path(target), folder.number(), Libc.path(single(name))),
        "make symbolic link",
        name);
  }

  /** A hard link; the old name isn't followed when it is a symbolic link. */
  public void makeLink(Fd oldFolder, String oldName, Fd folder, String name) {
    Libc.check(
        Libc.linkat(
            oldFolder.number(),
            Libc.path(single(oldName)),
            folder.number(),
            Libc.path(single(name)),
            0),
        "make hard link",
        name);
  }

  /**
   * A device, fifo or socket.
   *
   * @param mode type and permissions, as in mknod(2)
   */
  public void makeNode(Fd folder, String name, int mode, int major, int minor) {
    Libc.check(
        Libc.mknodat(folder.number(), Libc.path(single(name)), mode, device(major, minor)),
        "make node",
        name);
  }

  /**
   * Moves an entry within the tree, replacing a file (or an empty folder by a folder), as
   * rename(2).
   */
  public void rename(Fd oldFolder, String oldName, Fd folder, String name) {
    Libc.check(
        Libc.renameat(
            oldFolder.number(),
            Libc.path(single(oldName)),
            folder.number(),
            Libc.path(single(name))),
        "move",
        oldName);
  }

  /** Removes an entry that is no folder; one that doesn't exist is fine. */
  public void removeFile(Fd folder, String name) {
    remove(folder, name, 0);
  }

  /** Removes an empty folder; one that doesn't exist is fine. */
  public void removeDirectory(Fd folder, String name) {
    remove(folder, name, Libc.AT_REMOVEDIR);
  }

  private static void remove(Fd folder, String name, int flags) {
    if (Libc.unlinkat(folder.number(), Libc.path(single(name)), flags) < 0) {
      int errno = Native.getLastError();
      if (errno != Errno.ENOENT) {
        throw new ErrnoException("remove " + name, errno);
      }
    }
  }

  /** Owner of an entry; of a symbolic link itself. */
  public void setOwner(Fd folder, String name, int uid, int gid) {
    Libc.check(
        Libc.fchownat(folder.number(), Libc.path(single(name)), uid, gid, Libc.AT_SYMLINK_NOFOLLOW),
        "set owner of",
        name);
  }

  public void setOwner(Fd file, int uid, int gid) {
    Libc.check(Libc.fchown(file.number(), uid, gid), "set owner of", file);
  }

  /** Permissions of an open file or folder. */
  public void setMode(Fd file, int mode) {
    Libc.check(Libc.fchmod(file.number(), mode), "set mode of", file);
  }

  /** Permissions of an entry that is no symbolic link: it is opened without following first. */
  public void setMode(Fd folder, String name, int mode) {
    try (Fd entry = openAt(folder, single(name), Libc.O_PATH | Libc.O_NOFOLLOW, 0)) {
      Libc.check(Libc.chmod(Libc.path(entry.procPath()), mode), "set mode of", name);
    }
  }

  /** Modification time of an entry, of a symbolic link itself; the access time is set alike. */
  public void setTime(Fd folder, String name, long seconds, int nanos) {
    Libc.check(
        Libc.utimensat(
            folder.number(),
            Libc.path(single(name)),
            new long[] {seconds, nanos, seconds, nanos},
            Libc.AT_SYMLINK_NOFOLLOW),
        "set time of",
        name);
  }

  public void setTime(Fd file, long seconds, int nanos) {
    Libc.check(
        Libc.futimens(file.number(), new long[] {seconds, nanos, seconds, nanos}),
        "set time of",
        file);
  }

  /** An extended attribute of an entry, of a symbolic link itself. */
  public void setXattr(Fd folder, String name, String attribute, byte[] value) {
    Libc.check(
        Libc.lsetxattr(
            Libc.path(entry(folder, name)), Libc.path(attribute), value, value.length, 0),
        "set attribute " + attribute + " of",
        name);
  }

  /**
   * An extended attribute of an entry.
   *
   * @return empty when it has none of that name
   */
  public Optional<byte[]> getXattr(Fd folder, String name, String attribute) {
    byte[] file = Libc.path(entry(folder, name));
    byte[] key = Libc.path(attribute);
    byte[] value = new byte[1024];
    while (true) {
      long size = Libc.lgetxattr(file, key, value, value.length);
      if (size >= 0) {
        return Optional.of(Arrays.copyOf(value, (int) size));
      }
      int errno = Native.getLastError();
      if (errno == Errno.ERANGE) {
        value = new byte[1 << 16]; // XATTR_SIZE_MAX
      } else if (errno == Errno.ENODATA || errno == Errno.EOPNOTSUPP) {
        return Optional.empty();
      } else {
        throw new ErrnoException("read attribute " + attribute + " of " + name, errno);
      }
    }
  }

  /** The names of an entry's extended attributes; none where the file system has no attributes. */
  public List<String> listXattrs(Fd folder, String name) {
    byte[] file = Libc.path(entry(folder, name));
    byte[] names = new byte[512]; // nearly always enough, and copied at each call
    long size = Libc.llistxattr(file, names, names.length);
    if (size < 0 && Native.getLastError() == Errno.ERANGE) {
      names = new byte[1 << 16]; // XATTR_LIST_MAX
      size = Libc.llistxattr(file, names, names.length);
    }
    if (size < 0) {
      int errno = Native.getLastError();
      if (errno == Errno.EOPNOTSUPP) {
        return List.of();
      }
      throw new ErrnoException("list attributes of " + name, errno);
    }
    List<String> list = new ArrayList<>();
    int start = 0;
    for (int i = 0; i < size; i++) {
      if (names[i] == 0) {
        list.add(FileName.decode(names, start, i));
        start = i + 1;
      }
    }
    return list;
  }

  /**
   * A name in a folder, with what the file system says of its type without looking at the inode.
   */
  public record Entry(String name, int type) {
    private static final int DT_UNKNOWN = 0;
    private static final int DT_DIR = 4;

    public boolean mayBeFolder() {
      return type == DT_DIR || type == DT_UNKNOWN;
    }
  }

  /**
   * The entries of a folder, from its beginning, in no order; {@code .} and {@code ..} left out.
   */
  public List<Entry> list(Fd folder) {
    Libc.check(Libc.lseek(folder.number(), 0, 0), "go to the beginning of " + folder);
    List<Entry> entries = new ArrayList<>();
    byte[] buffer = new byte[32 << 10];
    ByteBuffer records = ByteBuffer.wrap(buffer).order(ByteOrder.nativeOrder());
    while (true) {
      int size =
          (int)
              Libc.check(Libc.getdents64(folder.number(), buffer, buffer.length), "list " + folder);
      if (size == 0) {
        return entries;
      }
      // struct linux_dirent64: d_ino 8, d_off 8, d_reclen 2, d_type 1, d_name NUL-terminated
      for (int at = 0; at < size; at += records.getShort(at + 16) & 0xffff) {
        int start = at + 19;
        int end = start;
        while (buffer[end] != 0) {
          end++;
        }
        String name = FileName.decode(buffer, start, end);
        if (!name.equals(".") && !name.equals("..")) {
          entries.add(new Entry(name, buffer[at + 18]));
        }
      }
    }
  }

  /** What is known of an entry, not following a link; the empty name is the folder itself. */
  public Stat stat(Fd folder, String name) {
    try (Memory out = new Memory(256)) {
      Libc.check(
          Libc.statx(
              folder.number(),
              Libc.path(name),
              Libc.AT_SYMLINK_NOFOLLOW | Libc.AT_EMPTY_PATH,
              STATX_BASIC_STATS,
              out),
          "look at",
          name);
      // Offsets of struct statx, the same on every architecture.
      return new Stat(
          out.getShort(28) & 0xffff,
          out.getInt(20),
          out.getInt(24),
          out.getLong(40),
          out.getLong(32),
          device(out.getInt(136), out.getInt(140)),
          out.getInt(16),
          out.getLong(112),
          out.getInt(120),
          device(out.getInt(128), out.getInt(132)),
          out.getLong(48));
    }
  }

  /** As {@link #stat}, empty when there is no such entry. */
  public Optional<Stat> find(Fd folder, String name) {
    try {
      return Optional.of(stat(folder, single(name)));
    } catch (ErrnoException e) {
      if (e.is(Errno.ENOENT)) {
        return Optional.empty();
      }
      throw e;
    }
  }

  /** The text of a symbolic link. */
  public String readLink(Fd folder, String name) {
    byte[] buffer = new byte[4096]; // PATH_MAX
    long n =
        Libc.check(
            Libc.readlinkat(folder.number(), Libc.path(single(name)), buffer, buffer.length),
            "read link " + name);
    return FileName.decode(buffer, 0, (int) n);
  }

  @Override
  public void close() {
    root.close();
  }

  /**
   * The folder by its descriptor, which no rename can change, then the name, which l-functions
   * don't follow.
   */
  private static String entry(Fd folder, String name) {
    return folder.procPath() + "/" + single(name);
  }

  private static String single(String name) {
    if (name.isEmpty() || name.indexOf('/') >= 0 || name.equals("..")) {
      throw new IllegalArgumentException("not a single name: " + name);
    }
    return name;
  }

  /** makedev(3), glibc's 64-bit form. */
  private static long device(int major, int minor) {
    long x = major & 0xffffffffL;
    long y = minor & 0xffffffffL;
    return ((x & 0xfffff000L) << 32)
        | ((x & 0xfffL) << 8)
        | ((y & 0xffffff00L) << 12)
        | (y & 0xffL);
  }
}
