package io.berth.linux;

import com.sun.jna.Native;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * What a process has open, proc_pid_fd(5).
 *
 * @param descriptors sockets included
 */
public record OpenFiles(long descriptors, long sockets) {
  private static final byte[] SOCKET = KernelFile.name("socket:");

  /**
   * Counts a process's descriptors; one that has ended, or hides them, has none.
   *
   * @param most gives up when there are more
   * @return empty when it gave up
   */
  public static Optional<OpenFiles> of(int pid, long most) {
    int number =
        Libc.open(
            Libc.path("/proc/" + pid + "/fd"),
            Libc.O_RDONLY | Libc.O_DIRECTORY | Libc.O_CLOEXEC,
            0);
    if (number < 0) {
      int errno = Native.getLastError();
      if (errno == Errno.EMFILE || errno == Errno.ENFILE) {
        throw new ErrnoException("open the descriptors of process " + pid, errno);
      }
      return Optional.of(new OpenFiles(0, 0));
    }
    try (Fd folder = new Fd(number)) {
      long descriptors = 0;
      long sockets = 0;
      byte[] page = new byte[4096];
      byte[] target = new byte[SOCKET.length];
      byte[] name = new byte[16];
      ByteBuffer records = ByteBuffer.wrap(page).order(ByteOrder.nativeOrder());
      while (true) {
        int size = (int) Libc.getdents64(folder.number(), page, page.length);
        if (size <= 0) { // also when the process has ended meanwhile
          return Optional.of(new OpenFiles(descriptors, sockets));
        }
        // struct linux_dirent64: d_ino 8, d_off 8, d_reclen 2, d_type 1, d_name NUL-terminated
        for (int at = 0; at < size; at += records.getShort(at + 16) & 0xffff) {
          int end = at + 19;
          while (page[end] != 0) {
            end++;
          }
          if (page[at + 19] == '.') {
            continue;
          }
          System.arraycopy(page, at + 19, name, 0, end - at - 18);
          long read = Libc.readlinkat(folder.number(), name, target, target.length);
          if (read < 0) {
            continue; // closed meanwhile
          }
          descriptors++;
          if (java.util.Arrays.equals(target, SOCKET)) {
            sockets++;
          }
          if (descriptors > most) {
            return Optional.empty();
          }
        }
      }
    }
  }
}
