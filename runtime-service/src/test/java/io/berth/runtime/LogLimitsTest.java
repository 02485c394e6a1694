package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LogLimitsTest {
  private static final LogLimits CONFIGURED = new LogLimits(5 << 20, 5);

  private static ContainerConfig with(Map<String, String> annotations) {
    ContainerConfig c = Containers.named("logs");
    return new ContainerConfig(
        c.name(),
        c.attempt(),
        c.image(),
        c.userImage(),
        c.command(),
        c.args(),
        c.workingDir(),
        c.envs(),
        c.mounts(),
        c.devices(),
        c.cdiDevices(),
        c.labels(),
        annotations,
        c.logPath(),
        c.stdin(),
        c.stdinOnce(),
        c.tty(),
        c.stopSignal(),
        c.resources(),
        c.security());
  }

  @ParameterizedTest
  @CsvSource({"10MiB, 10485760", "1Gi, 1073741824", "100KiB, 102400", "4096, 4096", "0, 0"})
  void annotationsWinOverTheConfiguration(String text, long bytes) {
    ContainerConfig container = with(Map.of(LogLimits.MAX_SIZE, text, LogLimits.MAX_FILES, "3"));
    assertThat(CONFIGURED.of(container)).isEqualTo(new LogLimits(bytes, 3));
  }

  @Test
  void configurationHoldsForAContainerThatSaysNothing() {
    assertThat(CONFIGURED.of(with(Map.of()))).isEqualTo(CONFIGURED);
  }

  @ParameterizedTest
  @CsvSource({
    "berth.io/log-max-size, ten",
    "berth.io/log-max-size, 10MB",
    "berth.io/log-max-size, -1",
    "berth.io/log-max-size, 9999999999",
    "berth.io/log-max-files, 1",
    "berth.io/log-max-files, many"
  })
  void whatCantBeReadIsRefusedByName(String annotation, String value) {
    assertThatThrownBy(() -> LogLimits.require(with(Map.of(annotation, value))))
        .isInstanceOfSatisfying(
            ContainerException.class,
            refusal -> assertThat(refusal.reason()).isEqualTo(ContainerException.Reason.INVALID))
        .hasMessageContaining(annotation)
        .hasMessageContaining(value);
  }
}
