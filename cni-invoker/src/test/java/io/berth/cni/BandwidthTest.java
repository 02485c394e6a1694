package io.berth.cni;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class BandwidthTest {
  @ParameterizedTest
  @CsvSource({
    "10M, 10000000",
    "1Gi, 1073741824",
    "1500, 1500",
    "1.5k, 1500",
    "1e6, 1000000",
    "2E3, 2000",
    "2E, 2000000000000000000",
    "100500m, 101",
    ".5Ki, 512"
  })
  void quantitiesAreReadAsKubernetesDoes(String quantity, String bits) {
    var annotations = Map.of("kubernetes.io/ingress-bandwidth", quantity);
    if (bits.length() > 18) {
      assertThatThrownBy(() -> Bandwidth.fromAnnotations(annotations))
          .isInstanceOf(CniException.class);
    } else {
      assertThat(Bandwidth.fromAnnotations(annotations))
          .contains(new Bandwidth(Long.valueOf(bits), 4294967295L, null, null));
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "M", "-1", "0", "1Mb", "10 M", "1e", "1ei3"})
  void anythingElseIsRefusedByName(String quantity) {
    assertThatThrownBy(
            () -> Bandwidth.fromAnnotations(Map.of("kubernetes.io/egress-bandwidth", quantity)))
        .hasMessage(
            "annotation kubernetes.io/egress-bandwidth: \""
                + quantity
                + "\" is not a positive quantity of bits per second such as 10M");
  }

  @Test
  void podsWithoutAnnotationsAreNotLimited() {
    assertThat(Bandwidth.fromAnnotations(Map.of("other", "10M"))).isEmpty();
  }

  @Test
  void onlyTheDirectionAskedForIsOffered() {
    Bandwidth bandwidth =
        Bandwidth.fromAnnotations(Map.of("kubernetes.io/egress-bandwidth", "1M")).orElseThrow();
    assertThat(CapabilityArgs.none().bandwidth(bandwidth))
        .hasToString("{\"bandwidth\":{\"egressRate\":1000000,\"egressBurst\":4294967295}}");
  }
}
