package io.berth.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import org.junit.jupiter.api.Test;

final class MarkdownTableTest {
  @Test
  void columnsAlignAndNumbersStandRight() {
    var table = new MarkdownTable("call", "p50").row("ExecSync", "1.0").row("Stop", "12345.0");
    assertThat(table.toString())
        .isEqualTo(
            """
            | call     |     p50 |
            | -------- | ------: |
            | ExecSync |     1.0 |
            | Stop     | 12345.0 |
            """);
  }

  @Test
  void rowOfAnotherWidthIsRefused() {
    var table = new MarkdownTable("call", "p50");
    assertThatThrownBy(() -> table.row("ExecSync")).hasMessage("1 cells under 2 headings");
  }

  @Test
  void millisecondsKeepThreeDigitsAtMost() {
    assertThat(MarkdownTable.millis(Duration.ofNanos(830_000))).isEqualTo("0.83");
    assertThat(MarkdownTable.millis(Duration.ofNanos(12_340_000))).isEqualTo("12.3");
    assertThat(MarkdownTable.millis(Duration.ofMillis(1234))).isEqualTo("1234");
  }
}
