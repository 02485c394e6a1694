package io.berth.runtime;

import io.berth.oci.RuntimeSpec;
import io.berth.runtime.SpecBuilder.Request;
import io.berth.sandbox.LinuxResources;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** A container's cgroup limits (runtime-spec, config-linux, "Control groups"). Zero is not set. */
final class ContainerResources {
  private static final int MOST_OOM_SCORE_ADJ = 1000;
  private static final Pattern CPU_LIST = Pattern.compile("[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*");
  private static final Pattern PAGE_SIZE = Pattern.compile("[0-9]+[KMG]B");

  /** A key is one file in the container's cgroup, so it has a controller and no slash. */
  private static final Pattern UNIFIED_KEY = Pattern.compile("[a-z]+(\\.[A-Za-z0-9_]+)+");

  private final HostFeatures host;
  private final Function<String, ContainerException> refuse;

  /**
   * For one container.
   *
   * @param refuse makes the refusal of a wrong value out of what is wrong with it
   */
  ContainerResources(HostFeatures host, Function<String, ContainerException> refuse) {
    this.host = host;
    this.refuse = refuse;
  }

  static RuntimeSpec.Resources of(
      Request request,
      List<RuntimeSpec.DeviceRule> devices,
      int pidsLimit,
      RuntimeSpec.@Nullable BlockIo blockIo) {
    LinuxResources wanted = request.config().resources();
    RuntimeSpec.Resources limits =
        wanted == null
            ? new RuntimeSpec.Resources(null, null, null, null, null, null, null)
            : new ContainerResources(request.host(), request::invalid).limits(wanted);
    return new RuntimeSpec.Resources(
        devices,
        limits.memory(),
        limits.cpu(),
        pidsLimit == 0 ? null : new RuntimeSpec.Pids(pidsLimit),
        blockIo,
        limits.hugepageLimits(),
        limits.unified());
  }

  /** Without devices and the limit of processes, which no request names. */
  RuntimeSpec.Resources limits(LinuxResources wanted) {
    return new RuntimeSpec.Resources(
        null, memory(wanted), cpu(wanted), null, null, hugepages(wanted), unified(wanted));
  }

  /**
   * Always written: what is inherited from the daemon, which protects itself, is for no container.
   */
  static int oomScoreAdj(Request request) {
    LinuxResources wanted = request.config().resources();
    long value = wanted == null ? 0 : wanted.oomScoreAdj();
    if (Math.abs(value) > MOST_OOM_SCORE_ADJ) {
      throw request.invalid("oom_score_adj " + value + " isn't between -1000 and 1000");
    }
    return (int) Math.max(value, request.host().lowestOomScoreAdj());
  }

  private RuntimeSpec.@Nullable Memory memory(LinuxResources wanted) {
    Long limit = atLeast("memory_limit_in_bytes", wanted.memoryLimit(), -1);
    Long swap = atLeast("memory_swap_limit_in_bytes", wanted.memorySwapLimit(), -1);
    if (swap == null && limit != null && host.swapAccounting()) {
      swap = limit; // no swapping beyond the limit
    }
    if (swap != null && swap != -1) {
      if (limit == null || limit == -1) {
        throw refuse.apply(
            "memory_swap_limit_in_bytes "
                + swap
                + " counts memory and swap together, so memory_limit_in_bytes is needed too");
      }
      if (swap < limit) {
        throw refuse.apply(
            "memory_swap_limit_in_bytes "
                + swap
                + " counts memory and swap together and must not be below memory_limit_in_bytes "
                + limit);
      }
    }
    if (swap != null && !host.swapAccounting()) {
      if (swap != -1 && !swap.equals(limit)) {
        throw refuse.apply(
            "memory_swap_limit_in_bytes "
                + swap
                + " can't be enforced, as this kernel doesn't account swap; boot it with swapaccount=1");
      }
      swap = null;
    }
    return limit == null && swap == null
        ? null
        : new RuntimeSpec.Memory(limit, null, swap, null, null, null, null);
  }

  private RuntimeSpec.@Nullable Cpu cpu(LinuxResources wanted) {
    Long shares = atLeast("cpu_shares", wanted.cpuShares(), 0);
    Long quota = atLeast("cpu_quota", wanted.cpuQuota(), -1);
    Long period = atLeast("cpu_period", wanted.cpuPeriod(), 0);
    String cpus = list("cpuset_cpus", wanted.cpusetCpus());
    String mems = list("cpuset_mems", wanted.cpusetMems());
    return shares == null && quota == null && period == null && cpus == null && mems == null
        ? null
        : new RuntimeSpec.Cpu(shares, quota, null, period, null, null, cpus, mems, null);
  }

  private @Nullable Long atLeast(String field, long value, long minimum) {
    if (value < minimum) {
      throw refuse.apply(field + " " + value + " is negative");
    }
    return value == 0 ? null : value;
  }

  private @Nullable String list(String field, String value) {
    if (value.isEmpty()) {
      return null;
    }
    if (!CPU_LIST.matcher(value).matches()) {
      throw refuse.apply(field + " \"" + value + "\" isn't a list such as 0-3,7");
    }
    return value;
  }

  /** The kubelet names every page size of the machine, those that nobody asked for with 0. */
  private @Nullable List<RuntimeSpec.HugepageLimit> hugepages(LinuxResources wanted) {
    List<RuntimeSpec.HugepageLimit> limits = new ArrayList<>();
    for (Map.Entry<String, Long> limit : new TreeMap<>(wanted.hugepageLimits()).entrySet()) {
      if (!PAGE_SIZE.matcher(limit.getKey()).matches() || limit.getValue() < 0) {
        throw refuse.apply(
            "hugepage limit \""
                + limit.getKey()
                + "\" = "
                + limit.getValue()
                + " isn't a size such as 2MB and a number of bytes");
      }
      if (host.hugetlb()) {
        limits.add(new RuntimeSpec.HugepageLimit(limit.getKey(), limit.getValue()));
      } else if (limit.getValue() != 0) {
        throw refuse.apply(
            "its limit of "
                + limit.getKey()
                + " pages can't be enforced, as this machine has no hugetlb controller");
      }
    }
    return limits.isEmpty() ? null : limits;
  }

  private @Nullable Map<String, String> unified(LinuxResources wanted) {
    if (wanted.unified().isEmpty()) {
      return null;
    }
    if (!host.cgroupV2()) {
      throw refuse.apply("unified resources need cgroup v2, and this machine uses v1");
    }
    for (String key : wanted.unified().keySet()) {
      if (!UNIFIED_KEY.matcher(key).matches()) {
        throw refuse.apply("unified resource \"" + key + "\" isn't a cgroup file");
      }
    }
    return new TreeMap<>(wanted.unified());
  }
}
