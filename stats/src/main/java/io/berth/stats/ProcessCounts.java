package io.berth.stats;

import io.berth.linux.KernelFile;
import io.berth.linux.OpenFiles;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * What can only be counted process by process.
 *
 * @param softLimitOpenFiles of the first process; {@link KernelFile#ABSENT} when unlimited
 */
record ProcessCounts(long processes, OpenFiles openFiles, long softLimitOpenFiles) {
  private static final byte[] PROCESSES = KernelFile.name("cgroup.procs");
  private static final byte[] LIMITS = KernelFile.name("limits");
  private static final byte[] MAX = KernelFile.name("Max");
  private static final byte[] OPEN = KernelFile.name("open");

  /**
   * Counts in a cgroup and those beneath it.
   *
   * @param most descriptors and processes together
   * @return empty when there are more, or nothing is there any more
   */
  static Optional<ProcessCounts> of(byte[] folder, long most) {
    var file = new KernelFile();
    List<Integer> pids = new ArrayList<>();
    collect(file, folder, pids);
    long descriptors = 0;
    long sockets = 0;
    for (int pid : pids) {
      long left = most - descriptors - pids.size();
      Optional<OpenFiles> open = left < 0 ? Optional.empty() : OpenFiles.of(pid, left);
      if (open.isEmpty()) {
        return Optional.empty();
      }
      descriptors += open.get().descriptors();
      sockets += open.get().sockets();
    }
    return Optional.of(
        new ProcessCounts(
            pids.size(),
            new OpenFiles(descriptors, sockets),
            pids.isEmpty() ? KernelFile.ABSENT : softLimit(file, pids.getFirst())));
  }

  private static void collect(KernelFile file, byte[] folder, List<Integer> pids) {
    if (!file.read(folder, PROCESSES)) {
      return;
    }
    while (file.nextLine()) {
      if (file.nextWord()) {
        pids.add((int) file.number());
      }
    }
    Path path = Path.of(new String(folder, StandardCharsets.UTF_8));
    try {
      // A folder has two links of its own and one for each folder in it: mostly none.
      if ((Integer) Files.getAttribute(path, "unix:nlink") > 2) {
        try (DirectoryStream<Path> children = Files.newDirectoryStream(path, Files::isDirectory)) {
          for (Path child : children) {
            collect(file, KernelFile.name(child.toString()), pids);
          }
        }
      }
    } catch (IOException | DirectoryIteratorException e) {
      // gone, perhaps just now
    }
  }

  /** {@code Max open files 1024 524288 files}. */
  static long softLimit(KernelFile file, long pid) {
    if (file.read(KernelFile.name("/proc/" + pid), LIMITS)) {
      while (file.nextLine()) {
        if (file.nextWord() && file.isWord(MAX) && file.nextWord() && file.isWord(OPEN)) {
          return file.nextWord(2) ? file.number() : KernelFile.ABSENT;
        }
      }
    }
    return KernelFile.ABSENT;
  }
}
