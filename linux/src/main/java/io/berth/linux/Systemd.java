package io.berth.linux;

import java.time.Duration;
import java.util.Map;

/** The machine's init, asked by its command: rarely, so not worth a connection to D-Bus. */
public final class Systemd {
  private static final Duration LIMIT = Duration.ofSeconds(30);

  /** Of systemctl(1), as the Linux Standard Base has it: the unit isn't known. */
  private static final int NOT_LOADED = 5;

  private Systemd() {}

  /**
   * Stops a unit and, if it is a slice, all that is in it; one that isn't loaded is fine.
   *
   * @throws IllegalStateException with systemd's words
   */
  public static void stop(String unit) throws InterruptedException {
    Subprocess.Result result;
    try {
      result =
          Subprocess.command("/usr/bin/env", "systemctl", "stop", "--", unit)
              .environment(Map.of("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
              .run(LIMIT);
    } catch (ErrnoException e) {
      throw new IllegalStateException("stop unit " + unit + ": " + e.getMessage(), e);
    }
    if (!result.ok() && result.exitCode() != NOT_LOADED) {
      throw new IllegalStateException(
          "stop unit "
              + unit
              + ": "
              + (result.timedOut()
                  ? "systemctl didn't answer within " + LIMIT.toSeconds() + " s"
                  : result.err().strip()));
    }
  }
}
