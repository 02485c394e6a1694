package io.berth.runtime;

import io.berth.oci.RuntimeSpec;
import io.berth.runtime.SpecBuilder.Request;
import io.berth.sandbox.LinuxResources;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/** A container's cgroup limits (runtime-spec, config-linux, "Control groups"). Zero is not set. */
final class ContainerResources {
  private static final int MOST_OOM_SCORE_ADJ = 1000;
  private static final Pattern CPU_LIST = Pattern.compile("[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*");
  private static final Pattern PAGE_SIZE = Pattern.compile("[0-9]+[KMG]B");

  /** A key is one file in the container's cgroup, so it has a controller and no slash. */
  private static final Pattern UNIFIED_KEY = Pattern.compile("[a-z]+(\\.[A-Za-z0-9_]+)+");

  private ContainerResources() {}

  static RuntimeSpec.Resources of(
      Request request, List<RuntimeSpec.DeviceRule> devices, int pidsLimit) {
    LinuxResources wanted = request.config().resources();
    RuntimeSpec.Pids pids = pidsLimit == 0 ? null : new RuntimeSpec.Pids(pidsLimit);
    if (wanted == null) {
      return new RuntimeSpec.Resources(devices, null, null, pids, null, null, null);
    }
    return new RuntimeSpec.Resources(
        devices,
        memory(request, wanted),
        cpu(request, wanted),
        pids,
        null,
        hugepages(request, wanted),
        unified(request, wanted));
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

  private static RuntimeSpec.@Nullable Memory memory(Request request, LinuxResources wanted) {
    Long limit = atLeast(request, "memory_limit_in_bytes", wanted.memoryLimit(), -1);
    Long swap = atLeast(request, "memory_swap_limit_in_bytes", wanted.memorySwapLimit(), -1);
    if (swap == null && limit != null && request.host().swapAccounting()) {
      swap = limit; // no swapping beyond the limit
    }
    if (swap != null && swap != -1) {
      if (limit == null || limit == -1) {
        throw request.invalid(
            "memory_swap_limit_in_bytes "
                + swap
                + " counts memory and swap together, so memory_limit_in_bytes is needed too");
      }
      if (swap < limit) {
        throw request.invalid(
            "memory_swap_limit_in_bytes "
                + swap
                + " counts memory and swap together and must not be below memory_limit_in_bytes "
                + limit);
      }
    }
    if (swap != null && !request.host().swapAccounting()) {
      if (swap != -1 && !swap.equals(limit)) {
        throw request.invalid(
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

  private static RuntimeSpec.@Nullable Cpu cpu(Request request, LinuxResources wanted) {
    Long shares = atLeast(request, "cpu_shares", wanted.cpuShares(), 0);
    Long quota = atLeast(request, "cpu_quota", wanted.cpuQuota(), -1);
    Long period = atLeast(request, "cpu_period", wanted.cpuPeriod(), 0);
    String cpus = list(request, "cpuset_cpus", wanted.cpusetCpus());
    String mems = list(request, "cpuset_mems", wanted.cpusetMems());
    return shares == null && quota == null && period == null && cpus == null && mems == null
        ? null
        : new RuntimeSpec.Cpu(shares, quota, null, period, null, null, cpus, mems, null);
  }

  private static @Nullable Long atLeast(Request request, String field, long value, long minimum) {
    if (value < minimum) {
      throw request.invalid(field + " " + value + " is negative");
    }
    return value == 0 ? null : value;
  }

  private static @Nullable String list(Request request, String field, String value) {
    if (value.isEmpty()) {
      return null;
    }
    if (!CPU_LIST.matcher(value).matches()) {
      throw request.invalid(field + " \"" + value + "\" isn't a list such as 0-3,7");
    }
    return value;
  }

  /** The kubelet names every page size of the machine, those that nobody asked for with 0. */
  private static @Nullable List<RuntimeSpec.HugepageLimit> hugepages(
      Request request, LinuxResources wanted) {
    List<RuntimeSpec.HugepageLimit> limits = new ArrayList<>();
    for (Map.Entry<String, Long> limit : new TreeMap<>(wanted.hugepageLimits()).entrySet()) {
      if (!PAGE_SIZE.matcher(limit.getKey()).matches() || limit.getValue() < 0) {
        throw request.invalid(
            "hugepage limit \""
                + limit.getKey()
                + "\" = "
                + limit.getValue()
                + " isn't a size such as 2MB and a number of bytes");
      }
      if (request.host().hugetlb()) {
        limits.add(new RuntimeSpec.HugepageLimit(limit.getKey(), limit.getValue()));
      } else if (limit.getValue() != 0) {
        throw request.invalid(
            "its limit of "
                + limit.getKey()
                + " pages can't be enforced, as this machine has no hugetlb controller");
      }
    }
    return limits.isEmpty() ? null : limits;
  }

  private static @Nullable Map<String, String> unified(Request request, LinuxResources wanted) {
    if (wanted.unified().isEmpty()) {
      return null;
    }
    if (!request.host().cgroupV2()) {
      throw request.invalid("unified resources need cgroup v2, and this machine uses v1");
    }
    for (String key : wanted.unified().keySet()) {
      if (!UNIFIED_KEY.matcher(key).matches()) {
        throw request.invalid("unified resource \"" + key + "\" isn't a cgroup file");
      }
    }
    return new TreeMap<>(wanted.unified());
  }
}
