package io.berth.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.linux.FileTree;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.opentest4j.TestAbortedException;

/** With the real runc, in a network that a script pretends to make. */
@Tag("root")
final class FloorLifeTest {
  private Path folder = Path.of("");
  private Path runc = Path.of("");

  @BeforeEach
  void prepare() throws IOException {
    try {
      runc = Programs.find("runc");
    } catch (BenchException missing) {
      if ("true".equals(System.getenv("CI"))) {
        throw missing;
      }
      throw new TestAbortedException("runc is missing: apt-get install runc", missing);
    }
    folder = Files.createTempDirectory("berth-floor-");
  }

  @AfterEach
  void remove() {
    if (!folder.toString().isEmpty()) {
      FileTree.delete(folder);
    }
  }

  @Test
  void everyStepIsTimedAndNothingStays() throws Exception {
    var containers = OciFloor.prepare(runc, folder, List.of("sleep", "1000"));
    StepTimes times = new FloorLife(containers, network("exit 0"), folder).live("one");
    for (String step :
        List.of(
            FloorLife.ADD,
            FloorLife.CREATE,
            FloorLife.START,
            FloorLife.EXEC,
            FloorLife.KILL,
            FloorLife.DELETE,
            FloorLife.DEL)) {
      assertThat(times.has(List.of(step))).as(step).isTrue();
    }
    assertNothingStays("one");
  }

  @Test
  void failedStepLeavesNothing() throws Exception {
    var containers = OciFloor.prepare(runc, folder, List.of("/no/such/program"));
    var life = new FloorLife(containers, network("exit 0"), folder);
    assertThatThrownBy(() -> life.live("one"))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("/no/such/program");
    assertNothingStays("one");
  }

  @Test
  void failedAddIsTakenBackByDel() throws Exception {
    var containers = OciFloor.prepare(runc, folder, List.of("sleep", "1000"));
    CniChain network = network("echo $CNI_COMMAND >> " + folder + "/log; [ $CNI_COMMAND = DEL ]");
    assertThatThrownBy(() -> new FloorLife(containers, network, folder).live("one"))
        .hasMessageContaining("CNI ADD");
    assertThat(Files.readAllLines(folder.resolve("log"))).containsExactly("ADD", "DEL");
    assertNothingStays("one");
  }

  private void assertNothingStays(String name) throws IOException {
    assertThat(folder.resolve(name)).doesNotExist();
    try (Stream<Path> states = Files.list(folder.resolve("runtime"))) {
      assertThat(states).isEmpty();
    }
  }

  private CniChain network(String body) throws IOException {
    Path plugin =
        Files.writeString(folder.resolve("pretend"), "#!/bin/sh\necho '{}'\n" + body + "\n");
    Files.setPosixFilePermissions(plugin, PosixFilePermissions.fromString("rwxr-xr-x"));
    Path conflist =
        Files.writeString(
            folder.resolve("net.conflist"),
            "{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"pretend\"}]}");
    return CniChain.read(conflist, List.of(folder));
  }
}
