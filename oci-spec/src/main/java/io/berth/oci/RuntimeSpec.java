package io.berth.oci;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A bundle's config.json (runtime-spec, config and config-linux), as far as a CRI runtime writes
 * it. Null means absent; an empty list is written, which matters for masked and read-only paths.
 * Ids are unsigned 32-bit, sizes are bytes, times microseconds unless said otherwise.
 */
public record RuntimeSpec(
    String ociVersion,
    @Nullable ContainerProcess process,
    @Nullable Root root,
    @Nullable String hostname,
    @Nullable List<Mount> mounts,
    @Nullable Hooks hooks,
    @Nullable Map<String, String> annotations,
    @Nullable Linux linux) {

  /** The version that is written: 1.0.2 is understood by every runc and crun still in use. */
  public static final String VERSION = "1.0.2";

  /**
   * The tree that becomes the container's root.
   *
   * @param path absolute, or relative to the bundle
   */
  public record Root(String path, @Nullable Boolean readonly) {}

  /**
   * The program. {@link #args} and {@link #env} ({@code NAME=value}) are text because JSON is:
   * bytes that aren't UTF-8 can't be carried here, and what to do with them is for the writer of
   * the record to decide.
   *
   * @param cwd absolute
   */
  public record ContainerProcess(
      @Nullable Boolean terminal,
      @Nullable ConsoleSize consoleSize,
      User user,
      List<String> args,
      @Nullable List<String> env,
      String cwd,
      @Nullable Capabilities capabilities,
      @Nullable List<Rlimit> rlimits,
      @Nullable Boolean noNewPrivileges,
      @Nullable String apparmorProfile,
      @Nullable Integer oomScoreAdj,
      @Nullable String selinuxLabel) {}

  /** In characters. */
  public record ConsoleSize(int height, int width) {}

  public record User(
      long uid, long gid, @Nullable Integer umask, @Nullable List<Long> additionalGids) {}

  /** Names with the prefix {@code CAP_}. */
  public record Capabilities(
      @Nullable List<String> bounding,
      @Nullable List<String> effective,
      @Nullable List<String> inheritable,
      @Nullable List<String> permitted,
      @Nullable List<String> ambient) {}

  /**
   * A resource limit.
   *
   * @param type for example {@code RLIMIT_NOFILE}
   */
  public record Rlimit(String type, long hard, long soft) {}

  /**
   * A mount, in the order of the list.
   *
   * @param destination absolute path within the container
   * @param options as in fstab, plus {@code rbind}, {@code rprivate}, {@code rro} and so on
   */
  public record Mount(
      String destination,
      @Nullable String type,
      @Nullable String source,
      @Nullable List<String> options,
      @Nullable List<IdMapping> uidMappings,
      @Nullable List<IdMapping> gidMappings) {

    public static Mount of(String type, String source, String destination, String... options) {
      return new Mount(destination, type, source, List.of(options), null, null);
    }
  }

  public record IdMapping(
      @JsonProperty("containerID") long containerId,
      @JsonProperty("hostID") long hostId,
      long size) {}

  public record Linux(
      @Nullable List<IdMapping> uidMappings,
      @Nullable List<IdMapping> gidMappings,
      @Nullable Map<String, String> sysctl,
      @Nullable Resources resources,
      @Nullable String cgroupsPath,
      @Nullable List<Namespace> namespaces,
      @Nullable List<Device> devices,
      @Nullable Seccomp seccomp,
      @Nullable String rootfsPropagation,
      @Nullable List<String> maskedPaths,
      @Nullable List<String> readonlyPaths,
      @Nullable String mountLabel) {}

  /**
   * A namespace to join or make.
   *
   * @param type {@code pid, network, mount, ipc, uts, user, cgroup, time}
   * @param path of an existing namespace; null makes a new one
   */
  public record Namespace(String type, @Nullable String path) {}

  /**
   * A node under the container's /dev.
   *
   * @param type {@code c, b, u} or {@code p}
   * @param fileMode permission bits, written in decimal
   */
  public record Device(
      String path,
      String type,
      @Nullable Long major,
      @Nullable Long minor,
      @Nullable Integer fileMode,
      @Nullable Long uid,
      @Nullable Long gid) {}

  public record Resources(
      @Nullable List<DeviceRule> devices,
      @Nullable Memory memory,
      @Nullable Cpu cpu,
      @Nullable Pids pids,
      @JsonProperty("blockIO") @Nullable BlockIo blockIo,
      @Nullable List<HugepageLimit> hugepageLimits,
      @Nullable Map<String, String> unified) {}

  /**
   * An entry of the cgroup's device list; null numbers mean all.
   *
   * @param type {@code a, b} or {@code c}
   * @param access some of {@code rwm}
   */
  public record DeviceRule(
      boolean allow,
      @Nullable String type,
      @Nullable Long major,
      @Nullable Long minor,
      @Nullable String access) {}

  /**
   * Limits of memory.
   *
   * @param swap memory and swap together, as in cgroup v1; -1 is unlimited
   */
  public record Memory(
      @Nullable Long limit,
      @Nullable Long reservation,
      @Nullable Long swap,
      @Nullable Long swappiness,
      @Nullable Boolean disableOOMKiller,
      @Nullable Boolean useHierarchy,
      @Nullable Boolean checkBeforeUpdate) {}

  /**
   * Shares and limits of processor time.
   *
   * @param shares relative weight, 2 to 262144
   * @param cpus a list such as {@code 0-3,7}
   * @param mems likewise of NUMA nodes
   */
  public record Cpu(
      @Nullable Long shares,
      @Nullable Long quota,
      @Nullable Long burst,
      @Nullable Long period,
      @Nullable Long realtimeRuntime,
      @Nullable Long realtimePeriod,
      @Nullable String cpus,
      @Nullable String mems,
      @Nullable Long idle) {}

  /**
   * Limit of tasks.
   *
   * @param limit number of tasks; -1 is unlimited
   */
  public record Pids(long limit) {}

  /**
   * Limit of one size of huge pages.
   *
   * @param pageSize as the cgroup files spell it, for example {@code 2MB}
   */
  public record HugepageLimit(String pageSize, long limit) {}

  /** Weights are 10 to 1000. */
  public record BlockIo(
      @Nullable Integer weight,
      @Nullable Integer leafWeight,
      @Nullable List<WeightDevice> weightDevice,
      @Nullable List<ThrottleDevice> throttleReadBpsDevice,
      @Nullable List<ThrottleDevice> throttleWriteBpsDevice,
      @JsonProperty("throttleReadIOPSDevice") @Nullable List<ThrottleDevice> throttleReadIopsDevice,
      @JsonProperty("throttleWriteIOPSDevice")
          @Nullable List<ThrottleDevice> throttleWriteIopsDevice) {}

  public record WeightDevice(
      long major, long minor, @Nullable Integer weight, @Nullable Integer leafWeight) {}

  /**
   * A limit for one block device.
   *
   * @param rate bytes or operations per second
   */
  public record ThrottleDevice(long major, long minor, long rate) {}
}
