package io.berth.runtime;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.oci.RuntimeSpec;
import io.berth.runtime.ContainerException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CdiDevicesTest {
  private static final String GPU =
      """
      cdiVersion: "0.8.0"
      kind: vendor.example/gpu
      containerEdits:
        env: [VENDOR=all, PATH=/opt/vendor]
        hooks:
          - {hookName: createContainer, path: /usr/bin/vendor-hook, args: [vendor-hook, ldconfig], timeout: 5}
      devices:
        - name: "0"
          containerEdits:
            deviceNodes:
              - {path: /dev/gpu0, hostPath: /dev/null, permissions: rw}
              - {path: /dev/made-up, type: c, major: 195, minor: 1, fileMode: 384, uid: 7, gid: 8}
            mounts:
              - {hostPath: /opt/vendor, containerPath: /opt/vendor, options: [ro, nosuid]}
            additionalGIDs: [44, 0]
        - name: "1"
          containerEdits:
            env: [SECOND=1]
      """;

  @TempDir Path folder;
  private final RequestFixture pod = new RequestFixture();
  private Path etc = Path.of("/");
  private Path run = Path.of("/");
  private SpecBuilder builder = RequestFixture.specs(SpecSettings.PLAIN);

  @BeforeEach
  void folders() throws IOException {
    etc = Files.createDirectory(folder.resolve("etc"));
    run = Files.createDirectory(folder.resolve("run"));
    builder =
        RequestFixture.specs(
            new SpecSettings(List.of(), List.of(etc, run), List.of(), Path.of("/none"), false));
    Files.writeString(etc.resolve("gpu.yaml"), GPU);
  }

  @Test
  void deviceBringsItsEditsAndThoseOfItsFile() {
    pod.envs = List.of("PATH=/bin");
    pod.cdiDevices = List.of("vendor.example/gpu=0");
    RuntimeSpec spec = spec();
    var process = requireNonNull(spec.process());
    assertThat(process.env())
        .contains("VENDOR=all", "PATH=/opt/vendor")
        .doesNotContain("PATH=/bin");
    assertThat(process.user().additionalGids()).containsExactly(0L, 44L);
    var linux = requireNonNull(spec.linux());
    assertThat(linux.devices())
        .contains(
            new RuntimeSpec.Device("/dev/gpu0", "c", 1L, 3L, null, null, null),
            new RuntimeSpec.Device("/dev/made-up", "c", 195L, 1L, 384, 7L, 8L));
    assertThat(requireNonNull(linux.resources()).devices())
        .contains(
            new RuntimeSpec.DeviceRule(true, "c", 1L, 3L, "rw"),
            new RuntimeSpec.DeviceRule(true, "c", 195L, 1L, "rwm"));
    assertThat(spec.mounts())
        .filteredOn(mount -> mount.destination().equals("/opt/vendor"))
        .singleElement()
        .satisfies(mount -> assertThat(mount.options()).containsExactly("ro", "nosuid", "bind"));
    assertThat(requireNonNull(requireNonNull(spec.hooks()).createContainer()))
        .singleElement()
        .satisfies(hook -> {
          assertThat(hook.path()).isEqualTo("/usr/bin/vendor-hook");
          assertThat(hook.timeout()).isEqualTo(5);
        });
  }

  @Test
  void nodesBelongToTheProgramsUserWhereTheFileSaysNothing() {
    pod.user = new ImageUser.Resolved(1000, 2000, List.of(2000L));
    pod.cdiDevices = List.of("vendor.example/gpu=0");
    assertThat(requireNonNull(spec().linux()).devices())
        .contains(new RuntimeSpec.Device("/dev/gpu0", "c", 1L, 3L, null, 1000L, 2000L));
  }

  @Test
  void fieldAndAnnotationsNameTheSameDeviceOnce() {
    pod.cdiDevices = List.of("vendor.example/gpu=1", "vendor.example/gpu=0");
    pod.annotations = Map.of("cdi.k8s.io/plugin_x", "vendor.example/gpu=0,vendor.example/gpu=1");
    RuntimeSpec spec = spec();
    assertThat(requireNonNull(requireNonNull(spec.hooks()).createContainer())).hasSize(1);
    assertThat(requireNonNull(requireNonNull(spec.linux()).devices())).hasSize(2);
    assertThat(requireNonNull(spec.process()).env()).contains("SECOND=1");
    assertThat(requireNonNull(spec.annotations()).keySet())
        .noneMatch(key -> key.startsWith("cdi.k8s.io"));
  }

  @Test
  void fileIsInForceAsSoonAsItIsThereAndGoneWithIt() throws IOException {
    pod.cdiDevices = List.of("vendor.example/nic=a");
    assertRefused(Reason.INVALID, "CDI device \"vendor.example/nic=a\" isn't described in [" + etc);
    Path file =
        Files.writeString(
            run.resolve("nic.json"),
            """
            {"cdiVersion": "0.6.0", "kind": "vendor.example/nic",
             "devices": [{"name": "a", "containerEdits": {"env": ["NIC=a"]}}]}
            """);
    assertThat(requireNonNull(spec().process()).env()).contains("NIC=a");
    Files.delete(file);
    assertRefused(Reason.INVALID, "isn't described");
  }

  @Test
  void laterFolderWinsAndOneFolderMayNotDescribeADeviceTwice() throws IOException {
    pod.cdiDevices = List.of("vendor.example/gpu=1");
    Files.writeString(run.resolve("gpu.yaml"), GPU.replace("SECOND=1", "SECOND=of-run"));
    assertThat(requireNonNull(spec().process()).env()).contains("SECOND=of-run");
    Files.writeString(run.resolve("gpu-again.yaml"), GPU);
    assertRefused(Reason.INVALID, "is described twice, in " + run.resolve("gpu-again.yaml"));
  }

  @Test
  void whatCannotBeGivenIsRefusedAndNotPassedOver() throws IOException {
    for (String[] wrong :
        new String[][] {
          {"intelRdt: {closID: x}", "Intel RDT"},
          {"netDevices: [{hostInterfaceName: eth1, name: eth1}]", "network device"},
          {"deviceNodes: [{path: /dev/x, hostPath: /dev/no-such-node}]", "doesn't exist"},
          {"deviceNodes: [{path: /dev/x, hostPath: /etc/passwd}]", "isn't such a device"},
          {"deviceNodes: [{path: dev/x}]", "must be absolute"},
          {"hooks: [{hookName: sometime, path: /bin/true}]", "no stage"},
          {"env: [=x]", "without a name"}
        }) {
      Files.writeString(
          etc.resolve("odd.yaml"),
          """
          cdiVersion: 0.7.0
          kind: vendor.example/odd
          devices:
            - name: x
              containerEdits:
                %s
          """
              .formatted(wrong[0]));
      pod.cdiDevices = List.of("vendor.example/odd=x");
      assertThatThrownBy(this::spec)
          .as(wrong[0])
          .isInstanceOf(ContainerException.class)
          .hasMessageContaining(wrong[1]);
    }
  }

  @Test
  void brokenFileHurtsNobodyWhoNeedsAnotherAndIsNamedToWhomItMayConcern() throws IOException {
    Files.writeString(etc.resolve("broken.json"), "{\"cdiVersion\": ");
    pod.cdiDevices = List.of("vendor.example/gpu=1");
    spec();
    pod.cdiDevices = List.of("vendor.example/other=1");
    assertRefused(Reason.INVALID, etc.resolve("broken.json") + ": it is malformed");
  }

  private RuntimeSpec spec() {
    return pod.built(builder);
  }

  private void assertRefused(Reason reason, String words) {
    assertThatThrownBy(this::spec)
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(reason))
        .hasMessageContaining(words);
  }
}
