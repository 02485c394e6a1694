package io.berth.runtime;

import io.berth.image.Image;
import io.berth.image.ImageStore;
import io.berth.image.ImageTrust;
import io.berth.linux.Debt;
import io.berth.linux.Debts;
import io.berth.linux.ErrnoException;
import io.berth.linux.PrivateFolder;
import io.berth.linux.Rollback;
import io.berth.linux.RootedTree;
import io.berth.linux.SharedOperations;
import io.berth.linux.Stages;
import io.berth.linux.UserNamespace;
import io.berth.oci.Json;
import io.berth.oci.RuntimeSpec;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxLayout;
import io.berth.sandbox.SandboxManager;
import io.berth.sandbox.SandboxState;
import io.berth.sandbox.SandboxStore;
import io.berth.snapshot.Snapshotter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Makes a container: record, snapshot, root file system, bundle, and the OCI runtime's create under
 * conmon.
 */
public final class ContainerCreator {
  private final ContainerLayout layout;
  private final ContainerStore store;
  private final SandboxStore sandboxes;
  private final SandboxManager sandboxManager;
  private final ImageStore images;
  private final ImageTrust trust;
  private final Snapshotter snapshotter;
  private final ImageVolumes imageVolumes;
  private final RuntimeHandlers handlers;
  private final Conmon conmon;
  private final SpecBuilder specs;
  private final AppArmor apparmor;
  private final Selinux selinux;
  private final HostFeatures host;
  private final ContainerTeardown teardown;
  private final ExitWatch exits;
  private final Debts debts;
  private final String bootId;
  private final SharedOperations<ContainerName, Container> creations;

  ContainerCreator(
      RuntimeSettings settings,
      ContainerStore store,
      SandboxStore sandboxes,
      SandboxManager sandboxManager,
      ImageStore images,
      ImageTrust trust,
      Snapshotter snapshotter,
      ImageVolumes imageVolumes,
      RuntimeHandlers handlers,
      Conmon conmon,
      SpecBuilder specs,
      AppArmor apparmor,
      Selinux selinux,
      HostFeatures host,
      ContainerTeardown teardown,
      ExitWatch exits,
      Debts debts,
      String bootId) {
    this.layout = settings.layout();
    this.store = store;
    this.sandboxes = sandboxes;
    this.sandboxManager = sandboxManager;
    this.images = images;
    this.trust = trust;
    this.snapshotter = snapshotter;
    this.imageVolumes = imageVolumes;
    this.handlers = handlers;
    this.conmon = conmon;
    this.specs = specs;
    this.apparmor = apparmor;
    this.selinux = selinux;
    this.host = host;
    this.teardown = teardown;
    this.exits = exits;
    this.debts = debts;
    this.bootId = bootId;
    this.creations = new SharedOperations<>("create container", settings.linger());
  }

  /**
   * Makes a container, or gives back the one that the same request made before: a client that gave
   * up waiting and asks again gets what it asked for the first time.
   *
   * @return the container, created and waiting to be started
   * @throws ContainerException NO_IMAGE, INVALID, UNSUPPORTED; WRONG_STATE if the sandbox isn't
   *     ready; CONFLICT if another container has the name; RUNTIME_FAILED, with nothing left behind
   * @throws io.berth.sandbox.SandboxException NOT_FOUND
   * @throws io.berth.image.ImageException SIGNATURE, CONFIGURATION by the trust policy
   */
  Container create(String sandboxId, ContainerConfig config) throws InterruptedException {
    Sandbox sandbox = sandboxes.get(sandboxId);
    ContainerName name = new ContainerName(sandbox.id(), config.name(), config.attempt());
    Container made = creations.join(name, () -> findOrMake(sandbox, config, name));
    requireSame(made, config);
    return made;
  }

  private Container findOrMake(Sandbox sandbox, ContainerConfig config, ContainerName name)
      throws InterruptedException {
    Container known = store.named(name).orElse(null);
    if (known == null) {
      return make(sandbox, config);
    }
    requireSame(known, config);
    if (known.state() != ContainerState.CREATED) {
      throw new ContainerException(
          Reason.CONFLICT,
          "create container "
              + name
              + ": container "
              + known.id()
              + " of that name is "
              + known.state()
              + "; remove it or raise the attempt");
    }
    return known;
  }

  private static void requireSame(Container taken, ContainerConfig config) {
    if (!taken.config().equals(config)) {
      throw new ContainerException(
          Reason.CONFLICT,
          "create container "
              + taken.name()
              + ": container "
              + taken.id()
              + " has the name but was asked for differently; remove it or raise the attempt");
    }
  }

  /** Each undo is registered before its step, so that a step which fails half way is undone too. */
  private Container make(Sandbox sandbox, ContainerConfig config) throws InterruptedException {
    ContainerId id = ContainerId.random();
    requireReady(sandbox, config);
    LogLimits.require(config);
    Image image = image(config);
    requireRunnable(image, config);
    trust.requireAtCreate(
        image, List.of(config.userImage(), config.image()), sandbox.config().name().namespace());
    OciRuntime runtime = handlers.get(sandbox.handler());
    RuntimeFeatures features = runtime.features();
    apparmor.prepare(config.security());
    Selinux.Labels labels =
        selinux.of(
            sandbox,
            config.security(),
            why ->
                new ContainerException(
                    Reason.INVALID, "create container " + config.name() + ": " + why));
    Container container = plan(id, sandbox, config, image, runtime);

    try (Rollback rollback = new Rollback("create container " + id, debts)) {
      rollback.add(new Debt("container-record", id.value()), () -> store.delete(id));
      Stages.run("record", () -> store.create(container));

      rollback.add(
          debt(container),
          () -> teardown.takeDownHalfMade(id, container.handler(), container.cgroup()));
      Stages.run(
          "snapshot",
          () -> mountRootfs(id, image, sandboxManager.layout().paths(sandbox).user(), labels));
      Container resolved = timedSpec(container, sandbox, image, runtime, features, labels);

      Path logPath = Path.of(container.logPath());
      if (!container.logPath().isEmpty()) {
        Files.createDirectories(logPath.getParent());
        if (!Files.exists(logPath)) { // a failed creation leaves no log
          rollback.add(new Debt("log", container.logPath()), () -> Files.deleteIfExists(logPath));
          MonitorControl.makeLog(logPath); // conmon would let nobody but root read it
        }
      }
      Conmon.Created created =
          conmon.create(
              id,
              config.name(),
              runtime,
              new Conmon.Streams(
                  container.logPath(), config.stdin(), config.stdinOnce(), config.tty()));
      Container ready = resolved.created(created.init(), created.monitor());
      Stages.run("record", () -> store.update(id, _ -> ready));
      // Recorded first, then looked: whoever stops the sandbox now sees this container, or is seen
      // here.
      requireReady(sandboxes.get(sandbox.id().value()), config);
      rollback.commit();
      exits.watch(ready);
      return ready;
    } catch (ErrnoException | UncheckedIOException | IOException e) {
      throw new ContainerException(
          Reason.RUNTIME_FAILED,
          "create container "
              + id
              + " ("
              + container.name()
              + "): "
              + e.getMessage()
              + "; everything was undone",
          e);
    }
  }

  private static Debt debt(Container container) {
    return new Debt(
        ContainerTeardown.DEBT,
        container.id().value(),
        Map.of("handler", container.handler(), "cgroup", container.cgroup()));
  }

  private static void requireReady(Sandbox sandbox, ContainerConfig config) {
    if (sandbox.state() != SandboxState.READY) {
      throw new ContainerException(
          Reason.WRONG_STATE,
          "create container "
              + config.name()
              + ": sandbox "
              + sandbox.id()
              + " isn't ready any more; run a new one");
    }
    if (config.security().privileged() && !sandbox.config().security().privileged()) {
      throw new ContainerException(
          Reason.INVALID,
          "create container "
              + config.name()
              + ": it is privileged, but sandbox "
              + sandbox.id()
              + " isn't; run the sandbox with privileged: true");
    }
  }

  private static void requireRunnable(Image image, ContainerConfig config) {
    if (image.artifactType() != null) {
      throw new ContainerException(
          Reason.UNSUPPORTED,
          "create container "
              + config.name()
              + ": "
              + image.name()
              + " is an OCI artifact of type "
              + image.artifactType()
              + " and no image that can be run; mount it as an image volume");
    }
  }

  private Image image(ContainerConfig config) {
    return images
        .find(config.image())
        .orElseThrow(() ->
            new ContainerException(
                Reason.NO_IMAGE,
                "create container "
                    + config.name()
                    + ": image \""
                    + config.image()
                    + "\" isn't on this machine; pull it first"));
  }

  private Container plan(
      ContainerId id, Sandbox sandbox, ContainerConfig config, Image image, OciRuntime runtime) {
    String cgroupsPath = sandbox.cgroup().containerPath(id.value());
    return new Container(
        id,
        sandbox.id(),
        config,
        runtime.handler(),
        image.id(),
        image.repoDigests().isEmpty() ? image.id().toString() : image.repoDigests().getFirst(),
        image.repoTags().isEmpty() ? config.image() : image.repoTags().getFirst(),
        ContainerState.CREATING,
        bootId,
        cgroupsPath,
        sandbox.cgroup().containerCgroup(id.value()),
        logPath(sandbox, config),
        stopSignal(config, image),
        null,
        ExitWatch.nanos(Instant.now()),
        0,
        null,
        null,
        null,
        null,
        Map.of());
  }

  private static String logPath(Sandbox sandbox, ContainerConfig config) {
    String folder = sandbox.config().logDirectory();
    return folder.isEmpty() || config.logPath().isEmpty()
        ? ""
        : Path.of(folder, config.logPath()).toString();
  }

  private static String stopSignal(ContainerConfig config, Image image) {
    if (!config.stopSignal().isEmpty()) {
      return config.stopSignal();
    }
    String ofImage = image.config().config().stopSignal();
    return ofImage.isEmpty() ? "SIGTERM" : Signals.canonical(ofImage);
  }

  private void mountRootfs(
      ContainerId id, Image image, @Nullable UserNamespace users, Selinux.Labels labels)
      throws IOException {
    Path _ = PrivateFolder.make(layout.rootfs(id));
    if (users != null) {
      layout.letIn(id, users);
    }
    snapshotter.prepare(id.value(), image.layers());
    snapshotter.mount(id.value(), layout.rootfs(id), users, labels.files());
  }

  /** Two kinds of exceptions come out of it, and a stage lets but one through. */
  private Container timedSpec(
      Container container,
      Sandbox sandbox,
      Image image,
      OciRuntime runtime,
      RuntimeFeatures features,
      Selinux.Labels labels)
      throws InterruptedException {
    return Stages.<Container, InterruptedException>time(
        "spec",
        () -> {
          try {
            return writeSpec(container, sandbox, image, features, runtime.policy(), labels);
          } catch (IOException e) {
            throw new UncheckedIOException(e.getMessage(), e);
          }
        });
  }

  private Container writeSpec(
      Container container,
      Sandbox sandbox,
      Image image,
      RuntimeFeatures features,
      HandlerPolicy policy,
      Selinux.Labels labels)
      throws IOException, InterruptedException {
    ContainerId id = container.id();
    SandboxLayout.Paths paths = sandboxManager.layout().paths(sandbox);
    var volumes =
        new ContainerVolumes(
            layout, container, sandbox, paths.user(), imageVolumes, snapshotter, labels);
    ImageUser.Resolved user;
    try (RootedTree tree = RootedTree.open(layout.rootfs(id))) {
      user = ImageUser.resolve(tree, container.config().security(), image.config().config().user());
    }
    RuntimeSpec spec =
        specs.build(
            new SpecBuilder.Request(
                id,
                container.config(),
                sandbox,
                paths,
                image.config(),
                layout.rootfs(id),
                user,
                container.cgroupsPath(),
                host,
                features,
                policy,
                PidTarget.namespace(store, container, "create", Reason.INVALID),
                labels,
                volumes));
    Files.write(layout.spec(id), Json.write(spec));
    return container.resolved(
        new Container.User(user.uid(), user.gid(), user.additionalGids()), volumes.imageIds());
  }
}
