package io.berth.runtime;

import io.berth.linux.MountInfo;
import io.berth.linux.Stages;
import io.berth.oci.RuntimeSpec;
import io.berth.runtime.ContainerConfig.Propagation;
import io.berth.runtime.SpecBuilder.Request;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The mounts of a container: those that every container has, overridden at the same path by those
 * of the request, parents before what lies beneath them.
 */
final class ContainerMounts {
  private static final List<String> OPTIONS = List.of("noexec", "nodev", "nosuid");

  private final Request request;
  private final Supplier<List<MountInfo>> mountTable;

  /**
   * The list in the order in which it is mounted.
   *
   * @param rootfsPropagation what the mount points beneath need of the root, absent: the runtime's
   *     default
   */
  record Plan(List<RuntimeSpec.Mount> mounts, @Nullable String rootfsPropagation) {}

  private ContainerMounts(Request request, Supplier<List<MountInfo>> mountTable) {
    this.request = request;
    this.mountTable = mountTable;
  }

  static Plan plan(Request request, Supplier<List<MountInfo>> mountTable)
      throws InterruptedException {
    return new ContainerMounts(request, mountTable).plan();
  }

  private Plan plan() throws InterruptedException {
    List<RuntimeSpec.Mount> asked = new ArrayList<>();
    for (ContainerConfig.Mount mount : request.config().mounts()) {
      asked.add(translate(mount));
    }
    Map<String, RuntimeSpec.Mount> defaults = defaults();
    for (RuntimeSpec.Mount mount : asked) {
      defaults.remove(mount.destination());
      if (mount.destination().equals("/dev")) {
        defaults.keySet().removeIf(path -> path.startsWith("/dev/"));
      }
    }
    defaults.putAll(declared(asked));
    // The sort is stable: what comes twice stays in the request's order, so that the later one
    // wins.
    List<RuntimeSpec.Mount> mounts =
        Stream.concat(defaults.values().stream(), asked.stream())
            .sorted(Comparator.comparingInt(m -> Path.of(m.destination()).getNameCount()))
            .toList();
    return new Plan(mounts, rootfsPropagation());
  }

  private Map<String, RuntimeSpec.Mount> defaults() {
    boolean privileged = request.privileged();
    String sys = privileged ? "rw" : "ro";
    String files = request.config().security().readonlyRootfs() ? "ro" : "rw";
    var pod = request.sandboxPaths();
    Map<String, RuntimeSpec.Mount> mounts = new LinkedHashMap<>();
    Stream.of(
            RuntimeSpec.Mount.of("proc", "proc", "/proc", "nosuid", "noexec", "nodev"),
            RuntimeSpec.Mount.of(
                "tmpfs", "tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
            sysfs(sys),
            RuntimeSpec.Mount.of(
                "devpts",
                "devpts",
                "/dev/pts",
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5"),
            RuntimeSpec.Mount.of("mqueue", "mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"),
            request.sandbox().ownIpc()
                // Said again, as crun mounts anew what it binds.
                ? ofPod(pod.shm(), "/dev/shm", "nosuid", "nodev", "noexec", "rw")
                : bind(pod.shm(), "/dev/shm", "rw"),
            ofPod(pod.hostname(), "/etc/hostname", files),
            ofPod(pod.hosts(), "/etc/hosts", files),
            ofPod(pod.resolvConf(), "/etc/resolv.conf", files),
            RuntimeSpec.Mount.of(
                "cgroup", "cgroup", "/sys/fs/cgroup", "nosuid", "noexec", "nodev", "relatime", sys))
        .forEach(mount -> mounts.put(mount.destination(), mount));
    return mounts;
  }

  /** Volumes of the image, but where the request mounts something itself. */
  private Map<String, RuntimeSpec.Mount> declared(List<RuntimeSpec.Mount> asked)
      throws InterruptedException {
    Map<String, RuntimeSpec.Mount> mounts = new LinkedHashMap<>();
    for (String path : request.image().config().volumes().keySet()) {
      String target =
          clean(request, "volume of the image", path.startsWith("/") ? path : "/" + path);
      if (target.equals("/")) {
        throw request.invalid("its image declares its root as a volume; correct the image");
      }
      if (!mounts.containsKey(target)
          && asked.stream().noneMatch(mount -> mount.destination().equals(target))) {
        mounts.put(target, bind(request.volumes().declared(target), target, "rw"));
      }
    }
    return mounts;
  }

  /** Who doesn't own the network namespace may not mount its sysfs, and gets the machine's. */
  private RuntimeSpec.Mount sysfs(String access) {
    var pod = request.sandboxPaths();
    return pod.user() != null && pod.network() == null
        ? RuntimeSpec.Mount.of(
            "bind",
            request.volumes().readOnly(Path.of("/sys")).toString(),
            "/sys",
            "rbind",
            "rprivate",
            "nosuid",
            "noexec",
            "nodev",
            "ro")
        : RuntimeSpec.Mount.of("sysfs", "sysfs", "/sys", "nosuid", "noexec", "nodev", access);
  }

  private RuntimeSpec.Mount ofPod(Path source, String target, String... options) {
    request.volumes().relabelOne(source);
    return bind(source, target, options);
  }

  private static RuntimeSpec.Mount bind(Path source, String target, String... options) {
    List<String> all = new ArrayList<>(List.of("rbind", "rprivate"));
    all.addAll(List.of(options));
    return new RuntimeSpec.Mount(target, "bind", source.toString(), all, null, null);
  }

  private RuntimeSpec.Mount translate(ContainerConfig.Mount mount) throws InterruptedException {
    String target = clean(request, "mount path", mount.containerPath());
    if (target.equals("/")) {
      throw request.invalid("nothing can be mounted over the container's root");
    }
    if (!mount.image().isEmpty()) {
      List<String> options = new ArrayList<>(List.of("rbind", "rprivate", "ro"));
      addOptions(mount, target, options);
      return new RuntimeSpec.Mount(
          target, "bind", request.volumes().image(mount).toString(), options, null, null);
    }
    if (mount.hostPath().isEmpty()) {
      throw request.invalid("the mount at " + target + " has neither a host path nor an image");
    }
    Path source = Stages.time("volume", mount.hostPath(), () -> source(mount.hostPath(), target));
    if (mount.selinuxRelabel()) {
      request.volumes().relabel(source);
    }
    List<String> options = new ArrayList<>();
    options.add("rbind");
    options.add(propagation(mount, source));
    options.add(access(mount, target));
    addOptions(mount, target, options);
    if (!mount.uidMappings().isEmpty() || !mount.gidMappings().isEmpty()) {
      source = request.volumes().withMappedIds(source, mount);
    }
    return new RuntimeSpec.Mount(target, "bind", source.toString(), options, null, null);
  }

  private void addOptions(ContainerConfig.Mount mount, String target, List<String> options) {
    for (String option : mount.options()) {
      if (!OPTIONS.contains(option)) {
        throw request.invalid(
            "mount option \"" + option + "\" at " + target + " isn't one of " + OPTIONS);
      }
      if (!options.contains(option)) {
        options.add(option);
      }
    }
  }

  /**
   * Links are resolved now, not by the OCI runtime later. A missing source becomes a folder: that
   * is what containerd does, and so what kubelets and volume plugins rely on.
   */
  private Path source(String hostPath, String target) {
    Path source = absolute(request, "mount source", hostPath);
    try {
      try {
        return source.toRealPath();
      } catch (NoSuchFileException _) {
        Files.createDirectories(source);
        return source.toRealPath();
      }
    } catch (IOException e) {
      throw request.invalid(
          "the source " + source + " of the mount at " + target + " can't be used or made: " + e,
          e);
    }
  }

  private String access(ContainerConfig.Mount mount, String target) {
    if (!mount.recursiveReadOnly()) {
      return mount.readonly() ? "ro" : "rw";
    }
    if (!mount.readonly() || mount.propagation() != Propagation.PRIVATE) {
      throw request.invalid(
          "the mount at "
              + target
              + " is recursively read-only, so it must be readonly and its propagation private");
    }
    if (!request.host().recursiveReadOnly() || !request.features().recursiveReadOnly()) {
      throw request.unsupported(
          "RROUnsupported",
          "the kernel or the OCI runtime can't make the mount at "
              + target
              + " read-only recursively");
    }
    return "rro";
  }

  /** mount_namespaces(7): events come from a shared or slave mount, and go only to a shared one. */
  private String propagation(ContainerConfig.Mount mount, Path source) {
    return switch (mount.propagation()) {
      case PRIVATE -> "rprivate";
      case HOST_TO_CONTAINER -> {
        MountInfo holding = holding(source);
        if (holding == null || !(holding.isShared() || holding.isSlave())) {
          throw refusePropagation(source, holding, "shared or slave");
        }
        yield "rslave";
      }
      case BIDIRECTIONAL -> {
        if (request.sandboxPaths().user() != null) {
          throw request.invalid(
              "what is mounted in a user namespace never gets out, so "
                  + source
                  + " can't be mounted bidirectionally; set hostUsers: true");
        }
        MountInfo holding = holding(source);
        if (holding == null || !holding.isShared()) {
          throw refusePropagation(source, holding, "shared");
        }
        yield "rshared";
      }
    };
  }

  private ContainerException refusePropagation(
      Path source, @Nullable MountInfo holding, String needed) {
    return request.invalid(
        source
            + " is on the mount "
            + (holding == null ? "?" : holding.target())
            + ", which isn't "
            + needed
            + "; run mount --make-rshared on it");
  }

  /** The mount a real path lies on: the last one made at the longest prefix. */
  private @Nullable MountInfo holding(Path path) {
    MountInfo best = null;
    for (MountInfo mount : mountTable.get()) {
      if (path.startsWith(mount.target())
          && (best == null || mount.target().getNameCount() >= best.target().getNameCount())) {
        best = mount;
      }
    }
    return best;
  }

  /** A mount that is to propagate needs a root that does. */
  private @Nullable String rootfsPropagation() {
    String widest = null;
    for (ContainerConfig.Mount mount : request.config().mounts()) {
      if (mount.propagation() == Propagation.BIDIRECTIONAL) {
        return "rshared";
      }
      if (mount.propagation() == Propagation.HOST_TO_CONTAINER) {
        widest = "rslave";
      }
    }
    return widest;
  }

  /**
   * An absolute path within the container without dots and doubled slashes.
   *
   * @throws ContainerException INVALID
   */
  static String clean(Request request, String what, String path) {
    return absolute(request, what, path).normalize().toString();
  }

  /**
   * An absolute path.
   *
   * @throws ContainerException INVALID
   */
  static Path absolute(Request request, String what, String path) {
    try {
      Path parsed = Path.of(path);
      if (parsed.isAbsolute()) {
        return parsed;
      }
    } catch (InvalidPathException e) {
      throw request.invalid(what + " can't be a path: " + e.getReason(), e);
    }
    throw request.invalid(what + " \"" + path + "\" must be absolute");
  }
}
