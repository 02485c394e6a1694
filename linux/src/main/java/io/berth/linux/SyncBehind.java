package io.berth.linux;

import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes changes of one folder durable right after they were made, so that whoever made them need
 * not wait for the disk. What comes while the disk is busy is synced together. For want of work its
 * thread ends.
 */
final class SyncBehind {
  private static final Logger log = LoggerFactory.getLogger(SyncBehind.class);
  private static final Duration IDLE = Duration.ofSeconds(10);

  private final Path folder;
  // All three guarded by this.
  private Set<Path> changed = new LinkedHashSet<>();
  private boolean busy;
  private @Nullable Thread thread;

  SyncBehind(Path folder) {
    this.folder = folder;
  }

  /**
   * To be called when it is done.
   *
   * @param file was written or deleted
   */
  synchronized void changed(Path file) {
    changed.add(file);
    if (thread == null) {
      // Not a virtual one: it waits in the kernel.
      thread = Thread.ofPlatform().daemon().name("sync " + folder.getFileName()).start(this::run);
    } else {
      notifyAll();
    }
  }

  /** Waits until all is durable that was told before; for tests. */
  synchronized void await() throws InterruptedException {
    while (busy || !changed.isEmpty()) {
      wait();
    }
  }

  private void run() {
    for (Set<Path> some = take(); !some.isEmpty(); some = take()) {
      for (Path file : some) {
        sync(file);
      }
      sync(folder);
    }
  }

  /** Empty when this thread is to end. */
  private synchronized Set<Path> take() {
    busy = false;
    notifyAll();
    try {
      long end = System.nanoTime() + IDLE.toNanos();
      for (long left = IDLE.toMillis(); changed.isEmpty() && left > 0; ) {
        wait(left);
        left = Duration.ofNanos(end - System.nanoTime()).toMillis();
      }
    } catch (InterruptedException nobodyDoes) {
      Thread.currentThread().interrupt();
    }
    Set<Path> taken = changed;
    changed = new LinkedHashSet<>();
    busy = !taken.isEmpty();
    if (taken.isEmpty()) {
      thread = null;
    }
    return taken;
  }

  private void sync(Path path) {
    try (Fd fd = Fd.openRead(path)) {
      Libc.check(Libc.fsync(fd.number()), "sync " + path);
    } catch (ErrnoException e) {
      if (e.errno() != Errno.ENOENT) { // deleted meanwhile: the folder tells
        log.error(
            "{} may be lost in a power cut: {}; look at the disk, as the kernel's log has it",
            path,
            e.getMessage());
      }
    }
  }
}
