package io.berth.daemon;

import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.binder.jvm.JvmGcMetrics;
import io.micrometer.core.instrument.binder.jvm.JvmMemoryMetrics;
import io.micrometer.core.instrument.binder.jvm.JvmThreadMetrics;
import io.micrometer.core.instrument.binder.system.FileDescriptorMetrics;
import io.micrometer.core.instrument.binder.system.ProcessorMetrics;
import io.micrometer.core.instrument.binder.system.UptimeMetrics;
import io.micrometer.core.instrument.composite.CompositeMeterRegistry;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;

/// The daemon's main class.
@Command(
    name = "berthd",
    description = "Runs pods and containers for the kubelet (CRI v1).",
    mixinStandardHelpOptions = true,
    versionProvider = BerthVersion.class)
public final class Berthd implements Callable<Integer> {
  /// sysexits(3) EX_CONFIG, which the unit file names as not worth a restart.
  static final int BAD_CONFIG = 78;

  @Option(
      names = "--config",
      paramLabel = "FILE",
      description = "Default: ${DEFAULT-VALUE}; config.d/*.toml beside it is read too.")
  private Path config = ConfigLoader.DEFAULT_FILE;

  @Option(names = "--check", description = "Check the configuration and this machine, then exit.")
  private boolean check;

  public static void main(String[] args) {
    System.exit(new CommandLine(new Berthd()).execute(args));
  }

  @Override
  public Integer call() throws InterruptedException {
    DaemonConfig settings;
    try {
      settings = ConfigLoader.load(config);
    } catch (ConfigException mistakes) {
      System.err.println("berthd: " + mistakes.getMessage());
      return BAD_CONFIG;
    }
    if (check) {
      return DoctorReport.print(
          new Doctor(Path.of("/"), settings, Programs.ofThisMachine()).examine(), false);
    }
    Logging.configure(settings.log().level());
    try {
      serve(settings);
      return ExitCode.OK;
    } catch (DaemonException failure) {
      System.err.println("berthd: " + failure.getMessage());
      return ExitCode.SOFTWARE;
    }
  }

  /// Serves until a signal ends the process: SIGTERM and SIGINT run the shutdown hook, which closes
  /// everything in reverse. Containers run on; they belong to their monitors.
  private static void serve(DaemonConfig config) throws InterruptedException {
    Logger log = LoggerFactory.getLogger(Berthd.class);
    Deque<AutoCloseable> open = new ArrayDeque<>();
    try {
      open.push(StateLock.take(config.state().rootDir()));
      makeRunFolder(config.state().runDir());
      HostFacts facts = HostFacts.detect(Path.of("/"));
      MeterRegistry meters = meters(config, open);
      Services services = Services.start(config, facts, meters);
      open.push(services);
      var interceptor = new CallInterceptor(services.operations());
      open.push(CriServer.start(config.server(), interceptor, services.grpc()));
      open.push(IdleMemory.start(services.operations())::interrupt);
      log.info(
          "berthd {} is ready {} ms after its start",
          BerthVersion.current(),
          System.currentTimeMillis() - ManagementFactory.getRuntimeMXBean().getStartTime());
      Thread.ofVirtual().name("doctor").start(() -> logProblems(config, log));
    } catch (RuntimeException failure) {
      closeAll(open, log);
      throw failure;
    }
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  log.info("stopping");
                  closeAll(open, log);
                },
                "stop"));
    new CountDownLatch(1).await();
  }

  /// Before anything is put into it: the socket's group has to pass through, root alone may look.
  private static void makeRunFolder(Path folder) {
    try {
      Files.createDirectories(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx--x--x")));
    } catch (IOException failure) {
      throw new DaemonException(
          DaemonException.Reason.STATE, "make the folder " + folder + ": " + failure, failure);
    }
  }

  /// Without a metrics address nothing is counted.
  private static MeterRegistry meters(DaemonConfig config, Deque<AutoCloseable> open) {
    if (config.metrics().address().isEmpty()) {
      return new CompositeMeterRegistry();
    }
    var registry = new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
    JvmGcMetrics collections = new JvmGcMetrics();
    open.push(collections);
    List.of(
            new JvmMemoryMetrics(),
            collections,
            new JvmThreadMetrics(),
            new ProcessorMetrics(),
            new FileDescriptorMetrics(),
            new UptimeMetrics())
        .forEach(metrics -> metrics.bindTo(registry));
    open.push(MetricsEndpoint.start(config.metrics().address().get(), registry));
    return registry;
  }

  private static void logProblems(DaemonConfig config, Logger log) {
    try {
      List<Finding> findings = new Doctor(Path.of("/"), config, Programs.ofThisMachine()).examine();
      for (Finding finding : findings) {
        switch (finding.level()) {
          case OK -> {}
          case WARNING ->
              log.warn("{}: {}; {}", finding.subject(), finding.found(), finding.advice());
          case FAILURE ->
              log.error("{}: {}; {}", finding.subject(), finding.found(), finding.advice());
        }
      }
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }

  /// Every part gets its chance to close, whatever another one's close did.
  private static void closeAll(Deque<AutoCloseable> open, Logger log) {
    while (!open.isEmpty()) {
      try {
        open.pop().close();
      } catch (Exception failure) {
        log.warn("while stopping", failure);
      }
    }
  }
}
