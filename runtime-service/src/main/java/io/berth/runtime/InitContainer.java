package io.berth.runtime;

import io.berth.linux.AtomicFile;
import io.berth.linux.Cgroups;
import io.berth.linux.PrivateFolder;
import io.berth.linux.UserNamespace;
import io.berth.oci.Json;
import io.berth.oci.RuntimeSpec;
import io.berth.oci.RuntimeSpec.ContainerProcess;
import io.berth.oci.RuntimeSpec.Linux;
import io.berth.oci.RuntimeSpec.Mount;
import io.berth.oci.RuntimeSpec.Namespace;
import io.berth.oci.RuntimeSpec.Root;
import io.berth.oci.RuntimeSpec.User;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.PodInit;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxId;
import io.berth.sandbox.SandboxLayout;
import io.berth.snapshot.Snapshotter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The first process of a pod that shares one PID namespace: a static init that only reaps, in a
 * container of its own without an image. It has the sandbox's id, and no record beyond the
 * sandbox's.
 */
public final class InitContainer implements PodInit {
  private static final int OOM_SCORE = -998;
  private static final String HANDLER = "io.berth.handler";
  private static final String CGROUP = "io.berth.cgroup";

  private final RuntimeSettings settings;
  private final ContainerLayout layout;
  private final SandboxLayout sandboxLayout;
  private final RuntimeHandlers handlers;
  private final Conmon conmon;
  private final ContainerTeardown teardown;
  private final HostFeatures host;

  /** Needs no store: what it makes is known by the sandbox's id. */
  public InitContainer(
      RuntimeSettings settings,
      SandboxLayout sandboxLayout,
      RuntimeHandlers handlers,
      Conmon conmon,
      Snapshotter snapshotter,
      Cgroups cgroups,
      HostFeatures host) {
    this.settings = settings;
    this.layout = settings.layout();
    this.sandboxLayout = sandboxLayout;
    this.handlers = handlers;
    this.conmon = conmon;
    this.teardown = new ContainerTeardown(layout, handlers, snapshotter, cgroups);
    this.host = host;
  }

  @Override
  public int start(Sandbox sandbox) throws InterruptedException {
    ContainerId id = new ContainerId(sandbox.id().value());
    OciRuntime runtime = handlers.get(sandbox.handler());
    Path program =
        settings
            .init()
            .get()
            .orElseThrow(() ->
                new ContainerException(
                    Reason.UNSUPPORTED,
                    "start the init of sandbox "
                        + sandbox.id()
                        + ", which shares one PID namespace: no static init is installed; install catatonit or"
                        + " set containers.init"));
    try {
      Path root = PrivateFolder.make(layout.rootfs(id));
      UserNamespace users = sandboxLayout.paths(sandbox).user();
      if (users != null) {
        layout.letIn(id, users);
      }
      Files.write(root.resolve("init"), new byte[0]);
      for (String name : List.of("proc", "dev", "sys", "init", "")) {
        Path path = root.resolve(name);
        if (!name.equals("init")) {
          Files.createDirectories(path);
        }
        if (users != null) { // whose root makes the devices
          Files.setAttribute(path, "unix:uid", users.uid(0));
          Files.setAttribute(path, "unix:gid", users.gid(0));
        }
      }
      // Whole or absent after a crash: it is what tells stop() that something may run.
      AtomicFile.write(
          layout.spec(id), Json.write(spec(sandbox, id, root, program, runtime.features())));
      Conmon.Created created =
          conmon.create(id, "init", runtime, new Conmon.Streams("", false, false, false));
      runtime.start(id);
      return created.init().pid();
    } catch (IOException e) {
      throw new UncheckedIOException(
          "start the init of sandbox " + sandbox.id() + ": " + e.getMessage(), e);
    }
  }

  @Override
  public void stop(SandboxId sandbox) throws InterruptedException {
    ContainerId id = new ContainerId(sandbox.value());
    if (!Files.exists(layout.spec(id))) {
      teardown.deleteBundle(id); // no process was begun, or all is gone with the last boot
      return;
    }
    try {
      Map<String, String> notes =
          Json.read(
                  Files.readAllBytes(layout.spec(id)),
                  RuntimeSpec.class,
                  "config.json of sandbox init " + id)
              .annotations();
      if (notes != null) {
        teardown.takeDownHalfMade(
            id, notes.getOrDefault(HANDLER, ""), notes.getOrDefault(CGROUP, "/berth/" + id));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(
          "stop the init of sandbox " + sandbox + ": " + e.getMessage(), e);
    }
  }

  /** Enters what the pod has of its own and makes the PID namespace that its containers join. */
  private RuntimeSpec spec(
      Sandbox sandbox, ContainerId id, Path root, Path program, RuntimeFeatures features) {
    SandboxLayout.Paths paths = sandboxLayout.paths(sandbox);
    List<Namespace> namespaces =
        new ArrayList<>(List.of(new Namespace("pid", null), new Namespace("mount", null)));
    join(namespaces, "user", paths.user() == null ? null : paths.user().pin());
    join(namespaces, "network", paths.network());
    join(namespaces, "ipc", paths.ipc());
    join(namespaces, "uts", paths.uts());
    return new RuntimeSpec(
        RuntimeSpec.VERSION,
        new ContainerProcess(
            false,
            null,
            new User(0, 0, null, null),
            List.of("/init", "-P"),
            List.of(),
            "/",
            null,
            null,
            true,
            null,
            Math.max(OOM_SCORE, host.lowestOomScoreAdj()),
            null),
        new Root(root.toString(), true),
        null,
        List.of(
            Mount.of("proc", "proc", "/proc", "nosuid", "noexec", "nodev"),
            Mount.of("bind", program.toString(), "/init", "bind", "ro")),
        null,
        Map.of(
            HANDLER,
            sandbox.handler(),
            CGROUP,
            sandbox.cgroup().containerCgroup(id.value()),
            "io.kubernetes.cri.container-type",
            "sandbox",
            "io.kubernetes.cri.sandbox-id",
            id.value()),
        new Linux(
            paths.user() == null ? null : SpecBuilder.mappings(paths.user().uids(), features),
            paths.user() == null ? null : SpecBuilder.mappings(paths.user().gids(), features),
            null,
            null,
            sandbox.cgroup().containerPath(id.value()),
            namespaces,
            null,
            null,
            null,
            null,
            null,
            null));
  }

  private static void join(List<Namespace> namespaces, String type, @Nullable Path path) {
    if (path != null) {
      namespaces.add(new Namespace(type, path.toString()));
    }
  }
}
