package io.berth.linux;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/**
 * Tells whether a file was modified since one began to watch it, also when it is gone meanwhile, by
 * inotify(7). The kernel reports changes of its own in files of cgroups as well. Nobody waits: the
 * kernel keeps at most one modification of each file until somebody asks.
 *
 * <pre>{@code
 * files.watch(file);
 * ...
 * if (files.modified(file)) { ... }
 * files.forget(file);
 * }</pre>
 */
public final class ModifiedFiles implements AutoCloseable {
  private static final int IN_MODIFY = 0x2;
  private static final int IN_ONESHOT = 0x80000000;
  private static final int IN_NONBLOCK = 04000;
  private static final int HEADER = 16; // struct inotify_event; a file's own events have no name

  private final Fd inotify =
      new Fd(
          Libc.check(Libc.inotify_init1(Libc.O_CLOEXEC | IN_NONBLOCK), "make an inotify instance"));

  /** Those that can be told; guarded by this. */
  private final Map<Path, File> files = new HashMap<>();

  private final Map<Integer, File> byWatch = new HashMap<>(); // guarded by this

  private static final class File {
    final int watch;
    boolean modified;

    File(int watch) {
      this.watch = watch;
    }
  }

  /** From now on. A file that can't be watched counts as modified. */
  public synchronized void watch(Path file) {
    forget(file);
    int watch = Libc.inotify_add_watch(inotify.number(), Libc.path(file), IN_MODIFY | IN_ONESHOT);
    if (watch >= 0) {
      File watched = new File(watch);
      files.put(file, watched);
      byWatch.put(watch, watched);
    }
  }

  /** Whether it was; true as well when that can't be told. */
  public synchronized boolean modified(Path file) {
    readEvents();
    File watched = files.get(file);
    return watched == null || watched.modified;
  }

  /** To be called for each that was watched, as the kernel keeps even one that is gone. */
  public synchronized void forget(Path file) {
    File watched = files.remove(file);
    if (watched != null) {
      readEvents();
      byWatch.remove(watched.watch);
      if (!watched.modified) { // else the kernel has forgotten it by itself
        int _ = Libc.inotify_rm_watch(inotify.number(), watched.watch);
      }
    }
  }

  private void readEvents() {
    byte[] buffer = new byte[4 << 10];
    for (long n = read(buffer); n > 0; n = read(buffer)) {
      ByteBuffer events = ByteBuffer.wrap(buffer, 0, (int) n).order(ByteOrder.nativeOrder());
      while (events.remaining() >= HEADER) {
        File watched = byWatch.get(events.getInt());
        int mask = events.getInt();
        events.getInt(); // cookie
        int name = events.getInt();
        events.position(events.position() + name);
        if (watched != null && (mask & IN_MODIFY) != 0) {
          watched.modified = true;
        }
      }
    }
  }

  private long read(byte[] buffer) {
    return Libc.read(inotify.number(), buffer, buffer.length);
  }

  @Override
  public synchronized void close() {
    inotify.close();
  }
}
