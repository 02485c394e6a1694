package io.berth.sandbox;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SandboxFilesTest {
  private final SandboxId id = SandboxId.random();

  @Test
  void writesOneLineOfSearchesOneForEachServerAndOneOfOptions() {
    assertThat(
            SandboxFiles.resolvConfOf(
                new DnsConfig(
                    List.of("10.0.0.10", "fd00::10"),
                    List.of("default.svc.cluster.local", "cluster.local"),
                    List.of("ndots:5", "edns0"))))
        .isEqualTo(
            """
            search default.svc.cluster.local cluster.local
            nameserver 10.0.0.10
            nameserver fd00::10
            options ndots:5 edns0
            """);
  }

  @Test
  void writesNothingForAnEmptyResolver() {
    assertThat(SandboxFiles.resolvConfOf(new DnsConfig(List.of(), List.of(), List.of()))).isEmpty();
  }

  @Test
  void refusesAServerThatWouldAddALine() {
    SandboxConfig config =
        Configs.pod("p")
            .dns(new DnsConfig(List.of("10.0.0.1\nnameserver 6.6.6.6"), List.of(), List.of()))
            .build();
    assertThatThrownBy(() -> SandboxFiles.checkDns(config))
        .hasMessageContaining("dns entry \"10.0.0.1?nameserver 6.6.6.6\" must be one word");
  }

  @Test
  void takesTheHostnameOfTheRequest() {
    assertThat(SandboxFiles.hostname(Configs.pod("p").hostname("web.example").build(), id))
        .isEqualTo("web.example");
  }

  @Test
  void namesAPodWithoutAHostnameAfterItsId() {
    assertThat(SandboxFiles.hostname(Configs.pod("p").hostname("").build(), id))
        .isEqualTo(id.shortForm());
  }

  @Test
  void namesAPodOnTheNetworkOfTheMachineAfterTheMachine() throws IOException {
    assertThat(
            SandboxFiles.hostname(
                Configs.pod("p")
                    .hostname("")
                    .modes(NamespaceMode.NODE, NamespaceMode.POD, NamespaceMode.POD)
                    .build(),
                id))
        .isEqualTo(Files.readString(Path.of("/proc/sys/kernel/hostname")).strip());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "a b",
        "a\nb",
        "-a",
        "a.",
        "a/b",
        "x2345678901234567890123456789012345678901234567890123456789012345"
      })
  void refusesWhatIsNoHostname(String hostname) {
    assertThatThrownBy(() -> SandboxFiles.hostname(Configs.pod("p").hostname(hostname).build(), id))
        .hasMessageContaining("use up to 64 letters, digits, dots and dashes");
  }
}
