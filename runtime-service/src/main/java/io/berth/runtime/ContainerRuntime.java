package io.berth.runtime;

import io.berth.cni.CniNetworks;
import io.berth.image.ImageStore;
import io.berth.image.ImageTrust;
import io.berth.linux.Cgroups;
import io.berth.linux.Debt;
import io.berth.linux.DebtLedger;
import io.berth.sandbox.SandboxLayout;
import io.berth.sandbox.SandboxManager;
import io.berth.sandbox.SandboxStore;
import io.berth.snapshot.Snapshotter;
import io.berth.stats.CgroupStats;
import io.berth.stats.ContainerMetrics;
import io.berth.streaming.StreamingServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The module put together: what the daemon makes once and serves. */
public final class ContainerRuntime implements AutoCloseable {
  private final ExitWatch exits;
  private final ImageVolumes imageVolumes;
  private final ContainerRecovery recovery;
  private final ContainerStore containers;
  private final PodEvents events;
  private final UsageReports usage;
  private final RuntimeGrpcService service;
  private final LogRotation logs;

  /**
   * Wires the module.
   *
   * @param debts told here how debts of this module are settled
   */
  public ContainerRuntime(
      RuntimeSettings settings,
      SpecSettings specs,
      AppArmor apparmor,
      Selinux selinux,
      RuntimeInfo info,
      HostFeatures host,
      Cgroups cgroups,
      DebtLedger debts,
      CniNetworks networks,
      ImageStore images,
      ImageTrust trust,
      Snapshotter snapshotter,
      SandboxStore sandboxes,
      SandboxManager sandboxManager,
      RuntimeHandlers handlers,
      Conmon conmon,
      StreamingServer streaming,
      SandboxLayout sandboxLayout) {
    ContainerLayout layout = settings.layout();
    String bootId = bootId(settings.bootId());
    ContainerStore store = new ContainerStore(layout.records(), layout.recordCopies());
    containers = store;
    ContainerTeardown teardown = new ContainerTeardown(layout, handlers, snapshotter, cgroups);
    debts.register(
        ContainerTeardown.DEBT,
        debt ->
            teardown.takeDownHalfMade(
                new ContainerId(debt.subject()),
                debt.details().getOrDefault("handler", ""),
                debt.details().getOrDefault("cgroup", "/berth/" + debt.subject())));
    debts.register("container-record", debt -> store.delete(new ContainerId(debt.subject())));
    debts.register("log", ContainerRuntime::deleteLog);

    events = new PodEvents(sandboxes, store);
    exits = new ExitWatch(layout, store, new OomKills(layout, cgroups), teardown);
    imageVolumes = new ImageVolumes(layout, images, trust, snapshotter, sandboxes, debts);
    debts.register(ImageVolumes.DEBT, imageVolumes::settle);
    var users = new UserNamespaceSupport(layout, snapshotter);
    users.begin();
    ContainerCreator creator =
        new ContainerCreator(
            settings,
            store,
            sandboxes,
            sandboxManager,
            images,
            trust,
            snapshotter,
            imageVolumes,
            handlers,
            conmon,
            new SpecBuilder(specs, new SeccompProfiles(), apparmor, settings.pidsLimit()),
            apparmor,
            selinux,
            host,
            teardown,
            exits,
            debts,
            bootId);
    ContainerManager manager =
        new ContainerManager(settings, store, sandboxes, handlers, teardown, exits);
    PodLifecycle pods =
        new PodLifecycle(
            sandboxManager,
            sandboxes,
            store,
            manager,
            handlers,
            imageVolumes,
            users,
            selinux,
            events);
    ContainerUpdater updater =
        new ContainerUpdater(layout, store, handlers, host, new CgroupLimits(cgroups), debts);
    debts.register(ContainerUpdater.DEBT, debt -> updater.undo(new ContainerId(debt.subject())));
    recovery =
        new ContainerRecovery(
            layout,
            store,
            sandboxes,
            handlers,
            teardown,
            exits,
            pods,
            updater,
            snapshotter,
            debts,
            bootId);
    MonitorControl monitors = new MonitorControl(layout);
    logs = new LogRotation(settings.logs(), store, monitors);
    ExecLauncher launcher = new ExecLauncher(layout, handlers, cgroups);
    CgroupStats cgroupStats = new CgroupStats(cgroups);
    usage =
        new UsageReports(
            sandboxes,
            store,
            sandboxManager.layout(),
            cgroupStats,
            new ContainerMetrics(cgroupStats, info.storePath()),
            snapshotter);
    service =
        new RuntimeGrpcService(
            info,
            sandboxes,
            store,
            pods,
            creator,
            manager,
            new ExecSync(settings, store, launcher),
            usage,
            new StatusGrpcAnswers(info, networks, handlers, host, users, conmon),
            new VerboseInfo(layout, sandboxManager.layout()),
            events,
            updater,
            sandboxManager,
            new PortForward(sandboxes, sandboxLayout, streaming),
            new RemoteCommands(settings, store, launcher, monitors, streaming),
            monitors);
  }

  /**
   * Brings the records in line with the kernel; once, after the sandboxes' recovery and before
   * serving.
   */
  public void recover() throws InterruptedException {
    imageVolumes.recover();
    recovery.recover();
    logs.start();
  }

  /** How many subscribers of events there are now. */
  public int eventSubscribers() {
    return events.subscribers();
  }

  /** The one owner of the containers' records. */
  public ContainerStore containers() {
    return containers;
  }

  /** The service to be offered on the socket. */
  public RuntimeGrpcService service() {
    return service;
  }

  /** Ends the watching; containers go on. */
  @Override
  public void close() {
    logs.close();
    usage.close();
    exits.close();
  }

  private static void deleteLog(Debt debt) throws IOException {
    Files.deleteIfExists(Path.of(debt.subject()));
  }

  private static String bootId(Path file) {
    try {
      return Files.readString(file).strip();
    } catch (IOException e) {
      throw new UncheckedIOException("read the boot id: " + e.getMessage(), e);
    }
  }
}
