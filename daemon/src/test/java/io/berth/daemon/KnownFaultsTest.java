package io.berth.daemon;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class KnownFaultsTest {
  @ParameterizedTest
  @CsvSource({
    "1.1.4, 21626 31133 41579",
    "1.1.12, 31133 41579",
    "1.2.7, 31133 41579",
    "1.2.8, 41579",
    "1.3.2, 31133 41579",
    "1.3.3, 41579",
    "1.3.6, ''",
    "1.4.0-rc.2, 31133 41579",
    "1.4.0-rc.3, 41579",
    "1.4.3, ''",
    "1.5.0-rc.2, 41579",
    "1.5.0, ''",
    "2.0.0, ''",
  })
  void runcIsJudgedByTheFixOfItsOwnSeries(String version, String cves) {
    String words = words(KnownFaults.ofRunc(Version.of(version), "runc version " + version));
    for (String cve : List.of("21626", "31133", "41579")) {
      assertThat(words.contains(cve)).as(cve).isEqualTo(cves.contains(cve));
    }
  }

  @Test
  void debiansPatchedRuncLacksTheLaterFixesOnly() {
    String output =
        """
        runc version 1.1.5+ds1
        commit: 1.1.5+ds1-1+deb12u1
        spec: 1.0.2-dev
        """;
    Version version = Version.find(output).orElseThrow();
    assertThat(version).hasToString("1.1.5+ds1");
    assertThat(words(KnownFaults.ofRunc(version, output)))
        .doesNotContain("21626")
        .contains("CVE-2025-31133");
  }

  @ParameterizedTest
  @CsvSource({
    "1.8.1, 24965 47766",
    "1.19, 24965 30892 47766",
    "1.26, 30892 47766",
    "1.27, 47766",
    "1.28, ''"
  })
  void crunIsJudgedByVersion(String version, String cves) {
    String words = words(KnownFaults.ofCrun(Version.of(version)));
    for (String cve : List.of("24965", "30892", "47766")) {
      assertThat(words.contains(cve)).as(cve).isEqualTo(cves.contains(cve));
    }
  }

  @Test
  void portmapIsAtFaultWithNftablesOnly() {
    assertThat(KnownFaults.ofPortmap(Version.of("1.8.0"), false)).isEmpty();
    assertThat(words(KnownFaults.ofPortmap(Version.of("1.8.0"), true))).contains("67499");
    assertThat(KnownFaults.ofPortmap(Version.of("v1.9.0"), true)).isEmpty();
  }

  @Test
  void versionsAreOrderedAndDistributionSuffixesDoNotCount() {
    assertThat(Version.of("1.0.0-rc93")).isLessThan(Version.of("1.0.0"));
    assertThat(Version.of("6.1.0-32-amd64")).isEqualTo(Version.of("6.1"));
    assertThat(Version.of("1.10.0")).isGreaterThan(Version.of("1.9.9"));
    assertThat(Version.find("version unknown")).isEmpty();
  }

  private static String words(List<KnownFaults.Fault> faults) {
    return faults.toString();
  }
}
