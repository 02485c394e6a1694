package io.berth.runtime;

import io.berth.linux.CgroupDriver;
import io.berth.linux.MountInfo;
import io.berth.linux.Mounts;
import io.berth.linux.UserNamespace;
import io.berth.oci.ImageConfig;
import io.berth.oci.RuntimeSpec;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.NamespaceMode;
import io.berth.sandbox.NamespaceModes;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * What CRI asks for in the words of the OCI runtime: a container's config.json (runtime-spec,
 * config and config-linux). A field either takes effect or is refused; of the request's annotations
 * only those get into the result that the handler's configuration allows, as OCI runtimes obey
 * some, and of its labels none.
 */
final class SpecBuilder {
  private static final String PATH =
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

  private static final String ANNOTATION = "io.kubernetes.cri.";

  /** Doors from /proc to open files of whoever looks: CVE-2024-21626 and its relatives. */
  private static final Pattern MAGIC_LINK_FOLDER =
      Pattern.compile(
          "/dev/fd(/.*)?|/proc/[^/]+/(task/[^/]+/)?(fd|fdinfo|cwd|root|map_files|exe)(/.*)?");

  private final SpecSettings settings;
  private final SeccompProfiles seccomp;
  private final AppArmor apparmor;
  private final CdiDevices cdi;
  private final HookFiles hooks;
  private final BlockIoClasses blockIo;
  private final int pidsLimit;

  /**
   * For all containers of a daemon.
   *
   * @param pidsLimit the most tasks of one container; 0 sets none
   */
  SpecBuilder(SpecSettings settings, SeccompProfiles seccomp, AppArmor apparmor, int pidsLimit) {
    this.settings = settings;
    this.seccomp = seccomp;
    this.apparmor = apparmor;
    this.cdi = new CdiDevices(settings.cdiFolders());
    this.hooks = new HookFiles(settings.hookFolders());
    this.blockIo = new BlockIoClasses(settings.blockIoClasses());
    this.pidsLimit = pidsLimit;
  }

  /**
   * A container to be.
   *
   * @param rootfs mounted and writable, also if the container may only read it: mount points are
   *     made in it
   * @param cgroupsPath in the form of the cgroup driver
   * @param targetPidNamespace exactly when the PID mode is TARGET
   */
  record Request(
      ContainerId id,
      ContainerConfig config,
      Sandbox sandbox,
      SandboxLayout.Paths sandboxPaths,
      ImageConfig image,
      Path rootfs,
      ImageUser.Resolved user,
      String cgroupsPath,
      HostFeatures host,
      RuntimeFeatures features,
      HandlerPolicy policy,
      @Nullable Path targetPidNamespace,
      Selinux.Labels labels,
      VolumeSources volumes) {

    boolean privileged() {
      return config.security().privileged();
    }

    ContainerException invalid(String why) {
      return invalid(why, null);
    }

    ContainerException invalid(String why, @Nullable Throwable cause) {
      return new ContainerException(Reason.INVALID, subject() + why, cause);
    }

    ContainerException unsupported(String why) {
      return unsupported("", why);
    }

    /**
     * A refusal.
     *
     * @param token what the kubelet looks for at the beginning of the message
     */
    ContainerException unsupported(String token, String why) {
      return new ContainerException(
          Reason.UNSUPPORTED, (token.isEmpty() ? "" : token + ": ") + subject() + why);
    }

    private String subject() {
      return "create container " + id + " (" + config.name() + "): ";
    }
  }

  /**
   * Translates. Folders to be mounted from the machine are made where they are missing, as the
   * kubelet expects, and volumes are prepared; nothing else is changed.
   *
   * @throws ContainerException INVALID or UNSUPPORTED
   */
  RuntimeSpec build(Request request) throws InterruptedException {
    return build(request, Mounts::table);
  }

  /** As seen on a machine with these mounts. */
  RuntimeSpec build(Request request, Supplier<List<MountInfo>> mountTable)
      throws InterruptedException {
    refuseUnsupported(request);
    ContainerConfig.Security security = request.config().security();
    RuntimeSpec.Capabilities capabilities =
        Capabilities.granted(security, request.host().capabilities(), request::invalid);
    UserNamespace users = request.sandboxPaths().user();
    ContainerMounts.Plan mounts = ContainerMounts.plan(request, mountTable);
    ContainerDevices.Plan devices = ContainerDevices.plan(request, settings.deviceOwnership());
    RuntimeSpec.Resources resources =
        ContainerResources.of(request, devices.rules(), pidsLimit, blockIo.of(request));
    RuntimeSpec spec =
        new RuntimeSpec(
            RuntimeSpec.VERSION,
            process(request, capabilities),
            new RuntimeSpec.Root(request.rootfs().toString(), security.readonlyRootfs()),
            null, // the UTS namespace that is joined has the pod's hostname
            mounts.mounts(),
            null,
            annotations(request, resources),
            new RuntimeSpec.Linux(
                users == null ? null : mappings(users.uids(), request.features()),
                users == null ? null : mappings(users.gids(), request.features()),
                null, // sysctls belong to the pod
                resources,
                request.cgroupsPath(),
                namespaces(request),
                devices.devices(),
                security.privileged()
                    ? null
                    : seccomp.filter(security.seccomp(), bounding(capabilities)),
                mounts.rootfsPropagation(),
                security.privileged() ? List.of() : security.maskedPaths(),
                security.privileged() ? List.of() : security.readonlyPaths(),
                request.labels().files()));
    SpecEdits edits = new SpecEdits();
    cdi.addTo(edits, request);
    hooks.addTo(edits, request, args(request).getFirst());
    return edits.applyTo(spec);
  }

  private static List<String> bounding(RuntimeSpec.Capabilities capabilities) {
    List<String> names = capabilities.bounding();
    return names == null ? List.of() : names;
  }

  private static void refuseUnsupported(Request request) {
    if (request.privileged() && !request.sandbox().config().security().privileged()) {
      throw request.invalid(
          "it is privileged, but its pod "
              + request.sandbox().id()
              + " isn't; no privileged container is allowed in such a sandbox");
    }
    requireUsersOfPod(request);
  }

  /** The pod's network and IPC belong to its users, so a container can't have others. */
  private static void requireUsersOfPod(Request request) {
    NamespaceModes.UserNamespace asked = request.config().security().namespaces().user();
    if (asked != null) {
      switch (asked.mode()) {
        case CONTAINER, TARGET ->
            throw request.invalid("the mode of a user namespace must be POD or NODE");
        case NODE -> {
          if (!asked.uids().isEmpty() || !asked.gids().isEmpty()) {
            throw request.invalid("ids can't be mapped in the machine's user namespace");
          }
        }
        case POD -> {}
      }
    }
    NamespaceModes pod = request.sandbox().config().namespaces();
    boolean own = request.config().security().namespaces().ownUser();
    if (own != pod.ownUser() || (own && !Objects.equals(asked, pod.user()))) {
      throw request.invalid(
          "its user namespace isn't that of pod "
              + request.sandbox().id()
              + "; ask for the same mode and mappings as the pod");
    }
  }

  /** Those of a user namespace that is joined, where the runtime doesn't look them up. */
  static @Nullable List<RuntimeSpec.IdMapping> mappings(
      List<UserNamespace.Range> ranges, RuntimeFeatures features) {
    return features.mapsOfJoined()
        ? null
        : ranges.stream()
            .map(r -> new RuntimeSpec.IdMapping(r.inside(), r.outside(), r.length()))
            .toList();
  }

  private RuntimeSpec.ContainerProcess process(
      Request request, RuntimeSpec.Capabilities capabilities) {
    ContainerConfig config = request.config();
    return new RuntimeSpec.ContainerProcess(
        config.tty(),
        null,
        new RuntimeSpec.User(
            request.user().uid(), request.user().gid(), null, request.user().additionalGids()),
        args(request),
        environment(request),
        workingDirectory(request),
        capabilities,
        settings.ulimits().isEmpty()
            ? null
            : Ulimits.withinOwn(
                settings.ulimits(), request.host().capabilities().contains("CAP_SYS_RESOURCE")),
        config.security().noNewPrivileges(),
        apparmor.profile(request),
        ContainerResources.oomScoreAdj(request),
        request.labels().process());
  }

  /** Kubernetes' rule: a command replaces the image's entry point and drops its arguments. */
  private static List<String> args(Request request) {
    ContainerConfig config = request.config();
    ImageConfig.Execution image = request.image().config();
    List<String> args = new ArrayList<>();
    if (config.command().isEmpty()) {
      args.addAll(image.entrypoint());
      args.addAll(config.args().isEmpty() ? image.cmd() : config.args());
    } else {
      args.addAll(config.command());
      args.addAll(config.args());
    }
    if (args.isEmpty() || args.getFirst().isEmpty()) {
      throw request.invalid("neither the request nor the image names a command; give one");
    }
    args.forEach(arg -> checkText(request, "argument", arg));
    return args;
  }

  /**
   * A name that comes again replaces the value but keeps the place. {@code HOME} is set by the OCI
   * runtime, from the container's passwd, when it isn't among these.
   */
  private static List<String> environment(Request request) {
    Map<String, String> entries = new LinkedHashMap<>();
    put(entries, PATH);
    if (request.config().tty()) {
      put(entries, "TERM=xterm");
    }
    put(entries, "HOSTNAME=" + request.sandbox().hostname());
    for (String entry : request.image().config().env()) {
      if (entry.indexOf('=') > 0) { // an image's mistake; Docker and containerd pass over it too
        put(entries, entry);
      }
    }
    for (String entry : request.config().envs()) {
      if (entry.indexOf('=') <= 0) {
        throw request.invalid("an environment variable has no name");
      }
      put(entries, entry);
    }
    entries.forEach((name, entry) -> {
      checkText(request, "environment variable " + printable(name), entry);
      if (name.equals("HOME")) {
        checkPasswdField(request, "the environment variable HOME", entry);
      }
    });
    return List.copyOf(entries.values());
  }

  private static void put(Map<String, String> entries, String entry) {
    entries.put(entry.substring(0, entry.indexOf('=')), entry);
  }

  private static String workingDirectory(Request request) {
    String wanted = request.config().workingDir();
    if (wanted.isEmpty()) {
      wanted = request.image().config().workingDir();
    }
    if (wanted.isEmpty()) {
      return "/";
    }
    checkText(request, "working directory", wanted);
    checkPasswdField(request, "the working directory", wanted);
    String clean = ContainerMounts.clean(request, "working directory", wanted);
    if (MAGIC_LINK_FOLDER.matcher(clean).matches()) {
      throw request.invalid(
          "working directory \""
              + clean
              + "\" leads to open files of another process; use another");
    }
    return clean;
  }

  /** JSON holds text; bytes that aren't UTF-8 arrive here as lone surrogates. */
  private static void checkText(Request request, String what, String text) {
    if (text.indexOf('\0') >= 0) {
      throw request.invalid(what + " holds a NUL byte");
    }
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
      throw request.unsupported(
          what
              + " isn't valid UTF-8, and an OCI configuration can't carry it; encode it otherwise");
    }
  }

  /** Such text has become lines and fields of a container's passwd before: CVE-2022-4318. */
  private static void checkPasswdField(Request request, String what, String text) {
    if (text.indexOf('\n') >= 0 || text.indexOf('\r') >= 0 || text.indexOf(':') >= 0) {
      throw request.invalid(what + " holds a line break or a colon; remove it");
    }
  }

  static String printable(String text) {
    return text.replaceAll("\\p{Cntrl}|[\\ud800-\\udfff]", "?");
  }

  /**
   * Network, IPC and UTS are the pod's, whatever that means for it; a container can't leave them.
   */
  private static List<RuntimeSpec.Namespace> namespaces(Request request) {
    NamespaceModes modes = request.config().security().namespaces();
    SandboxLayout.Paths pod = request.sandboxPaths();
    requirePod(request, "network", modes.network(), pod.network());
    requirePod(request, "IPC", modes.ipc(), pod.ipc());

    List<RuntimeSpec.Namespace> namespaces = new ArrayList<>();
    namespaces.add(new RuntimeSpec.Namespace("mount", null));
    join(namespaces, "user", pod.user() == null ? null : pod.user().pin());
    join(namespaces, "network", pod.network());
    join(namespaces, "ipc", pod.ipc());
    join(namespaces, "uts", pod.uts());
    switch (modes.pid()) {
      case CONTAINER -> namespaces.add(new RuntimeSpec.Namespace("pid", null));
      case NODE -> {} // none in the list is the machine's
      case POD -> join(namespaces, "pid", podPids(request));
      case TARGET -> {
        if (request.targetPidNamespace() == null) {
          throw request.invalid(
              "the PID namespace of container "
                  + modes.targetId()
                  + " is asked for, which isn't running in the same pod");
        }
        join(namespaces, "pid", request.targetPidNamespace());
      }
    }
    if (request.host().cgroupV2() && !request.privileged()) {
      namespaces.add(new RuntimeSpec.Namespace("cgroup", null));
    }
    return namespaces;
  }

  private static @Nullable Path podPids(Request request) {
    NamespaceMode pod = request.sandbox().config().namespaces().pid();
    if (pod == NamespaceMode.NODE) {
      return null;
    }
    Integer init = request.sandbox().initPid();
    if (init == null) {
      throw request.invalid(
          "it asks for the PID namespace of pod "
              + request.sandbox().id()
              + ", which has none; ask for the same PID mode as the pod");
    }
    return Path.of("/proc", init.toString(), "ns", "pid");
  }

  private static void requirePod(
      Request request, String what, NamespaceMode mode, @Nullable Path ofPod) {
    if (mode == NamespaceMode.POD || (mode == NamespaceMode.NODE && ofPod == null)) {
      return;
    }
    throw request.invalid(
        mode == NamespaceMode.NODE
            ? "it asks for the machine's "
                + what
                + ", but pod "
                + request.sandbox().id()
                + " has its own; ask for the same mode as the pod"
            : "the mode of the " + what + " namespace must be POD or NODE, not " + mode);
  }

  private static void join(
      List<RuntimeSpec.Namespace> namespaces, String type, @Nullable Path path) {
    if (path != null) {
      namespaces.add(new RuntimeSpec.Namespace(type, path.toString()));
    }
  }

  private static Map<String, String> annotations(Request request, RuntimeSpec.Resources resources) {
    ContainerConfig config = request.config();
    Sandbox sandbox = request.sandbox();
    Map<String, String> annotations = new LinkedHashMap<>();
    for (Map<String, String> asked :
        List.of(sandbox.config().annotations(), config.annotations())) {
      asked.forEach((name, value) -> {
        if (request.policy().allows(name)) {
          annotations.put(name, value);
        }
      });
    }
    // Last: nobody else says what these are.
    if (sandbox.cgroup().driver() == CgroupDriver.SYSTEMD) {
      // crun would put the container one level below its scope, where the limits aren't seen.
      annotations.put("run.oci.systemd.subgroup", "");
      if (request.host().cgroupV2()) {
        annotations.putAll(ScopeLimits.annotations(resources));
      }
    }
    annotations.put(ANNOTATION + "container-type", "container");
    annotations.put(ANNOTATION + "container-name", config.name());
    annotations.put(
        ANNOTATION + "image-name",
        config.userImage().isEmpty() ? config.image() : config.userImage());
    annotations.put(ANNOTATION + "sandbox-id", sandbox.id().value());
    annotations.put(ANNOTATION + "sandbox-name", sandbox.name().name());
    annotations.put(ANNOTATION + "sandbox-namespace", sandbox.name().namespace());
    annotations.put(ANNOTATION + "sandbox-uid", sandbox.name().uid());
    return annotations;
  }
}
