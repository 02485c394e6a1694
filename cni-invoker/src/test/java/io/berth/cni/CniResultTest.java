package io.berth.cni;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CniResultTest {
  private static final String V11 =
      """
      {"cniVersion":"1.1.0","interfaces":[{"name":"br0","mac":"02:00:00:00:00:01"},\
      {"name":"eth0","sandbox":"/ns","mtu":1450,"socketPath":"/s","pciID":"0000:00:1f.6"}],\
      "ips":[{"address":"10.1.0.5/24","gateway":"10.1.0.1","interface":1},{"address":"fd00::5/64","interface":1},\
      {"address":"10.1.0.1/24","interface":0}],\
      "routes":[{"dst":"0.0.0.0/0","mtu":1400,"advmss":1360,"priority":5,"table":7,"scope":253},\
      {"dst":"::/0","gw":"fd00::1"}],\
      "dns":{"nameservers":["10.1.0.1"],"domain":"d","search":["s"],"options":["o"]}}\
      """;

  private static CniResult parse(String json) {
    return CniResult.parse(
        "net", "eth0", CniJson.parse(json.getBytes(StandardCharsets.UTF_8)), CniVersion.V1_0_0);
  }

  private static String as(String json, String version) {
    return parse(json).asVersion(CniVersion.parse(version)).toString();
  }

  @Test
  void onlyAddressesOfThePodsInterfaceCount() {
    assertThat(parse(V11).addresses())
        .extracting(CniResult::format)
        .containsExactly("10.1.0.5", "fd00::5");
  }

  @Test
  void everyFieldIsRead() {
    CniResult result = parse(V11);
    assertThat(result.interfaces().get(1))
        .isEqualTo(new CniResult.Interface("eth0", "", "/ns", 1450L, "/s", "0000:00:1f.6"));
    assertThat(result.routes().getFirst())
        .isEqualTo(new CniResult.Route("0.0.0.0/0", null, 1400L, 1360L, 5L, 7L, 253L));
    assertThat(result.ips().getFirst())
        .isEqualTo(
            new CniResult.IpConfig(
                InetAddress.ofLiteral("10.1.0.5"), 24, InetAddress.ofLiteral("10.1.0.1"), 1));
    assertThat(result.dns().domain()).isEqualTo("d");
  }

  @Test
  void theOwnVersionIsPassedOnAsItIs() {
    String odd = "{\"ips\":[],\"zeta\":{\"b\":1.50},\"cniVersion\":\"1.1.0\"}";
    assertThat(as(odd, "1.1.0")).isEqualTo(odd);
  }

  @Test
  void anAnswerWithoutVersionIsOfTheOneAskedFor() {
    assertThat(as("{\"ips\":[]}", "1.0.0")).isEqualTo("{\"ips\":[],\"cniVersion\":\"1.0.0\"}");
  }

  @Test
  void version100DropsTheDetailsOf110() {
    assertThat(as(V11, "1.0.0"))
        .isEqualTo(
            """
            {"cniVersion":"1.0.0","interfaces":[{"name":"br0","mac":"02:00:00:00:00:01"},{"name":"eth0","sandbox":"/ns"}],\
            "ips":[{"address":"10.1.0.5/24","gateway":"10.1.0.1","interface":1},{"address":"fd00::5/64","interface":1},\
            {"address":"10.1.0.1/24","interface":0}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0","gw":"fd00::1"}],\
            "dns":{"nameservers":["10.1.0.1"],"domain":"d","search":["s"],"options":["o"]}}\
            """);
  }

  @Test
  void versionsBefore100NameTheFamilyOfAnAddress() {
    for (String version : new String[] {"0.3.0", "0.3.1", "0.4.0"}) {
      assertThat(as(V11, version))
          .startsWith("{\"cniVersion\":\"" + version + "\"")
          .contains("{\"version\":\"4\",\"address\":\"10.1.0.5/24\"")
          .contains("{\"version\":\"6\",\"address\":\"fd00::5/64\"");
    }
  }

  @Test
  void versionsBefore030HaveOneAddressOfEachFamily() {
    assertThat(as(V11, "0.2.0"))
        .isEqualTo(
            """
            {"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.5/24","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0"}]},\
            "ip6":{"ip":"fd00::5/64","routes":[{"dst":"::/0","gw":"fd00::1"}]},\
            "dns":{"nameservers":["10.1.0.1"],"domain":"d","search":["s"],"options":["o"]}}\
            """);
  }

  @Test
  void versionsBefore030AreReadWithTheirRoutes() {
    assertThat(
            as(
                """
                {"cniVersion":"0.1.0","ip4":{"ip":"10.1.0.5/24","gateway":"10.1.0.1","routes":[{"dst":"0.0.0.0/0"}]}}\
                """,
                "1.0.0"))
        .isEqualTo(
            """
            {"cniVersion":"1.0.0","interfaces":[],"ips":[{"address":"10.1.0.5/24","gateway":"10.1.0.1"}],\
            "routes":[{"dst":"0.0.0.0/0"}]}\
            """);
  }

  @ParameterizedTest
  @CsvSource({
    "10.0.0.1, 10.0.0.1",
    "::, ::",
    "::1, ::1",
    "fd00:0:0:0:0:0:0:5, fd00::5",
    "2001:db8:0:0:1:0:0:1, 2001:db8::1:0:0:1",
    "2001:db8:0:1:1:1:1:1, 2001:db8:0:1:1:1:1:1",
    "2001:DB8:1:0:0:0:0:0, 2001:db8:1::",
    "0:0:1:0:0:0:2:3, 0:0:1::2:3"
  })
  void addressesAreShortenedAsRfc5952Says(String address, String text) {
    assertThat(CniResult.format(InetAddress.ofLiteral(address))).isEqualTo(text);
  }
}
