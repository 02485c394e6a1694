package io.berth.sandbox;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SysctlsTest {
  private static final NamespaceMode POD = NamespaceMode.POD;
  private static final NamespaceMode NODE = NamespaceMode.NODE;

  @ParameterizedTest
  @CsvSource({
    "net.core.somaxconn, net/core/somaxconn",
    "net/core/somaxconn, net/core/somaxconn",
    "net.ipv4.conf.eno1/5.rp_filter, net/ipv4/conf/eno1.5/rp_filter",
    "net/ipv4/conf/eno1.5/rp_filter, net/ipv4/conf/eno1.5/rp_filter",
    "kernel.shm_rmid_forced, kernel/shm_rmid_forced",
    "kernel.msgmax, kernel/msgmax",
    "kernel.sem, kernel/sem",
    "fs.mqueue.msg_max, fs/mqueue/msg_max"
  })
  void readsNamesWithDotsAndWithSlashes(String name, String path) {
    Sysctls sysctls = Sysctls.of(Configs.pod("p").sysctl(name, " 12 ").build());
    assertThat(sysctls.settings()).containsEntry(Path.of(path), "12");
  }

  @Test
  void opensLowPortsAndPingInANetworkOfThePodsOwn() {
    assertThat(Sysctls.of(Configs.pod("p").build()).settings())
        .isEqualTo(
            Map.of(
                Path.of("net/ipv4/ip_unprivileged_port_start"), "0",
                Path.of("net/ipv4/ping_group_range"), "0 2147483647"));
    assertThat(Sysctls.of(Configs.hostNetwork("p")).settings()).isEmpty();
  }

  @Test
  void letsThePodOverrideADefault() {
    assertThat(
            Sysctls.of(
                    Configs.pod("p").sysctl("net.ipv4.ip_unprivileged_port_start", "1024").build())
                .settings())
        .containsEntry(Path.of("net/ipv4/ip_unprivileged_port_start"), "1024");
  }

  @ParameterizedTest
  @CsvSource({
    "kernel.panic, 1, once for the whole machine",
    "vm.swappiness, 1, once for the whole machine",
    "fs.file-max, 1, once for the whole machine",
    "kernel.shm/x.y, 1, once for the whole machine",
    "net, 1, no part before a dot",
    "net..core, 1, malformed",
    "net.., 1, malformed",
    "net/../kernel/panic, 1, malformed",
    "net.core.somaxconn, ' ', empty",
    "'net.core.so maxconn', 1, malformed"
  })
  void refusesWhatIsNoneOfAPodsBusiness(String name, String value, String why) {
    assertThatThrownBy(() -> Sysctls.of(Configs.pod("p").sysctl(name, value).build()))
        .asInstanceOf(type(SandboxException.class))
        .returns(SandboxException.Reason.INVALID, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .startsWith("run sandbox default/p (uid uid-p, attempt 0): sysctl \"" + name + "\": ")
        .contains(why);
  }

  @Test
  void refusesAValueWithALineBreak() {
    assertThatThrownBy(
            () -> Sysctls.of(Configs.pod("p").sysctl("net.core.somaxconn", "1\n2").build()))
        .hasMessageContaining("not plain text");
  }

  @Test
  void refusesNetworkSettingsOnTheNetworkOfTheMachine() {
    assertThatThrownBy(() ->
            Sysctls.of(
                Configs.pod("p").sysctl("net.core.somaxconn", "1").modes(NODE, POD, POD).build()))
        .hasMessageContaining("shares with the machine; give the pod a network of its own");
  }

  @Test
  void refusesIpcSettingsInTheIpcOfTheMachine() {
    assertThatThrownBy(() ->
            Sysctls.of(Configs.pod("p").sysctl("kernel.msgmax", "1").modes(POD, POD, NODE).build()))
        .hasMessageContaining("shares with the machine; give the pod IPC of its own");
  }
}
