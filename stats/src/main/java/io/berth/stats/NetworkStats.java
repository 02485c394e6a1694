package io.berth.stats;

import io.berth.linux.KernelFile;
import io.berth.linux.Namespaces;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** Counters of pods' network interfaces, read inside their namespaces, see decision 16. */
public final class NetworkStats {
  private static final byte[] SELF = KernelFile.name("/proc/thread-self/net");
  private static final byte[] DEV = KernelFile.name("dev");
  private static final int HEADER_LINES = 2;

  private NetworkStats() {}

  /**
   * Visits the namespaces one after the other.
   *
   * @param pins where network namespaces are pinned
   * @return for each pin its interfaces without {@code lo}, {@code eth0} first; none when it has
   *     gone
   */
  public static List<List<InterfaceCounters>> read(List<Path> pins) {
    List<List<InterfaceCounters>> found =
        new ArrayList<>(Collections.nCopies(pins.size(), List.of()));
    if (!pins.isEmpty()) {
      var file = new KernelFile();
      Namespaces.visit(pins, i -> found.set(i, interfaces(file)));
    }
    return found;
  }

  /**
   * Two lines of headings; then the name, and eight columns for each direction, the first four of
   * which are bytes, packets, errors and drops.
   */
  private static List<InterfaceCounters> interfaces(KernelFile file) {
    List<InterfaceCounters> interfaces = new ArrayList<>();
    if (!file.read(SELF, DEV)) {
      return interfaces;
    }
    for (int line = 0; file.nextLine(); line++) {
      if (line < HEADER_LINES || !file.nextWord()) {
        continue;
      }
      String name = file.word();
      if (name.equals("lo")) {
        continue;
      }
      var counters = new InterfaceCounters(name, direction(file), direction(file));
      interfaces.add(name.equals("eth0") ? 0 : interfaces.size(), counters);
    }
    return interfaces;
  }

  private static InterfaceCounters.Direction direction(KernelFile file) {
    long[] columns = new long[8];
    for (int i = 0; i < columns.length; i++) {
      columns[i] = file.nextWord() ? file.number() : 0;
    }
    return new InterfaceCounters.Direction(columns[0], columns[1], columns[2], columns[3]);
  }
}
