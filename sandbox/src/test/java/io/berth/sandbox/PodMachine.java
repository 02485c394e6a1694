package io.berth.sandbox;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import io.berth.cni.CniNetworks;
import io.berth.cni.CniSettings;
import io.berth.linux.CgroupDriver;
import io.berth.linux.Cgroups;
import io.berth.linux.Debt;
import io.berth.linux.Debts;
import io.berth.linux.MountInfo;
import io.berth.linux.Mounts;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/// What a machine with pods has, in folders and on a bridge of this test's own: the kernel,
/// Debian's CNI plugins, and a `bridge` plugin in front of the real one that fails when told to.
///
/// Files in the plugin's folder are its script: `fail-ADD` lets the real plugin work and then
/// reports an error, `hang-ADD` works and then hangs, `on-ADD` is run first; likewise for DEL.
/// `calls` lists what was called.
final class PodMachine {
  private static final List<Path> PLUGINS =
      List.of(Path.of("/usr/lib/cni"), Path.of("/opt/cni/bin"));

  final Path folder;
  final Path plugin;
  final SandboxSettings settings;
  final CniNetworks networks;
  final OwedDebts debts = new OwedDebts();
  final ScriptedInit init = new ScriptedInit();
  final Cgroups cgroups = Cgroups.detect(Path.of("/sys/fs/cgroup"));
  private final String bridge;

  /// Keeps what is owed.
  static final class OwedDebts implements Debts {
    final ConcurrentLinkedQueue<Debt> owed = new ConcurrentLinkedQueue<>();

    @Override
    public void owe(Debt debt, Throwable cause) {
      if (!owed.contains(debt)) {
        owed.add(debt);
      }
    }

    List<String> kinds() {
      return owed.stream().map(Debt::kind).toList();
    }
  }

  /// An init that is only counted, and fails when told to.
  static final class ScriptedInit implements PodInit {
    final List<SandboxId> running = new ArrayList<>();
    volatile boolean failsAfterStart;
    volatile boolean failsToStop;
    volatile Consumer<Sandbox> onStart = _ -> {};

    @Override
    public synchronized int start(Sandbox sandbox) {
      running.add(sandbox.id());
      onStart.accept(sandbox);
      if (failsAfterStart) {
        throw new IllegalStateException("init of sandbox " + sandbox.id() + " did not start");
      }
      return 4711;
    }

    @Override
    public synchronized void stop(SandboxId id) {
      if (failsToStop) {
        throw new IllegalStateException("init of sandbox " + id + " does not end");
      }
      running.remove(id);
    }
  }

  private PodMachine(Path folder, Path realPlugins) throws IOException {
    this.folder = folder.toRealPath();
    plugin = Files.createDirectories(this.folder.resolve("plugin"));
    try (InputStream script = PodMachine.class.getResourceAsStream("scripted-bridge")) {
      Files.copy(requireNonNull(script), plugin.resolve("bridge"));
    }
    Files.writeString(plugin.resolve("real"), realPlugins + "\n");
    Files.setPosixFilePermissions(
        plugin.resolve("bridge"), PosixFilePermissions.fromString("rwxr-xr-x"));

    byte[] random = new byte[3];
    ThreadLocalRandom.current().nextBytes(random);
    bridge = "bsb" + HexFormat.of().formatHex(random);
    Path confDir = Files.createDirectories(this.folder.resolve("net.d"));
    Files.writeString(
        confDir.resolve("10-pods.conflist"),
        """
        {"cniVersion": "1.0.0", "name": "%1$s", "plugins": [
          {"type": "bridge", "bridge": "%1$s", "isGateway": true,
           "capabilities": {"portMappings": true, "dns": true},
           "ipam": {"type": "host-local", "dataDir": "%2$s",
                    "ranges": [[{"subnet": "10.%3$d.%4$d.0/29"}], [{"subnet": "fd%5$02x:%6$x::/64"}]]}}]}
        """
            .formatted(
                bridge,
                this.folder.resolve("leases"),
                100 + (random[0] & 0x3f),
                random[1] & 0xff,
                random[2] & 0xff,
                random[1] & 0xff));
    Path boot = Files.writeString(this.folder.resolve("boot_id"), "boot-1\n");
    settings =
        new SandboxSettings(
            this.folder.resolve("run"),
            this.folder.resolve("lib"),
            CgroupDriver.CGROUPFS,
            Duration.ZERO,
            Files.writeString(this.folder.resolve("resolv.conf"), "nameserver 10.9.8.7\n"),
            Files.writeString(this.folder.resolve("hosts"), "127.0.0.1 localhost\n"),
            boot);
    networks =
        new CniNetworks(
            CniSettings.of(confDir, List.of(plugin, realPlugins), this.folder.resolve("cni"))
                .withDeleteTimeout(Duration.ofSeconds(10)));
  }

  /// Skips the test, or fails it under CI, where this machine can't have pods.
  static PodMachine at(Path folder) throws IOException {
    Optional<Path> plugins =
        PLUGINS.stream().filter(p -> Files.isExecutable(p.resolve("bridge"))).findFirst();
    if (!"root".equals(System.getProperty("user.name"))) {
      cannotRun("root");
    } else if (plugins.isEmpty()) {
      cannotRun("the CNI plugins (Debian's containernetworking-plugins)");
    }
    return new PodMachine(folder, plugins.orElseThrow());
  }

  private static void cannotRun(String missing) {
    if ("true".equals(System.getenv("CI"))) {
      throw new IllegalStateException("these tests need " + missing);
    }
    Assumptions.abort("these tests need " + missing);
  }

  /// The daemon as it is right after a start.
  SandboxManager start(SandboxStore store) {
    return start(store, Duration.ZERO, init);
  }

  /// @param linger how long a pod goes on being made when its caller has left
  SandboxManager start(SandboxStore store, Duration linger, PodInit podInit) {
    return new SandboxManager(
        new SandboxSettings(
            settings.stateDir(),
            settings.rootDir(),
            settings.cgroupDriver(),
            linger,
            settings.resolvConf(),
            settings.hosts(),
            settings.bootId()),
        store,
        networks,
        podInit,
        cgroups,
        debts);
  }

  void script(String name) throws IOException {
    script(name, "");
  }

  void script(String name, String content) throws IOException {
    Files.writeString(plugin.resolve(name), content);
  }

  void unscript(String name) throws IOException {
    Files.deleteIfExists(plugin.resolve(name));
  }

  List<String> calls(String command) throws IOException {
    Path calls = plugin.resolve("calls");
    return Files.exists(calls)
        ? Files.readAllLines(calls).stream().filter(c -> c.startsWith(command + " ")).toList()
        : List.of();
  }

  /// Addresses that are taken.
  List<String> leases() throws IOException {
    Path leases = folder.resolve("leases");
    if (!Files.exists(leases)) {
      return List.of();
    }
    try (Stream<Path> files = Files.walk(leases)) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.contains(".") || name.contains(":"))
          .filter(name -> !name.startsWith("last_reserved") && !name.equals(bridge))
          .toList();
    }
  }

  List<Path> mounts() {
    return Mounts.table().stream()
        .map(MountInfo::target)
        .filter(target -> target.startsWith(folder))
        .toList();
  }

  List<Path> namespacesKeptForDel() throws IOException {
    return entries(settings.stateDir().resolve("owed-netns"));
  }

  List<Path> records() throws IOException {
    return entries(settings.rootDir().resolve("sandboxes"));
  }

  List<Path> folders() throws IOException {
    return entries(settings.stateDir().resolve("sandboxes"));
  }

  private static List<Path> entries(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(folder)) {
      return files.toList();
    }
  }

  void assertNothingLeft() throws IOException {
    assertThat(mounts()).as("mounts").isEmpty();
    assertThat(leases()).as("leases").isEmpty();
    assertThat(records()).as("records").isEmpty();
    assertThat(folders()).as("folders").isEmpty();
    assertThat(init.running).as("inits").isEmpty();
  }

  /// What a boot does to a machine: mounts and the state folder are gone, the boot id is another.
  void reboot() throws IOException, InterruptedException {
    unmountAll();
    run("rm", "-rf", settings.stateDir().toString());
    Files.writeString(settings.bootId(), "boot-2\n");
  }

  private void unmountAll() {
    mounts().reversed().forEach(Mounts::detach);
  }

  private static void run(String program, String... args) throws InterruptedException {
    List<String> argv = new ArrayList<>(List.of("/usr/bin/env", program));
    argv.addAll(List.of(args));
    var _ =
        Subprocess.command(argv)
            .environment(Map.of("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
            .start()
            .await();
  }

  static void await(BooleanSupplier condition) throws InterruptedException {
    Instant deadline = Instant.now().plusSeconds(20);
    while (!condition.getAsBoolean()) {
      if (Instant.now().isAfter(deadline)) {
        throw new AssertionError("the condition did not come true within 20 s");
      }
      Thread.sleep(5); // between two looks, not instead of looking
    }
  }

  void close() throws InterruptedException {
    networks.close();
    unmountAll();
    run("ip", "link", "delete", bridge);
  }
}
