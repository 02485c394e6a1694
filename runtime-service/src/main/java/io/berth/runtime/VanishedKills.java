package io.berth.runtime;

import com.google.errorprone.annotations.concurrent.GuardedBy;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * Whether the OOM killer struck in a cgroup of version 2 that was gone before its counter could be
 * read, as systemd removes a scope with its last process. The kernel counts a kill for every cgroup
 * above, too: what the parent has counted, and none of the others accounts for, was in this one.
 * Where that is not certain, the answer is no.
 */
final class VanishedKills {
  private static final String COUNTER = "oom_kill ";

  /** The containers of one parent, which is the pod's cgroup. */
  private static final class Siblings {
    /** Kills in cgroups that are gone and accounted for. */
    long past;

    final Set<Path> live = new HashSet<>();
    final Map<Path, Long> ended = new HashMap<>(); // with their kills

    /** Two had gone at once, and whose the kills are can't be told. */
    boolean unsure;
  }

  @GuardedBy("this") private final Map<Path, Siblings> parents = new HashMap<>();

  /** To be told of each container that is there when berthd begins to watch it. */
  synchronized void begins(Path cgroup) {
    Path parent = parentOf(cgroup);
    if (!parents.containsKey(parent)) {
      parents.keySet().removeIf(known -> !Files.exists(known));
    }
    Siblings siblings = parents.computeIfAbsent(parent, _ -> new Siblings());
    try {
      // Kills that nobody asks about, as in a creation that failed, are the next one's no more.
      if (siblings.live.stream().allMatch(Files::exists)) {
        siblings.past = unaccounted(parent, siblings);
      }
      siblings.live.add(cgroup);
    } catch (IOException gone) {
      // then this one will be, too
    }
  }

  /** To be told of each that isn't live any more, however it ended. */
  synchronized void forget(Path cgroup) {
    Siblings siblings = parents.get(parentOf(cgroup));
    if (siblings != null) {
      siblings.live.remove(cgroup);
    }
  }

  /** To be told of each that has ended while its cgroup was there. */
  synchronized void ended(Path cgroup, long kills) {
    Siblings siblings = parents.get(parentOf(cgroup));
    if (siblings != null && siblings.live.remove(cgroup)) {
      siblings.ended.put(cgroup, kills);
    }
  }

  /** Of one whose cgroup is gone; to be asked once. */
  synchronized boolean struck(Path cgroup) {
    Path parent = parentOf(cgroup);
    Siblings siblings = parents.get(parent);
    if (siblings == null || !siblings.live.remove(cgroup)) {
      return false;
    }
    try {
      long unaccounted = unaccounted(parent, siblings);
      if (!siblings.live.stream().allMatch(Files::exists)) {
        siblings.unsure = true;
        return false;
      }
      boolean own = unaccounted > siblings.past && !siblings.unsure;
      siblings.past = unaccounted;
      siblings.unsure = false;
      return own;
    } catch (IOException gone) {
      siblings.unsure = true;
      return false;
    }
  }

  /** Kills that the parent has counted, but for those in cgroups that are there or were asked. */
  private static long unaccounted(Path parent, Siblings siblings) throws IOException {
    forgetWhatIsGone(siblings);
    // The parent first: a kill in between is then another one's for sure.
    long kills = kills(parent);
    try (DirectoryStream<Path> children = Files.newDirectoryStream(parent, Files::isDirectory)) {
      for (Path child : children) {
        kills -= siblings.ended.containsKey(child) ? 0 : kills(child);
      }
    } catch (DirectoryIteratorException e) {
      throw e.getCause();
    }
    for (long known : siblings.ended.values()) {
      kills -= known;
    }
    return kills;
  }

  /** Their kills stay in the parent's count. */
  private static void forgetWhatIsGone(Siblings siblings) {
    siblings
        .ended
        .entrySet()
        .removeIf(ended -> {
          if (Files.exists(ended.getKey())) {
            return false;
          }
          siblings.past += ended.getValue();
          return true;
        });
  }

  private static Path parentOf(Path cgroup) {
    return Objects.requireNonNull(cgroup.getParent(), "the root is no container's cgroup");
  }

  /** In a cgroup and all beneath it, ever. */
  static long kills(Path cgroup) throws IOException {
    for (String line : Files.readAllLines(cgroup.resolve("memory.events"))) {
      if (line.startsWith(COUNTER)) {
        return Long.parseLong(line.substring(COUNTER.length()).strip());
      }
    }
    return 0;
  }
}
