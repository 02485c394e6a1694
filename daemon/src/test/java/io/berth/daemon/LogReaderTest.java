package io.berth.daemon;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LogReaderTest {
  private static final String TIME = "2026-01-02T03:04:05.678901234Z";

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();
  private final ByteArrayOutputStream err = new ByteArrayOutputStream();
  private Path log;

  @BeforeEach
  void choose(@TempDir Path folder) {
    log = folder.resolve("0.log");
  }

  private void write(String... records) throws IOException {
    var text = new StringBuilder();
    for (String record : records) {
      text.append(TIME).append(' ').append(record).append('\n');
    }
    Files.writeString(log, text, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  private LogReader reader(boolean timestamps) {
    return new LogReader(log, out, err, timestamps);
  }

  @Test
  void eachStreamGetsItsLinesAndPartsAreJoined() throws IOException {
    write("stdout F one", "stderr F problem", "stdout P tw", "stderr P mo", "stdout F o");
    write("stderr F re", "stdout F ", "stdout P no newline");
    reader(false).print(LogReader.ALL);
    assertThat(out.toString(UTF_8)).isEqualTo("one\ntwo\n\nno newline");
    assertThat(err.toString(UTF_8)).isEqualTo("problem\nmore\n");
  }

  @Test
  void timeStandsOnceBeforeEachLine() throws IOException {
    write("stdout P o", "stdout F ne", "stdout F two");
    reader(true).print(LogReader.ALL);
    assertThat(out.toString(UTF_8)).isEqualTo(TIME + " one\n" + TIME + " two\n");
  }

  @ParameterizedTest
  @CsvSource({"0, ''", "1, 3", "2, 2 3", "3, 1 2 3", "99, 1 2 3"})
  void tailCountsLinesAndNotTheirParts(long tail, String expected) throws IOException {
    write("stdout P ", "stdout F 1", "stdout F 2", "stdout P ", "stdout P ", "stdout F 3");
    reader(false).print(tail);
    assertThat(out.toString(UTF_8).replace('\n', ' ').strip()).isEqualTo(expected);
  }

  @Test
  void lineThatIsLongerThanAnyBufferPasses() throws IOException {
    String long1 = "x".repeat(1 << 20);
    write("stdout F " + long1, "stdout F end");
    reader(false).print(LogReader.ALL);
    assertThat(out.toString(UTF_8)).isEqualTo(long1 + "\nend\n");
  }

  @Test
  void whatIsNotInTheFormIsPrintedAsItIs() throws IOException {
    Files.writeString(log, "hello\n");
    write("stdout F one");
    reader(false).print(LogReader.ALL);
    assertThat(out.toString(UTF_8)).isEqualTo("hello\none\n");
  }

  @Test
  void followingGoesOverEveryRotatedFileToTheLastWord() throws Exception {
    write("stdout F 1");
    var looks = new AtomicInteger();
    reader(false)
        .follow(
            LogReader.ALL,
            () -> {
              try {
                int look = looks.incrementAndGet();
                if (look <= 3) { // more than one file between two looks
                  Files.move(log, log.resolveSibling("0.log.2026010203040" + look));
                  write("stdout F " + (10 * look));
                  Files.move(log, log.resolveSibling("0.log.2026010203040" + look + "5"));
                  write("stdout F " + (10 * look + 1));
                }
                return look > 8;
              } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
              }
            });
    assertThat(out.toString(UTF_8).lines())
        .containsExactly("1", "10", "11", "20", "21", "30", "31");
  }
}
