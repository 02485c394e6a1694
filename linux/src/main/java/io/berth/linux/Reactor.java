package io.berth.linux;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One platform thread in epoll_wait(2) for every descriptor that Berth waits on natively: process
 * exits, pipes, inotify. A blocking native call pins a virtual thread's carrier, so all such waits
 * are gathered here. Callbacks run on this thread and must not block.
 */
final class Reactor {
  static final int IN = 1;
  static final int OUT = 4;
  private static final int EPOLL_CTL_ADD = 1;
  private static final int EPOLL_CTL_DEL = 2;
  private static final int EPOLL_CTL_MOD = 3;
  private static final int ONE_SHOT = 1 << 30;
  private static final int BATCH = 64;
  // struct epoll_event is packed on x86-64 only: 4 bytes of events, then 8 of data.
  private static final boolean PACKED = System.getProperty("os.arch", "").equals("amd64");
  private static final int EVENT_SIZE = PACKED ? 12 : 16;
  private static final int DATA_OFFSET = PACKED ? 4 : 8;
  private static final Logger log = LoggerFactory.getLogger(Reactor.class);

  private final int epoll =
      Libc.check(Libc.epoll_create1(Libc.O_CLOEXEC), "make an epoll instance");
  private final ConcurrentMap<Integer, Watch> watches = new ConcurrentHashMap<>();
  private final AtomicInteger serial = new AtomicInteger();

  /**
   * @param serial tells this watch from an earlier one of the same descriptor number, of which
   *     events may still be on their way
   */
  private record Watch(int serial, Runnable callback) {}

  private static final class Holder {
    static final Reactor INSTANCE = new Reactor();
  }

  private Reactor() {
    Thread thread = new Thread(null, this::run, "reactor", 256 << 10);
    thread.setDaemon(true);
    thread.start();
  }

  /** The process's one reactor, started at first use. */
  static Reactor get() {
    return Holder.INSTANCE;
  }

  /** Calls {@code onReadable} whenever the descriptor is readable, until {@link #forget}. */
  void watch(Fd fd, Runnable onReadable) {
    int number = fd.number();
    Watch watch = new Watch(serial.incrementAndGet(), onReadable);
    watches.put(number, watch);
    control(EPOLL_CTL_ADD, number, IN, watch);
  }

  /**
   * Calls {@code onReady} once, when the descriptor is ready for {@code events}, has hung up or
   * failed. To be armed again for the next time, and forgotten in the end.
   */
  void arm(Fd fd, int events, Runnable onReady) {
    int number = fd.number();
    Watch watch = new Watch(serial.incrementAndGet(), onReady);
    int operation = watches.put(number, watch) == null ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    control(operation, number, events | ONE_SHOT, watch);
  }

  private void control(int operation, int number, int events, Watch watch) {
    try (Memory event = event(number, events, watch.serial())) {
      Libc.check(Libc.epoll_ctl(epoll, operation, number, event), "watch descriptor " + number);
    } catch (ErrnoException e) {
      watches.remove(number);
      throw e;
    }
  }

  /**
   * Ends the watch; to be called before the descriptor is closed, or its number could name another
   * file.
   */
  void forget(Fd fd) {
    int number = fd.number();
    watches.remove(number);
    try (Memory event = event(number, 0, 0)) {
      Libc.check(
          Libc.epoll_ctl(epoll, EPOLL_CTL_DEL, number, event),
          "stop watching descriptor " + number);
    }
  }

  private static Memory event(int number, int events, int serial) {
    Memory event = new Memory(EVENT_SIZE);
    event.setInt(0, events);
    event.setInt(DATA_OFFSET, number);
    event.setInt(DATA_OFFSET + 4, serial);
    return event;
  }

  private void run() {
    try (Memory events = new Memory((long) EVENT_SIZE * BATCH)) {
      while (true) {
        int count = Libc.epoll_wait(epoll, events, BATCH, -1);
        if (count < 0) {
          int errno = Native.getLastError();
          if (errno == Errno.EINTR) {
            continue;
          }
          throw new ErrnoException("wait for events", errno);
        }
        for (int i = 0; i < count; i++) {
          long data = (long) i * EVENT_SIZE + DATA_OFFSET;
          Watch watch = watches.get(events.getInt(data));
          // The watch may have ended since, and its number may be another file's by now.
          if (watch != null && watch.serial() == events.getInt(data + 4)) {
            try {
              watch.callback().run();
            } catch (Throwable e) { // without this thread the whole daemon would stand still
              log.error("callback of the event loop failed", e);
            }
          }
        }
      }
    }
  }
}
