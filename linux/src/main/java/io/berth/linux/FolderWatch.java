package io.berth.linux;

import com.sun.jna.Native;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Tells of changes in a folder, by inotify(7) on the event loop. A folder that is deleted and made
 * anew is found again within a second (one that is still open somewhere, within ten), and changes
 * are then reported as {@link Change#rescan}.
 */
public final class FolderWatch implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(FolderWatch.class);
  private static final int IN_CLOSE_WRITE = 0x8;
  private static final int IN_MOVED_FROM = 0x40;
  private static final int IN_MOVED_TO = 0x80;
  private static final int IN_CREATE = 0x100;
  private static final int IN_DELETE = 0x200;
  private static final int IN_DELETE_SELF = 0x400;
  private static final int IN_MOVE_SELF = 0x800;
  private static final int IN_Q_OVERFLOW = 0x4000;
  private static final int IN_IGNORED = 0x8000;
  private static final int IN_NONBLOCK = 04000;
  private static final int HEADER = 16; // struct inotify_event without its name

  /** Where nothing can be watched: while there is no such folder, or the kernel refuses. */
  private static final long UNWATCHED_SECONDS = 1;

  /** What no event tells: another folder is mounted over this one, or one above it was moved. */
  private static final long WATCHED_SECONDS = 10;

  private final Path folder;
  private final Consumer<Change> listener;
  private final Fd inotify;
  private final Thread thread;
  private final Semaphore wake = new Semaphore(0);
  private Set<String> names = new HashSet<>(); // guarded by this
  private boolean rescan; // guarded by this
  private boolean lost; // guarded by this
  private int watch = -1; // guarded by this
  private @Nullable Object identity; // guarded by this: the folder's inode while it is watched
  private int unwatchable; // guarded by this: the error that was logged, or 0
  private volatile boolean closed;

  /**
   * What happened since the last call.
   *
   * @param names entries written, made, moved or removed
   * @param rescan more may have happened: look at the whole folder
   */
  public record Change(Set<String> names, boolean rescan) {}

  private FolderWatch(Path folder, Consumer<Change> listener) {
    this.folder = folder;
    this.listener = listener;
    this.inotify =
        new Fd(
            Libc.check(
                Libc.inotify_init1(Libc.O_CLOEXEC | IN_NONBLOCK), "make an inotify instance"));
    this.thread = Thread.ofVirtual().name("watch " + folder).unstarted(this::run);
  }

  /**
   * Begins to watch; the folder need not exist yet. When this returns, a change made from now on is
   * reported.
   *
   * @param listener called on one virtual thread, one change after the other
   */
  public static FolderWatch start(Path folder, Consumer<Change> listener) {
    FolderWatch watch = new FolderWatch(folder, listener);
    watch.attach();
    Reactor.get().watch(watch.inotify, watch::readEvents);
    watch.thread.start();
    return watch;
  }

  @Override
  public void close() {
    synchronized (this) { // not while the event loop reads, or the watcher's thread attaches
      if (closed) {
        return;
      }
      closed = true;
      Reactor.get().forget(inotify);
      inotify.close();
    }
    thread.interrupt();
  }

  /** On the event loop. */
  private synchronized void readEvents() {
    byte[] buffer = new byte[16 << 10];
    while (!closed) {
      long n = Libc.read(inotify.number(), buffer, buffer.length);
      if (n <= 0) {
        return;
      }
      ByteBuffer events = ByteBuffer.wrap(buffer, 0, (int) n).order(ByteOrder.nativeOrder());
      while (events.remaining() >= HEADER) {
        int descriptor = events.getInt();
        int mask = events.getInt();
        events.getInt(); // cookie
        int length = events.getInt();
        String name = name(buffer, events.position(), length);
        events.position(events.position() + length);
        if ((mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0) {
          rescan = true;
          // The watch went with its folder. The next folder of that name may well get the same
          // inode number.
          // IN_IGNORED also comes of our own rm_watch, then for a descriptor that isn't the
          // current one.
          lost |= descriptor == watch && (mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) != 0;
        } else if (!name.isEmpty()) {
          names.add(name);
        }
      }
      wake.release();
    }
  }

  /** Padded with NULs. */
  private static String name(byte[] buffer, int start, int length) {
    int end = start;
    while (end < start + length && buffer[end] != 0) {
      end++;
    }
    return FileName.decode(buffer, start, end);
  }

  private void run() {
    try {
      while (!closed) {
        boolean signalled =
            wake.tryAcquire(isWatched() ? WATCHED_SECONDS : UNWATCHED_SECONDS, TimeUnit.SECONDS);
        var _ = wake.drainPermits();
        boolean attached = attach();
        Change change;
        synchronized (this) {
          change = new Change(names, rescan || attached);
          names = new HashSet<>();
          rescan = false;
        }
        if (attached || signalled) {
          try {
            listener.accept(change);
          } catch (RuntimeException e) {
            log.error("change of {} could not be handled: {}", folder, e.toString());
          }
        }
      }
    } catch (InterruptedException e) {
      // closed
    }
  }

  private synchronized boolean isWatched() {
    return identity != null;
  }

  /**
   * Watches the folder that has the name now; true when that is another one than before, or none
   * any more.
   */
  private boolean attach() {
    Object inode = null;
    try {
      inode = Files.getAttribute(folder, "unix:ino");
    } catch (IOException e) {
      // there is none at present
    }
    return attach(inode);
  }

  private synchronized boolean attach(@Nullable Object now) {
    if (closed) {
      return false;
    }
    boolean same = !lost && Objects.equals(now, identity);
    lost = false;
    if (same) {
      return false;
    }
    if (watch >= 0) {
      int old = watch;
      watch = -1;
      Libc.inotify_rm_watch(inotify.number(), old);
    }
    identity = null;
    if (now != null) {
      watch =
          Libc.inotify_add_watch(
              inotify.number(),
              Libc.path(folder),
              IN_CLOSE_WRITE
                  | IN_MOVED_FROM
                  | IN_MOVED_TO
                  | IN_CREATE
                  | IN_DELETE
                  | IN_DELETE_SELF
                  | IN_MOVE_SELF);
      if (watch >= 0) {
        identity = now;
        unwatchable = 0;
      } else {
        // As with ENOSPC, which is a limit on watches: looked through once a second instead.
        int errno = Native.getLastError();
        if (errno != unwatchable) {
          log.warn(
              "folder {} can't be watched and is looked through every second: {}",
              folder,
              new ErrnoException("watch", errno).getMessage());
          unwatchable = errno;
        }
      }
    }
    return true;
  }
}
