package io.berth.linux;

import com.sun.jna.Native;
import com.sun.jna.ptr.IntByReference;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * A process whose parent has ended and which has fallen to this one, so that its exit code can be
 * had. {@link #prepare} must be called before the parent is started.
 */
public final class AdoptedProcess {
  private static final int WNOHANG = 1;

  private final int pid;
  private final Fd pidFd;
  private final CompletableFuture<Integer> exit = new CompletableFuture<>();

  private AdoptedProcess(int pid, Fd pidFd) {
    this.pid = pid;
    this.pidFd = pidFd;
  }

  /** Sees to it that orphans come to this process. */
  public static void prepare() {
    Orphans.adopt();
  }

  /**
   * Waits from now on for the end of a child, which may be dead already.
   *
   * @throws ErrnoException when there is no such process, nor its remains
   */
  public static AdoptedProcess of(int pid) {
    Subprocess.AWAITED.add(pid);
    boolean watched = false;
    try {
      Fd pidFd =
          new Fd(
              (int)
                  Libc.check(
                      Libc.syscall(Libc.SYS_PIDFD_OPEN, pid, 0, 0, 0, 0),
                      "open a pidfd of " + pid));
      AdoptedProcess process = new AdoptedProcess(pid, pidFd);
      try {
        Reactor.get().watch(pidFd, process::exited);
        watched = true;
      } finally {
        if (!watched) {
          pidFd.close();
        }
      }
      return process;
    } finally {
      if (!watched) {
        Subprocess.AWAITED.remove(pid);
      }
    }
  }

  public int pid() {
    return pid;
  }

  /** On the event loop. */
  private void exited() {
    IntByReference status = new IntByReference();
    int reaped = Libc.waitpid(pid, status, WNOHANG);
    int errno = Native.getLastError();
    if (reaped == 0) {
      return;
    }
    Reactor.get().forget(pidFd);
    pidFd.close();
    Subprocess.AWAITED.remove(pid);
    if (reaped == pid) {
      exit.complete(Subprocess.exitCode(status.getValue()));
    } else {
      exit.completeExceptionally(new ErrnoException("get the exit code of process " + pid, errno));
    }
  }

  /**
   * Waits at most {@code limit}.
   *
   * @return the exit code, 128 + signal when a signal ended it; empty while it runs
   * @throws ErrnoException ECHILD when the process wasn't this one's child
   */
  public Optional<Integer> poll(Duration limit) throws InterruptedException {
    try {
      return Optional.of(exit.get(limit.toNanos(), TimeUnit.NANOSECONDS));
    } catch (TimeoutException e) {
      return Optional.empty();
    } catch (ExecutionException e) {
      throw e.getCause() instanceof ErrnoException cause ? cause : new IllegalStateException(e);
    }
  }
}
