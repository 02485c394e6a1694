package io.berth.linux;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.IntByReference;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The C library, bound once by JNA's direct mapping. Paths are NUL-terminated bytes ({@link
 * #path}), because a file name on Linux is bytes and not text. Failures show as -1 with the error
 * number in {@link Native#getLastError}; a virtual thread can't be unmounted between the two, as it
 * runs no blocking Java code there.
 *
 * <p>Variadic functions (open, ioctl, syscall, fcntl) are bound with a fixed number of integer
 * arguments: the calling conventions of x86-64 and arm64 Linux pass those alike.
 */
final class Libc {
  // fcntl(2), open(2): the values that differ by architecture are O_DIRECTORY and O_NOFOLLOW.
  private static final boolean ARM = System.getProperty("os.arch", "").equals("aarch64");
  static final int O_RDONLY = 0;
  static final int O_WRONLY = 1;
  static final int O_RDWR = 2;
  static final int O_CREAT = 0100;
  static final int O_EXCL = 0200;
  static final int O_TRUNC = 01000;
  static final int O_NONBLOCK = 04000;
  static final int O_DIRECTORY = ARM ? 040000 : 0200000;
  static final int O_NOFOLLOW = ARM ? 0100000 : 0400000;
  static final int O_CLOEXEC = 02000000;
  static final int O_PATH = 010000000;
  static final int AT_FDCWD = -100;
  static final int AT_SYMLINK_NOFOLLOW = 0x100;
  static final int AT_REMOVEDIR = 0x200;
  static final int AT_EMPTY_PATH = 0x1000;
  static final int F_DUPFD_CLOEXEC = 1030;

  // Numbers of the generic table (kernel 5.1 and later number new calls alike everywhere).
  static final long SYS_OPEN_TREE = 428;
  static final long SYS_MOVE_MOUNT = 429;
  static final long SYS_FSOPEN = 430;
  static final long SYS_FSCONFIG = 431;
  static final long SYS_FSMOUNT = 432;
  static final long SYS_PIDFD_SEND_SIGNAL = 424;
  static final long SYS_PIDFD_OPEN = 434;
  static final long SYS_OPENAT2 = 437;
  static final long SYS_MOUNT_SETATTR = 442;

  static {
    Native.register(Libc.class, "c");
  }

  private Libc() {}

  static native int unshare(int flags);

  static native int setns(int fd, int type);

  static native int sethostname(byte[] name, long length);

  static native int mount(
      byte @Nullable [] source,
      byte[] target,
      byte @Nullable [] type,
      long flags,
      byte @Nullable [] data);

  static native int umount2(byte[] target, int flags);

  static native int open(byte[] path, int flags, int mode);

  static native int openat(int dir, byte[] path, int flags, int mode);

  static native int close(int fd);

  static native long read(int fd, byte[] buffer, long count);

  static native long read(int fd, Pointer buffer, long count);

  static native long pread(int fd, byte[] buffer, long count, long offset);

  static native long write(int fd, byte[] buffer, long count);

  static native long write(int fd, Pointer buffer, long count);

  /** With a direct buffer, from its very beginning: no copy. */
  static native long write(int fd, java.nio.Buffer buffer, long count);

  static native int ftruncate(int fd, long length);

  static native int sync_file_range(int fd, long offset, long count, int flags);

  static native long getdents64(int fd, byte[] buffer, long count);

  static native int pipe2(int[] fds, int flags);

  static native int fcntl(int fd, int command, int argument);

  static native int fsync(int fd);

  static native int syncfs(int fd);

  static native int chdir(byte[] path);

  static native int mkdirat(int dir, byte[] path, int mode);

  static native int unlinkat(int dir, byte[] path, int flags);

  static native int symlinkat(byte[] target, int dir, byte[] path);

  static native int linkat(int fromDir, byte[] from, int toDir, byte[] to, int flags);

  static native int mknodat(int dir, byte[] path, int mode, long device);

  static native int fchownat(int dir, byte[] path, int uid, int gid, int flags);

  static native int fchown(int fd, int uid, int gid);

  static native int fchmod(int fd, int mode);

  static native int chmod(byte[] path, int mode);

  static native int utimensat(int dir, byte[] path, long[] times, int flags);

  static native int futimens(int fd, long[] times);

  static native int lsetxattr(byte[] path, byte[] name, byte[] value, long size, int flags);

  static native long lgetxattr(byte[] path, byte[] name, byte @Nullable [] value, long size);

  static native long llistxattr(byte[] path, byte @Nullable [] list, long size);

  static native int statfs(byte[] path, Pointer out);

  static native int setpriority(int which, int who, int priority);

  static native int statx(int dir, byte[] path, int flags, int mask, Pointer out);

  static native long readlinkat(int dir, byte[] path, byte[] buffer, long size);

  static native int renameat(int fromDir, byte[] from, int toDir, byte[] to);

  /** glibc 2.28. */
  static native int renameat2(int fromDir, byte[] from, int toDir, byte[] to, int flags);

  static native int posix_fadvise(int fd, long offset, long length, int advice);

  static native int epoll_create1(int flags);

  static native int epoll_ctl(int epoll, int operation, int fd, Pointer event);

  static native int epoll_wait(int epoll, Pointer events, int capacity, int timeoutMillis);

  static native int inotify_init1(int flags);

  static native int inotify_add_watch(int fd, byte[] path, int mask);

  static native int inotify_rm_watch(int fd, int watch);

  static native int memfd_create(byte[] name, int flags);

  static native long lseek(int fd, long offset, int whence);

  static native int socket(int domain, int type, int protocol);

  static native int connect(int fd, byte[] address, int length);

  static native int setsockopt(int fd, int level, int option, byte[] value, int length);

  static native int bind(int socket, byte[] address, int length);

  static native int listen(int socket, int backlog);

  static native int accept4(
      int socket, @Nullable Pointer address, @Nullable Pointer length, int flags);

  static native long recvmsg(int socket, Pointer message, int flags);

  static native int ioctl(int fd, long request, byte[] argument);

  static native int kill(int pid, int signal);

  static native int prctl(int option, long a, long b, long c, long d);

  static native int waitid(int kind, int id, Pointer info, int options);

  static native int waitpid(int pid, IntByReference status, int options);

  static native int posix_spawn(
      IntByReference pid,
      byte[] path,
      Pointer actions,
      Pointer attributes,
      Pointer argv,
      Pointer envp);

  static native int posix_spawn_file_actions_init(Pointer actions);

  static native int posix_spawn_file_actions_destroy(Pointer actions);

  static native int posix_spawn_file_actions_adddup2(Pointer actions, int fd, int newFd);

  static native int posix_spawn_file_actions_addclose(Pointer actions, int fd);

  static native int posix_spawn_file_actions_addclosefrom_np(Pointer actions, int from);

  static native int posix_spawn_file_actions_addchdir_np(Pointer actions, byte[] path);

  static native int posix_spawnattr_init(Pointer attributes);

  static native int posix_spawnattr_destroy(Pointer attributes);

  static native int posix_spawnattr_setflags(Pointer attributes, short flags);

  static native int posix_spawnattr_setpgroup(Pointer attributes, int group);

  static native int posix_spawnattr_setsigmask(Pointer attributes, Pointer mask);

  static native int posix_spawnattr_setsigdefault(Pointer attributes, Pointer mask);

  static native int sigemptyset(Pointer set);

  static native int sigfillset(Pointer set);

  static native long syscall(long number, long a, long b, long c, long d, long e);

  private static native Pointer strerror_r(int errno, byte[] buffer, long size);

  /**
   * The text of strerror(3), in the C locale. glibc's variant returns the text, not always in the
   * buffer.
   */
  static String strerror(int errno) {
    return strerror_r(errno, new byte[128], 128).getString(0).toLowerCase(java.util.Locale.ROOT);
  }

  /**
   * The bytes of a name, ended by NUL.
   *
   * @throws ErrnoException EINVAL when it holds a NUL itself: the kernel would see another name
   */
  static byte[] path(String text) {
    if (text.indexOf('\0') >= 0) {
      throw new ErrnoException("use name " + text.replace("\0", "\\0"), Errno.EINVAL);
    }
    byte[] bytes = FileName.encode(text);
    return java.util.Arrays.copyOf(bytes, bytes.length + 1);
  }

  static byte[] path(java.nio.file.Path path) {
    return path(path.toString());
  }

  /** Throws what errno says when {@code result} is negative; otherwise returns it. */
  static int check(int result, String operation) {
    if (result < 0) {
      throw new ErrnoException(operation, Native.getLastError());
    }
    return result;
  }

  static long check(long result, String operation) {
    if (result < 0) {
      throw new ErrnoException(operation, Native.getLastError());
    }
    return result;
  }

  /**
   * As {@link #check(long, String)}, with the object named only when it fails: for calls made per
   * file.
   */
  static void check(int result, String operation, Object object) {
    if (result < 0) {
      throw new ErrnoException(operation + " " + object, Native.getLastError());
    }
  }

  /**
   * A NULL-terminated array of C strings in one block; the block must stay reachable while it is
   * used.
   */
  static Memory strings(List<byte[]> values) {
    long head = 8L * (values.size() + 1);
    long size = head;
    for (byte[] value : values) {
      size += value.length + 1;
    }
    Memory block = new Memory(size);
    long at = head;
    for (int i = 0; i < values.size(); i++) {
      byte[] value = values.get(i);
      block.setPointer(8L * i, block.share(at));
      block.write(at, value, 0, value.length);
      block.setByte(at + value.length, (byte) 0);
      at += value.length + 1;
    }
    block.setPointer(8L * values.size(), null);
    return block;
  }
}
