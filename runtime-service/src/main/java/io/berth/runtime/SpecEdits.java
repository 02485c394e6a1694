package io.berth.runtime;

import io.berth.oci.Hooks;
import io.berth.oci.RuntimeSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What devices and hook files add to a container's config.json. Collected, then applied once. */
final class SpecEdits {
  /** In the words of config.json. */
  enum Stage {
    PRESTART("prestart"),
    CREATE_RUNTIME("createRuntime"),
    CREATE_CONTAINER("createContainer"),
    START_CONTAINER("startContainer"),
    POSTSTART("poststart"),
    POSTSTOP("poststop");

    private final String word;

    Stage(String word) {
      this.word = word;
    }

    /**
     * The stage of that name.
     *
     * @throws IllegalArgumentException if there is none
     */
    static Stage named(String word) {
      for (Stage stage : values()) {
        if (stage.word.equals(word)) {
          return stage;
        }
      }
      throw new IllegalArgumentException("\"" + word + "\" is no stage of hooks");
    }
  }

  private final Map<String, String> environment = new LinkedHashMap<>();
  private final Set<Long> groups = new LinkedHashSet<>();
  private final Map<String, RuntimeSpec.Device> devices = new LinkedHashMap<>();
  private final List<RuntimeSpec.DeviceRule> rules = new ArrayList<>();
  private final List<RuntimeSpec.Mount> mounts = new ArrayList<>();
  private final Map<Stage, List<Hooks.Hook>> hooks = new LinkedHashMap<>();

  /**
   * A variable; an older one of the name is replaced where it stands.
   *
   * @param entry {@code NAME=value}
   */
  void environment(String entry) {
    environment.put(entry.substring(0, entry.indexOf('=')), entry);
  }

  void group(long gid) {
    groups.add(gid);
  }

  void device(RuntimeSpec.Device device, RuntimeSpec.DeviceRule rule) {
    devices.put(device.path(), device);
    rules.add(rule);
  }

  void mount(RuntimeSpec.Mount mount) {
    mounts.add(mount);
  }

  void hook(Stage stage, Hooks.Hook hook) {
    hooks.computeIfAbsent(stage, _ -> new ArrayList<>()).add(hook);
  }

  boolean isEmpty() {
    return environment.isEmpty()
        && groups.isEmpty()
        && devices.isEmpty()
        && mounts.isEmpty()
        && hooks.isEmpty();
  }

  RuntimeSpec applyTo(RuntimeSpec spec) {
    if (isEmpty()) {
      return spec;
    }
    return new RuntimeSpec(
        spec.ociVersion(),
        spec.process() == null ? null : process(spec.process()),
        spec.root(),
        spec.hostname(),
        mounts(orEmpty(spec.mounts())),
        hooks(spec.hooks()),
        spec.annotations(),
        spec.linux() == null ? null : linux(spec.linux()));
  }

  private RuntimeSpec.ContainerProcess process(RuntimeSpec.ContainerProcess process) {
    Map<String, String> variables = new LinkedHashMap<>();
    for (String entry : orEmpty(process.env())) {
      variables.put(entry.substring(0, entry.indexOf('=')), entry);
    }
    variables.putAll(environment);
    Set<Long> gids = new LinkedHashSet<>(orEmpty(process.user().additionalGids()));
    gids.addAll(groups);
    RuntimeSpec.User user = process.user();
    return new RuntimeSpec.ContainerProcess(
        process.terminal(),
        process.consoleSize(),
        new RuntimeSpec.User(user.uid(), user.gid(), user.umask(), List.copyOf(gids)),
        process.args(),
        List.copyOf(variables.values()),
        process.cwd(),
        process.capabilities(),
        process.rlimits(),
        process.noNewPrivileges(),
        process.apparmorProfile(),
        process.oomScoreAdj(),
        process.selinuxLabel());
  }

  /** At the same path a device's mount replaces any other, as with the mounts of a request. */
  private List<RuntimeSpec.Mount> mounts(List<RuntimeSpec.Mount> before) {
    Set<String> replaced = new LinkedHashSet<>();
    mounts.forEach(mount -> replaced.add(mount.destination()));
    List<RuntimeSpec.Mount> all = new ArrayList<>(before);
    all.removeIf(mount -> replaced.contains(mount.destination()));
    all.addAll(mounts);
    all.sort(Comparator.comparingInt(m -> Path.of(m.destination()).getNameCount())); // stable
    return all;
  }

  private @Nullable Hooks hooks(@Nullable Hooks before) {
    if (hooks.isEmpty()) {
      return before;
    }
    Hooks old = before == null ? new Hooks(null, null, null, null, null, null) : before;
    return new Hooks(
        with(old.prestart(), Stage.PRESTART),
        with(old.createRuntime(), Stage.CREATE_RUNTIME),
        with(old.createContainer(), Stage.CREATE_CONTAINER),
        with(old.startContainer(), Stage.START_CONTAINER),
        with(old.poststart(), Stage.POSTSTART),
        with(old.poststop(), Stage.POSTSTOP));
  }

  private @Nullable List<Hooks.Hook> with(@Nullable List<Hooks.Hook> before, Stage stage) {
    List<Hooks.Hook> added = hooks.get(stage);
    if (added == null) {
      return before;
    }
    List<Hooks.Hook> all = new ArrayList<>(orEmpty(before));
    all.addAll(added);
    return all;
  }

  private RuntimeSpec.Linux linux(RuntimeSpec.Linux linux) {
    Map<String, RuntimeSpec.Device> nodes = new LinkedHashMap<>();
    orEmpty(linux.devices()).forEach(device -> nodes.put(device.path(), device));
    nodes.putAll(devices);
    RuntimeSpec.Resources resources = linux.resources();
    return new RuntimeSpec.Linux(
        linux.uidMappings(),
        linux.gidMappings(),
        linux.sysctl(),
        resources == null ? null : resources(resources),
        linux.cgroupsPath(),
        linux.namespaces(),
        List.copyOf(nodes.values()),
        linux.seccomp(),
        linux.rootfsPropagation(),
        linux.maskedPaths(),
        linux.readonlyPaths(),
        linux.mountLabel());
  }

  private RuntimeSpec.Resources resources(RuntimeSpec.Resources resources) {
    List<RuntimeSpec.DeviceRule> all = new ArrayList<>(orEmpty(resources.devices()));
    all.addAll(rules);
    return new RuntimeSpec.Resources(
        all,
        resources.memory(),
        resources.cpu(),
        resources.pids(),
        resources.blockIo(),
        resources.hugepageLimits(),
        resources.unified());
  }

  private static <T> List<T> orEmpty(@Nullable List<T> list) {
    return list == null ? List.of() : list;
  }
}
