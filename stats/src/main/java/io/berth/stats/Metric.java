package io.berth.stats;

import java.util.List;

/**
 * The metrics that the kubelet knows, by the names that cAdvisor gave them. Counts are whole
 * numbers: seconds are cut off.
 */
public enum Metric {
  CPU_USAGE(
      "cpu_usage_seconds_total", Type.COUNTER, "Cumulative cpu time consumed in seconds", "cpu"),
  CPU_USER("cpu_user_seconds_total", Type.COUNTER, "Cumulative user cpu time consumed in seconds"),
  CPU_SYSTEM(
      "cpu_system_seconds_total", Type.COUNTER, "Cumulative system cpu time consumed in seconds"),
  CFS_PERIODS("cpu_cfs_periods_total", Type.COUNTER, "Number of elapsed enforcement periods"),
  CFS_THROTTLED_PERIODS(
      "cpu_cfs_throttled_periods_total", Type.COUNTER, "Number of throttled periods"),
  CFS_THROTTLED(
      "cpu_cfs_throttled_seconds_total",
      Type.COUNTER,
      "Total time the container has been throttled, in seconds"),
  FILE_DESCRIPTORS(
      "file_descriptors", Type.GAUGE, "Open file descriptors of the container's processes"),
  SOCKETS("sockets", Type.GAUGE, "Open sockets of the container's processes"),
  PROCESSES("processes", Type.GAUGE, "Processes in the container"),
  THREADS("threads", Type.GAUGE, "Threads in the container"),
  THREADS_MAX("threads_max", Type.GAUGE, "Most threads that the container may have; 0 is no limit"),
  ULIMITS_SOFT(
      "ulimits_soft", Type.GAUGE, "Soft limits of the container's first process", "ulimit"),
  FS_INODES_FREE(
      "fs_inodes_free",
      Type.GAUGE,
      "Free inodes of the file system of the writable layer",
      "device"),
  FS_INODES_TOTAL(
      "fs_inodes_total", Type.GAUGE, "Inodes of the file system of the writable layer", "device"),
  FS_LIMIT(
      "fs_limit_bytes",
      Type.GAUGE,
      "Size of the file system of the writable layer, in bytes",
      "device"),
  FS_USAGE("fs_usage_bytes", Type.GAUGE, "Bytes that the writable layer takes on disk", "device"),
  FS_READS("fs_reads_total", Type.COUNTER, "Reads completed, by block device", "device"),
  FS_READS_BYTES("fs_reads_bytes_total", Type.COUNTER, "Bytes read, by block device", "device"),
  FS_WRITES("fs_writes_total", Type.COUNTER, "Writes completed, by block device", "device"),
  FS_WRITES_BYTES(
      "fs_writes_bytes_total", Type.COUNTER, "Bytes written, by block device", "device"),
  BLKIO_USAGE(
      "blkio_device_usage_total",
      Type.COUNTER,
      "Bytes moved, by block device and operation",
      "device",
      "major",
      "minor",
      "operation"),
  HUGETLB_USAGE("hugetlb_usage_bytes", Type.GAUGE, "Huge pages in use, in bytes", "pagesize"),
  HUGETLB_MAX_USAGE(
      "hugetlb_max_usage_bytes",
      Type.GAUGE,
      "Most huge pages that were in use, in bytes",
      "pagesize"),
  LAST_SEEN(
      "last_seen", Type.GAUGE, "When the container was last looked at, in seconds since 1970"),
  START_TIME("start_time_seconds", Type.GAUGE, "When the container started, in seconds since 1970"),
  MEMORY_CACHE("memory_cache", Type.GAUGE, "Page cache, in bytes"),
  MEMORY_FAILCNT("memory_failcnt", Type.COUNTER, "How often the memory limit was hit"),
  MEMORY_FAILURES("memory_failures_total", Type.COUNTER, "Page faults", "failure_type", "scope"),
  MEMORY_KERNEL(
      "memory_kernel_usage",
      Type.GAUGE,
      "Memory that the kernel keeps for the container, in bytes"),
  MEMORY_MAPPED_FILE("memory_mapped_file", Type.GAUGE, "Memory-mapped files, in bytes"),
  MEMORY_MAX_USAGE("memory_max_usage_bytes", Type.GAUGE, "Most memory that was in use, in bytes"),
  MEMORY_RSS("memory_rss", Type.GAUGE, "Anonymous memory, in bytes"),
  MEMORY_SWAP("memory_swap", Type.GAUGE, "Swap in use, in bytes"),
  MEMORY_USAGE("memory_usage_bytes", Type.GAUGE, "Memory in use, in bytes, page cache included"),
  MEMORY_WORKING_SET(
      "memory_working_set_bytes", Type.GAUGE, "Memory in use without cold page cache, in bytes"),
  RECEIVE_BYTES("network_receive_bytes_total", Type.COUNTER, "Bytes received", "interface"),
  RECEIVE_ERRORS(
      "network_receive_errors_total", Type.COUNTER, "Errors while receiving", "interface"),
  RECEIVE_DROPPED(
      "network_receive_packets_dropped_total",
      Type.COUNTER,
      "Packets dropped while receiving",
      "interface"),
  RECEIVE_PACKETS("network_receive_packets_total", Type.COUNTER, "Packets received", "interface"),
  TRANSMIT_BYTES("network_transmit_bytes_total", Type.COUNTER, "Bytes transmitted", "interface"),
  TRANSMIT_ERRORS(
      "network_transmit_errors_total", Type.COUNTER, "Errors while transmitting", "interface"),
  TRANSMIT_DROPPED(
      "network_transmit_packets_dropped_total",
      Type.COUNTER,
      "Packets dropped while transmitting",
      "interface"),
  TRANSMIT_PACKETS(
      "network_transmit_packets_total", Type.COUNTER, "Packets transmitted", "interface"),
  OOM_EVENTS("oom_events_total", Type.COUNTER, "Processes killed for want of memory"),
  PRESSURE_CPU_STALLED(
      "pressure_cpu_stalled_seconds_total",
      Type.COUNTER,
      "Time in which all tasks waited for a processor, in seconds"),
  PRESSURE_CPU_WAITING(
      "pressure_cpu_waiting_seconds_total",
      Type.COUNTER,
      "Time in which some task waited for a processor, in seconds"),
  PRESSURE_IO_STALLED(
      "pressure_io_stalled_seconds_total",
      Type.COUNTER,
      "Time in which all tasks waited for I/O, in seconds"),
  PRESSURE_IO_WAITING(
      "pressure_io_waiting_seconds_total",
      Type.COUNTER,
      "Time in which some task waited for I/O, in seconds"),
  PRESSURE_MEMORY_STALLED(
      "pressure_memory_stalled_seconds_total",
      Type.COUNTER,
      "Time in which all tasks waited for memory, in seconds"),
  PRESSURE_MEMORY_WAITING(
      "pressure_memory_waiting_seconds_total",
      Type.COUNTER,
      "Time in which some task waited for memory, in seconds"),
  SPEC_CPU_PERIOD("spec_cpu_period", Type.GAUGE, "Period of the cpu quota, in microseconds"),
  SPEC_CPU_QUOTA(
      "spec_cpu_quota",
      Type.GAUGE,
      "Cpu time allowed in a period, in microseconds; missing without a quota"),
  SPEC_CPU_SHARES("spec_cpu_shares", Type.GAUGE, "Share of the cpu among its neighbours"),
  SPEC_MEMORY_LIMIT("spec_memory_limit_bytes", Type.GAUGE, "Memory limit, in bytes; 0 is no limit"),
  SPEC_MEMORY_RESERVATION(
      "spec_memory_reservation_limit_bytes", Type.GAUGE, "Memory reservation, in bytes; 0 is none"),
  SPEC_MEMORY_SWAP_LIMIT(
      "spec_memory_swap_limit_bytes", Type.GAUGE, "Swap limit, in bytes; 0 is no limit");

  /** Whether it only ever grows. */
  public enum Type {
    COUNTER,
    GAUGE
  }

  private final String fullName;
  private final Type type;
  private final String help;

  @SuppressWarnings("ImmutableEnumChecker") // List.of is
  private final List<String> labels;

  Metric(String name, Type type, String help, String... labels) {
    this.fullName = "container_" + name;
    this.type = type;
    this.help = help;
    this.labels = List.of(labels);
  }

  /** As in {@code container_cpu_usage_seconds_total}. */
  public String fullName() {
    return fullName;
  }

  public Type type() {
    return type;
  }

  /** A sentence for people. */
  public String help() {
    return help;
  }

  /** Labels beyond those that name the pod and the container. */
  public List<String> labels() {
    return labels;
  }

  boolean isPressure() {
    return fullName.startsWith("container_pressure_");
  }
}
