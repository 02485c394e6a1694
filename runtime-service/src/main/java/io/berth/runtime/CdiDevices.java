package io.berth.runtime;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.berth.oci.Hooks;
import io.berth.oci.Json;
import io.berth.oci.RuntimeSpec;
import io.berth.runtime.SpecBuilder.Request;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Devices by the Container Device Interface, up to its version 1.0: vendors describe in files what
 * a container needs for a device, and pods name the device, {@code vendor.com/class=name}.
 *
 * <p>A device that two files of one folder describe is a conflict and can't be used; among folders
 * the later one wins.
 */
final class CdiDevices {
  private static final String ANNOTATION = "cdi.k8s.io/";
  private static final Pattern KIND =
      Pattern.compile("[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?/[A-Za-z]([A-Za-z0-9_-]*[A-Za-z0-9])?");
  private static final Pattern NAME = Pattern.compile("[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?");
  private static final Pattern ACCESS = Pattern.compile("[rwm]{1,3}");

  private final DropIns<Spec> files;

  /** A file; fields that this version doesn't know are ignored, as JSON records are here. */
  private record Spec(
      @Nullable String cdiVersion,
      @Nullable String kind,
      @Nullable Edits containerEdits,
      @Nullable List<Device> devices) {}

  private record Device(@Nullable String name, @Nullable Edits containerEdits) {}

  private record Edits(
      @Nullable List<String> env,
      @Nullable List<Node> deviceNodes,
      @Nullable List<Mount> mounts,
      @Nullable List<Hook> hooks,
      @JsonProperty("additionalGIDs") @Nullable List<Long> additionalGids,
      @Nullable JsonNode intelRdt,
      @Nullable JsonNode netDevices) {}

  private record Node(
      @Nullable String path,
      @Nullable String hostPath,
      @Nullable String type,
      @Nullable Long major,
      @Nullable Long minor,
      @Nullable Integer fileMode,
      @Nullable String permissions,
      @Nullable Long uid,
      @Nullable Long gid) {}

  private record Mount(
      @Nullable String hostPath,
      @Nullable String containerPath,
      @Nullable String type,
      @Nullable List<String> options) {}

  private record Hook(
      @Nullable String hookName,
      @Nullable String path,
      @Nullable List<String> args,
      @Nullable List<String> env,
      @Nullable Integer timeout) {}

  /** A device with the file that describes it, or why there is none. */
  private record Found(int folder, Path file, Spec spec, Device device, String conflict) {}

  /**
   * Reads nothing yet.
   *
   * @param folders later ones have precedence
   */
  CdiDevices(List<Path> folders) {
    files = new DropIns<>(folders, List.of(".json", ".yaml"), CdiDevices::parse);
  }

  /**
   * Adds what the container's devices need, named by the field or by annotations; one that is named
   * twice is one.
   *
   * @throws ContainerException INVALID if a device is unknown or its file is wrong, UNSUPPORTED if
   *     it needs what isn't possible here
   */
  void addTo(SpecEdits edits, Request request) {
    Set<String> names = names(request);
    if (names.isEmpty()) {
      return;
    }
    List<DropIns.Entry<Spec>> entries = files.read();
    Map<String, Found> devices = index(entries);
    Set<Path> begun = new LinkedHashSet<>();
    for (String name : names) {
      Found found = devices.get(name);
      if (found == null) {
        throw request.invalid(unknown(name, entries));
      }
      if (!found.conflict().isEmpty()) {
        throw request.invalid(
            "CDI device " + name + " is described twice, in " + found.conflict() + "; remove one");
      }
      try {
        Edits ofAll = found.spec().containerEdits();
        if (ofAll != null && begun.add(found.file())) {
          add(edits, request, ofAll);
        }
        if (found.device().containerEdits() != null) {
          add(edits, request, found.device().containerEdits());
        }
      } catch (IllegalArgumentException e) {
        throw request.invalid(
            "CDI device " + name + " in " + found.file() + ": " + e.getMessage(), e);
      } catch (IOException e) {
        throw request.invalid("CDI device " + name + " in " + found.file() + ": " + e, e);
      }
    }
  }

  private static Set<String> names(Request request) {
    Set<String> names = new LinkedHashSet<>(request.config().cdiDevices());
    request
        .config()
        .annotations()
        .forEach((key, value) -> {
          if (key.startsWith(ANNOTATION)) {
            for (String name : value.split(",", -1)) {
              names.add(name.strip());
            }
          }
        });
    return names;
  }

  private String unknown(String name, List<DropIns.Entry<Spec>> entries) {
    StringBuilder words =
        new StringBuilder("CDI device \"" + name + "\" isn't described in " + files.folders());
    entries.stream()
        .filter(entry -> entry.content() == null)
        .forEach(entry -> words.append("; ").append(entry.error()));
    return words.append("; install the device's driver or its CDI file").toString();
  }

  private static Map<String, Found> index(List<DropIns.Entry<Spec>> entries) {
    Map<String, Found> devices = new HashMap<>();
    for (DropIns.Entry<Spec> entry : entries) {
      Spec spec = entry.content();
      if (spec == null || spec.devices() == null) {
        continue;
      }
      for (Device device : spec.devices()) {
        Found found = new Found(entry.folder(), entry.file(), spec, device, "");
        devices.merge(
            spec.kind() + "=" + device.name(),
            found,
            (before, now) ->
                before.folder() < now.folder()
                    ? now
                    : new Found(
                        now.folder(),
                        now.file(),
                        spec,
                        device,
                        before.file() + " and " + now.file()));
      }
    }
    return devices;
  }

  private static Spec parse(Path file, byte[] content) throws IOException {
    Spec spec;
    try {
      // The parser of YAML is loaded only where there are such files.
      JsonNode tree =
          file.toString().endsWith(".yaml")
              ? new YAMLMapper().readTree(content)
              : Json.MAPPER.readTree(content);
      spec = Json.MAPPER.treeToValue(tree, Spec.class);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("it is malformed: " + e.getOriginalMessage(), e);
    }
    if (spec == null || spec.cdiVersion() == null || spec.kind() == null) {
      throw new IllegalArgumentException("cdiVersion or kind is missing");
    }
    if (!spec.cdiVersion().startsWith("0.") && !spec.cdiVersion().startsWith("1.")) {
      throw new IllegalArgumentException("cdiVersion " + spec.cdiVersion() + " isn't known");
    }
    if (!KIND.matcher(spec.kind()).matches()) {
      throw new IllegalArgumentException("kind \"" + spec.kind() + "\" isn't vendor/class");
    }
    Set<String> names = new TreeSet<>();
    for (Device device : orEmpty(spec.devices())) {
      String name = device.name();
      if (name == null || !NAME.matcher(name).matches() || !names.add(name)) {
        throw new IllegalArgumentException("device name \"" + name + "\" is wrong or comes twice");
      }
    }
    return spec;
  }

  private static void add(SpecEdits to, Request request, Edits edits) throws IOException {
    if (edits.intelRdt() != null) {
      throw request.unsupported(
          "a CDI device asks for an Intel RDT class, which isn't supported by this version");
    }
    if (edits.netDevices() != null && !edits.netDevices().isEmpty()) {
      throw request.unsupported(
          "a CDI device asks for a network device, which isn't supported by this version");
    }
    for (String entry : orEmpty(edits.env())) {
      if (entry.indexOf('=') <= 0) {
        throw new IllegalArgumentException("environment entry without a name");
      }
      to.environment(entry);
    }
    for (Node node : orEmpty(edits.deviceNodes())) {
      addNode(to, request, node);
    }
    for (Mount mount : orEmpty(edits.mounts())) {
      List<String> options = new ArrayList<>(orEmpty(mount.options()));
      String type = mount.type() == null || mount.type().isEmpty() ? "bind" : mount.type();
      if (type.equals("bind") && !options.contains("bind") && !options.contains("rbind")) {
        options.add("bind");
      }
      to.mount(
          new RuntimeSpec.Mount(
              absolute(mount.containerPath(), "containerPath of a mount"),
              type,
              mount.hostPath() == null ? "" : mount.hostPath(),
              options,
              null,
              null));
    }
    for (Hook hook : orEmpty(edits.hooks())) {
      to.hook(
          SpecEdits.Stage.named(hook.hookName() == null ? "" : hook.hookName()),
          new Hooks.Hook(
              absolute(hook.path(), "path of a hook"), hook.args(), hook.env(), hook.timeout()));
    }
    for (Long gid : orEmpty(edits.additionalGids())) {
      if (gid > 0) { // 0 means nothing, by the specification
        to.group(gid);
      }
    }
  }

  /** What the file doesn't say is the node's on this machine. */
  private static void addNode(SpecEdits to, Request request, Node node) throws IOException {
    String path = absolute(node.path(), "path of a device node");
    Path source =
        Path.of(node.hostPath() == null || node.hostPath().isEmpty() ? path : node.hostPath());
    String type = node.type() == null ? "" : node.type();
    Long major = node.major();
    Long minor = node.minor();
    boolean fifo = type.equals("p");
    if (type.isEmpty() || (!fifo && (major == null || minor == null))) {
      ContainerDevices.Node real;
      try {
        real = ContainerDevices.Node.of(source.toRealPath());
      } catch (NoSuchFileException e) {
        throw new IllegalArgumentException(source + " doesn't exist on this machine", e);
      }
      if (real == null || !(type.isEmpty() || type.equals(real.type()))) {
        throw new IllegalArgumentException(source + " isn't such a device");
      }
      type = real.type();
      major = real.major();
      minor = real.minor();
    }
    String access =
        node.permissions() == null || node.permissions().isEmpty() ? "rwm" : node.permissions();
    if (!ACCESS.matcher(access).matches()) {
      throw new IllegalArgumentException("permissions \"" + access + "\" aren't some of r, w, m");
    }
    // A program that isn't root owns the node, unless the file says otherwise.
    long uid = request.user().uid();
    long gid = request.user().gid();
    to.device(
        new RuntimeSpec.Device(
            path,
            type,
            major,
            minor,
            node.fileMode(),
            node.uid() == null && uid > 0 ? Long.valueOf(uid) : node.uid(),
            node.gid() == null && gid > 0 ? Long.valueOf(gid) : node.gid()),
        new RuntimeSpec.DeviceRule(true, type.equals("u") ? "c" : type, major, minor, access));
  }

  private static String absolute(@Nullable String path, String what) {
    if (path == null || !path.startsWith("/") || path.indexOf('\0') >= 0) {
      throw new IllegalArgumentException(what + " must be absolute, not \"" + path + "\"");
    }
    return Path.of(path).normalize().toString();
  }

  private static <T> List<T> orEmpty(@Nullable List<T> list) {
    return list == null ? Collections.emptyList() : list;
  }
}
