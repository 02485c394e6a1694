package io.berth.linux;

import com.google.errorprone.annotations.MustBeClosed;
import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.IntByReference;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;

/**
 * A child process, spawned by posix_spawn(3) and reaped through its pidfd on the event loop: no
 * thread waits for it and none of the daemon's descriptors reach it. It leads a process group of
 * its own, so that {@link #kill} reaches what it started. Output is collected up to a limit; what
 * exceeds it is read and dropped, so that the child never blocks.
 */
public final class Subprocess {
  private static final short POSIX_SPAWN_SETPGROUP = 0x02;
  private static final short POSIX_SPAWN_SETSIGDEF = 0x04;
  private static final short POSIX_SPAWN_SETSIGMASK = 0x08;
  private static final int SIGKILL = 9;
  private static final int WNOHANG = 1;
  private static final int F_GETPIPE_SZ = 1032;
  private static final Duration KILL_GRACE = Duration.ofSeconds(2);

  /** Children whose exit codes somebody waits for, by number: nobody else may reap them. */
  static final Set<Integer> AWAITED = ConcurrentHashMap.newKeySet();

  private final int pid;
  private final String name;
  private final long startedNanos = System.nanoTime();
  private final Fd pidFd;
  private final Capture out;
  private final Capture err;
  private final CompletableFuture<Result> done = new CompletableFuture<>();
  private boolean reaped; // guarded by this; from then on the number may be another process's

  /**
   * What became of the process: exit code (128 + signal when a signal ended it) and what it
   * printed.
   */
  @SuppressWarnings("ArrayRecordComponent") // raw bytes; results are never compared
  public record Result(
      int exitCode, byte[] stdout, byte[] stderr, boolean timedOut, Duration elapsed) {
    public boolean ok() {
      return exitCode == 0 && !timedOut;
    }

    public String out() {
      return new String(stdout, StandardCharsets.UTF_8);
    }

    public String err() {
      return new String(stderr, StandardCharsets.UTF_8);
    }
  }

  /** Collects one stream on the event loop. */
  private static final class Capture {
    /** Of a stream that isn't ours to read. */
    static final Capture NONE = new Capture();

    final Fd fd;
    final int limit;
    final ByteArrayOutputStream bytes = new ByteArrayOutputStream(512);
    boolean open = true;

    private Capture() {
      fd = new Fd(-1);
      limit = 0;
      open = false;
    }

    Capture(Fd fd, int limit) {
      this.fd = fd;
      this.limit = limit;
    }

    /**
     * Reads what is there, at most what a pipe holds: a process that writes without end must not
     * keep the event loop to itself. On the event loop only, which comes back while there is more.
     */
    void drain() {
      byte[] buffer = new byte[16 << 10];
      int read = 0;
      int capacity = open ? Libc.fcntl(fd.number(), F_GETPIPE_SZ, 0) : 0;
      while (open && read < capacity) {
        long n = Libc.read(fd.number(), buffer, buffer.length);
        if (n > 0) {
          read += (int) n;
          bytes.write(buffer, 0, Math.min((int) n, Math.max(0, limit - bytes.size())));
        } else if (n == 0) {
          close();
        } else {
          int errno = Native.getLastError();
          if (errno == Errno.EINTR) {
            continue;
          }
          if (errno != Errno.EAGAIN) {
            close();
          }
          return;
        }
      }
    }

    void close() {
      if (open) {
        open = false;
        Reactor.get().forget(fd);
        fd.close();
      }
    }
  }

  /** Describes a process to be started. */
  public static final class Builder {
    private final List<String> argv;
    private Map<String, String> environment =
        Map.of("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    private @Nullable Path directory;
    private byte[] input = new byte[0];
    private int outputLimit = 1 << 20;
    private final List<Passed> passed = new ArrayList<>();
    private @Nullable Fd stdin;
    private @Nullable Fd stdout;
    private @Nullable Fd stderr;

    private record Passed(Fd fd, int number) {}

    private Builder(List<String> argv) {
      this.argv = List.copyOf(argv);
    }

    /** The whole environment of the child. */
    public Builder environment(Map<String, String> variables) {
      environment = Map.copyOf(variables);
      return this;
    }

    public Builder directory(Path cwd) {
      directory = cwd;
      return this;
    }

    /** What the child reads from standard input; without it the input is empty. */
    public Builder input(byte[] stdin) {
      input = stdin.clone();
      return this;
    }

    /**
     * What the child gets as its three streams, instead of the input and of the output that is
     * collected. The caller keeps and closes its own.
     */
    public Builder streams(Fd in, Fd out, Fd err) {
      stdin = in;
      stdout = out;
      stderr = err;
      return this;
    }

    /** How many bytes of each output stream are kept; 1 MiB when not said. */
    public Builder outputLimit(int bytesPerStream) {
      outputLimit = bytesPerStream;
      return this;
    }

    /**
     * Hands the child a descriptor under a number from 3 on. The caller keeps and closes its own.
     */
    public Builder pass(Fd fd, int childNumber) {
      passed.add(new Passed(fd, childNumber));
      return this;
    }

    /**
     * Starts the process.
     *
     * @throws ErrnoException when it can't be executed
     */
    public Subprocess start() {
      List<Fd> ours = new ArrayList<>(); // to be closed in any case
      List<Fd> kept = new ArrayList<>(); // of the process, once it is watched
      int pid = -1;
      boolean watched = false;
      try (Fd collected = input()) {
        Fd in = stdin != null ? stdin : collected;
        Fd out = stdout != null ? stdout : pipe(kept, ours);
        Fd err = stderr != null ? stderr : pipe(kept, ours);
        pid = spawn(in, out, err, ours);
        AWAITED.add(pid);
        kept.add(
            new Fd(
                (int)
                    Libc.check(
                        Libc.syscall(Libc.SYS_PIDFD_OPEN, pid, 0, 0, 0, 0),
                        "open a pidfd of " + pid)));
        Subprocess process =
            new Subprocess(
                pid,
                argv.getFirst(),
                kept.getLast(),
                stdout != null ? Capture.NONE : new Capture(kept.get(0), outputLimit),
                stderr != null
                    ? Capture.NONE
                    : new Capture(kept.get(kept.size() - 2), outputLimit));
        process.watch();
        watched = true;
        Stages.waitsFor(process.program(), pid);
        return process;
      } finally {
        ours.forEach(Fd::close);
        if (!watched) {
          kept.forEach(Fd::close);
          if (pid > 0) { // nobody would ever reap it
            var _ = Libc.kill(-pid, SIGKILL);
            var _ = Libc.waitpid(pid, new IntByReference(), 0);
            AWAITED.remove(pid);
          }
        }
      }
    }

    private static Fd pipe(List<Fd> readEnds, List<Fd> writeEnds) {
      Fd[] ends = Fd.pipe();
      readEnds.add(ends[0]);
      writeEnds.add(ends[1]);
      ends[0].makeNonBlocking();
      return ends[1];
    }

    @MustBeClosed
    private Fd input() {
      if (input.length > 0) {
        return inMemory(input);
      }
      // Not /dev/null: crun before 1.24 makes the user of an executed command the owner of its
      // stdin, and so of the machine's /dev/null.
      Fd[] ended = Fd.pipe();
      ended[1].close();
      return ended[0];
    }

    private int spawn(Fd stdin, Fd stdout, Fd stderr, List<Fd> moved) {
      int top = 2;
      for (Passed p : passed) {
        top = Math.max(top, p.number());
      }
      // glibc's types are 80 (file actions), 336 (attributes) and 128 bytes (signal set); the
      // blocks leave room.
      try (Memory actions = new Memory(256);
          Memory attributes = new Memory(512);
          Memory signals = new Memory(128);
          Memory argvBlock =
              Libc.strings(argv.stream().map(a -> a.getBytes(StandardCharsets.UTF_8)).toList());
          Memory envBlock =
              Libc.strings(
                  environment.entrySet().stream()
                      .map(e -> (e.getKey() + "=" + e.getValue()).getBytes(StandardCharsets.UTF_8))
                      .toList())) {
        zero(Libc.posix_spawn_file_actions_init(actions));
        zero(Libc.posix_spawnattr_init(attributes));
        try {
          dup(actions, stdin, 0, top, moved);
          dup(actions, stdout, 1, top, moved);
          dup(actions, stderr, 2, top, moved);
          for (Passed p : passed) {
            dup(actions, p.fd(), p.number(), top, moved);
          }
          for (int number = 3; number < top; number++) { // what Java itself opened may be there
            int gap = number;
            if (passed.stream().noneMatch(p -> p.number() == gap)) {
              zero(Libc.posix_spawn_file_actions_addclose(actions, gap));
            }
          }
          zero(Libc.posix_spawn_file_actions_addclosefrom_np(actions, top + 1));
          if (directory != null) {
            zero(Libc.posix_spawn_file_actions_addchdir_np(actions, Libc.path(directory)));
          }
          zero(Libc.posix_spawnattr_setpgroup(attributes, 0));
          // The JVM's signal dispositions and masks are no business of the child.
          Libc.sigemptyset(signals);
          zero(Libc.posix_spawnattr_setsigmask(attributes, signals));
          Libc.sigfillset(signals);
          zero(Libc.posix_spawnattr_setsigdefault(attributes, signals));
          zero(
              Libc.posix_spawnattr_setflags(
                  attributes,
                  (short)
                      (POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)));
          IntByReference pid = new IntByReference();
          int errno =
              Libc.posix_spawn(
                  pid, Libc.path(argv.getFirst()), actions, attributes, argvBlock, envBlock);
          if (errno != 0) {
            throw new ErrnoException(
                "execute " + argv.getFirst() + (directory == null ? "" : " in " + directory),
                errno);
          }
          return pid.getValue();
        } finally {
          Libc.posix_spawn_file_actions_destroy(actions);
          Libc.posix_spawnattr_destroy(attributes);
        }
      }
    }

    /**
     * Numbers up to {@code top} are targets: a source among them is moved away first, or a dup2
     * could overwrite it.
     */
    private static void dup(Pointer actions, Fd source, int target, int top, List<Fd> opened) {
      Fd from = source;
      if (source.number() <= top) {
        from =
            new Fd(
                Libc.check(
                    Libc.fcntl(source.number(), Libc.F_DUPFD_CLOEXEC, top + 1),
                    "duplicate " + source));
        opened.add(from);
      }
      zero(Libc.posix_spawn_file_actions_adddup2(actions, from.number(), target));
    }

    private static void zero(int errno) {
      if (errno != 0) {
        throw new ErrnoException("prepare a process", errno);
      }
    }

    /** Input in memory: unlike a pipe it takes any size without a writer. */
    @MustBeClosed
    private static Fd inMemory(byte[] content) {
      Fd fd =
          new Fd(
              Libc.check(
                  Libc.memfd_create(Libc.path("stdin"), 1 /* MFD_CLOEXEC */), "make a memfd"));
      try {
        fd.write(content);
        fd.seek(0);
        return fd;
      } catch (RuntimeException e) {
        fd.close();
        throw e;
      }
    }

    /** Starts the process and waits; an interrupt kills it with all it started. */
    public Result run() throws InterruptedException {
      return start().await();
    }

    /**
     * As {@link #run()}; after {@code timeout} the process is killed and {@link Result#timedOut} is
     * true.
     */
    public Result run(Duration timeout) throws InterruptedException {
      return start().await(timeout);
    }
  }

  private Subprocess(int pid, String name, Fd pidFd, Capture out, Capture err) {
    this.pid = pid;
    this.name = name;
    this.pidFd = pidFd;
    this.out = out;
    this.err = err;
  }

  /**
   * @param argv the program's absolute path, then its arguments
   */
  public static Builder command(List<String> argv) {
    return new Builder(argv);
  }

  public static Builder command(String... argv) {
    return new Builder(List.of(argv));
  }

  private void watch() {
    Reactor reactor = Reactor.get();
    for (Capture capture : List.of(out, err)) {
      if (capture.open) {
        reactor.watch(capture.fd, capture::drain);
      }
    }
    reactor.watch(pidFd, this::exited);
  }

  /**
   * On the event loop: reaps, takes what the pipes still hold, and does not wait for grandchildren
   * that hold them.
   */
  private void exited() {
    IntByReference status = new IntByReference();
    synchronized (this) {
      if (Libc.waitpid(pid, status, WNOHANG) != pid) {
        return;
      }
      reaped = true;
    }
    AWAITED.remove(pid);
    Reactor.get().forget(pidFd);
    pidFd.close();
    out.drain();
    err.drain();
    out.close();
    err.close();
    done.complete(
        new Result(
            exitCode(status.getValue()),
            out.bytes.toByteArray(),
            err.bytes.toByteArray(),
            false,
            Duration.ofNanos(System.nanoTime() - startedNanos)));
  }

  /** Of a status of wait(2): 128 + signal when a signal ended the process. */
  static int exitCode(int status) {
    return (status & 0x7f) == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f);
  }

  public int pid() {
    return pid;
  }

  private String program() {
    return name.substring(name.lastIndexOf('/') + 1);
  }

  /** Completes when the process has ended, on the event loop: dependents must not block. */
  public CompletableFuture<Result> onExit() {
    return done.copy();
  }

  /** Sends a signal to the whole process group; nothing happens when it has ended. */
  public synchronized void kill(int signal) {
    if (!reaped && Libc.kill(-pid, signal) < 0 && Native.getLastError() != Errno.ESRCH) {
      throw new ErrnoException(
          "signal " + signal + " to process group " + pid + " (" + name + ")",
          Native.getLastError());
    }
  }

  /** Waits for the end; an interrupt kills the process group first. */
  public Result await() throws InterruptedException {
    try {
      return done.get();
    } catch (InterruptedException e) {
      killAndReap();
      throw e;
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * Waits at most {@code limit} and leaves the process alone, also when interrupted.
   *
   * @return empty while it runs
   */
  public Optional<Result> poll(Duration limit) throws InterruptedException {
    try {
      return Optional.of(done.get(limit.toNanos(), TimeUnit.NANOSECONDS));
    } catch (TimeoutException e) {
      return Optional.empty();
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Waits at most {@code timeout}, then kills the process group. */
  public Result await(Duration timeout) throws InterruptedException {
    try {
      return done.get(timeout.toNanos(), TimeUnit.NANOSECONDS);
    } catch (TimeoutException e) {
      Result killed = killAndReap();
      byte[] none = new byte[0];
      return killed == null
          ? new Result(128 + SIGKILL, none, none, true, timeout)
          : new Result(killed.exitCode(), killed.stdout(), killed.stderr(), true, killed.elapsed());
    } catch (InterruptedException e) {
      killAndReap();
      throw e;
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    }
  }

  /**
   * A killed process may still hang in the kernel (a dead NFS server, say), so the wait is short.
   */
  private @Nullable Result killAndReap() {
    kill(SIGKILL);
    boolean interrupted = Thread.interrupted();
    try {
      return done.get(KILL_GRACE.toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException | ExecutionException e) {
      return null;
    } catch (InterruptedException e) {
      interrupted = true;
      return null;
    } finally {
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
