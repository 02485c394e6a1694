package io.berth.runtime;

import io.berth.runtime.ContainerException.Reason;
import java.util.Locale;
import java.util.Map;

/** Signals by name, signal(7), numbered as on x86-64 and arm64. */
final class Signals {
  private static final int RTMIN = 34;
  private static final int RTMAX = 64;
  private static final int LAST_COUNTED_FROM_MIN = 49;
  private static final Map<String, Integer> NUMBERS =
      Map.ofEntries(
          Map.entry("HUP", 1),
          Map.entry("INT", 2),
          Map.entry("QUIT", 3),
          Map.entry("ILL", 4),
          Map.entry("TRAP", 5),
          Map.entry("ABRT", 6),
          Map.entry("IOT", 6),
          Map.entry("BUS", 7),
          Map.entry("FPE", 8),
          Map.entry("KILL", 9),
          Map.entry("USR1", 10),
          Map.entry("SEGV", 11),
          Map.entry("USR2", 12),
          Map.entry("PIPE", 13),
          Map.entry("ALRM", 14),
          Map.entry("TERM", 15),
          Map.entry("STKFLT", 16),
          Map.entry("CHLD", 17),
          Map.entry("CLD", 17),
          Map.entry("CONT", 18),
          Map.entry("STOP", 19),
          Map.entry("TSTP", 20),
          Map.entry("TTIN", 21),
          Map.entry("TTOU", 22),
          Map.entry("URG", 23),
          Map.entry("XCPU", 24),
          Map.entry("XFSZ", 25),
          Map.entry("VTALRM", 26),
          Map.entry("PROF", 27),
          Map.entry("WINCH", 28),
          Map.entry("IO", 29),
          Map.entry("POLL", 29),
          Map.entry("PWR", 30),
          Map.entry("SYS", 31));

  private Signals() {}

  /**
   * The form {@code SIGTERM} of a name with or without SIG, in any case, or of a number.
   *
   * @throws ContainerException INVALID if there is no such signal
   */
  static String canonical(String text) {
    String name = text.strip().toUpperCase(Locale.ROOT);
    if (name.matches("\\d{1,2}")) {
      int number = Integer.parseInt(name);
      return NUMBERS.entrySet().stream()
          .filter(e -> e.getValue() == number)
          .map(e -> "SIG" + e.getKey())
          .sorted()
          .findFirst()
          .orElseGet(() -> realtime(number, text));
    }
    int number = number(name);
    if (number >= RTMIN) {
      return realtime(number, text);
    }
    return name.startsWith("SIG") ? name : "SIG" + name;
  }

  /** In the one form that CRI has a name for: the upper half is counted from the end. */
  private static String realtime(int number, String text) {
    if (number < RTMIN || number > RTMAX) {
      throw unknown(text);
    }
    if (number <= LAST_COUNTED_FROM_MIN) {
      return number == RTMIN ? "SIGRTMIN" : "SIGRTMIN+" + (number - RTMIN);
    }
    return number == RTMAX ? "SIGRTMAX" : "SIGRTMAX-" + (RTMAX - number);
  }

  /**
   * The number of a signal.
   *
   * @param name as in {@code SIGTERM} or {@code SIGRTMIN+3}
   */
  static int number(String name) {
    String bare = name.startsWith("SIG") ? name.substring(3) : name;
    Integer number = NUMBERS.get(bare);
    if (number != null) {
      return number;
    }
    int realtime = -1;
    if (bare.matches("RTMIN(\\+\\d{1,2})?")) {
      realtime = RTMIN + offset(bare);
    } else if (bare.matches("RTMAX(-\\d{1,2})?")) {
      realtime = RTMAX - offset(bare);
    }
    if (realtime < RTMIN || realtime > RTMAX) {
      throw unknown(name);
    }
    return realtime;
  }

  private static int offset(String realtime) {
    return realtime.length() == 5 ? 0 : Integer.parseInt(realtime.substring(6));
  }

  private static ContainerException unknown(String text) {
    return new ContainerException(
        Reason.INVALID,
        "use stop signal \"" + text + "\": there is no such signal; give a name as in SIGTERM");
  }
}
