package io.berth.streaming;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** Bytes of one session that may be on their way to the client; its writers wait for room here. */
final class WriteBudget {
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private int free;
  private boolean gone;

  WriteBudget(int bytes) {
    this.free = bytes;
  }

  /** Waits until there is room for something; returns how much of {@code wanted} was taken. */
  int take(int wanted) throws IOException {
    lock.lock();
    try {
      while (free == 0 && !gone) {
        changed.await();
      }
      if (gone) {
        throw new IOException("write to the client: it has gone away");
      }
      int taken = Math.min(wanted, free);
      free -= taken;
      return taken;
    } catch (InterruptedException stop) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("write to the client: interrupted");
    } finally {
      lock.unlock();
    }
  }

  void giveBack(int bytes) {
    lock.lock();
    try {
      free += bytes;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }

  /** Fails all writers, now and later. */
  void clientGone() {
    lock.lock();
    try {
      gone = true;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
  }
}
