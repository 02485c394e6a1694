package io.berth.runtime;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.berth.oci.RuntimeSpec.BlockIo;
import io.berth.oci.RuntimeSpec.ThrottleDevice;
import io.berth.oci.RuntimeSpec.WeightDevice;
import io.berth.runtime.SpecBuilder.Request;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Classes of block I/O, which an administrator defines in a file and pods choose by annotation: the
 * file's form and the annotations are those that CRI-O and containerd read. The file is read when a
 * container asks for a class.
 */
final class BlockIoClasses {
  private static final String OF_CONTAINER = "io.kubernetes.cri.blockio-class";
  private static final String OF_POD = "blockio.resources.beta.kubernetes.io/pod";
  private static final String OF_POD_BY_CONTAINER =
      "blockio.resources.beta.kubernetes.io/container.";
  private static final int LEAST_WEIGHT = 10;
  private static final int MOST_WEIGHT = 1000;

  /** As Kubernetes writes quantities. */
  private static final Pattern QUANTITY = Pattern.compile("([0-9]{1,15})(k|M|G|T|Ki|Mi|Gi|Ti)?");

  private static final Map<String, Long> UNITS =
      Map.of(
          "k",
          1_000L,
          "M",
          1_000_000L,
          "G",
          1_000_000_000L,
          "T",
          1_000_000_000_000L,
          "Ki",
          1L << 10,
          "Mi",
          1L << 20,
          "Gi",
          1L << 30,
          "Ti",
          1L << 40);

  private static final JsonMapper TREES =
      JsonMapper.builder()
          .enable(MapperFeature.ACCEPT_CASE_INSENSITIVE_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .build();

  private final Path file;

  private record Classes(@Nullable Map<String, List<Rule>> classes) {}

  /**
   * Parameters for some devices.
   *
   * @param devices paths with wildcards in the last name; absent: a weight for all devices
   */
  private record Rule(
      @Nullable List<String> devices,
      @Nullable String weight,
      @Nullable String throttleReadBps,
      @Nullable String throttleWriteBps,
      @Nullable String throttleReadIops,
      @Nullable String throttleWriteIops) {}

  /** By major and minor number, so that a later rule replaces what an earlier one says. */
  private static final class Limits {
    @Nullable Integer weight;
    final Map<List<Long>, Integer> weights = new LinkedHashMap<>();
    final Map<List<Long>, Long> readBytes = new LinkedHashMap<>();
    final Map<List<Long>, Long> writeBytes = new LinkedHashMap<>();
    final Map<List<Long>, Long> reads = new LinkedHashMap<>();
    final Map<List<Long>, Long> writes = new LinkedHashMap<>();

    BlockIo toSpec() {
      List<WeightDevice> devices = new ArrayList<>();
      weights.forEach(
          (device, of) -> devices.add(new WeightDevice(device.get(0), device.get(1), of, null)));
      return new BlockIo(
          weight,
          null,
          devices.isEmpty() ? null : devices,
          throttles(readBytes),
          throttles(writeBytes),
          throttles(reads),
          throttles(writes));
    }

    private static @Nullable List<ThrottleDevice> throttles(Map<List<Long>, Long> rates) {
      return rates.isEmpty()
          ? null
          : rates.entrySet().stream()
              .map(e -> new ThrottleDevice(e.getKey().get(0), e.getKey().get(1), e.getValue()))
              .toList();
    }
  }

  BlockIoClasses(Path file) {
    this.file = file;
  }

  /**
   * The limits of a container's class.
   *
   * @return absent: it asks for none
   * @throws ContainerException INVALID if the class isn't defined, or its definition is wrong
   */
  @Nullable BlockIo of(Request request) {
    String name = name(request);
    if (name.isEmpty()) {
      return null;
    }
    try {
      Map<String, List<Rule>> classes = read().classes();
      List<Rule> rules = classes == null ? null : classes.get(name);
      if (rules == null) {
        throw request.invalid(
            "block I/O class \""
                + SpecBuilder.printable(name)
                + "\" isn't defined in "
                + file
                + "; define it there or correct the annotation");
      }
      Limits limits = new Limits();
      for (Rule rule : rules) {
        add(limits, rule);
      }
      return limits.toSpec();
    } catch (NoSuchFileException e) {
      throw request.invalid(
          "it asks for block I/O class \""
              + SpecBuilder.printable(name)
              + "\", but "
              + file
              + " (containers.blockio_config_file) doesn't exist; define the class there or remove"
              + " the annotation",
          e);
    } catch (JsonProcessingException e) {
      throw request.invalid(file + " is malformed: " + e.getOriginalMessage(), e);
    } catch (IOException | IllegalArgumentException e) {
      throw request.invalid(
          "block I/O class \"" + name + "\" in " + file + ": " + e.getMessage(), e);
    }
  }

  /** The container's own annotation, then what its pod says of it, then of all. */
  private static String name(Request request) {
    Map<String, String> ofPod = request.sandbox().config().annotations();
    for (String name :
        Arrays.asList(
            request.config().annotations().get(OF_CONTAINER),
            ofPod.get(OF_POD_BY_CONTAINER + request.config().name()),
            ofPod.get(OF_POD))) {
      if (name != null) {
        return name;
      }
    }
    return "";
  }

  private Classes read() throws IOException {
    // The parser of YAML is loaded only where somebody asks for a class.
    return TREES.treeToValue(new YAMLMapper().readTree(Files.readAllBytes(file)), Classes.class);
  }

  private static void add(Limits limits, Rule rule) throws IOException {
    Integer weight = weight(rule.weight());
    if (rule.devices() == null || rule.devices().isEmpty()) {
      if (rule.throttleReadBps() != null
          || rule.throttleWriteBps() != null
          || rule.throttleReadIops() != null
          || rule.throttleWriteIops() != null) {
        throw new IllegalArgumentException("a throttle needs a list Devices");
      }
      limits.weight = weight;
      return;
    }
    for (String pattern : rule.devices()) {
      for (List<Long> device : devices(pattern)) {
        if (weight != null) {
          limits.weights.put(device, weight);
        }
        put(limits.readBytes, device, "ThrottleReadBps", rule.throttleReadBps());
        put(limits.writeBytes, device, "ThrottleWriteBps", rule.throttleWriteBps());
        put(limits.reads, device, "ThrottleReadIOPS", rule.throttleReadIops());
        put(limits.writes, device, "ThrottleWriteIOPS", rule.throttleWriteIops());
      }
    }
  }

  private static @Nullable Integer weight(@Nullable String text) {
    if (text == null) {
      return null;
    }
    if (!text.matches("[0-9]{1,4}")
        || Integer.parseInt(text) < LEAST_WEIGHT
        || Integer.parseInt(text) > MOST_WEIGHT) {
      throw new IllegalArgumentException(
          "Weight \"" + text + "\" isn't a number from " + LEAST_WEIGHT + " to " + MOST_WEIGHT);
    }
    return Integer.valueOf(text);
  }

  private static void put(
      Map<List<Long>, Long> rates, List<Long> device, String field, @Nullable String text) {
    if (text == null) {
      return;
    }
    Matcher quantity = QUANTITY.matcher(text);
    if (!quantity.matches()) {
      throw new IllegalArgumentException(
          field + " \"" + text + "\" isn't a number with a unit such as 50M");
    }
    long unit = quantity.group(2) == null ? 1 : UNITS.getOrDefault(quantity.group(2), 1L);
    rates.put(device, Math.multiplyExact(Long.parseLong(quantity.group(1)), unit));
  }

  /** A wildcard that matches nothing is fine: machines of one kind differ in their disks. */
  private static List<List<Long>> devices(String pattern) throws IOException {
    Path path = Path.of(pattern);
    Path folder = path.getParent();
    Path name = path.getFileName();
    if (!path.isAbsolute() || folder == null || name == null) {
      throw new IllegalArgumentException("device \"" + pattern + "\" isn't an absolute path");
    }
    if (!pattern.matches(".*[*?\\[].*")) {
      return List.of(numbers(path));
    }
    List<List<Long>> found = new ArrayList<>();
    try (DirectoryStream<Path> matches = Files.newDirectoryStream(folder, name.toString())) {
      for (Path match : matches) {
        if (isBlockDevice(match)) {
          found.add(numbers(match));
        }
      }
    } catch (NoSuchFileException e) {
      return List.of();
    }
    return found;
  }

  private static boolean isBlockDevice(Path path) throws IOException {
    try {
      ContainerDevices.Node node = ContainerDevices.Node.of(path.toRealPath());
      return node != null && node.type().equals("b");
    } catch (NoSuchFileException e) {
      return false; // a link that leads nowhere
    }
  }

  private static List<Long> numbers(Path path) throws IOException {
    ContainerDevices.Node node;
    try {
      node = ContainerDevices.Node.of(path.toRealPath());
    } catch (NoSuchFileException e) {
      throw new IllegalArgumentException("there is no " + path + " on this machine", e);
    }
    if (node == null || !node.type().equals("b")) {
      throw new IllegalArgumentException(path + " isn't a block device");
    }
    return List.of(node.major(), node.minor());
  }
}
