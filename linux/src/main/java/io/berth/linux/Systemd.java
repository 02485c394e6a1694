package io.berth.linux;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
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
    Subprocess.Result result = systemctl("stop unit " + unit, List.of("stop", "--", unit));
    if (!result.ok() && result.exitCode() != NOT_LOADED) {
      throw failed("stop unit " + unit, result);
    }
  }

  /**
   * Changes properties of a unit that runs, until it ends.
   *
   * @param properties values by names as in systemd.resource-control(5); an empty one is the
   *     default
   * @throws IllegalStateException with systemd's words
   */
  public static void setProperties(String unit, Map<String, String> properties)
      throws InterruptedException {
    List<String> arguments = new ArrayList<>(List.of("set-property", "--runtime", "--", unit));
    properties.forEach((name, value) -> arguments.add(name + "=" + value));
    Subprocess.Result result = systemctl("set properties of unit " + unit, arguments);
    if (!result.ok()) {
      throw failed("set properties of unit " + unit, result);
    }
  }

  private static Subprocess.Result systemctl(String operation, List<String> arguments)
      throws InterruptedException {
    List<String> command = new ArrayList<>(List.of("/usr/bin/env", "systemctl"));
    command.addAll(arguments);
    try {
      return Subprocess.command(command)
          .environment(Map.of("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
          .run(LIMIT);
    } catch (ErrnoException e) {
      throw new IllegalStateException(operation + ": " + e.getMessage(), e);
    }
  }

  private static IllegalStateException failed(String operation, Subprocess.Result result) {
    return new IllegalStateException(
        operation
            + ": "
            + (result.timedOut()
                ? "systemctl didn't answer within " + LIMIT.toSeconds() + " s"
                : result.err().strip()));
  }
}
