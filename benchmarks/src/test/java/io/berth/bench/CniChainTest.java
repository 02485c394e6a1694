package io.berth.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** With plugins that are shell scripts: each notes what it is told and answers its own name. */
final class CniChainTest {
  @TempDir Path folder = Path.of("");
  private Path conflist = Path.of("");

  @BeforeEach
  void plugins() throws IOException {
    conflist =
        Files.writeString(
            folder.resolve("net.conflist"),
            """
            {"cniVersion": "1.0.0", "name": "net", "plugins": [
              {"type": "first"}, {"type": "second", "capabilities": {"portMappings": true}}]}
            """);
    for (String name : List.of("first", "second")) {
      plugin(
          name,
          """
          echo "%1$s $CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $(cat)" >> %2$s/log
          echo '{"cniVersion": "1.0.0", "by": "%1$s"}'
          """
              .formatted(name, folder));
    }
  }

  @Test
  void resultOfOnePluginReachesTheNextAndDelGoesBackwards() throws Exception {
    CniChain chain = CniChain.read(conflist, List.of(folder));
    CniChain.Attached attached = chain.add("pod", Path.of("/run/netns"));
    chain.delete(attached);
    assertThat(attached.result()).hasToString("{\"cniVersion\":\"1.0.0\",\"by\":\"second\"}");
    assertThat(Files.readAllLines(folder.resolve("log")))
        .containsExactly(
            "first ADD pod /run/netns eth0"
                + " {\"type\":\"first\",\"name\":\"net\",\"cniVersion\":\"1.0.0\"}",
            "second ADD pod /run/netns eth0"
                + " {\"type\":\"second\",\"name\":\"net\",\"cniVersion\":\"1.0.0\","
                + "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"by\":\"first\"}}",
            "second DEL pod /run/netns eth0"
                + " {\"type\":\"second\",\"name\":\"net\",\"cniVersion\":\"1.0.0\","
                + "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"by\":\"second\"}}",
            "first DEL pod /run/netns eth0"
                + " {\"type\":\"first\",\"name\":\"net\",\"cniVersion\":\"1.0.0\","
                + "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"by\":\"second\"}}");
  }

  @Test
  void failingPluginIsNamedWithItsWords() throws Exception {
    plugin("second", "echo '{\"code\": 11, \"msg\": \"no address left\"}'; exit 1");
    CniChain chain = CniChain.read(conflist, List.of(folder));
    assertThatThrownBy(() -> chain.add("pod", Path.of("/run/netns")))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("CNI ADD by " + folder.resolve("second") + ": exit code 1")
        .hasMessageContaining("no address left");
  }

  @Test
  void missingPluginIsNamedWithTheFoldersSearched() throws IOException {
    Files.delete(folder.resolve("second"));
    assertThatThrownBy(() -> CniChain.read(conflist, List.of(folder)))
        .hasMessage("CNI plugin second is in none of [" + folder + "]");
  }

  private void plugin(String name, String body) throws IOException {
    Path script = Files.writeString(folder.resolve(name), "#!/bin/sh\n" + body);
    Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwxr-xr-x"));
  }
}
