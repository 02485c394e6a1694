package io.berth.runtime;

import io.berth.oci.RuntimeSpec;
import io.berth.runtime.SpecBuilder.Request;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The device nodes of a container, and which of them its cgroup lets through. The OCI runtime adds
 * the nodes that every container has (null, zero, random, tty and so on) with their rules.
 */
final class ContainerDevices {
  private static final Path DEV = Path.of("/dev");
  private static final String ALL_ACCESS = "rwm";
  private static final Pattern ACCESS = Pattern.compile("[rwm]{1,3}");
  private static final int S_IFMT = 0170000;
  private static final int S_IFCHR = 0020000;
  private static final int S_IFBLK = 0060000;

  /** Each container has its own of these. */
  private static final Set<String> NOT_OF_THE_MACHINE =
      Set.of("pts", "shm", "mqueue", "fd", "console");

  private final Request request;
  private final boolean ownership;
  private final Map<String, RuntimeSpec.Device> devices = new LinkedHashMap<>();
  private final List<RuntimeSpec.DeviceRule> rules = new ArrayList<>();

  /** Nodes and rules; the first rule denies everything. */
  record Plan(List<RuntimeSpec.Device> devices, List<RuntimeSpec.DeviceRule> rules) {}

  /**
   * A device on this machine.
   *
   * @param type {@code c} or {@code b}
   * @param mode its permission bits
   */
  record Node(String type, long major, long minor, int mode, long uid, long gid) {
    /** Absent if the file is no device. */
    static @Nullable Node of(Path file) throws IOException {
      Map<String, Object> stat =
          Files.readAttributes(file, "unix:mode,rdev,uid,gid", LinkOption.NOFOLLOW_LINKS);
      int mode = number(stat, "mode").intValue();
      String type =
          switch (mode & S_IFMT) {
            case S_IFCHR -> "c";
            case S_IFBLK -> "b";
            default -> "";
          };
      long rdev = number(stat, "rdev").longValue();
      return type.isEmpty()
          ? null
          : new Node(
              type,
              (rdev >>> 8 & 0xfff) | (rdev >>> 32 & ~0xfffL), // makedev(3), glibc's form
              (rdev & 0xff) | (rdev >>> 12 & ~0xffL & 0xffffffffL),
              mode & 0777,
              number(stat, "uid").longValue(),
              number(stat, "gid").longValue());
    }
  }

  private ContainerDevices(Request request, boolean ownership) {
    this.request = request;
    this.ownership = ownership;
  }

  /**
   * Looks at the machine's devices.
   *
   * @param ownership nodes that the request names belong to the user that it names
   */
  static Plan plan(Request request, boolean ownership) {
    return new ContainerDevices(request, ownership).plan();
  }

  private Plan plan() {
    rules.add(new RuntimeSpec.DeviceRule(false, null, null, null, ALL_ACCESS));
    try {
      if (request.privileged() && !request.policy().privilegedWithoutHostDevices()) {
        rules.add(new RuntimeSpec.DeviceRule(true, "a", null, null, ALL_ACCESS));
        addFolder(DEV, DEV, null);
      }
      for (ContainerConfig.Device device : request.config().devices()) {
        add(device);
      }
    } catch (IOException e) {
      throw request.invalid("look at the devices of this machine: " + e, e);
    }
    return new Plan(List.copyOf(devices.values()), List.copyOf(rules));
  }

  private void add(ContainerConfig.Device device) throws IOException {
    String access = device.permissions();
    if (!ACCESS.matcher(access).matches()) {
      throw request.invalid(
          "device "
              + device.hostPath()
              + ": permissions \""
              + access
              + "\" aren't some of r, w, m");
    }
    Path source = ContainerMounts.absolute(request, "device", device.hostPath());
    Path target =
        device.containerPath().isEmpty()
            ? source.normalize()
            : Path.of(ContainerMounts.clean(request, "device path", device.containerPath()));
    try {
      source = source.toRealPath();
    } catch (NoSuchFileException e) {
      throw request.invalid(
          "device " + source + " doesn't exist on this machine; check its path", e);
    }
    if (Files.isDirectory(source)) {
      addFolder(source, target, access);
    } else if (!addNode(source, target, access)) {
      throw request.invalid(
          source + " is neither a device nor a folder of devices; check its path");
    }
  }

  /**
   * Everything beneath, links left out: what they lead to is found by itself or isn't a device.
   *
   * @param access absent: no rule
   */
  private void addFolder(Path folder, Path target, @Nullable String access) throws IOException {
    List<Path> children;
    try (Stream<Path> entries = Files.list(folder)) {
      children = entries.sorted().toList();
    }
    for (Path child : children) {
      String name = String.valueOf(child.getFileName());
      if (folder.equals(DEV) && NOT_OF_THE_MACHINE.contains(name)) {
        continue;
      }
      try {
        if (Files.isDirectory(child, LinkOption.NOFOLLOW_LINKS)) {
          addFolder(child, target.resolve(name), access);
        } else {
          addNode(child, target.resolve(name), access);
        }
      } catch (NoSuchFileException _) {
        // Unplugged since the folder was listed.
      }
    }
  }

  /** Whether it is a device. A path that comes again means the later one, as with mounts. */
  private boolean addNode(Path path, Path target, @Nullable String access) throws IOException {
    Node node = Node.of(path);
    if (node == null) {
      return false;
    }
    ContainerConfig.Security security = request.config().security();
    boolean owned = ownership && access != null;
    devices.put(
        target.toString(),
        new RuntimeSpec.Device(
            target.toString(),
            node.type(),
            node.major(),
            node.minor(),
            node.mode(),
            owned && security.runAsUser() != null ? request.user().uid() : node.uid(),
            owned && security.runAsGroup() != null ? request.user().gid() : node.gid()));
    if (access != null) {
      rules.add(new RuntimeSpec.DeviceRule(true, node.type(), node.major(), node.minor(), access));
    }
    return true;
  }

  private static Number number(Map<String, Object> stat, String name) {
    return stat.get(name) instanceof Number n ? n : 0;
  }
}
