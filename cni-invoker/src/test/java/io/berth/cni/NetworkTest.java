package io.berth.cni;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cni.CapabilityArgs.DnsArgs;
import io.berth.cni.CapabilityArgs.IpRange;
import io.berth.cni.CapabilityArgs.PortMapping;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NetworkTest {
  private static Network network(String json) {
    return Network.of(CniJson.parse(json.replace('\'', '"').getBytes(StandardCharsets.UTF_8)));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'plugins':[{'type':'a'}]} | no name",
        "{'name':5,'plugins':[{'type':'a'}]} | name 5 must consist of",
        "{'name':'a/b','plugins':[{'type':'a'}]} | name \"a/b\" must consist of",
        "{'name':'n','plugins':[]} | plugins is not a list with at least one plugin",
        "{'name':'n','plugins':{}} | plugins is not a list with at least one plugin",
        "{'name':'n','loadOnlyInlinedPlugins':true} | plugins is not a list with at least one plugin",
        "{'name':'n','plugins':['a']} | plugins has an element that is no object",
        "{'name':'n','plugins':[{'x':1}]} | a plugin has no type",
        "{'name':'n','plugins':[{'type':'../sh'}]} | plugin type \"../sh\" is not a file name",
        "{'name':'n','plugins':[{'type':'..'}]} | plugin type \"..\" is not a file name",
        "{'name':'n','cniVersion':1,'plugins':[{'type':'a'}]} | cniVersion: 1 is not a string",
        "{'name':'n','cniVersion':'x','plugins':[{'type':'a'}]} | \"x\" is not a version such as 1.0.0",
        "{'name':'n','cniVersion':'9.0.0','plugins':[{'type':'a'}]} | cniVersion [9.0.0] is none of [1.1.0, 1.0.0,",
        "{'name':'n','cniVersions':'1.0.0','plugins':[{'type':'a'}]} | cniVersions is not a list",
        "{'name':'n','disableGC':'maybe','plugins':[{'type':'a'}]} | disableGC: \"maybe\" is neither true nor false"
      })
  void mistakesAreNamed(String json, String message) {
    assertThatThrownBy(() -> network(json))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith(message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'name':'n','plugins':[{'type':'a'}]} | 0.1.0",
        "{'name':'n','cniVersion':'','plugins':[{'type':'a'}]} | 0.1.0",
        "{'name':'n','cniVersion':'0.3.1','plugins':[{'type':'a'}]} | 0.3.1",
        "{'name':'n','cniVersion':'0.3.1','cniVersions':['0.4.0','1.0.0'],'plugins':[{'type':'a'}]} | 1.0.0",
        "{'name':'n','cniVersion':'1.2.0','cniVersions':['0.4.0'],'plugins':[{'type':'a'}]} | 0.4.0",
        "{'name':'n','cniVersions':['1.1.0','2.0.0'],'plugins':[{'type':'a'}]} | 1.1.0"
      })
  void theNewestCommonVersionIsSpoken(String json, String version) {
    assertThat(network(json).version()).hasToString(version);
  }

  @Test
  void everyCapabilityHasItsForm() {
    CapabilityArgs offered =
        CapabilityArgs.none()
            .portMappings(List.of(new PortMapping(53, 5353, "udp", "127.0.0.1")))
            .bandwidth(new Bandwidth(1L, 2L, 3L, 4L))
            .dns(new DnsArgs(List.of("10.0.0.10"), List.of("svc"), List.of("ndots:5")))
            .ips(List.of("10.1.0.9/24"))
            .mac("02:00:00:00:00:01")
            .ipRanges(List.of(List.of(new IpRange("10.1.0.0/24", null, null, "10.1.0.1"))))
            .aliases(List.of("db"))
            .cgroupPath("/kubepods/pod1")
            .podAnnotations(Map.of("k", "v"));
    String expected =
        """
        {"portMappings":[{"hostPort":53,"containerPort":5353,"protocol":"udp","hostIP":"127.0.0.1"}],\
        "bandwidth":{"ingressRate":1,"ingressBurst":2,"egressRate":3,"egressBurst":4},\
        "dns":{"servers":["10.0.0.10"],"searches":["svc"],"options":["ndots:5"]},"ips":["10.1.0.9/24"],\
        "mac":"02:00:00:00:00:01","ipRanges":[[{"subnet":"10.1.0.0/24","gateway":"10.1.0.1"}]],"aliases":["db"],\
        "cgroupPath":"/kubepods/pod1","io.kubernetes.cri.pod-annotations":{"k":"v"}}\
        """;
    assertThat(offered).hasToString(expected);
    assertThat(CapabilityArgs.fromJson(offered.toJson())).isEqualTo(offered);
  }

  @Test
  void aPluginGetsTheCapabilitiesItDeclaresAndNoOther() {
    Network network =
        network(
            "{'name':'n','plugins':[{'type':'a','capabilities':{'mac':true,'dns':false,'ips':true}}]}");
    CapabilityArgs offered =
        CapabilityArgs.none()
            .mac("m")
            .aliases(List.of("x"))
            .dns(new DnsArgs(List.of("s"), List.of(), List.of()));
    assertThat(network.request(network.plugins().getFirst(), offered, null))
        .hasToString(
            "{\"type\":\"a\",\"cniVersion\":\"0.1.0\",\"name\":\"n\",\"runtimeConfig\":{\"mac\":\"m\"}}");
  }
}
