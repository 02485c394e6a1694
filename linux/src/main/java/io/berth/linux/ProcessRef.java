package io.berth.linux;

import com.sun.jna.Native;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A process that isn't necessarily our child, told from a later one with the same number by its
 * start time.
 *
 * @param startTicks field 22 of /proc/PID/stat, in clock ticks since boot
 */
public record ProcessRef(int pid, long startTicks) {

  /** The process that has this number now; empty when there is none, or only its zombie. */
  public static Optional<ProcessRef> of(int pid) {
    return stat(pid).filter(s -> !s.dead()).map(s -> new ProcessRef(pid, s.startTicks()));
  }

  /** False once the process has ended, also while it is still to be reaped. */
  public boolean isAlive() {
    return stat(pid).filter(s -> s.startTicks() == startTicks && !s.dead()).isPresent();
  }

  /**
   * Sends a signal through a pidfd, so that it can't hit another process.
   *
   * @return false when the process had ended
   */
  public boolean signal(int signal) {
    try (Fd fd = open()) {
      if (fd == null) {
        return false;
      }
      if (Libc.syscall(Libc.SYS_PIDFD_SEND_SIGNAL, fd.number(), signal, 0, 0, 0) < 0) {
        int errno = Native.getLastError();
        if (errno == Errno.ESRCH) {
          return false;
        }
        throw new ErrnoException("send signal " + signal + " to process " + pid, errno);
      }
      return true;
    }
  }

  /**
   * Runs {@code action} on a virtual thread when the process has ended; at once when it already
   * has.
   */
  public void onExit(Runnable action) {
    Fd fd = open();
    if (fd == null) {
      Thread.ofVirtual().name("exit of " + pid).start(action);
      return;
    }
    try {
      Reactor.get()
          .watch(
              fd,
              () -> {
                Reactor.get().forget(fd);
                fd.close();
                Orphans.reap(pid);
                Thread.ofVirtual().name("exit of " + pid).start(action);
              });
    } catch (ErrnoException e) {
      fd.close();
      throw e;
    }
  }

  private @Nullable Fd open() {
    long number = Libc.syscall(Libc.SYS_PIDFD_OPEN, pid, 0, 0, 0, 0);
    if (number < 0) {
      int errno = Native.getLastError();
      // Anything else, such as no descriptor left, doesn't mean that the process has ended.
      if (errno != Errno.ESRCH && errno != Errno.EINVAL) {
        throw new ErrnoException("open a pidfd of " + pid, errno);
      }
      return null;
    }
    Fd fd = new Fd((int) number);
    if (!isAlive()) { // the number may have been taken by another process before it was opened
      fd.close();
      return null;
    }
    return fd;
  }

  private record StatLine(boolean dead, long startTicks) {}

  private static Optional<StatLine> stat(int pid) {
    Path folder = Path.of("/proc", Integer.toString(pid));
    try {
      String line =
          new String(Files.readAllBytes(folder.resolve("stat")), StandardCharsets.ISO_8859_1);
      // The name in parentheses may hold anything: fields are counted from the last one.
      String[] fields = line.substring(line.lastIndexOf(')') + 2).split(" ");
      char state = fields[0].charAt(0);
      return Optional.of(new StatLine(state == 'Z' || state == 'X', Long.parseLong(fields[19])));
    } catch (IOException e) {
      if (Files.exists(folder)) { // alive, but there is no descriptor left to read with, say
        throw new UncheckedIOException("look at process " + pid + ": " + e.getMessage(), e);
      }
      return Optional.empty();
    }
  }
}
