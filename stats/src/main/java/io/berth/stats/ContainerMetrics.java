package io.berth.stats;

import io.berth.linux.DiskSpace;
import io.berth.linux.ErrnoException;
import io.berth.linux.KernelFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** The metrics of containers and pods. Safe for use by many threads. */
public final class ContainerMetrics implements AutoCloseable {
  /** Descriptors and processes that are counted while somebody waits. */
  private static final long SMALL = 500;

  private final CgroupReader reader;
  private final KnownCgroups known;
  private final Path store;
  private final CostlyCounts<ProcessCounts> processes;
  private volatile @Nullable String device; // found once: it takes a walk over all mounts

  /**
   * @param store a folder on the file system of the writable layers
   */
  public ContainerMetrics(CgroupStats cgroups, Path store) {
    this.reader = cgroups.reader();
    this.known = cgroups.known();
    this.store = store;
    this.processes =
        new CostlyCounts<>(
            "count descriptors",
            SMALL,
            (cgroup, most) ->
                ProcessCounts.of(reader.processFolder(CgroupStats.path(cgroup)), most));
  }

  /**
   * The file system that the writable layers share, looked at once for each answer.
   *
   * @param device as in {@code /dev/sda1}
   */
  public record Disk(String device, Optional<DiskSpace> space) {}

  /** Those that this machine can tell; each is really told of a running container. */
  public List<Metric> offered() {
    return Stream.of(Metric.values()).filter(reader::tells).toList();
  }

  public Disk disk() {
    try {
      String name = device;
      if (name == null) {
        name = Files.getFileStore(store).name();
        device = name;
      }
      return new Disk(name, Optional.of(DiskSpace.of(store)));
    } catch (IOException | ErrnoException e) {
      return new Disk("", Optional.empty());
    }
  }

  /**
   * Reads a container's metrics; one that has just gone has none.
   *
   * @param file the buffer of this pass
   * @param limits as {@link CgroupStats#usage} takes it
   * @param startedAt nanoseconds since 1970
   * @param layerBytes what its writable layer takes
   */
  public void container(
      KernelFile file,
      String cgroup,
      @Nullable Object limits,
      long startedAt,
      OptionalLong layerBytes,
      Disk disk,
      MetricSink sink) {
    boolean there =
        known.look(
            file, cgroup, limits, (files, standing) -> reader.metrics(file, files, standing, sink));
    if (!there) {
      return;
    }
    processes
        .get(cgroup)
        .map(CostlyCounts.Counted::value)
        .filter(counts -> counts.processes() > 0)
        .ifPresent(counts -> {
          sink.value(Metric.PROCESSES, counts.processes());
          sink.value(Metric.FILE_DESCRIPTORS, counts.openFiles().descriptors());
          sink.value(Metric.SOCKETS, counts.openFiles().sockets());
          sink.value(Metric.ULIMITS_SOFT, counts.softLimitOpenFiles(), "max_open_files");
        });
    layerBytes.ifPresent(bytes -> sink.value(Metric.FS_USAGE, bytes, disk.device()));
    disk.space()
        .ifPresent(space -> {
          sink.value(Metric.FS_LIMIT, space.bytes(), disk.device());
          sink.value(Metric.FS_INODES_TOTAL, space.inodes(), disk.device());
          sink.value(Metric.FS_INODES_FREE, space.freeInodes(), disk.device());
        });
    sink.seconds(Metric.START_TIME, startedAt);
    sink.seconds(Metric.LAST_SEEN, Clocks.wallNanos());
  }

  /** A pod's metrics, made of its network's counters. */
  public void pod(List<InterfaceCounters> network, MetricSink sink) {
    for (InterfaceCounters one : network) {
      InterfaceCounters.Direction received = one.received();
      sink.value(Metric.RECEIVE_BYTES, received.bytes(), one.name());
      sink.value(Metric.RECEIVE_PACKETS, received.packets(), one.name());
      sink.value(Metric.RECEIVE_ERRORS, received.errors(), one.name());
      sink.value(Metric.RECEIVE_DROPPED, received.dropped(), one.name());
      InterfaceCounters.Direction transmitted = one.transmitted();
      sink.value(Metric.TRANSMIT_BYTES, transmitted.bytes(), one.name());
      sink.value(Metric.TRANSMIT_PACKETS, transmitted.packets(), one.name());
      sink.value(Metric.TRANSMIT_ERRORS, transmitted.errors(), one.name());
      sink.value(Metric.TRANSMIT_DROPPED, transmitted.dropped(), one.name());
    }
  }

  @Override
  public void close() {
    processes.close();
  }
}
