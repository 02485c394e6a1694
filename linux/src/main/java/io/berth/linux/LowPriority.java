package io.berth.linux;

/** Work that is to disturb nobody. */
public final class LowPriority {
  private static final int PRIO_PROCESS = 0;
  private static final int LOWEST_NICE = 19;
  // ioprio_set(2): a who of 0 is the calling thread. Best effort (class 2, from bit 13 on) at its
  // last level and not the idle class, in which a busy disk would keep it waiting for ever.
  private static final int IOPRIO_WHO_PROCESS = 1;
  private static final int IOPRIO_LAST = (2 << 13) | 7;
  private static final long SYS_IOPRIO_SET =
      System.getProperty("os.arch", "").equals("aarch64") ? 30 : 251;

  private LowPriority() {}

  /**
   * Lets the calling platform thread have the processor and the disk when nobody else wants them:
   * on Linux both are a thread's own. Not undone, and where the kernel refuses, work goes on as it
   * is.
   */
  public static void ofThisThread() {
    var _ = Libc.setpriority(PRIO_PROCESS, 0, LOWEST_NICE);
    var _ = Libc.syscall(SYS_IOPRIO_SET, IOPRIO_WHO_PROCESS, 0, IOPRIO_LAST, 0, 0);
  }
}
