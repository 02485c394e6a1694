package io.berth.sandbox;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.InetAddress;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PodNetworkTest {
  @Test
  void prefersIpv4AndKeepsThePluginsOrderOtherwise() {
    assertThat(
            PodNetwork.preferred(
                List.of(
                    InetAddress.ofLiteral("fd00::5"),
                    InetAddress.ofLiteral("10.1.2.9"),
                    InetAddress.ofLiteral("10.1.2.3"))))
        .containsExactly("10.1.2.9", "10.1.2.3", "fd00::5");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "::",
        "::1",
        "fd00::",
        "fd00:0:1::2",
        "1:0:2:3:4:5:6:7",
        "1::2:0:0:3:4",
        "10.0.0.1"
      })
  void writesAddressesAsKubernetesDoes(String address) {
    assertThat(PodNetwork.text(InetAddress.ofLiteral(address))).isEqualTo(address);
  }

  @Test
  void publishesOnlyPortsOfTheMachine() {
    SandboxConfig config =
        Configs.pod("p")
            .ports(
                new PortMapping(PortMapping.Protocol.TCP, 80, 8080, ""),
                new PortMapping(PortMapping.Protocol.UDP, 53, 0, ""),
                new PortMapping(PortMapping.Protocol.SCTP, 7, 7007, "10.0.0.1"))
            .build();
    assertThat(PodNetwork.capabilities(config).toString())
        .isEqualTo(
            "{\"portMappings\":["
                + "{\"hostPort\":8080,\"containerPort\":80,\"protocol\":\"tcp\"},"
                + "{\"hostPort\":7007,\"containerPort\":7,\"protocol\":\"sctp\",\"hostIP\":\"10.0.0.1\"}]}");
  }

  @Test
  void passesBandwidthAndResolverOn() {
    SandboxConfig config =
        Configs.pod("p")
            .dns(new DnsConfig(List.of("10.0.0.10"), List.of("cluster.local"), List.of()))
            .annotations(Map.of("kubernetes.io/ingress-bandwidth", "10M"))
            .build();
    assertThat(PodNetwork.capabilities(config).toString())
        .contains("\"dns\":{\"servers\":[\"10.0.0.10\"],\"searches\":[\"cluster.local\"]}")
        .contains("\"bandwidth\":{\"ingressRate\":10000000,\"ingressBurst\":4294967295}");
  }

  @Test
  void refusesABandwidthThatIsNoQuantity() {
    SandboxConfig config =
        Configs.pod("p").annotations(Map.of("kubernetes.io/egress-bandwidth", "fast")).build();
    assertThatThrownBy(() -> PodNetwork.capabilities(config))
        .isInstanceOf(SandboxException.class)
        .hasMessageContaining("run sandbox default/p")
        .hasMessageContaining("fast");
  }

  @Test
  void refusesAPortThatIsNone() {
    SandboxConfig config =
        Configs.pod("p").ports(new PortMapping(PortMapping.Protocol.TCP, 80, 70000, "")).build();
    assertThatThrownBy(() -> PodNetwork.capabilities(config))
        .hasMessageContaining("port 80 published as 70000: ports are numbers from 1 to 65535");
  }
}
