package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.daemon.Finding.Level;
import io.berth.daemon.HostFacts.CgroupLayout;
import io.berth.linux.CgroupDriver;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// A made-up machine in a folder, in good order unless a test says otherwise.
class DoctorTest implements Programs {
  @TempDir Path root;
  private final Map<String, String> outputs = new HashMap<>();
  private String config = "";

  @BeforeEach
  void makeAGoodMachine() throws IOException {
    put("proc/sys/kernel/osrelease", "6.12.43+deb13-amd64");
    put("proc/self/status", "Name:\tjava\nUid:\t0\t0\t0\t0\n");
    put("proc/filesystems", "nodev\tproc\nnodev\toverlay\n");
    put("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids");
    Files.createDirectories(root.resolve("run/systemd/system"));
    put("proc/self/oom_score_adj", "0");
    put("proc/sys/net/ipv4/ip_forward", "1");
    put("proc/sys/net/bridge/bridge-nf-call-iptables", "1");
    put("proc/sys/kernel/seccomp/actions_avail", "kill_process");
    put("sys/module/apparmor/parameters/enabled", "Y");
    put("proc/sys/user/max_user_namespaces", "100000");
    put("proc/self/ns/user", "");
    put("proc/swaps", "Filename\tType\n");
    put("proc/sys/fs/inotify/max_user_instances", "8192");
    put("proc/sys/fs/inotify/max_user_watches", "524288");
    put("proc/pressure/memory", "");
    put("proc/self/mounts", "/dev/vda / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n");
    put(
        "etc/cni/net.d/10-net.conflist",
        """
        {"cniVersion": "1.0.0", "name": "net", "plugins": [
          {"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "portmap"}]}
        """);
    for (String plugin : List.of("bridge", "host-local", "portmap")) {
      outputs.put("/usr/lib/cni/" + plugin, "CNI " + plugin + " plugin v1.8.0");
    }
    outputs.put("/usr/bin/runc", "runc version 1.5.0");
    outputs.put("/usr/bin/conmon", "conmon version 2.2.1");
    outputs.put("/usr/bin/catatonit", "tini version 0.2.0_catatonit");
    outputs.put("/usr/bin/iptables", "");
    outputs.put("/usr/bin/apparmor_parser", "AppArmor parser version 4.1.0");
  }

  @Test
  void aMachineInGoodOrderNeedsNothing() throws Exception {
    assertThat(examine())
        .allSatisfy(finding -> assertThat(finding.level()).as("%s", finding).isEqualTo(Level.OK));
  }

  @Test
  void everyProblemComesWithAdvice() throws Exception {
    outputs.clear();
    for (String file : List.of("proc/filesystems", "proc/sys/kernel/seccomp/actions_avail")) {
      Files.delete(root.resolve(file));
    }
    put("proc/self/status", "Uid:\t1000\t1000\t1000\t1000\n");
    put("proc/sys/kernel/osrelease", "5.4.0");
    put("proc/swaps", "Filename\tType\n/dev/sda2\tpartition\n");
    put("proc/sys/user/max_user_namespaces", "0");
    List<Finding> findings = examine();
    assertThat(findings)
        .filteredOn(finding -> finding.level() == Level.FAILURE)
        .extracting(Finding::subject)
        .containsExactly("user", "kernel", "overlayfs", "runtime runc", "conmon", "CNI");
    assertThat(findings)
        .filteredOn(finding -> finding.level() == Level.WARNING)
        .extracting(Finding::subject)
        .containsExactly("init", "firewall", "seccomp", "AppArmor", "user namespaces", "swap");
    assertThat(findings)
        .filteredOn(finding -> finding.level() != Level.OK)
        .allSatisfy(finding -> assertThat(finding.advice()).isNotEmpty());
  }

  @Test
  void aHybridCgroupLayoutWarnsOfCrunWhereItIsInstalled() throws Exception {
    hybrid();
    assertThat(finding("cgroups").level()).isEqualTo(Level.OK);
    outputs.put("/usr/bin/crun", "crun version 1.29");
    assertThat(finding("cgroups").level()).isEqualTo(Level.WARNING);
    assertThat(finding("cgroups").found()).contains("hybrid").contains("crun refuses");
  }

  @Test
  void theSystemdDriverWithoutSystemdFails() throws Exception {
    Files.delete(root.resolve("run/systemd/system"));
    config = "containers.cgroup_driver = \"systemd\"";
    assertThat(finding("cgroups").level()).isEqualTo(Level.FAILURE);
    assertThat(finding("cgroups").advice()).contains("containers.cgroup_driver");
  }

  @Test
  void appArmorWithoutItsParserWarns() throws Exception {
    outputs.remove("/usr/bin/apparmor_parser");
    assertThat(finding("AppArmor").level()).isEqualTo(Level.WARNING);
    assertThat(finding("AppArmor").advice()).isEqualTo("install the package apparmor");
    put("sys/module/apparmor/parameters/enabled", "N");
    assertThat(finding("AppArmor").level()).isEqualTo(Level.OK);
    assertThat(finding("AppArmor").found()).contains("not enabled", "refused");
  }

  @Test
  void selinuxWhosePolicyKnowsNoContainersWarns() throws Exception {
    assertThat(finding("SELinux").found()).contains("not enabled", "refused");
    put("sys/fs/selinux/enforce", "1");
    put("etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=strict\n");
    assertThat(finding("SELinux").level()).isEqualTo(Level.WARNING);
    assertThat(finding("SELinux").found()).startsWith("enforcing, but policy strict has no");
    put("etc/selinux/strict/contexts/lxc_contexts", "process = \"u:r:t:s0\"");
    assertThat(finding("SELinux").level()).as("the kernel says no").isEqualTo(Level.WARNING);
    put("sys/fs/selinux/context", "");
    assertThat(finding("SELinux").found())
        .isEqualTo("enforcing, containers are labelled by policy strict");
  }

  @Test
  void missingPluginsAreNamed() throws Exception {
    outputs.remove("/usr/lib/cni/host-local");
    assertThat(finding("CNI").level()).isEqualTo(Level.FAILURE);
    assertThat(finding("CNI").found()).endsWith("not installed: [host-local]");
  }

  @Test
  void aBrokenNetworkFileIsNamed() throws Exception {
    put("etc/cni/net.d/10-net.conflist", "{");
    assertThat(finding("CNI").found()).endsWith("10-net.conflist is not valid JSON");
  }

  @Test
  void vulnerableRuntimesAreNamedWithTheFix() throws Exception {
    outputs.put("/usr/bin/runc", "runc version 1.1.4");
    Finding runc = finding("runtime runc");
    assertThat(runc.level()).isEqualTo(Level.WARNING);
    assertThat(runc.found()).startsWith("1.1.4 (/usr/bin/runc), known to have: CVE-2024-21626");
    assertThat(runc.advice()).isEqualTo("install runc 1.3.6, 1.4.3 or 1.5.0 or newer");
  }

  @Test
  void aConmonTooOldFails() throws Exception {
    outputs.put("/usr/bin/conmon", "conmon version 2.0.25");
    assertThat(finding("conmon").level()).isEqualTo(Level.FAILURE);
  }

  @Test
  void theReportIsReadableByProgramsToo() throws Exception {
    List<Finding> findings = examine();
    JsonNode json = new JsonMapper().readTree(DoctorReport.json(findings));
    assertThat(json).hasSize(findings.size());
    assertThat(json.get(0).get("level").asText()).isEqualTo("OK");
    assertThat(DoctorReport.text(findings)).contains("ok       kernel              6.12.43");
  }

  @Test
  void factsTellLayoutAndDriver() throws IOException {
    HostFacts facts = HostFacts.detect(root);
    assertThat(facts.cgroups()).isEqualTo(CgroupLayout.V2);
    assertThat(facts.cgroupDriver(DaemonConfig.CgroupDriverSetting.AUTO))
        .isEqualTo(CgroupDriver.SYSTEMD);
    Files.delete(root.resolve("run/systemd/system"));
    hybrid();
    facts = HostFacts.detect(root);
    assertThat(facts.cgroups()).isEqualTo(CgroupLayout.HYBRID);
    assertThat(facts.cgroupDriver(DaemonConfig.CgroupDriverSetting.AUTO))
        .isEqualTo(CgroupDriver.CGROUPFS);
  }

  @Test
  void theLowestOomScoreIsFoundByTryingAndTheOldOnePutBack() throws IOException {
    Path real = Path.of("/proc/self/oom_score_adj");
    String before = Files.readString(real);
    int lowest = HostFacts.lowestOomScoreAdj(real);
    assertThat(Files.readString(real)).isEqualTo(before);
    Files.writeString(real, Integer.toString(lowest));
    try {
      if (lowest > HostFacts.LOWEST_OOM_SCORE_ADJ) {
        assertThat(
                org.assertj.core.api.Assertions.catchThrowable(
                    () -> Files.writeString(real, Integer.toString(lowest - 1))))
            .isInstanceOf(IOException.class);
      }
    } finally {
      Files.writeString(real, before.strip());
    }
  }

  private void hybrid() throws IOException {
    Files.delete(root.resolve("sys/fs/cgroup/cgroup.controllers"));
    for (String controller : List.of("cpu", "cpuset", "memory", "pids")) {
      Files.createDirectories(root.resolve("sys/fs/cgroup").resolve(controller));
    }
    put("sys/fs/cgroup/unified/cgroup.controllers", "");
  }

  private Finding finding(String subject) throws Exception {
    return examine().stream()
        .filter(finding -> finding.subject().equals(subject))
        .findFirst()
        .orElseThrow();
  }

  private List<Finding> examine() throws Exception {
    Path file = Files.writeString(root.resolve("config.toml"), config);
    return new Doctor(root, ConfigLoader.load(file), this).examine();
  }

  private void put(String file, String text) throws IOException {
    Path path = root.resolve(file);
    Files.createDirectories(path.getParent());
    Files.writeString(path, text);
  }

  @Override
  public Optional<Path> find(Executable program) {
    String name = program.name();
    String path = name.startsWith("/") ? name : "/usr/bin/" + name;
    return outputs.containsKey(path) ? Optional.of(Path.of(path)) : Optional.empty();
  }

  @Override
  public Optional<String> output(List<String> argv) {
    return Optional.ofNullable(outputs.get(argv.getFirst()));
  }
}
