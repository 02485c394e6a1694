package io.berth.runtime;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import io.berth.oci.RuntimeSpec.BlockIo;
import io.berth.oci.RuntimeSpec.ThrottleDevice;
import io.berth.oci.RuntimeSpec.WeightDevice;
import io.berth.runtime.ContainerException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BlockIoClassesTest {
  private static final String OF_POD = "blockio.resources.beta.kubernetes.io/pod";

  @TempDir Path folder;
  private final RequestFixture pod = new RequestFixture();
  private Path file = Path.of("/");

  @BeforeEach
  void classes() {
    file = folder.resolve("blockio.yaml");
  }

  @Test
  void whoAsksForNoneNeedsNoFile() {
    assertThat(limits()).isNull();
  }

  @Test
  void classOfTheContainerComesBeforeThatOfItsPod() throws Exception {
    Files.writeString(
        file, "Classes: {all: [{Weight: 100}], one: [{Weight: 200}], own: [{Weight: 300}]}");
    pod.podAnnotations = Map.of(OF_POD, "all");
    assertThat(weight()).isEqualTo(100);
    pod.podAnnotations =
        Map.of(
            OF_POD,
            "all",
            "blockio.resources.beta.kubernetes.io/container.nginx",
            "one",
            "blockio.resources.beta.kubernetes.io/container.other",
            "nobody");
    assertThat(weight()).isEqualTo(200);
    pod.annotations = Map.of("io.kubernetes.cri.blockio-class", "own");
    assertThat(weight()).isEqualTo(300);
  }

  @Test
  void limitsAreByDeviceAndALaterRuleWins() throws Exception {
    Path device = blockDevice();
    Files.createSymbolicLink(folder.resolve("disk0"), device);
    Files.createSymbolicLink(folder.resolve("disk1"), Path.of("/dev/null"));
    Files.createSymbolicLink(folder.resolve("disk2"), Path.of("/nowhere"));
    Files.writeString(
        file,
        """
        Classes:
          slow:
            - Weight: 80
            - Devices: [%1$s/disk*, /nowhere/*]
              ThrottleReadBps: 50M
              ThrottleWriteBps: "1Gi"
              ThrottleReadIOPS: 10k
              Weight: 50
            - devices: [%1$s/disk0]
              throttleReadBps: 7
              throttlewriteiops: 5000
        """
            .formatted(folder));
    pod.podAnnotations = Map.of(OF_POD, "slow");
    ContainerDevices.Node node = requireNonNull(ContainerDevices.Node.of(device));
    long major = node.major();
    long minor = node.minor();
    assertThat(limits())
        .isEqualTo(
            new BlockIo(
                80,
                null,
                List.of(new WeightDevice(major, minor, 50, null)),
                List.of(new ThrottleDevice(major, minor, 7)),
                List.of(new ThrottleDevice(major, minor, 1 << 30)),
                List.of(new ThrottleDevice(major, minor, 10_000)),
                List.of(new ThrottleDevice(major, minor, 5_000))));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          {other: [{Weight: 100}]}                             | "slow" isn't defined in
          {slow: [{Weight: 5}]}                                | isn't a number from 10 to 1000
          {slow: [{Wight: 100}]}                               | malformed
          {slow: [{ThrottleReadBps: 5}]}                       | needs a list Devices
          {slow: [{Devices: [/dev/null], ThrottleReadBps: 5}]} | isn't a block device
          {slow: [{Devices: [/nowhere], ThrottleReadBps: 5}]}  | there is no /nowhere
          {slow: [{Devices: [sda], ThrottleReadBps: 5}]}       | isn't an absolute path
          """)
  void whatCantBeObeyedIsRefused(String classes, String why) throws Exception {
    Files.writeString(file, "Classes: " + classes);
    pod.podAnnotations = Map.of(OF_POD, "slow");
    assertRefused(why);
  }

  @Test
  void rateThatIsNoneIsRefused() throws Exception {
    Files.writeString(
        file, "Classes: {slow: [{Devices: [" + blockDevice() + "], ThrottleReadBps: 5X}]}");
    pod.podAnnotations = Map.of(OF_POD, "slow");
    assertRefused("ThrottleReadBps \"5X\" isn't a number with a unit");
  }

  @Test
  void missingFileIsNamed() {
    pod.podAnnotations = Map.of(OF_POD, "slow");
    assertRefused(file + " (containers.blockio_config_file) doesn't exist");
  }

  private static Path blockDevice() throws IOException {
    try (Stream<Path> disks = Files.list(Path.of("/sys/block"))) {
      Path device =
          disks
              .map(disk -> Path.of("/dev").resolve(disk.getFileName().toString()))
              .filter(Files::exists)
              .findFirst()
              .orElse(null);
      assumeThat(device).as("a block device").isNotNull();
      return requireNonNull(device);
    }
  }

  private @Nullable BlockIo limits() {
    return new BlockIoClasses(file).of(pod.request());
  }

  private @Nullable Integer weight() {
    return requireNonNull(limits()).weight();
  }

  private void assertRefused(String words) {
    assertThatThrownBy(this::limits)
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.INVALID))
        .hasMessageContaining(words);
  }
}
