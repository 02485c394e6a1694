package io.berth.runtime;

import io.berth.oci.RuntimeSpec.Rlimit;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The resource limits of containers, getrlimit(2). CRI has no field for them, and what berthd
 * itself runs with is nothing to hand on: the Java runtime raises its own number of open files.
 */
public final class Ulimits {
  private static final Pattern FORM =
      Pattern.compile("([a-z]+)=(-1|\\d{1,18})(?::(-1|\\d{1,18}))?");
  private static final long UNLIMITED = -1; // RLIM_INFINITY, as OCI runtimes read it

  /** As /proc/PID/limits calls them. */
  private static final Map<String, String> KNOWN =
      Map.ofEntries(
          Map.entry("as", "Max address space"),
          Map.entry("core", "Max core file size"),
          Map.entry("cpu", "Max cpu time"),
          Map.entry("data", "Max data size"),
          Map.entry("fsize", "Max file size"),
          Map.entry("locks", "Max file locks"),
          Map.entry("memlock", "Max locked memory"),
          Map.entry("msgqueue", "Max msgqueue size"),
          Map.entry("nice", "Max nice priority"),
          Map.entry("nofile", "Max open files"),
          Map.entry("nproc", "Max processes"),
          Map.entry("rss", "Max resident set"),
          Map.entry("rtprio", "Max realtime priority"),
          Map.entry("rttime", "Max realtime timeout"),
          Map.entry("sigpending", "Max pending signals"),
          Map.entry("stack", "Max stack size"));

  private Ulimits() {}

  /**
   * Reads limits as they are configured.
   *
   * @param texts {@code name=soft[:hard]}, with -1 for none
   * @throws IllegalArgumentException with what is wrong
   */
  public static List<Rlimit> parse(List<String> texts) {
    List<Rlimit> limits = new ArrayList<>();
    for (String text : texts) {
      Matcher form = FORM.matcher(text);
      if (!form.matches() || !KNOWN.containsKey(form.group(1))) {
        throw new IllegalArgumentException(
            "a limit is written name=soft:hard, such as \"nofile=1024:524288\"");
      }
      long soft = Long.parseLong(form.group(2));
      long hard = form.group(3) == null ? soft : Long.parseLong(form.group(3));
      if (above(soft, hard)) {
        throw new IllegalArgumentException("a soft limit can't be above its hard limit");
      }
      limits.add(new Rlimit("RLIMIT_" + form.group(1).toUpperCase(Locale.ROOT), hard, soft));
    }
    return List.copyOf(limits);
  }

  /**
   * What of it this process may give: without CAP_SYS_RESOURCE no hard limit can be raised.
   *
   * @param limits as configured
   */
  static List<Rlimit> withinOwn(List<Rlimit> limits, boolean mayRaise) {
    if (mayRaise || limits.isEmpty()) {
      return limits;
    }
    List<String> own;
    try {
      own = Files.readAllLines(Path.of("/proc/self/limits"));
    } catch (IOException e) {
      throw new java.io.UncheckedIOException("read the limits of this process: " + e, e);
    }
    return limits.stream().map(limit -> within(limit, own)).toList();
  }

  static Rlimit within(Rlimit limit, List<String> own) {
    String name =
        KNOWN.get(limit.type().substring("RLIMIT_".length()).toLowerCase(Locale.ROOT)) + " ";
    for (String line : own) {
      if (line.startsWith(name)) {
        String[] values = line.substring(name.length()).strip().split("\\s+");
        long most = values[1].equals("unlimited") ? UNLIMITED : Long.parseLong(values[1]);
        long hard = above(limit.hard(), most) ? most : limit.hard();
        return new Rlimit(limit.type(), hard, above(limit.soft(), hard) ? hard : limit.soft());
      }
    }
    return limit;
  }

  private static boolean above(long limit, long other) {
    return other != UNLIMITED && (limit == UNLIMITED || limit > other);
  }
}
