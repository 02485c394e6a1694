package io.berth.runtime;

import io.berth.linux.Cgroups;
import io.berth.linux.ProcessRef;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** A command in a container with everything that came from it. */
final class ProcessTree {
  private static final int SIGKILL = 9;

  private ProcessTree() {}

  /**
   * Kills a command and everything that came from it. The runtime gives each command a session of
   * its own; what left the session is still found as a descendant. Repeated until nothing new turns
   * up, as processes may fork meanwhile.
   *
   * @param cgroup the container's, from the root of a hierarchy
   */
  static void kill(Cgroups cgroups, String cgroup, int root) {
    Set<Integer> killed = new HashSet<>();
    boolean found = true;
    while (found) {
      found = false;
      Map<Integer, Stat> processes = new HashMap<>();
      for (int pid : cgroups.processes(cgroup)) {
        Stat.of(pid).ifPresent(stat -> processes.put(pid, stat));
      }
      for (Map.Entry<Integer, Stat> entry : processes.entrySet()) {
        int pid = entry.getKey();
        if ((entry.getValue().session() == root || descends(pid, root, processes, killed))
            && killed.add(pid)) {
          found = true;
          ProcessRef.of(pid).ifPresent(process -> process.signal(SIGKILL));
        }
      }
    }
  }

  private static boolean descends(
      int pid, int root, Map<Integer, Stat> processes, Set<Integer> killed) {
    int at = pid;
    while (processes.containsKey(at)) {
      if (at == root || killed.contains(at)) {
        return true;
      }
      at = processes.get(at).parent();
    }
    return false;
  }

  /** Fields 4 and 6 of /proc/PID/stat. */
  private record Stat(int parent, int session) {
    static Optional<Stat> of(int pid) {
      try {
        String line =
            new String(
                Files.readAllBytes(Path.of("/proc/" + pid + "/stat")), StandardCharsets.ISO_8859_1);
        String[] fields = line.substring(line.lastIndexOf(')') + 2).split(" ");
        return Optional.of(new Stat(Integer.parseInt(fields[1]), Integer.parseInt(fields[3])));
      } catch (IOException e) {
        return Optional.empty();
      }
    }
  }
}
