package io.berth.daemon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.daemon.DaemonConfig.CgroupDriverSetting;
import io.berth.daemon.DaemonConfig.RuntimeType;
import io.berth.daemon.HostFacts.CgroupLayout;
import io.berth.daemon.KnownFaults.Fault;
import io.berth.linux.CgroupDriver;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileStore;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/// Says what this machine offers to pods, and what to do where something is missing. Changes
/// nothing and needs no daemon; berthd asks it at start as well and logs what is not in order.
final class Doctor {
  private static final JsonMapper JSON = new JsonMapper();
  private static final ByteSize LITTLE_SPACE = ByteSize.ofMiB(2048);
  private static final ByteSize NO_SPACE = ByteSize.ofMiB(200);

  private final Path root;
  private final DaemonConfig config;
  private final Programs programs;
  private final HostFacts facts;
  private final List<Finding> findings = new ArrayList<>();

  /// Looks at one machine.
  ///
  /// @param root usually `/`; only files of the system are looked up beneath it
  Doctor(Path root, DaemonConfig config, Programs programs) {
    this.root = root;
    this.config = config;
    this.programs = programs;
    this.facts = HostFacts.detect(root);
  }

  List<Finding> examine() throws InterruptedException {
    findings.clear();
    user();
    kernel();
    overlay();
    cgroups();
    controllers();
    oomScore();
    for (var handler : new TreeMap<>(config.runtimes()).entrySet()) {
      runtime(handler.getKey(), handler.getValue());
    }
    conmon();
    init();
    network();
    forwarding();
    isolation();
    userNamespaces();
    swap();
    inotify();
    pressure();
    runFolder();
    space();
    return List.copyOf(findings);
  }

  private void user() {
    Optional<String> uid =
        line("proc/self/status", "Uid:").map(ids -> ids.split("\\s+")[0]).filter("0"::equals);
    add(
        uid.isPresent()
            ? Finding.ok("user", "root")
            : Finding.failure("user", "not root", "run berthd, and this command, as root"));
  }

  private void kernel() {
    Version kernel = facts.kernel();
    if (kernel.before("5.6")) {
      add(
          Finding.failure(
              "kernel",
              kernel + " lacks openat2(2), without which an image could write outside its folder",
              "boot a kernel of 5.6 or newer, such as that of Debian 12"));
    } else {
      add(Finding.ok("kernel", kernel + ", with openat2(2) and pidfds"));
    }
  }

  private void overlay() {
    if (read("proc/filesystems").lines().noneMatch(line -> line.endsWith("\toverlay"))) {
      add(
          Finding.failure(
              "overlayfs",
              "not available in this kernel",
              "load it with: modprobe overlay; and put \"overlay\" into /etc/modules-load.d"));
    } else if (facts.kernel().before("6.7")) {
      add(
          Finding.ok(
              "overlayfs",
              "available; layers are passed in one mount(2) call, for lack of lowerdir+ (6.7)"));
    } else {
      add(Finding.ok("overlayfs", "available, with lowerdir+ for any number of layers"));
    }
  }

  private void cgroups() {
    CgroupLayout layout = facts.cgroups();
    CgroupDriver driver = facts.cgroupDriver(config.containers().cgroupDriver());
    String found =
        switch (layout) {
          case V2 -> "version 2";
          case V1 -> "version 1";
          case HYBRID -> "version 1 with an idle version 2 tree (hybrid)";
          case NONE -> "not mounted";
        };
    found += ", driver " + driver.name().toLowerCase(Locale.ROOT);
    boolean crun =
        config.runtimes().values().stream()
            .anyMatch(runtime ->
                runtime.type() == RuntimeType.CRUN && programs.find(runtime.path()).isPresent());
    if (layout == CgroupLayout.NONE) {
      add(Finding.failure("cgroups", found, "mount cgroup2 on /sys/fs/cgroup"));
    } else if (driver == CgroupDriver.SYSTEMD && !facts.systemd()) {
      add(
          Finding.failure(
              "cgroups",
              found + ", yet systemd is not this machine's init",
              "set containers.cgroup_driver to \"cgroupfs\" or \"auto\", and the kubelet's"
                  + " cgroupDriver likewise"));
    } else if (layout == CgroupLayout.HYBRID && crun) {
      add(
          Finding.warning(
              "cgroups",
              found + ", which crun refuses to work with",
              "use runc here, or boot with systemd.unified_cgroup_hierarchy=1"));
    } else if (facts.systemd()
        && config.containers().cgroupDriver() == CgroupDriverSetting.CGROUPFS
        && layout == CgroupLayout.V2) {
      add(
          Finding.warning(
              "cgroups",
              found + ", while systemd manages the same tree",
              "set containers.cgroup_driver to \"systemd\", and the kubelet's cgroupDriver"
                  + " likewise"));
    } else {
      add(Finding.ok("cgroups", found));
    }
  }

  private void controllers() {
    Set<String> wanted = new TreeSet<>(Set.of("cpu", "cpuset", "memory", "pids"));
    if (facts.cgroups() == CgroupLayout.V2) {
      Arrays.asList(read("sys/fs/cgroup/cgroup.controllers").split("\\s+")).forEach(wanted::remove);
    } else {
      wanted.removeIf(name -> Files.isDirectory(root.resolve("sys/fs/cgroup").resolve(name)));
    }
    add(
        wanted.isEmpty()
            ? Finding.ok("cgroup controllers", "cpu, cpuset, memory and pids")
            : Finding.failure(
                "cgroup controllers",
                "missing: " + String.join(", ", wanted),
                "enable them on the kernel's command line, such as cgroup_enable=memory"));
  }

  private void oomScore() {
    int lowest = facts.lowestOomScoreAdj();
    add(
        lowest <= -998
            ? Finding.ok("oom_score_adj", "may be lowered to " + lowest)
            : Finding.warning(
                "oom_score_adj",
                "may not be lowered below " + lowest + " (CAP_SYS_RESOURCE is missing)",
                "lower values that pods ask for are raised to "
                    + lowest
                    + "; give berthd the capability if critical pods must outlive others"));
  }

  private void runtime(String handler, DaemonConfig.RuntimeHandler runtime)
      throws InterruptedException {
    String subject = "runtime " + handler;
    boolean isDefault = handler.equals(config.containers().defaultRuntime());
    Optional<Path> path = programs.find(runtime.path());
    if (path.isEmpty()) {
      String found = "\"" + runtime.path() + "\" is not installed";
      String advice = "install it, or correct runtimes." + handler + ".path";
      add(
          isDefault
              ? Finding.failure(
                  subject, found + "; it is the default: no container can be made", advice)
              : Finding.ok(subject, found + "; the handler is not offered"));
      return;
    }
    String output = programs.output(List.of(path.get().toString(), "--version")).orElse("");
    Optional<Version> version = Version.find(output);
    if (version.isEmpty()) {
      add(
          Finding.failure(
              subject,
              path.get() + " does not tell its version",
              "see what \"" + path.get() + " --version\" prints; it must be an OCI runtime"));
      return;
    }
    List<Fault> faults =
        switch (runtime.type()) {
          case RUNC -> KnownFaults.ofRunc(version.get(), output);
          case CRUN -> KnownFaults.ofCrun(version.get());
          case OCI -> List.of();
        };
    addWithFaults(subject, version.get() + " (" + path.get() + ")", faults);
  }

  private void conmon() throws InterruptedException {
    Executable conmon = config.containers().conmon();
    Optional<Path> path = programs.find(conmon);
    if (path.isEmpty()) {
      add(
          Finding.failure(
              "conmon",
              "\"" + conmon + "\" is not installed: no container can be made",
              "install the package conmon, or correct containers.conmon"));
      return;
    }
    Optional<Version> version =
        programs.output(List.of(path.get().toString(), "--version")).flatMap(Version::find);
    if (version.isEmpty() || version.get().before("2.1.6")) {
      add(
          Finding.failure(
              "conmon",
              version.map(Version::toString).orElse("of unknown version") + " (" + path.get() + ")",
              "install conmon 2.1.6 or newer"));
      return;
    }
    addWithFaults(
        "conmon", version.get() + " (" + path.get() + ")", KnownFaults.ofConmon(version.get()));
  }

  private void init() {
    Executable init = config.containers().init();
    add(
        programs
            .find(init)
            .map(path -> Finding.ok("init", path.toString()))
            .orElseGet(() ->
                Finding.warning(
                    "init",
                    "\"" + init + "\" is not installed",
                    "install catatonit, or pods with a shared PID namespace are refused")));
  }

  private void network() throws InterruptedException {
    Path folder = root.resolve(relative(config.cni().configDir()));
    List<Path> files = new ArrayList<>();
    try (Stream<Path> entries = Files.list(folder)) {
      entries
          .filter(file -> file.toString().matches(".*\\.(conflist|conf|json)"))
          .sorted()
          .forEach(files::add);
    } catch (IOException absent) {
      // as good as empty
    }
    if (files.isEmpty()) {
      add(
          Finding.warning(
              "CNI",
              "no network configuration in " + config.cni().configDir(),
              "install a network add-on; until then only host-network pods run"));
      return;
    }
    Set<String> types = new HashSet<>();
    boolean nftables = false;
    try {
      JsonNode network = JSON.readTree(files.getFirst().toFile());
      Iterable<JsonNode> plugins =
          network.has("plugins") ? network.path("plugins") : List.of(network);
      for (JsonNode plugin : plugins) {
        types.add(plugin.path("type").asText());
        if (plugin.path("ipam").has("type")) {
          types.add(plugin.path("ipam").path("type").asText());
        }
        nftables |= plugin.path("backend").asText().equals("nftables");
      }
    } catch (IOException broken) {
      add(
          Finding.failure(
              "CNI",
              files.getFirst() + " is not valid JSON",
              "correct it: " + broken.getMessage()));
      return;
    }
    Set<String> missing =
        types.stream()
            .filter(type -> !type.isEmpty() && plugin(type).isEmpty())
            .collect(Collectors.toCollection(TreeSet::new));
    if (!missing.isEmpty()) {
      add(
          Finding.failure(
              "CNI",
              files.getFirst() + " needs plugins that are not installed: " + missing,
              "install them into one of " + config.cni().binDirs()));
      return;
    }
    List<Fault> faults = List.of();
    Optional<Path> portmap = plugin("portmap");
    if (nftables && portmap.isPresent()) {
      faults =
          programs
              .output(List.of(portmap.get().toString()))
              .flatMap(output -> output.lines().findFirst())
              .flatMap(Version::find)
              .map(version -> KnownFaults.ofPortmap(version, true))
              .orElse(List.of());
    }
    addWithFaults("CNI", files.getFirst() + ", all plugins installed", faults);
  }

  private Optional<Path> plugin(String type) {
    return config.cni().binDirs().stream()
        .map(folder -> programs.find(new Executable(folder.resolve(type).toString())))
        .flatMap(Optional::stream)
        .findFirst();
  }

  private void forwarding() {
    if (!read("proc/sys/net/ipv4/ip_forward").equals("1")) {
      add(
          Finding.warning(
              "forwarding",
              "net.ipv4.ip_forward is off",
              "pods reach nothing beyond this machine; set it to 1 in /etc/sysctl.d"));
    } else if (read("proc/sys/net/bridge/bridge-nf-call-iptables").equals("1")) {
      add(Finding.ok("forwarding", "on, and bridged packets pass the firewall"));
    } else {
      add(
          Finding.warning(
              "forwarding",
              "on, but bridged packets do not pass the firewall",
              "kube-proxy needs: modprobe br_netfilter, and"
                  + " net.bridge.bridge-nf-call-iptables = 1 in /etc/sysctl.d"));
    }
    List<String> firewalls =
        Stream.of("iptables", "nft")
            .filter(name -> programs.find(new Executable(name)).isPresent())
            .toList();
    add(
        firewalls.isEmpty()
            ? Finding.warning(
                "firewall",
                "neither iptables nor nft is installed",
                "install iptables: the plugins portmap, firewall and bridge (ipMasq) call it")
            : Finding.ok("firewall", String.join(" and ", firewalls)));
  }

  private void isolation() {
    boolean seccomp = Files.exists(root.resolve("proc/sys/kernel/seccomp/actions_avail"));
    add(
        seccomp
            ? Finding.ok("seccomp", "available")
            : Finding.warning(
                "seccomp",
                "not in this kernel",
                "containers run without a system call filter; boot a kernel with"
                    + " CONFIG_SECCOMP_FILTER"));
    boolean appArmor = read("sys/module/apparmor/parameters/enabled").equals("Y");
    if (appArmor && programs.find(new Executable("apparmor_parser")).isEmpty()) {
      add(
          Finding.warning(
              "AppArmor",
              "enabled, but apparmor_parser is not installed: the default profile can't be loaded,"
                  + " and containers run without one",
              "install the package apparmor"));
    } else {
      add(
          Finding.ok(
              "AppArmor",
              appArmor ? "enabled" : "not enabled; pods that ask for a profile are refused"));
    }
    selinux();
  }

  private void selinux() {
    String mode =
        switch (read("sys/fs/selinux/enforce")) {
          case "1" -> "enforcing";
          case "0" -> "permissive";
          default -> "";
        };
    String policy =
        line("etc/selinux/config", "SELINUXTYPE=")
            .filter(name -> !name.isEmpty())
            .orElse("targeted");
    if (mode.isEmpty()) {
      add(Finding.ok("SELinux", "not enabled; pods that ask for a label are refused"));
    } else if (!knowsContainers(policy)) {
      add(
          Finding.warning(
              "SELinux",
              mode
                  + ", but policy "
                  + policy
                  + " has no contexts for containers: they run unlabelled",
              "install container-selinux, or your distribution's policy for containers"));
    } else {
      add(Finding.ok("SELinux", mode + ", containers are labelled by policy " + policy));
    }
  }

  /// The kernel is asked, by a write that changes nothing: Debian 12 names a context that its
  /// policy doesn't have.
  private boolean knowsContainers(String policy) {
    String context =
        line("etc/selinux/" + policy + "/contexts/lxc_contexts", "process = ")
            .orElse("")
            .replace("\"", "");
    try (OutputStream kernel =
        Files.newOutputStream(root.resolve("sys/fs/selinux/context"), StandardOpenOption.WRITE)) {
      kernel.write(context.getBytes(StandardCharsets.UTF_8));
      return !context.isEmpty();
    } catch (IOException unknown) {
      return false;
    }
  }

  private void userNamespaces() {
    String limit = read("proc/sys/user/max_user_namespaces");
    boolean offered = Files.exists(root.resolve("proc/self/ns/user")) && !limit.equals("0");
    if (!offered) {
      add(
          Finding.warning(
              "user namespaces",
              limit.equals("0") ? "user.max_user_namespaces is 0" : "not in this kernel",
              "pods with hostUsers: false are refused; raise the limit in /etc/sysctl.d"));
    } else if (facts.kernel().before("5.19")) {
      add(
          Finding.warning(
              "user namespaces",
              "available, but overlayfs takes no idmapped layers before kernel 5.19",
              "boot a newer kernel if pods are to use hostUsers: false"));
    } else {
      add(Finding.ok("user namespaces", "available, with idmapped mounts"));
    }
  }

  private void swap() {
    boolean on = read("proc/swaps").lines().skip(1).findAny().isPresent();
    add(
        on
            ? Finding.warning(
                "swap",
                "on",
                "the kubelet does not start with swap unless failSwapOn is false; turn it off with:"
                    + " swapoff -a")
            : Finding.ok("swap", "off"));
  }

  private void inotify() {
    Map<String, Integer> wanted = Map.of("max_user_instances", 512, "max_user_watches", 65536);
    List<String> low =
        new TreeMap<>(wanted)
            .entrySet().stream()
                .filter(limit -> number("proc/sys/fs/inotify/" + limit.getKey()) < limit.getValue())
                .map(limit -> "fs.inotify." + limit.getKey() + " = " + limit.getValue())
                .toList();
    add(
        low.isEmpty()
            ? Finding.ok("inotify", "limits are ample")
            : Finding.warning(
                "inotify",
                "limits are low: pods that watch files fail with \"too many open files\"",
                "put into /etc/sysctl.d: " + String.join("; ", low)));
  }

  private void pressure() {
    add(
        Files.exists(root.resolve("proc/pressure/memory"))
            ? Finding.ok("pressure", "PSI is on")
            : Finding.warning(
                "pressure", "PSI is off", "boot with psi=1 for pressure figures of pods"));
  }

  private void runFolder() {
    boolean tmpfs =
        read("proc/self/mounts")
            .lines()
            .map(line -> line.split(" "))
            .anyMatch(mount ->
                mount.length > 2
                    && mount[2].equals("tmpfs")
                    && config.state().runDir().startsWith(mount[1])
                    && !mount[1].equals("/"));
    add(
        tmpfs
            ? Finding.ok("run folder", config.state().runDir() + " is on a tmpfs")
            : Finding.warning(
                "run folder",
                config.state().runDir() + " is on no tmpfs: what a reboot voids would stay",
                "mount a tmpfs on /run, or set state.run_dir to a folder on one"));
  }

  private void space() throws InterruptedException {
    Path folder = config.state().rootDir();
    Path existing = folder;
    while (existing.getParent() != null && !Files.isDirectory(existing)) {
      existing = existing.getParent();
    }
    long free;
    try {
      FileStore store = Files.getFileStore(existing);
      free = store.getUsableSpace();
    } catch (IOException unreadable) {
      add(Finding.failure("space", folder + ": " + unreadable, "make the folder readable"));
      return;
    }
    String found = new ByteSize(free).approximately() + " free for " + folder;
    long freeInodes =
        programs
            .output(List.of("/usr/bin/stat", "-f", "-c", "%d", existing.toString()))
            .map(String::strip)
            .filter(text -> text.matches("\\d{1,18}"))
            .map(Long::parseLong)
            .orElse(Long.MAX_VALUE);
    String advice =
        "remove unused images (crictl rmi --prune), or give " + folder + " its own disk";
    if (free < NO_SPACE.bytes()) {
      add(Finding.failure("space", found, advice));
    } else if (free < LITTLE_SPACE.bytes()) {
      add(Finding.warning("space", found, advice));
    } else if (freeInodes < 100_000) {
      add(Finding.warning("space", found + ", but only " + freeInodes + " inodes", advice));
    } else {
      add(Finding.ok("space", found));
    }
  }

  private void addWithFaults(String subject, String found, List<Fault> faults) {
    if (faults.isEmpty()) {
      add(Finding.ok(subject, found));
      return;
    }
    add(
        Finding.warning(
            subject,
            found
                + ", known to have: "
                + faults.stream().map(Fault::what).collect(Collectors.joining("; ")),
            "install " + faults.getLast().fixedIn() + " or newer"));
  }

  private void add(Finding finding) {
    findings.add(finding);
  }

  private String read(String file) {
    return HostFacts.read(root.resolve(file)).orElse("");
  }

  private Optional<String> line(String file, String prefix) {
    return read(file)
        .lines()
        .filter(line -> line.startsWith(prefix))
        .map(line -> line.substring(prefix.length()).strip())
        .findFirst();
  }

  private int number(String file) {
    String text = read(file);
    return text.matches("\\d{1,9}") ? Integer.parseInt(text) : Integer.MAX_VALUE;
  }

  private static Path relative(Path absolute) {
    return Path.of("/").relativize(absolute);
  }
}
