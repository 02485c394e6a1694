package io.berth.runtime;

import com.google.errorprone.annotations.concurrent.GuardedBy;
import io.berth.linux.ModifiedFiles;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * Whether the OOM killer struck in a cgroup of version 2 that was gone before its counter could be
 * read, as systemd removes a scope with its last process. The kernel counts a kill for every cgroup
 * above, too: what the parent has counted, and none of the others accounts for, was in this one.
 * When several have gone at once, it was in the one whose own counters the kernel has reported to
 * change: a limit that is reached is counted, and reported, before anybody is killed for it. Where
 * even that leaves two, the answer is no.
 */
final class VanishedKills {
  private static final String COUNTER = "oom_kill ";

  /** The containers of one parent, which is the pod's cgroup. */
  private static final class Siblings {
    /** Kills in cgroups that are gone and accounted for. */
    long past;

    final Set<Path> live = new HashSet<>();
    final Map<Path, Long> ended = new HashMap<>(); // with their kills

    /** Two have gone at once, both with changed counters: whose the kills are can't be told. */
    boolean unsure;
  }

  @GuardedBy("this") private final Map<Path, Siblings> parents = new HashMap<>();

  /** The counters of those that live. */
  private final ModifiedFiles counters = new ModifiedFiles();

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
      counters.watch(counters(cgroup));
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
    counters.forget(counters(cgroup));
  }

  /** To be told of each that has ended while its cgroup was there. */
  synchronized void ended(Path cgroup, long kills) {
    Siblings siblings = parents.get(parentOf(cgroup));
    if (siblings != null && siblings.live.remove(cgroup)) {
      siblings.ended.put(cgroup, kills);
    }
    counters.forget(counters(cgroup));
  }

  /** Of one whose cgroup is gone; to be asked once. */
  synchronized boolean struck(Path cgroup) {
    Path parent = parentOf(cgroup);
    Siblings siblings = parents.get(parent);
    if (siblings == null || !siblings.live.remove(cgroup)) {
      return false;
    }
    boolean changed = counters.modified(counters(cgroup));
    counters.forget(counters(cgroup));
    try {
      long unaccounted = unaccounted(parent, siblings);
      List<Path> alsoGone =
          siblings.live.stream().filter(sibling -> !Files.exists(sibling)).toList();
      if (!alsoGone.isEmpty() && !changed) {
        return false; // and what is unaccounted for is left to them
      }
      if (alsoGone.stream().anyMatch(sibling -> counters.modified(counters(sibling)))) {
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

  private static Path counters(Path cgroup) {
    return cgroup.resolve("memory.events");
  }

  /** In a cgroup and all beneath it, ever. */
  static long kills(Path cgroup) throws IOException {
    for (String line : Files.readAllLines(counters(cgroup))) {
      if (line.startsWith(COUNTER)) {
        return Long.parseLong(line.substring(COUNTER.length()).strip());
      }
    }
    return 0;
  }
}
