package io.berth.daemon;

import io.berth.image.ImageGc;
import io.berth.image.ImageStore;
import io.berth.image.Proxies;
import io.berth.image.Scrubber;
import io.berth.image.TransferSettings;
import io.berth.image.UnpackLimits;
import io.berth.runtime.HandlerPolicy;
import io.berth.runtime.SpecSettings;
import io.berth.runtime.Ulimits;
import io.berth.streaming.StreamingSettings;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.slf4j.event.Level;

/// Everything an administrator can set, with its type and its limits. The values of a fresh
/// installation and the meaning of each key stand in the resource `default-config.toml` and nowhere
/// else: it is always the first file read, so no default is written twice.
///
/// @param runtimes by handler name; holds at least the default handler
public record DaemonConfig(
    Server server,
    State state,
    Log log,
    Metrics metrics,
    Tracing tracing,
    Recorder recorder,
    Watchdog watchdog,
    Containers containers,
    Map<String, RuntimeHandler> runtimes,
    Cni cni,
    Images images,
    StreamingSettings streaming,
    Logs logs,
    Scrubber.ScrubSettings scrub,
    ImageGc.Settings gc,
    UnpackLimits unpack) {

  /// The CRI's fixed message limit; a larger cap on ExecSync could never be delivered.
  static final ByteSize MESSAGE_LIMIT = ByteSize.ofMiB(16);

  /// The kernel's PID_MAX_LIMIT.
  private static final int MOST_PIDS = 1 << 22;

  public record Server(
      Path socket, Optional<String> group, Duration shutdownGrace, Duration abandonedLinger) {}

  public record State(Path runDir, Path rootDir) {}

  public record Log(Level level) {}

  public record Metrics(Optional<InetSocketAddress> address) {}

  /// @param endpoint of an OpenTelemetry collector
  public record Tracing(Optional<URI> endpoint) {}

  public record Recorder(ByteSize size) {}

  /// When an operation takes too long.
  ///
  /// @param stages limits of stages that take longer by nature, by name
  public record Watchdog(Duration limit, Map<String, Duration> stages) {
    Duration of(String stage) {
      return stages.getOrDefault(stage, limit);
    }
  }

  public record Containers(
      String defaultRuntime,
      CgroupDriverSetting cgroupDriver,
      Executable conmon,
      Executable init,
      ByteSize execOutputLimit,
      int pidsLimit,
      boolean killAbandonedExecs,
      SpecSettings specs) {}

  /// When berthd rotates logs itself.
  ///
  /// @param maxSize zero: never
  /// @param maxFiles with the one that is written to
  public record Logs(ByteSize maxSize, int maxFiles) {}

  /// How pods of one handler are run.
  ///
  /// @param root the folder in which the runtime keeps its own state (`--root`)
  public record RuntimeHandler(
      Executable path,
      RuntimeType type,
      Path root,
      Map<String, String> environment,
      HandlerPolicy policy) {}

  public record Cni(
      Path configDir,
      List<Path> binDirs,
      Path cacheDir,
      Duration deleteTimeout,
      Duration statusInterval) {}

  /// @param resumeFrom the size of a layer from which on what has come of it is kept
  public record Images(
      Path registryConfigDir,
      List<Path> authFiles,
      Optional<String> proxy,
      List<String> noProxy,
      int parallelLayers,
      TransferSettings transfers,
      ByteSize resumeFrom,
      Path preloadDir,
      Path trustPolicy,
      Path namespacePolicyDir,
      Path lookasideConfigDir,
      List<String> pinned) {}

  /// AUTO: what this machine uses, see [HostFacts].
  public enum CgroupDriverSetting {
    AUTO,
    CGROUPFS,
    SYSTEMD
  }

  /// What the command line understands beyond the OCI runtime's.
  public enum RuntimeType {
    RUNC,
    CRUN,
    OCI
  }

  static DaemonConfig read(ConfigTable root) {
    State state = root.table("state", DaemonConfig::readState);
    var config =
        new DaemonConfig(
            root.table("server", DaemonConfig::readServer),
            state,
            root.table("log", table -> new Log(table.choice("level", Level.class))),
            root.table("metrics", table -> new Metrics(table.optionalAddress("address"))),
            root.table("tracing", table -> new Tracing(table.optionalUri("endpoint"))),
            root.table("recorder", DaemonConfig::readRecorder),
            root.table("watchdog", DaemonConfig::readWatchdog),
            root.table("containers", DaemonConfig::readContainers),
            root.tables("runtimes", (name, table) -> readRuntime(name, table, state)),
            root.table("cni", DaemonConfig::readCni),
            root.table("images", DaemonConfig::readImages),
            root.table("streaming", DaemonConfig::readStreaming),
            root.table("logs", DaemonConfig::readLogs),
            root.table("scrub", DaemonConfig::readScrub),
            root.table("gc", DaemonConfig::readGc),
            root.table("unpack", DaemonConfig::readUnpack));
    root.require(
        config.runtimes.containsKey(config.containers.defaultRuntime),
        "containers.default_runtime",
        () ->
            "\"%s\" is not among the runtimes %s; add a table [runtimes.%s] or name one of these"
                .formatted(
                    config.containers.defaultRuntime,
                    config.runtimes.keySet(),
                    config.containers.defaultRuntime));
    // What is written isn't shown: a password may be in it.
    root.require(
        Proxies.isValid(config.images.proxy.orElse("")),
        "images.proxy",
        () -> "must be of the form http://[USER:PASSWORD@]HOST[:PORT]");
    return config;
  }

  private static Server readServer(ConfigTable table) {
    return new Server(
        table.path("socket"),
        table.optionalText("group"),
        table.duration("shutdown_grace", Duration.ZERO, Duration.ofMinutes(10)),
        table.duration("abandoned_linger", Duration.ZERO, Duration.ofHours(1)));
  }

  private static State readState(ConfigTable table) {
    return new State(table.path("run_dir"), table.path("root_dir"));
  }

  private static Recorder readRecorder(ConfigTable table) {
    return new Recorder(table.size("size", new ByteSize(256 << 10), ByteSize.ofMiB(256)));
  }

  private static Watchdog readWatchdog(ConfigTable table) {
    Duration least = Duration.ofSeconds(1);
    Duration most = Duration.ofHours(24);
    return new Watchdog(
        table.duration("limit", least, most), table.durations("stages", least, most));
  }

  private static Containers readContainers(ConfigTable table) {
    return new Containers(
        table.text("default_runtime"),
        table.choice("cgroup_driver", CgroupDriverSetting.class),
        table.executable("conmon"),
        table.executable("init"),
        table.size("exec_output_limit", new ByteSize(1024), MESSAGE_LIMIT),
        table.number("pids_limit", 0, MOST_PIDS),
        table.flag("kill_abandoned_execs"),
        new SpecSettings(
            table.parsed("ulimits", List.of(), () -> Ulimits.parse(table.texts("ulimits"))),
            table.paths("cdi_spec_dirs"),
            table.paths("hooks_dirs"),
            table.path("blockio_config_file"),
            table.flag("device_ownership_from_security_context")));
  }

  private static RuntimeHandler readRuntime(String name, ConfigTable table, State state) {
    return new RuntimeHandler(
        table.executable("path"),
        table.has("type") ? table.choice("type", RuntimeType.class) : RuntimeType.OCI,
        table.has("root") ? table.path("root") : state.runDir().resolve("runtimes").resolve(name),
        table.has("environment") ? table.textMap("environment") : Map.of(),
        new HandlerPolicy(
            table.has("allowed_annotations") ? table.texts("allowed_annotations") : List.of(),
            table.has("privileged_without_host_devices")
                && table.flag("privileged_without_host_devices")));
  }

  private static Cni readCni(ConfigTable table) {
    Duration second = Duration.ofSeconds(1);
    return new Cni(
        table.path("config_dir"),
        table.paths("bin_dirs"),
        table.path("cache_dir"),
        table.duration("delete_timeout", second, Duration.ofHours(1)),
        table.duration("status_interval", second, Duration.ofHours(1)));
  }

  private static StreamingSettings readStreaming(ConfigTable table) {
    Duration second = Duration.ofSeconds(1);
    Optional<Path> certificate = table.optionalPath("tls_cert");
    Optional<Path> key = table.optionalPath("tls_key");
    table.require(
        certificate.isPresent() == key.isPresent(),
        "tls_cert",
        () -> "tls_cert and tls_key belong together; set both, or neither for plain HTTP");
    return new StreamingSettings(
        table.address("address"),
        certificate.flatMap(pem -> key.map(secret -> new StreamingSettings.TlsFiles(pem, secret))),
        table.duration("idle_timeout", second, Duration.ofHours(24 * 7)),
        table.duration("creation_timeout", second, Duration.ofHours(1)),
        table.duration("token_life", second, Duration.ofHours(1)),
        table.number("max_tokens", 1, 100_000));
  }

  private static Logs readLogs(ConfigTable table) {
    return new Logs(
        table.size("max_size", new ByteSize(0), new ByteSize(1L << 50)),
        table.number("max_files", 2, 1000));
  }

  private static Scrubber.ScrubSettings readScrub(ConfigTable table) {
    return new Scrubber.ScrubSettings(
        table.flag("after_unclean_boot"),
        table.duration("period", Duration.ZERO, Duration.ofDays(366)),
        table.size("rate", ByteSize.ofMiB(1), new ByteSize(1L << 40)).bytes(),
        table.flag("repair"));
  }

  private static ImageGc.Settings readGc(ConfigTable table) {
    int high = table.number("high", 0, 100);
    int low = table.number("low", 0, 100);
    table.require(
        high == 0 || low < high,
        "low",
        () -> "%d must be less than high, which is %d".formatted(low, high));
    return new ImageGc.Settings(
        high,
        low,
        table.duration("minimum_age", Duration.ZERO, Duration.ofDays(366)),
        table.duration("interval", Duration.ofSeconds(1), Duration.ofDays(1)),
        table.duration("grace", Duration.ZERO, Duration.ofDays(366)));
  }

  private static UnpackLimits readUnpack(ConfigTable table) {
    return new UnpackLimits(
        table.number("max_entries", 1, Integer.MAX_VALUE),
        table.number("max_path", 16, 4095),
        (int) table.size("max_header", new ByteSize(4096), ByteSize.ofMiB(64)).bytes(),
        table.size("max_size", ByteSize.ofMiB(1), new ByteSize(Long.MAX_VALUE)).bytes());
  }

  private static Images readImages(ConfigTable table) {
    return new Images(
        table.path("registry_config_dir"),
        table.paths("auth_files"),
        table.optionalText("proxy"),
        table.texts("no_proxy"),
        table.number("parallel_layers", 1, 64),
        readTransfers(table),
        table.size("resume_from", new ByteSize(0), new ByteSize(Long.MAX_VALUE)),
        table.path("preload_dir"),
        table.path("trust_policy"),
        table.path("namespace_policy_dir"),
        table.path("lookaside_config_dir"),
        table.parsed("pinned", List.of(), () -> ImageStore.checkedNames(table.texts("pinned"))));
  }

  private static TransferSettings readTransfers(ConfigTable table) {
    TransferSettings built = TransferSettings.DEFAULT;
    return new TransferSettings(
        built.connect(),
        built.answer(),
        table.duration("stall_time", Duration.ZERO, Duration.ofHours(1)),
        table.size("stall_floor", new ByteSize(0), new ByteSize(1L << 30)).bytes(),
        table.number("retries", 0, 100),
        built.backoff(),
        table.duration("retry_patience", Duration.ZERO, Duration.ofHours(1)),
        table.number("parallel_layers_per_registry", 1, 64));
  }
}
