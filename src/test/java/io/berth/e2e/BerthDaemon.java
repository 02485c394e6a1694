package io.berth.e2e;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.google.errorprone.annotations.CanIgnoreReturnValue;
import com.google.errorprone.annotations.MustBeClosed;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.ListPodSandboxRequest;
import io.berth.cri.v1.RemovePodSandboxRequest;
import io.berth.cri.v1.StopPodSandboxRequest;
import io.berth.linux.FileTree;
import io.grpc.StatusRuntimeException;
import java.io.File;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * berthd as it is delivered, beside whatever runs on this machine: folders, socket, bridge network
 * and image mirrors of its own. {@link #close} removes its pods, ends it and fails when it left
 * anything behind.
 *
 * <pre>
 * try (var daemon = BerthDaemon.with().registry(registry.address()).start()) {
 *   daemon.crictl().run("pull", Requests.BUSYBOX);
 * }
 * </pre>
 */
final class BerthDaemon implements AutoCloseable {
  private static final Duration START = Duration.ofMinutes(2);
  private static final Duration STOP = Duration.ofSeconds(30);
  private static final Duration SETTLE = Duration.ofSeconds(10);
  private static final Path DEBIAN_PLUGINS = Path.of("/usr/lib/cni");

  /** Its configuration, socket, log and lasting state. */
  private final Path folder;

  private final Path runFolder;
  private final int network;
  private final Map<String, String> environment;
  private final @Nullable Process mountKeeper;
  private final String umask;
  private @Nullable Process process;
  private @Nullable CriClient client;

  private BerthDaemon(
      Path folder,
      int network,
      Map<String, String> environment,
      String umask,
      @Nullable Process mountKeeper) {
    this.folder = folder;
    this.runFolder = Path.of("/run").resolve(folder.getFileName());
    this.network = network;
    this.environment = environment;
    this.umask = umask;
    this.mountKeeper = mountKeeper;
  }

  static Builder with() {
    return new Builder();
  }

  /** What differs from a usual node. */
  static final class Builder {
    private String registry = "";
    private Path plugins = DEBIAN_PLUGINS;
    private String mountScript = "";
    private String umask = "022";
    private final List<String> config = new ArrayList<>();
    private final Map<String, String> environment = new LinkedHashMap<>();

    /** Stands in for registry.k8s.io, gcr.io and k8s.gcr.io. */
    @CanIgnoreReturnValue
    Builder registry(String address) {
      registry = address;
      return this;
    }

    /** The default handler, under the name {@code handler} ("runc" or "crun"). */
    @CanIgnoreReturnValue
    Builder runtime(String handler, Path program) {
      return config(
          """
          [containers]
          default_runtime = "%s"
          [runtimes.%s]
          path = "%s"
          """
              .formatted(handler, handler, program));
    }

    /** CNI plugins other than Debian's. */
    @CanIgnoreReturnValue
    Builder plugins(Path binaries) {
      plugins = binaries;
      return this;
    }

    /** A TOML file more; a later one wins over an earlier one. */
    @CanIgnoreReturnValue
    Builder config(String toml) {
      config.add(toml);
      return this;
    }

    /** In octal digits. */
    @CanIgnoreReturnValue
    Builder umask(String mask) {
      umask = mask;
      return this;
    }

    @CanIgnoreReturnValue
    Builder environment(String name, String value) {
      environment.put(name, value);
      return this;
    }

    /**
     * A mount namespace that lasts over restarts, private to the daemon and to what {@link
     * BerthDaemon#inItsMounts} runs.
     *
     * @param script what a shell does in it before the daemon starts
     */
    @CanIgnoreReturnValue
    Builder privateMounts(String script) {
      mountScript = script;
      return this;
    }

    /** Crun 1.8 refuses machines that have cgroup v2 beside v1, so it is shown v1 alone. */
    @CanIgnoreReturnValue
    Builder withoutUnifiedCgroups() {
      return Files.isDirectory(Path.of("/sys/fs/cgroup/unified"))
          ? privateMounts("umount /sys/fs/cgroup/unified")
          : this;
    }

    @MustBeClosed
    @SuppressWarnings("MustBeClosedChecker") // closed below when it does not start
    BerthDaemon start() throws IOException, InterruptedException {
      if (!"root".equals(System.getProperty("user.name"))) {
        throw TestTools.missing("berthd needs root");
      }
      Path folder = Files.createTempDirectory("berth-e2e-");
      var daemon =
          new BerthDaemon(
              folder, freeNetwork(), Map.copyOf(environment), umask, keepMounts(folder));
      try {
        daemon.writeConfiguration(this);
        daemon.restart();
        return daemon;
      } catch (Throwable failure) {
        daemon.tearDown();
        throw failure;
      }
    }

    private @Nullable Process keepMounts(Path folder) throws IOException, InterruptedException {
      if (mountScript.isEmpty()) {
        return null;
      }
      Path ready = folder.resolve("mounts-are-private");
      Process keeper =
          new ProcessBuilder(
                  TestTools.installed("unshare", "util-linux").toString(),
                  "-m",
                  "sh",
                  "-ec",
                  mountScript + "\n: > " + ready + "\nexec sleep infinity")
              .inheritIO()
              .start();
      Await.until("mounts made by " + mountScript, START, () -> Files.exists(ready));
      return keeper;
    }

    /** A subnet, and with it a bridge, that nobody on this machine has. */
    private static int freeNetwork() {
      return ThreadLocalRandom.current()
          .ints(1, 255)
          .filter(n -> Files.notExists(Path.of("/sys/class/net", bridge(n))))
          .findFirst()
          .orElseThrow();
    }
  }

  private void writeConfiguration(Builder options) throws IOException {
    Path program = options.plugins.resolve("bridge");
    if (!Files.isExecutable(program)) {
      throw TestTools.missing(program + " is missing: apt-get install containernetworking-plugins");
    }
    TestTools.installed("iptables", "iptables");
    Files.writeString(
        configFile(),
        """
        [server]
        socket = "%s"
        [state]
        run_dir = "%s"
        root_dir = "%s"
        [containers]
        cgroup_driver = "cgroupfs"
        [cni]
        config_dir = "%s"
        bin_dirs = ["%s"]
        cache_dir = "%s"
        [images]
        registry_config_dir = "%s"
        preload_dir = "%s"
        trust_policy = "%s"
        namespace_policy_dir = "%s"
        lookaside_config_dir = "%s"
        """
            .formatted(
                socket(),
                runFolder,
                rootFolder(),
                cniFolder(),
                options.plugins,
                folder.resolve("cni-cache"),
                mirrors(),
                folder.resolve("preload"),
                trustPolicy(),
                folder.resolve("policies"),
                lookasides()));
    Files.createDirectory(folder.resolve("config.d"));
    for (int i = 0; i < options.config.size(); i++) {
      Files.writeString(folder.resolve("config.d/" + (10 + i) + ".toml"), options.config.get(i));
    }
    Files.createDirectory(cniFolder());
    Files.writeString(cniFolder().resolve("10-test.conflist"), networkList());
    for (String host : List.of("registry.k8s.io", "gcr.io", "k8s.gcr.io")) {
      if (!options.registry.isEmpty()) {
        Path hosts = mirrors().resolve(host).resolve("hosts.toml");
        Files.createDirectories(hosts.getParent());
        Files.writeString(
            hosts,
            """
            [host."http://%s"]
            capabilities = ["pull", "resolve"]
            """
                .formatted(options.registry));
      }
    }
  }

  private String networkList() {
    return """
    {"cniVersion": "1.0.0", "name": "%s", "plugins": [
      {"type": "bridge", "bridge": "%s", "isGateway": true, "ipMasq": true, "hairpinMode": true,
       "ipam": {"type": "host-local", "dataDir": "%s", "ranges": [[{"subnet": "10.91.%d.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}]}},
      {"type": "portmap", "capabilities": {"portMappings": true}},
      {"type": "firewall"}]}
    """
        .formatted(networkName(), bridge(network), leases(), network);
  }

  /** Starts it, after {@link #stop} or {@link #kill9} anew on the same state; serving on return. */
  void restart() throws IOException, InterruptedException {
    Path program = distribution().resolve("berthd");
    if (!Files.isExecutable(program)) {
      throw TestTools.missing(program + " is missing: ./dev build");
    }
    Files.createDirectories(log().getParent());
    var builder =
        new ProcessBuilder(
                inItsMounts(
                    List.of(
                        "/bin/sh",
                        "-c",
                        "umask " + umask + "; exec \"$0\" --config \"$1\"",
                        program.toString(),
                        configFile().toString())))
            .redirectInput(new File("/dev/null"))
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile()));
    builder.environment().put("BERTH_JAVA_HOME", System.getProperty("java.home"));
    builder.environment().putAll(environment);
    closeClient();
    Process started = builder.start();
    process = started;
    Await.until(
        "berthd serves on " + socket() + ", see " + log(),
        START,
        () -> {
          if (!started.isAlive()) {
            throw new AssertionError(
                "berthd exits with " + started.exitValue() + ": " + Files.readString(log()));
          }
          try (var probe = new CriClient(socket())) {
            probe.runtime().version(io.berth.cri.v1.VersionRequest.getDefaultInstance());
            return true;
          }
        });
    client = new CriClient(socket());
  }

  /** BERTH_DIST names another one than the build's, such as a copy that no build replaces. */
  static Path distribution() {
    String other = System.getenv("BERTH_DIST");
    return other == null ? TestTools.repository("daemon/target/dist") : Path.of(other);
  }

  /** SIGKILL; returns when it is gone. */
  void kill9() throws InterruptedException {
    closeClient();
    if (process != null) {
      process.destroyForcibly().waitFor();
      process = null;
    }
  }

  /** SIGTERM; returns when it is gone. */
  void stop() throws InterruptedException {
    closeClient();
    Process running = process;
    if (running != null) {
      process = null;
      running.destroy();
      if (!running.waitFor(STOP.toSeconds(), TimeUnit.SECONDS)) {
        running.destroyForcibly().waitFor();
        throw new AssertionError("berthd is still there " + STOP + " after SIGTERM");
      }
    }
  }

  long pid() {
    return running().pid();
  }

  /** The first process of a container, on the machine. */
  long pid(String container) throws IOException {
    String info =
        client()
            .runtime()
            .containerStatus(
                ContainerStatusRequest.newBuilder()
                    .setContainerId(container)
                    .setVerbose(true)
                    .build())
            .getInfoOrThrow("info");
    return JsonMapper.builder().build().readTree(info).get("pid").asLong();
  }

  Path socket() {
    return folder.resolve("berth.sock");
  }

  /** For what a test wants to lie beside the daemon's state and go with it. */
  Path folder() {
    return folder;
  }

  Path runFolder() {
    return runFolder;
  }

  Path rootFolder() {
    return folder.resolve("root");
  }

  /** A folder for each layer, and the staging area. */
  Path layers() {
    return rootFolder().resolve("layers");
  }

  /** The folder of network configurations. */
  Path cniFolder() {
    return folder.resolve("cni");
  }

  /** Where the daemon looks for hosts.toml files. */
  Path mirrors() {
    return folder.resolve("certs.d");
  }

  /** Where it is told in which stores signatures lie; made by who needs it. */
  Path lookasides() {
    return folder.resolve("registries.d");
  }

  /** Who must have signed images; it doesn't exist at first. */
  Path trustPolicy() {
    return folder.resolve("policy.json");
  }

  /** The log folders of pods. */
  Path logs() {
    return folder.resolve("logs");
  }

  /** What the daemon itself says, over all its starts; stays when the rest is deleted. */
  Path log() {
    return DaemonLogs.FOLDER.resolve(folder.getFileName() + ".log");
  }

  String networkName() {
    return folder.getFileName().toString();
  }

  /** host-local's folder of leases: a file for each address given away. */
  Path leases() {
    return folder.resolve("ipam");
  }

  /** The bridge's interface on the machine. */
  String bridge() {
    return bridge(network);
  }

  private static String bridge(int network) {
    return "berth-e2e" + network;
  }

  private Path configFile() {
    return folder.resolve("config.toml");
  }

  Crictl crictl() {
    return new Crictl(this);
  }

  /** For the daemon as it runs now; a restart makes a new one. */
  CriClient client() {
    if (client == null) {
      throw new IllegalStateException("berthd is not running");
    }
    return client;
  }

  /** The command as it has to be run to see the daemon's mounts. */
  List<String> inItsMounts(List<String> command) {
    if (mountKeeper == null) {
      return command;
    }
    var entered = new ArrayList<String>();
    entered.add(TestTools.installed("nsenter", "util-linux").toString());
    entered.addAll(List.of("-m", "-t", Long.toString(mountKeeper.pid())));
    entered.addAll(command);
    return entered;
  }

  /** A process that sees the daemon's mounts, the daemon alive or not. */
  long processWithMounts() {
    return mountKeeper == null ? ProcessHandle.current().pid() : mountKeeper.pid();
  }

  /** Processes that belong to the fixture rather than to pods. */
  List<Long> ownProcesses() {
    var pids = new ArrayList<Long>();
    if (process != null) {
      pids.add(process.pid());
    }
    if (mountKeeper != null) {
      pids.add(mountKeeper.pid());
    }
    return pids;
  }

  /** Stops and removes every pod by CRI. */
  void removePods() {
    for (var pod :
        client()
            .runtime()
            .listPodSandbox(ListPodSandboxRequest.getDefaultInstance())
            .getItemsList()) {
      var _ =
          client()
              .runtime()
              .stopPodSandbox(
                  StopPodSandboxRequest.newBuilder().setPodSandboxId(pod.getId()).build());
      var _ =
          client()
              .runtime()
              .removePodSandbox(
                  RemovePodSandboxRequest.newBuilder().setPodSandboxId(pod.getId()).build());
    }
  }

  /** Of pods and containers; images stay. What the kernel removes by and by is waited for. */
  void assertNothingLeft() throws IOException, InterruptedException {
    assertNothingLeft(SETTLE);
  }

  void assertNothingLeft(Duration settle) throws IOException, InterruptedException {
    var leftovers = new Leftovers(this);
    try {
      Await.until("nothing left", settle, () -> leftovers.find().isEmpty());
    } catch (AssertionError stillThere) {
      List<String> found = leftovers.find();
      if (!found.isEmpty()) {
        throw new AssertionError("left behind:\n" + String.join("\n", found), stillThere);
      }
    }
  }

  @Override
  public void close() throws IOException {
    try {
      end();
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException("interrupted while ending berthd");
    }
  }

  private void end() throws IOException, InterruptedException {
    try {
      if (process != null && process.isAlive()) {
        try {
          removePods();
        } catch (StatusRuntimeException failure) {
          throw new AssertionError("remove the pods that a test left", failure);
        }
        assertNothingLeft();
      }
      stop();
    } finally {
      tearDown();
    }
  }

  /** By force, so that the next test finds a clean machine whatever went wrong in this one. */
  private void tearDown() throws IOException, InterruptedException {
    kill9();
    new Leftovers(this).destroy();
    if (mountKeeper != null) {
      mountKeeper.destroyForcibly().waitFor();
    }
    if (Files.exists(Path.of("/sys/class/net", bridge()))) {
      Commands.run(
          List.of(TestTools.installed("ip", "iproute2").toString(), "link", "delete", bridge()));
    }
    for (Path remains : List.of(folder, runFolder)) {
      if (Files.exists(remains)) {
        FileTree.delete(remains);
      }
    }
  }

  private void closeClient() {
    if (client != null) {
      client.close();
      client = null;
    }
  }

  private Process running() {
    if (process == null) {
      throw new IllegalStateException("berthd is not running");
    }
    return process;
  }
}
