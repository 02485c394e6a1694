package io.berth.stats;

import io.berth.linux.KernelFile;
import io.berth.linux.KernelFolder;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The hugetlb controller, which has files of their own for each page size of the machine. */
final class HugePages {
  private static final Path SIZES = Path.of("/sys/kernel/mm/hugepages");
  private static final String PREFIX = "hugepages-";
  private static final byte[] POOL = KernelFile.name("nr_hugepages");
  private static final byte[] SURPLUS = KernelFile.name("nr_overcommit_hugepages");

  private static final class Size {
    final byte[] pool;
    final String label;
    final byte[] usage;
    final byte[] maxUsage;

    Size(byte[] pool, String label, byte[] usage, byte[] maxUsage) {
      this.pool = pool;
      this.label = label;
      this.usage = usage;
      this.maxUsage = maxUsage;
    }
  }

  private final byte[] hierarchy;
  private final List<Size> sizes;

  private HugePages(byte[] hierarchy, List<Size> sizes) {
    this.hierarchy = hierarchy;
    this.sizes = sizes;
  }

  /**
   * Of no page size where the controller is missing.
   *
   * @param maxUsageSuffix empty where the kernel keeps no such count
   */
  static HugePages of(Path hierarchy, String usageSuffix, String maxUsageSuffix) {
    List<Size> sizes = new ArrayList<>();
    if (isOffered(hierarchy) && Files.isDirectory(SIZES)) {
      try (DirectoryStream<Path> folders = Files.newDirectoryStream(SIZES, PREFIX + "*kB")) {
        for (Path folder : folders) {
          String name = String.valueOf(folder.getFileName());
          String label =
              label(Long.parseLong(name.substring(PREFIX.length(), name.length() - "kB".length())));
          String file = "hugetlb." + label;
          sizes.add(
              new Size(
                  KernelFile.name(folder.toString()),
                  label,
                  KernelFile.name(file + usageSuffix),
                  maxUsageSuffix.isEmpty() ? new byte[0] : KernelFile.name(file + maxUsageSuffix)));
        }
      } catch (IOException e) {
        throw new UncheckedIOException("list page sizes in " + SIZES + ": " + e.getMessage(), e);
      }
    }
    return new HugePages(CgroupReader.base(hierarchy), sizes);
  }

  private static boolean isOffered(Path hierarchy) {
    Path controllers = hierarchy.resolve("cgroup.controllers");
    try {
      return Files.exists(controllers)
          ? List.of(Files.readString(controllers, StandardCharsets.US_ASCII).strip().split(" "))
              .contains("hugetlb")
          : List.of(String.valueOf(hierarchy.getFileName()).split(",")).contains("hugetlb");
    } catch (IOException e) {
      throw new UncheckedIOException("read " + controllers + ": " + e.getMessage(), e);
    }
  }

  /** As the files of the controller are named: 64KB, 2MB, 1GB. */
  private static String label(long kibibytes) {
    if (kibibytes >= 1 << 20) {
      return (kibibytes >> 20) + "GB";
    }
    return kibibytes >= 1 << 10 ? (kibibytes >> 10) + "MB" : kibibytes + "KB";
  }

  boolean any() {
    return !sizes.isEmpty();
  }

  /**
   * Whether the machine has any page of them, or would make one; if not, no count of them moves.
   */
  boolean anyToUse() {
    var file = new KernelFile();
    return sizes.stream()
        .anyMatch(size ->
            file.readNumber(size.pool, POOL) != 0 || file.readNumber(size.pool, SURPLUS) != 0);
  }

  void metrics(KernelFile file, OpenCgroup cgroup, MetricSink sink) {
    if (sizes.isEmpty()) {
      return;
    }
    KernelFolder folder = cgroup.in(hierarchy);
    for (Size size : sizes) {
      sink.value(Metric.HUGETLB_USAGE, file.readNumber(folder, size.usage), size.label);
      if (size.maxUsage.length > 0) {
        sink.value(Metric.HUGETLB_MAX_USAGE, file.readNumber(folder, size.maxUsage), size.label);
      }
    }
  }
}
