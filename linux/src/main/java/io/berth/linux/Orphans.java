package io.berth.linux;

import com.sun.jna.Memory;
import com.sun.jna.ptr.IntByReference;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Makes this process the one to which orphaned descendants fall, as conmon is for a container:
 * PR_SET_CHILD_SUBREAPER of prctl(2). An OCI runtime that has started a command in a container and
 * ended leaves it to us, and we get its exit code ({@link AdoptedProcess}).
 *
 * <p>The price is that every other orphan comes here too, such as conmon itself, and has to be
 * reaped. Those that are watched are reaped at once ({@link ProcessRef#onExit}), any other after
 * some seconds.
 */
final class Orphans {
  private static final int PR_SET_CHILD_SUBREAPER = 36;
  private static final int P_ALL = 0;
  private static final int WNOHANG = 1;
  private static final int WEXITED = 4;
  private static final int WNOWAIT = 0x01000000;
  private static final int SI_PID = 16; // in siginfo_t of 64-bit machines
  private static final Duration SWEEP = Duration.ofSeconds(5);

  private static final class Holder {
    static final boolean ADOPTING = begin();

    private static boolean begin() {
      Libc.check(Libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become the parent of orphans");
      Thread.ofVirtual().name("orphans").start(Orphans::sweep);
      return true;
    }
  }

  private Orphans() {}

  /** From now on orphans come to this process. */
  static void adopt() {
    if (!Holder.ADOPTING) {
      throw new IllegalStateException("orphans go elsewhere");
    }
  }

  /** Lets a dead child go, if it is one and nobody waits for its exit code. */
  static void reap(int pid) {
    if (!Subprocess.AWAITED.contains(pid)) {
      var _ = Libc.waitpid(pid, new IntByReference(), WNOHANG);
    }
  }

  /**
   * A dead child that is found twice, seconds apart, is nobody's: whoever awaits one is told by its
   * pidfd at once. While it is unreaped its number can't become another process's.
   */
  private static void sweep() {
    Set<Integer> seen = Set.of();
    try {
      while (true) {
        Thread.sleep(SWEEP);
        Set<Integer> dead = isAnyDead() ? dead() : Set.of();
        dead.stream().filter(seen::contains).forEach(Orphans::reap);
        seen = dead;
      }
    } catch (InterruptedException e) {
      // the process ends
    }
  }

  /** Whether any child is dead and unreaped: the usual answer is no, and costs one call. */
  private static boolean isAnyDead() {
    try (Memory info = new Memory(128)) {
      info.clear();
      return Libc.waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) == 0
          && info.getInt(SI_PID) != 0;
    }
  }

  private static Set<Integer> dead() {
    return ProcessHandle.current()
        .children()
        .map(child -> (int) child.pid())
        .filter(Orphans::isDead)
        .collect(Collectors.toSet());
  }

  /** The field after the name in /proc/PID/stat. */
  private static boolean isDead(int pid) {
    try {
      String line =
          new String(
              Files.readAllBytes(Path.of("/proc/" + pid + "/stat")), StandardCharsets.ISO_8859_1);
      return line.charAt(line.lastIndexOf(')') + 2) == 'Z';
    } catch (IOException e) {
      return false; // reaped meanwhile
    }
  }
}
