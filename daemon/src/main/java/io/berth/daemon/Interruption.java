package io.berth.daemon;

import org.jspecify.annotations.Nullable;

/// Hands the cancellation of a call to the thread that is working on it, and never to a thread that
/// has gone on to something else: entering, leaving and interrupting exclude each other, and
/// leaving takes a late interrupt along.
final class Interruption {
  private @Nullable Thread worker;
  private boolean requested;

  synchronized void enter() {
    worker = Thread.currentThread();
    if (requested) {
      worker.interrupt();
    }
  }

  synchronized void leave() {
    worker = null;
    boolean _ = Thread.interrupted();
  }

  synchronized void request() {
    requested = true;
    if (worker != null) {
      worker.interrupt();
    }
  }
}
