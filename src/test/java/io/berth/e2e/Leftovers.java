package io.berth.e2e;

import io.berth.linux.Subprocess;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** Every trace on this machine that pods of one daemon can leave. */
final class Leftovers {
  private static final Pattern ID = Pattern.compile("\\b[0-9a-f]{64}\\b");
  private static final Path CGROUPS = Path.of("/sys/fs/cgroup");

  private final BerthDaemon daemon;

  Leftovers(BerthDaemon daemon) {
    this.daemon = daemon;
  }

  /**
   * @return one line for each; empty when the machine is clean
   */
  List<String> find() throws IOException, InterruptedException {
    var found = new ArrayList<String>();
    mounts().forEach(mount -> found.add("mount " + mount));
    processes().forEach(process -> found.add("process " + describe(process)));
    cgroups().forEach(cgroup -> found.add("cgroup " + cgroup));
    for (String folder : List.of("sandboxes", "containers", "exits")) {
      entries(daemon.runFolder().resolve(folder)).forEach(path -> found.add("state " + path));
    }
    for (Path runtime : entries(daemon.runFolder().resolve("runtimes"))) {
      entries(runtime).forEach(path -> found.add("runtime state " + path));
    }
    for (String folder :
        List.of("sandboxes", "containers", "snapshots", "debts", "layers/.staging")) {
      entries(daemon.rootFolder().resolve(folder)).forEach(path -> found.add("record " + path));
    }
    entries(daemon.folder().resolve("cni-cache/results"))
        .forEach(path -> found.add("cached network result " + path));
    entries(daemon.leases().resolve(daemon.networkName())).stream()
        .filter(path -> Character.isDigit(path.getFileName().toString().charAt(0)))
        .forEach(path -> found.add("address " + path.getFileName()));
    entries(Path.of("/sys/class/net", daemon.bridge(), "brif"))
        .forEach(path -> found.add("interface on the bridge " + path.getFileName()));
    firewallRules().forEach(rule -> found.add("rule " + rule));
    return found;
  }

  /** Ends and removes what lies outside the daemon's folders; best effort. */
  void destroy() throws IOException, InterruptedException {
    for (ProcessHandle process : processes()) {
      process.destroyForcibly();
    }
    for (Path cgroup : cgroups()) {
      for (String pid : lines(cgroup.resolve("cgroup.procs"))) {
        ProcessHandle.of(Long.parseLong(pid)).ifPresent(ProcessHandle::destroyForcibly);
      }
    }
    String umount = TestTools.installed("umount", "mount").toString();
    for (String mount : mounts().reversed()) {
      var _ = Commands.attempt(daemon.inItsMounts(List.of(umount, "-l", mount)));
    }
    for (Path cgroup : cgroups().reversed()) {
      var _ = cgroup.toFile().delete(); // refused while a process in it is still ending
    }
  }

  /** Mount points under the daemon's folders, outer ones first. */
  private List<String> mounts() throws IOException {
    return lines(Path.of("/proc", Long.toString(daemon.processWithMounts()), "mountinfo")).stream()
        .map(line -> line.split(" ")[4])
        .filter(this::isOurs)
        .toList();
  }

  /** Processes that name one of the daemon's folders, such as conmon and the runtimes. */
  private List<ProcessHandle> processes() {
    List<Long> own = daemon.ownProcesses();
    return ProcessHandle.allProcesses()
        .filter(process -> !own.contains(process.pid()))
        .filter(process -> isOurs(commandLine(process)))
        .toList();
  }

  /**
   * Cgroups with the id of a pod or container in their names, outer ones first. The ids are taken
   * from the daemon's log, which names the object of each call.
   */
  private List<Path> cgroups() throws IOException {
    Set<String> ids = new HashSet<>();
    if (Files.exists(daemon.log())) {
      Matcher matcher = ID.matcher(Files.readString(daemon.log()));
      while (matcher.find()) {
        ids.add(matcher.group());
      }
    }
    var found = new ArrayList<Path>();
    Files.walkFileTree(
        CGROUPS,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult preVisitDirectory(Path folder, BasicFileAttributes attributes) {
            Matcher id = ID.matcher(folder.getFileName().toString());
            if (id.find() && ids.contains(id.group())) {
              found.add(folder);
            }
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult visitFileFailed(Path file, IOException vanished) {
            return FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult postVisitDirectory(
              Path folder, @org.jspecify.annotations.Nullable IOException vanished) {
            return FileVisitResult.CONTINUE;
          }
        });
    return found;
  }

  /** Of the portmap, bridge and firewall plugins, which put the network's name into comments. */
  private List<String> firewallRules() throws InterruptedException {
    Subprocess.Result rules =
        Commands.attempt(List.of(TestTools.installed("iptables-save", "iptables").toString()));
    return rules.out().lines().filter(line -> line.contains(daemon.networkName())).toList();
  }

  private boolean isOurs(String text) {
    return Stream.of(daemon.folder(), daemon.runFolder()).anyMatch(f -> text.contains(f + "/"));
  }

  private static String describe(ProcessHandle process) {
    return process.pid() + " " + commandLine(process);
  }

  private static String commandLine(ProcessHandle process) {
    try {
      return Files.readString(Path.of("/proc", Long.toString(process.pid()), "cmdline"))
          .replace('\0', ' ');
    } catch (IOException gone) {
      return "";
    }
  }

  /** What a folder holds; nothing when there is no folder. */
  static List<Path> entries(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(folder)) {
      return entries.toList();
    }
  }

  private static List<String> lines(Path file) throws IOException {
    return Files.exists(file) ? Files.readAllLines(file) : List.of();
  }
}
