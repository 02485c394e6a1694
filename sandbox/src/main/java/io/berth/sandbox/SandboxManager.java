package io.berth.sandbox;

import io.berth.cni.CniException;
import io.berth.cni.CniNetworks;
import io.berth.linux.Cgroups;
import io.berth.linux.Debt;
import io.berth.linux.DebtLedger;
import io.berth.linux.Debts;
import io.berth.linux.ErrnoException;
import io.berth.linux.MountInfo;
import io.berth.linux.Mounts;
import io.berth.linux.Namespaces;
import io.berth.linux.PrivateFolder;
import io.berth.linux.Rollback;
import io.berth.linux.SharedOperations;
import io.berth.linux.Stages;
import io.berth.linux.UserNamespace;
import io.berth.sandbox.SandboxException.Reason;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Instant;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// Makes and ends sandboxes.
///
/// The life of one: [#run] makes it, [#beginStop] closes it to new containers, [#stop] takes down
/// what it consists of, [#remove] forgets it. All of them may be repeated: a call that comes again
/// while the first is in progress joins it. Whatever fails half way is undone, and what can't be
/// undone at once is owed to the [Debts].
public final class SandboxManager {
  private static final Logger log = LoggerFactory.getLogger(SandboxManager.class);

  /// 64 MiB, for everyone, as `/tmp` is.
  private static final String SHM_OPTIONS = "mode=1777,size=67108864";

  /// The last number of 32 bits stands for no id.
  private static final long MOST_IDS = 0xffff_ffffL;

  private static final String RECORD_DEBT = "sandbox-record";
  private static final String FOLDER_DEBT = "sandbox-folder";
  private static final String INIT_DEBT = "pod-init";
  private static final String CGROUP_DEBT = "cgroup";

  private final SandboxSettings settings;
  private final SandboxStore store;
  private final SandboxLayout layout;
  private final SandboxFiles files;
  private final PodNetwork network;
  private final PodInit init;
  private final Cgroups cgroups;
  private final Debts debts;
  private final String bootId;
  private final SharedOperations<SandboxName, Sandbox> runs;
  private final SharedOperations<SandboxId, SandboxId> stops;
  private final SharedOperations<SandboxId, SandboxId> removals;

  /// @param store made from the same settings
  /// @param init asked only for pods whose containers share one PID namespace
  public SandboxManager(
      SandboxSettings settings,
      SandboxStore store,
      CniNetworks networks,
      PodInit init,
      Cgroups cgroups,
      Debts debts) {
    this.settings = settings;
    this.store = store;
    this.layout = settings.layout();
    this.files = new SandboxFiles(settings, layout);
    this.network = new PodNetwork(networks, layout);
    this.init = init;
    this.cgroups = cgroups;
    this.debts = debts;
    this.bootId = read(settings.bootId());
    this.runs = new SharedOperations<>("run sandbox", settings.linger());
    this.stops = new SharedOperations<>("stop sandbox", settings.linger());
    this.removals = new SharedOperations<>("remove sandbox", settings.linger());
  }

  /// Where the files and namespaces of a sandbox are.
  public SandboxLayout layout() {
    return layout;
  }

  /// Tells the ledger how debts of this module are settled.
  public void registerDebts(DebtLedger ledger) {
    ledger.register(PodNetwork.DELETE_DEBT, network::delete);
    ledger.register(INIT_DEBT, debt -> init.stop(new SandboxId(debt.subject())));
    ledger.register(FOLDER_DEBT, debt -> clear(new SandboxId(debt.subject())));
    ledger.register(RECORD_DEBT, debt -> store.delete(new SandboxId(debt.subject())));
    ledger.register(CGROUP_DEBT, debt -> PodCgroup.remove(debt.subject(), cgroups));
  }

  /// Makes a sandbox, or gives back the one that the same request made before: a client that gave
  /// up waiting and asks again gets what it asked for the first time.
  ///
  /// @param handler kept for the containers; the caller has checked that it exists
  /// @return the sandbox, ready
  /// @throws SandboxException INVALID, UNSUPPORTED; UNAVAILABLE without a pod network; CONFLICT if
  ///   another sandbox has the name; FAILED, with nothing left behind
  public Sandbox run(SandboxConfig config, String handler) throws InterruptedException {
    store.named(config.name()).ifPresent(taken -> requireSame(taken, config, handler));
    Sandbox sandbox = runs.join(config.name(), () -> findOrMake(config, handler));
    requireSame(sandbox, config, handler); // whose request it was that we joined
    return sandbox;
  }

  private Sandbox findOrMake(SandboxConfig config, String handler) throws InterruptedException {
    Sandbox known = store.named(config.name()).orElse(null);
    if (known == null) {
      return make(config, handler);
    }
    return switch (known.state()) {
      case READY -> known;
      case CREATING -> { // nobody is at it, or we would have joined: its record could not be
        // deleted
        discard(known);
        yield make(config, handler);
      }
      case STOPPING, STOPPED ->
          throw new SandboxException(
              Reason.CONFLICT,
              "run sandbox "
                  + config.name()
                  + ": sandbox "
                  + known.id()
                  + " of that name has ended; remove it or raise the attempt");
    };
  }

  private static void requireSame(Sandbox taken, SandboxConfig config, String handler) {
    // Resources are for information and may have been updated since.
    if (!taken.config().withResources(null, null).equals(config.withResources(null, null))
        || !taken.handler().equals(handler)) {
      throw new SandboxException(
          Reason.CONFLICT,
          "run sandbox "
              + config.name()
              + ": sandbox "
              + taken.id()
              + " has the name but was asked for differently; remove it or raise the attempt");
    }
  }

  /// Each undo is registered before its step, so that a step which fails half way is undone too.
  private Sandbox make(SandboxConfig config, String handler) throws InterruptedException {
    SandboxId id = store.freshId();
    Sysctls sysctls = check(config);
    Sandbox sandbox = plan(id, config, handler);

    try (Rollback rollback = new Rollback("run sandbox " + id, debts)) {
      rollback.add(new Debt(RECORD_DEBT, id.value()), () -> store.delete(id));
      Stages.run("record", () -> store.create(sandbox));

      rollback.add(new Debt(FOLDER_DEBT, id.value()), () -> clear(id));
      Stages.run("files", () -> files.write(sandbox));
      Stages.run("namespaces", () -> makeNamespaces(sandbox, sysctls));
      if (sandbox.ownIpc()) {
        Stages.run("shm", () -> mountSharedMemory(sandbox));
      }

      Sandbox made = sandbox;
      if (sandbox.ownNetwork()) {
        rollback.add(PodNetwork.deleteDebt(sandbox), () -> network.delete(sandbox));
        made = made.withNetwork(Stages.time("cni", () -> network.add(sandbox)));
      }
      if (sandbox.sharedPid()) {
        Sandbox addressed = made;
        addCgroupUndo(rollback, sandbox); // which the OCI runtime makes for the init
        rollback.add(new Debt(INIT_DEBT, id.value()), () -> init.stop(id));
        made = made.withInit(Stages.time("init", () -> init.start(addressed)));
      }

      Sandbox ready = made.withState(SandboxState.READY);
      Stages.run("record", () -> store.update(id, _ -> ready));
      rollback.commit();
      return ready;
    } catch (ErrnoException | UncheckedIOException | IOException e) {
      throw new SandboxException(
          Reason.FAILED,
          "run sandbox "
              + id
              + " ("
              + config.name()
              + "): "
              + Failures.text(e)
              + "; it was undone, and berth debts lists what could not be yet",
          e);
    }
  }

  /// Everything that can be refused without making anything.
  private Sysctls check(SandboxConfig config) {
    checkName(config.name());
    checkNamespaces(config);
    SandboxFiles.checkDns(config);
    if (config.namespaces().network() == NamespaceMode.POD) {
      network.check(config);
    }
    return Sysctls.of(config);
  }

  private static void checkName(SandboxName name) {
    if (name.name().isEmpty() || name.namespace().isEmpty() || name.uid().isEmpty()) {
      throw new SandboxException(
          Reason.INVALID,
          "run sandbox "
              + name
              + ": the metadata lacks name, namespace or uid; set metadata in the pod's configuration");
    }
  }

  private static void checkNamespaces(SandboxConfig config) {
    NamespaceModes modes = config.namespaces();
    requirePodOrNode(config, "network", modes.network());
    requirePodOrNode(config, "ipc", modes.ipc());
    if (modes.pid() == NamespaceMode.TARGET) {
      throw refuse(
          config,
          "a sandbox has no target container; ask for TARGET pid when creating a container");
    }
    NamespaceModes.UserNamespace user = modes.user();
    if (user == null) {
      return;
    }
    switch (user.mode()) {
      case POD -> checkMappings(config, user);
      case NODE -> {
        if (!user.uids().isEmpty() || !user.gids().isEmpty()) {
          throw refuse(
              config, "the user namespace of the machine takes no id mappings; remove them");
        }
      }
      case CONTAINER, TARGET ->
          throw refuse(
              config, "the user namespace can be the pod's or the machine's, not " + user.mode());
    }
  }

  /// CRI allows one mapping of each kind, in which root must be.
  private static void checkMappings(SandboxConfig config, NamespaceModes.UserNamespace user) {
    checkMapping(config, "uid", user.uids());
    checkMapping(config, "gid", user.gids());
    NamespaceModes modes = config.namespaces();
    if (modes.pid() == NamespaceMode.NODE || modes.ipc() == NamespaceMode.NODE) {
      throw refuse(
          config,
          "with a user namespace of its own it can't have the PIDs or the IPC of the machine, whose"
              + " /proc and message queues it may not mount; set hostPID and hostIPC to false");
    }
  }

  private static void checkMapping(
      SandboxConfig config, String what, List<NamespaceModes.IdMapping> mappings) {
    if (mappings.size() != 1) {
      throw refuse(
          config,
          "its user namespace must have exactly one " + what + " mapping, not " + mappings.size());
    }
    NamespaceModes.IdMapping mapping = mappings.getFirst();
    if (mapping.containerId() != 0) {
      throw refuse(
          config,
          "the "
              + what
              + " mapping of its user namespace begins at "
              + mapping.containerId()
              + " and must begin at 0, so that there is a root");
    }
    if (mapping.length() < 1 || mapping.hostId() + mapping.length() > MOST_IDS) {
      throw refuse(
          config,
          "the "
              + what
              + " mapping of its user namespace, "
              + mapping.length()
              + " ids from "
              + mapping.hostId()
              + " on, isn't within the machine's 2^32 - 1 ids");
    }
  }

  private static void requirePodOrNode(SandboxConfig config, String what, NamespaceMode mode) {
    if (mode != NamespaceMode.POD && mode != NamespaceMode.NODE) {
      throw refuse(
          config, "the " + what + " namespace can be the pod's or the machine's, not " + mode);
    }
  }

  private static SandboxException refuse(SandboxConfig config, String why) {
    return new SandboxException(Reason.INVALID, "run sandbox " + config.name() + ": " + why);
  }

  private Sandbox plan(SandboxId id, SandboxConfig config, String handler) {
    Instant now = Instant.now();
    return new Sandbox(
        id,
        config,
        handler,
        SandboxState.CREATING,
        now.getEpochSecond() * 1_000_000_000L + now.getNano(),
        bootId,
        SandboxFiles.hostname(config, id),
        PodCgroup.of(config, id, settings.cgroupDriver(), cgroups),
        List.of(),
        null,
        null);
  }

  /// Network and host name go together: a pod on the network of the machine has the machine's name
  /// too. A user namespace is made first, so that it owns the others.
  private void makeNamespaces(Sandbox sandbox, Sysctls sysctls) throws InterruptedException {
    Set<Namespaces.Kind> kinds = EnumSet.noneOf(Namespaces.Kind.class);
    if (sandbox.ownNetwork()) {
      kinds.add(Namespaces.Kind.NET);
      kinds.add(Namespaces.Kind.UTS);
    }
    if (sandbox.ownIpc()) {
      kinds.add(Namespaces.Kind.IPC);
    }
    UserNamespace user = layout.userNamespace(sandbox);
    if (kinds.isEmpty() && user == null) {
      return;
    }
    Path pins = PrivateFolder.make(layout.pins(sandbox.id()));
    Namespaces.InNamespace setup =
        () -> {
          if (sandbox.ownNetwork()) {
            Namespaces.setHostname(sandbox.hostname());
            Namespaces.raiseLoopback();
          }
          sysctls.apply(sandbox.name());
        };
    if (user == null) {
      Namespaces.create(kinds, pins, setup);
    } else {
      Namespaces.createOwned(kinds, user, pins, setup);
    }
  }

  private void mountSharedMemory(Sandbox sandbox) throws IOException {
    Path target = Files.createDirectories(layout.sharedMemory(sandbox.id()));
    UserNamespace user = layout.userNamespace(sandbox);
    String owner = user == null ? "" : ",uid=" + user.uid(0) + ",gid=" + user.gid(0);
    Mounts.tmpfs(target, SHM_OPTIONS + owner, true);
  }

  /// Keeps what the kubelet has made of the pod's own limits, for information.
  ///
  /// @param overhead absent: as it was; the same with `resources`
  /// @throws SandboxException NOT_FOUND
  public void updateResources(
      String idOrPrefix, @Nullable LinuxResources overhead, @Nullable LinuxResources resources) {
    var _ =
        store.update(
            store.get(idOrPrefix).id(),
            s ->
                s.withConfig(
                    s.config()
                        .withResources(
                            overhead == null ? s.config().overhead() : overhead,
                            resources == null ? s.config().resources() : resources)));
  }

  /// Closes a sandbox to new containers: from here on CRI shows it as not ready. To be called
  /// before its containers are killed, so that none is added meanwhile, and when the pod's init has
  /// died. The change is durable; [#stop] does the rest.
  ///
  /// @return the sandbox as it stands now; nothing if there is none
  public Optional<Sandbox> beginStop(String idOrPrefix) {
    return store.find(idOrPrefix).map(sandbox -> closed(sandbox.id()));
  }

  private @Nullable Sandbox closed(SandboxId id) {
    return store.update(
        id, s -> s.state() == SandboxState.READY ? s.withState(SandboxState.STOPPING) : s);
  }

  /// Takes down everything of a sandbox but its record and files. Its containers are dead by now.
  /// An unknown or stopped one is fine. A network that refuses to let go doesn't hold it up: DEL is
  /// then owed.
  ///
  /// @throws SandboxException FAILED; the call may be repeated
  public void stop(String idOrPrefix) throws InterruptedException {
    Optional<Sandbox> sandbox = store.find(idOrPrefix);
    if (sandbox.isPresent()) {
      stop(sandbox.get().id());
    }
  }

  private void stop(SandboxId id) throws InterruptedException {
    var _ =
        stops.join(
            id,
            () -> {
              takeDown(id);
              return id;
            });
  }

  private void takeDown(SandboxId id) throws InterruptedException {
    Sandbox sandbox = closed(id);
    if (sandbox == null || sandbox.state() == SandboxState.STOPPED) {
      return;
    }
    if (sandbox.sharedPid()) {
      Stages.run("init", () -> init.stop(id));
    }
    if (sandbox.ownNetwork()) {
      try {
        Stages.run("cni", () -> network.delete(sandbox));
      } catch (CniException e) {
        log.warn("stop sandbox {}: the network keeps its address for now: {}", id, e.getMessage());
        debts.owe(PodNetwork.deleteDebt(sandbox), e);
      }
    }
    finishStop(id);
  }

  private void finishStop(SandboxId id) {
    try {
      releaseKernel(id);
      var _ = store.update(id, Sandbox::stopped);
    } catch (ErrnoException | UncheckedIOException e) {
      throw new SandboxException(
          Reason.FAILED, "stop sandbox " + id + ": " + e.getMessage() + "; try again", e);
    }
  }

  /// Removes a sandbox, stopping it first if need be. An unknown one is fine. The record goes last:
  /// until then the call can be repeated, also after a crash.
  ///
  /// @throws SandboxException FAILED; the call may be repeated
  public void remove(String idOrPrefix) throws InterruptedException {
    Optional<Sandbox> sandbox = store.find(idOrPrefix);
    if (sandbox.isEmpty()) {
      return;
    }
    SandboxId id = sandbox.get().id();
    var _ =
        removals.join(
            id,
            () -> {
              stop(id);
              try {
                files.delete(id);
                removeCgroup(sandbox.get());
                store.delete(id);
              } catch (UncheckedIOException e) {
                throw new SandboxException(
                    Reason.FAILED,
                    "remove sandbox " + id + ": " + e.getMessage() + "; try again",
                    e);
              }
              return id;
            });
  }

  private void addCgroupUndo(Rollback rollback, Sandbox sandbox) {
    String made = sandbox.cgroup().made();
    if (made != null) {
      rollback.add(new Debt(CGROUP_DEBT, made), () -> PodCgroup.remove(made, cgroups));
    }
  }

  private void removeCgroup(Sandbox sandbox) throws InterruptedException {
    String made = sandbox.cgroup().made();
    if (made == null) {
      return;
    }
    try {
      PodCgroup.remove(made, cgroups);
    } catch (IllegalStateException | UncheckedIOException e) {
      debts.owe(new Debt(CGROUP_DEBT, made), e);
    }
  }

  /// Brings the records in line with what is still there after the daemon, or the machine, was
  /// started anew. To be called once, before serving and before the ledger is started. No plugin is
  /// run: addresses to be given back are owed, and the ledger sees to them while berthd serves.
  public void recover() throws InterruptedException {
    files.close();
    Set<Path> pinned =
        Mounts.table().stream()
            .filter(mount -> mount.type().equals("nsfs"))
            .map(MountInfo::target)
            .collect(Collectors.toSet());
    for (Sandbox sandbox : store.all()) {
      try {
        switch (sandbox.state()) {
          case CREATING -> discard(sandbox);
          case READY -> {
            String loss = loss(sandbox, pinned);
            if (loss != null) {
              log.warn("sandbox {} ({}) has ended: {}", sandbox.id(), sandbox.name(), loss);
              end(sandbox, loss);
            }
          }
          case STOPPING -> end(sandbox, "the daemon ended while the pod was being stopped");
          case STOPPED -> {}
        }
      } catch (RuntimeException e) {
        // One pod that resists must not keep the others from being served; stop and remove try
        // again.
        log.error("recover sandbox {}: {}", sandbox.id(), e.getMessage(), e);
      }
    }
    clearUnknown();
  }

  /// Why a sandbox recorded as ready isn't any more, or nothing.
  private @Nullable String loss(Sandbox sandbox, Set<Path> pinned) {
    if (!sandbox.bootId().equals(bootId)) {
      return "the machine was started anew";
    }
    SandboxLayout.Paths paths = layout.paths(sandbox);
    List<Path> expected =
        Stream.of(
                paths.network(),
                paths.uts(),
                paths.ipc(),
                paths.user() == null ? null : paths.user().pin())
            .filter(Objects::nonNull)
            .toList();
    for (Path pin : expected) {
      try {
        if (!pinned.contains(pin.toRealPath())) {
          return "namespace " + pin + " isn't mounted any more";
        }
      } catch (IOException e) {
        return "namespace " + Failures.text(e);
      }
    }
    return null;
  }

  private void end(Sandbox sandbox, String why) throws InterruptedException {
    SandboxId id = sandbox.id();
    var _ = closed(id);
    if (sandbox.sharedPid()) {
      init.stop(id);
    }
    oweNetwork(sandbox, why);
    finishStop(id);
  }

  /// Undoes a sandbox that the daemon left half made, as [#make] would have: a rollback that is
  /// never committed. Only DEL, which runs plugins, is left to the ledger.
  private void discard(Sandbox sandbox) {
    SandboxId id = sandbox.id();
    oweNetwork(sandbox, "the daemon ended while the pod was being made");
    try (Rollback rollback = new Rollback("discard sandbox " + id, debts)) {
      rollback.add(new Debt(RECORD_DEBT, id.value()), () -> store.delete(id));
      rollback.add(new Debt(FOLDER_DEBT, id.value()), () -> clear(id));
      if (sandbox.sharedPid()) {
        addCgroupUndo(rollback, sandbox);
        rollback.add(new Debt(INIT_DEBT, id.value()), () -> init.stop(id));
      }
    }
  }

  private void oweNetwork(Sandbox sandbox, String why) {
    if (sandbox.ownNetwork()) {
      network.keepNamespace(sandbox.id());
      debts.owe(PodNetwork.deleteDebt(sandbox), new IllegalStateException(why));
    }
  }

  /// A folder without a record: the record was unreadable, and nobody can ask for the sandbox any
  /// more.
  private void clearUnknown() {
    Set<String> known = store.all().stream().map(s -> s.id().value()).collect(Collectors.toSet());
    try (DirectoryStream<Path> folders = Files.newDirectoryStream(layout.sandboxes())) {
      for (Path folder : folders) {
        String name = folder.getFileName().toString();
        if (SandboxId.isValid(name) && !known.contains(name)) {
          log.warn("{} belongs to no sandbox on record: cleared", folder);
          clear(new SandboxId(name));
        }
      }
    } catch (NoSuchFileException _) {
      // nothing was ever made since the boot
    } catch (IOException | RuntimeException e) {
      log.error("clear folders without a record in {}: {}", layout.sandboxes(), e.getMessage(), e);
    }
  }

  private void clear(SandboxId id) {
    releaseKernel(id);
    files.delete(id);
  }

  /// What the kernel holds for us. All of it may be gone already.
  private void releaseKernel(SandboxId id) {
    Mounts.detach(layout.sharedMemory(id));
    for (Namespaces.Kind kind : Namespaces.Kind.values()) {
      Namespaces.unpin(layout.pins(id).resolve(kind.file()));
    }
    Namespaces.unpin(layout.userPin(id));
  }

  private static String read(Path bootId) {
    try {
      return Files.readString(bootId).strip();
    } catch (IOException e) {
      throw new UncheckedIOException("read the boot id: " + Failures.text(e), e);
    }
  }
}
