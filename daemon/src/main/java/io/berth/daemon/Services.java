package io.berth.daemon;

import io.berth.cni.CniNetworks;
import io.berth.cni.CniSettings;
import io.berth.image.CredentialFiles;
import io.berth.image.HostPlatform;
import io.berth.image.Image;
import io.berth.image.ImageException;
import io.berth.image.ImageExporter;
import io.berth.image.ImageGc;
import io.berth.image.ImageGrpcService;
import io.berth.image.ImageImporter;
import io.berth.image.ImagePuller;
import io.berth.image.ImageStore;
import io.berth.image.ImageTrust;
import io.berth.image.LayerIngester;
import io.berth.image.LayerUnpacker;
import io.berth.image.LookasideStores;
import io.berth.image.PartialBlobs;
import io.berth.image.Proxies;
import io.berth.image.PullBoard;
import io.berth.image.RegistryClient;
import io.berth.image.RegistryHosts;
import io.berth.image.ScrubMark;
import io.berth.image.Scrubber;
import io.berth.image.StoreGraph;
import io.berth.image.StoreVerifier;
import io.berth.linux.CgroupDriver;
import io.berth.linux.Cgroups;
import io.berth.linux.DebtLedger;
import io.berth.oci.Json;
import io.berth.oci.Platform;
import io.berth.runtime.AppArmor;
import io.berth.runtime.Conmon;
import io.berth.runtime.ContainerLayout;
import io.berth.runtime.ContainerRuntime;
import io.berth.runtime.HostFeatures;
import io.berth.runtime.InitContainer;
import io.berth.runtime.LogLimits;
import io.berth.runtime.OciRuntime;
import io.berth.runtime.RuntimeHandlers;
import io.berth.runtime.RuntimeInfo;
import io.berth.runtime.RuntimeSettings;
import io.berth.runtime.Selinux;
import io.berth.sandbox.SandboxLayout;
import io.berth.sandbox.SandboxManager;
import io.berth.sandbox.SandboxSettings;
import io.berth.sandbox.SandboxStore;
import io.berth.snapshot.OverlaySnapshotter;
import io.berth.streaming.StreamingServer;
import io.grpc.BindableService;
import io.micrometer.core.instrument.MeterRegistry;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// All parts put together, from the bottom up. The one place where constructors meet.
final class Services implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(Services.class);
  private static final Path BOOT_ID = Path.of("/proc/sys/kernel/random/boot_id");

  private final Deque<AutoCloseable> open;
  private final OperationLog operations;
  private final Figures figures;
  private final List<BindableService> grpc;

  private Services(
      Deque<AutoCloseable> open,
      OperationLog operations,
      Figures figures,
      List<BindableService> grpc) {
    this.open = open;
    this.operations = operations;
    this.figures = figures;
    this.grpc = grpc;
  }

  /// Brings the state of the last run in order; when this returns, calls may come.
  static Services start(DaemonConfig config, HostFacts facts, MeterRegistry meters)
      throws InterruptedException {
    Deque<AutoCloseable> open = new ArrayDeque<>();
    boolean started = false;
    try {
      Services services = assemble(config, facts, meters, open);
      started = true;
      return services;
    } finally {
      if (!started) {
        closeAll(open);
      }
    }
  }

  private static Services assemble(
      DaemonConfig config, HostFacts facts, MeterRegistry meters, Deque<AutoCloseable> open)
      throws InterruptedException {
    Path run = config.state().runDir();
    Path root = config.state().rootDir();
    Duration linger = config.server().abandonedLinger();
    Clock clock = Clock.systemUTC();
    CgroupDriver driver = facts.cgroupDriver(config.containers().cgroupDriver());
    Cgroups cgroups = Cgroups.detect(Path.of("/sys/fs/cgroup"));
    FlightRecorder recorder =
        push(open, FlightRecorder.start(root.resolve("recorder"), config.recorder().size()));
    DebtLedger debts = push(open, new DebtLedger(root.resolve("debts"), clock));

    HostFeatures host =
        HostFeatures.detect(facts.kernel().atLeast("5.12"), facts.lowestOomScoreAdj());
    var selinux = new Selinux(host.selinux(), Path.of("/etc/selinux"));
    var snapshotter =
        new OverlaySnapshotter(root, debts, config.gc().grace(), selinux.layers().orElse(null));
    debts.register(OverlaySnapshotter.DELETE_TREE, snapshotter::settle);
    debts.register("release", debt -> snapshotter.release(debt.subject()));
    var images = new ImageStore(root, snapshotter, config.images().pinned(), clock);
    var pulls = new PullBoard();
    var layers =
        new LayerIngester(
            snapshotter,
            new LayerUnpacker(config.unpack()),
            config.images().parallelLayers(),
            pulls);
    Platform platform = HostPlatform.detect();
    var partials = new PartialBlobs(root.resolve("partial"), config.images().resumeFrom().bytes());
    var registries =
        new RegistryClient(
            new RegistryHosts(config.images().registryConfigDir()),
            new CredentialFiles(config.images().authFiles()),
            proxies(config.images()),
            config.images().transfers(),
            partials);
    var trust =
        new ImageTrust(
            config.images().trustPolicy(),
            config.images().namespacePolicyDir(),
            new LookasideStores(config.images().lookasideConfigDir(), registries));
    var puller =
        new ImagePuller(
            registries,
            images,
            snapshotter,
            layers,
            trust,
            pulls,
            platform,
            config.runtimes().keySet());
    var exporter = new ImageExporter(root, images, snapshotter);
    var importer = new ImageImporter(root, images, snapshotter, layers, trust, platform);

    var verifier = new StoreVerifier(images, snapshotter, registries, layers);
    ScrubMark mark = push(open, new ScrubMark(root, bootId(), clock));

    CniNetworks networks =
        push(
            open,
            new CniNetworks(
                CniSettings.of(
                        config.cni().configDir(), config.cni().binDirs(), config.cni().cacheDir())
                    .withDeleteTimeout(config.cni().deleteTimeout())
                    .withStatus(config.cni().statusInterval(), Duration.ofSeconds(5))));

    var layout = new ContainerLayout(run, root);
    var settings =
        new RuntimeSettings(
            layout,
            linger,
            BOOT_ID,
            config.containers().init()::find,
            (int) config.containers().execOutputLimit().bytes(),
            config.containers().pidsLimit(),
            config.containers().killAbandonedExecs(),
            new LogLimits(config.logs().maxSize().bytes(), config.logs().maxFiles()));
    var handlers =
        new RuntimeHandlers(
            config.containers().defaultRuntime(),
            config.runtimes().entrySet().stream()
                .map(handler ->
                    new OciRuntime(
                        handler.getKey(),
                        handler.getValue().path()::find,
                        handler.getValue().root(),
                        driver,
                        handler.getValue().environment(),
                        handler.getValue().policy()))
                .toList());
    var conmon = new Conmon(config.containers().conmon()::find, layout);
    SandboxSettings sandboxSettings = SandboxSettings.of(run, root, driver, linger);
    var sandboxes = new SandboxStore(sandboxSettings);
    var init =
        new InitContainer(
            settings, new SandboxLayout(run, root), handlers, conmon, snapshotter, cgroups, host);
    var sandboxManager =
        new SandboxManager(sandboxSettings, sandboxes, networks, init, cgroups, debts);
    sandboxManager.registerDebts(debts);
    var streaming = push(open, new StreamingServer(config.streaming()));
    if (config.streaming().address().getPort() != 0) {
      streaming.listen();
    }
    ContainerRuntime runtime =
        push(
            open,
            new ContainerRuntime(
                settings,
                config.containers().specs(),
                new AppArmor(
                    host.apparmorProfiles(),
                    new Executable("apparmor_parser")::find,
                    run.resolve("apparmor")),
                selinux,
                new RuntimeInfo(BerthVersion.current(), driver, configJson(config, driver), root),
                host,
                cgroups,
                debts,
                networks,
                images,
                trust,
                snapshotter,
                sandboxes,
                sandboxManager,
                handlers,
                conmon,
                streaming,
                new SandboxLayout(run, root)));

    Supplier<StoreGraph> graphs =
        () ->
            StoreGraph.of(
                images,
                snapshotter,
                id -> runtime.containers().find(id).map(container -> container.imageId()));

    var operations = new OperationLog(new PodDirectory(sandboxes, runtime.containers()));
    operations.tell(recorder);
    if (config.metrics().address().isPresent()) {
      operations.tell(new CallMetrics(meters, operations));
    }
    config
        .tracing()
        .endpoint()
        .ifPresent(endpoint ->
            operations.tell(push(open, Tracing.start(endpoint, BerthVersion.current()))));
    push(open, Watchdog.start(operations, recorder, config.watchdog()));
    var figures = new Figures(meters);
    figures.gauge("berth.pods", "pods on record", () -> sandboxes.list().size());
    figures.gauge(
        "berth.containers", "containers on record", () -> runtime.containers().list().size());
    figures.gauge("berth.images", "images", () -> images.list().size());
    figures.gauge(
        "berth.layers.damaged",
        "layers that differ from what was pulled",
        () -> snapshotter.layers().stream().filter(l -> !snapshotter.isSound(l.chainId())).count());
    figures.gauge("berth.debts", "clean-up that is owed", () -> debts.list().size());
    figures.gauge("berth.debts.oldest.seconds", "age of the oldest debt", () -> age(debts, clock));
    figures.gauge(
        "berth.calls.oldest.seconds",
        "age of the operation that has been running longest, streams aside",
        () -> operations.oldest().toNanos() / 1e9);
    figures.gauge(
        "berth.event.subscribers", "subscribers of pod events", runtime::eventSubscribers);
    figures.gauge(
        "berth.streaming.sessions",
        "connections of exec, attach and port-forward",
        streaming::connections);
    figures.gauge("berth.pulls.running", "pulls in flight", puller::running);
    figures.counter("berth.pulled.bytes", "bytes of layers from registries", pulls::fetched);
    figures.counter("berth.layers.fetched", "layers that had to be fetched", layers::fetched);
    figures.counter("berth.layers.reused", "layers that were there already", layers::reused);

    // In this order: containers look at their sandboxes; layers go only when all owners are known.
    sandboxManager.recover();
    runtime.recover();
    debts.start(operations::beginInBackground);
    Thread.ofVirtual().name("features").start(() -> askFeatures(handlers));
    Thread.ofVirtual()
        .name("preload")
        .start(() -> {
          snapshotter.removeUnreferenced(config.gc().grace());
          partials.removeOld();
          preload(importer, config.images().preloadDir());
        });
    push(
        open,
        ImageGc.start(
            images, snapshotter, graphs, config.gc(), root, operations::beginInBackground, clock));
    push(
        open,
        Scrubber.start(
            verifier, snapshotter, mark, config.scrub(), operations::beginInBackground, clock));
    return new Services(
        open,
        operations,
        figures,
        List.of(
            runtime.service(),
            new ImageGrpcService(images, puller, clock),
            new TransferGrpcService(registries, puller, pulls),
            new ArchiveGrpcService(exporter),
            new StoreGrpcService(images, snapshotter, verifier, graphs, config.gc().grace()),
            new AdminGrpcService(
                operations,
                new PodHistory(recorder, operations),
                debts,
                new ImageTrustReport(images, trust)::of,
                (archive, source, name) ->
                    importer.importArchive(archive, name).stream().map(Image::name).toList())));
  }

  private static Proxies proxies(DaemonConfig.Images images) {
    try {
      return Proxies.of(images.proxy().orElse(""), images.noProxy(), System.getenv());
    } catch (ImageException failure) {
      throw new DaemonException(
          DaemonException.Reason.PROXY, String.valueOf(failure.getMessage()), failure);
    }
  }

  private static String bootId() {
    try {
      return Files.readString(BOOT_ID).strip();
    } catch (IOException unreadable) {
      throw new DaemonException(
          DaemonException.Reason.STATE, "read " + BOOT_ID + ": " + unreadable, unreadable);
    }
  }

  private static double age(DebtLedger debts, Clock clock) {
    List<DebtLedger.Entry> owed = debts.list();
    return owed.isEmpty()
        ? 0
        : (OperationJson.nanos(clock.instant()) - owed.getFirst().since()) / 1e9;
  }

  private static void askFeatures(RuntimeHandlers handlers) {
    try {
      handlers.askFeatures();
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }

  private static void preload(ImageImporter importer, Path folder) {
    if (!Files.isDirectory(folder)) {
      return;
    }
    try {
      importer.preload(folder);
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    } catch (RuntimeException failure) {
      log.error("preload images from {}: {}", folder, failure.getMessage());
    }
  }

  private static <T extends AutoCloseable> T push(Deque<AutoCloseable> open, T part) {
    open.push(part);
    return part;
  }

  /// For `crictl info`; critest reads `stateDir`. The whole configuration is for `berth config`.
  private static String configJson(DaemonConfig config, CgroupDriver driver) {
    Map<String, Object> shown = new LinkedHashMap<>();
    shown.put("stateDir", config.state().rootDir().toString());
    shown.put("runDir", config.state().runDir().toString());
    shown.put("cgroupDriver", driver.toString().toLowerCase(Locale.ROOT));
    shown.put("defaultRuntime", config.containers().defaultRuntime());
    shown.put("cniConfigDir", config.cni().configDir().toString());
    shown.put("cniBinDirs", config.cni().binDirs().stream().map(Path::toString).toList());
    return new String(Json.write(shown), StandardCharsets.UTF_8);
  }

  /// What every call is to be entered in.
  OperationLog operations() {
    return operations;
  }

  /// For what is made after the services.
  Figures figures() {
    return figures;
  }

  List<BindableService> grpc() {
    return grpc;
  }

  @Override
  public void close() {
    closeAll(open);
  }

  /// Every part gets its chance to close, whatever another one's close did.
  private static void closeAll(Deque<AutoCloseable> open) {
    while (!open.isEmpty()) {
      try {
        open.pop().close();
      } catch (Exception failure) {
        log.warn("while stopping", failure);
      }
    }
  }
}
