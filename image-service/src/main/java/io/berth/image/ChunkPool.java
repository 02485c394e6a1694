package io.berth.image;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;

/**
 * Buffers that layers use one after the other, so that an image of many layers takes no more memory
 * than the few that are unpacked at a time. None is kept when all are back.
 */
final class ChunkPool {
  private final Map<Integer, Deque<byte[]>> free = new HashMap<>(); // by size, guarded by this
  private int lent; // guarded by this

  /** A buffer of this size, with whatever was in it. */
  synchronized byte[] take(int size) {
    lent++;
    Deque<byte[]> ready = free.get(size);
    return ready == null || ready.isEmpty() ? new byte[size] : ready.pop();
  }

  /** Takes back what {@link #take} gave, once; nobody may use it any more. */
  synchronized void give(byte[] buffer) {
    lent--;
    if (lent == 0) {
      free.clear();
    } else {
      free.computeIfAbsent(buffer.length, _ -> new ArrayDeque<>()).push(buffer);
    }
  }

  /** How many buffers are kept for others; for tests. */
  synchronized int kept() {
    return free.values().stream().mapToInt(Deque::size).sum();
  }
}
