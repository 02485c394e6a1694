package io.berth.cni;

import static io.berth.cni.ScriptedPlugins.attachment;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** How NetworkReady follows what is on disk and what plugins say. */
class NetworkFollowerTest {
  /** What is promised: a change of configuration is seen within it. */
  private static final Duration SOON = Duration.ofSeconds(2);

  @TempDir Path folder = Path.of("");

  private static void remove(Path tree) throws IOException {
    try (var files = Files.walk(tree)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }

  @Test
  void aNetworkAppearsChangesAndGoes() throws Exception {
    ScriptedPlugins plugins = new ScriptedPlugins(folder, "only");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(networks.status().ready()).isFalse();
      assertThat(networks.status().message())
          .isEqualTo("no CNI configuration in " + plugins.confDir + "; put a .conflist file there");
      plugins.configureList("1.0.0", "only");
      Needs.await("ready", SOON, () -> networks.status().ready());
      assertThat(networks.status().network()).isEqualTo("podnet");
      assertThat(networks.status().file()).isEqualTo(plugins.confDir.resolve("10-podnet.conflist"));
      plugins.configure(
          "05-other.conf", "{\"cniVersion\":\"1.0.0\",\"name\":\"other\",\"type\":\"only\"}");
      Needs.await(
          "the file that sorts first", SOON, () -> "other".equals(networks.status().network()));
      Files.delete(plugins.confDir.resolve("05-other.conf"));
      Files.delete(plugins.confDir.resolve("10-podnet.conflist"));
      Needs.await("not ready", SOON, () -> !networks.status().ready());
    }
  }

  @Test
  void aFolderDeletedAndMadeAnewIsFollowed() throws Exception {
    ScriptedPlugins plugins = new ScriptedPlugins(folder, "only").configureList("1.0.0", "only");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(networks.status().ready()).isTrue();
      for (int round = 0; round < 3; round++) {
        remove(plugins.confDir);
        Needs.await("not ready", SOON, () -> !networks.status().ready());
        Files.createDirectory(plugins.confDir);
        plugins.configureList("1.0.0", "only");
        Needs.await("ready again", SOON, () -> networks.status().ready());
      }
      // All at once, as an installer does it; the new folder may even have the old one's inode
      // number.
      for (int round = 0; round < 4; round++) {
        String first = "a" + round;
        String second = "b" + round;
        remove(plugins.confDir);
        Files.createDirectory(plugins.confDir);
        plugins.configure("20.conflist", list(first));
        Needs.await("network " + first, SOON, () -> first.equals(networks.status().network()));
        plugins.configure("10.conflist", list(second));
        Needs.await("network " + second, SOON, () -> second.equals(networks.status().network()));
      }
    }
  }

  private static String list(String name) {
    return "{\"cniVersion\":\"1.0.0\",\"name\":\"" + name + "\",\"plugins\":[{\"type\":\"only\"}]}";
  }

  @Test
  void aFolderThatDoesNotExistYetIsWaitedFor() throws Exception {
    ScriptedPlugins plugins = new ScriptedPlugins(folder, "only");
    remove(plugins.confDir);
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(networks.status().ready()).isFalse();
      Files.createDirectory(plugins.confDir);
      plugins.configureList("1.0.0", "only");
      Needs.await("ready", SOON, () -> networks.status().ready());
    }
  }

  @Test
  void aBrokenFileIsPassedOverAndNamed() throws Exception {
    ScriptedPlugins plugins = new ScriptedPlugins(folder, "only");
    Path broken = plugins.confDir.resolve("05-broken.conflist");
    Files.writeString(broken, "{\"name\": \"x\",\n  oops}");
    String problem =
        broken
            + ": not JSON: Unexpected character ('o' (code 111)): was expecting double-quote to start field name"
            + " (line 2, column 3)";
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(networks.status().ready()).isFalse();
      assertThat(networks.status().message())
          .isEqualTo("no valid CNI configuration in " + plugins.confDir + "; correct " + problem);
      plugins.configureList("1.0.0", "only");
      Needs.await("ready", SOON, () -> networks.status().ready());
      assertThat(networks.status().skipped()).containsExactly(problem);
    }
  }

  @Test
  void missingPluginsAreNamedWithTheFoldersAndFoundOnceInstalled() throws Exception {
    ScriptedPlugins plugins =
        new ScriptedPlugins(folder, "first").configureList("1.0.0", "first", "late");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(networks.status().message())
          .isEqualTo(
              "network podnet ("
                  + plugins.confDir.resolve("10-podnet.conflist")
                  + "): plugin late is not installed in "
                  + folder.resolve("no-such-bin")
                  + ":"
                  + plugins.binDir
                  + "; install it or correct the plugin folders");
      plugins.install("late");
      Needs.await("ready", SOON, () -> networks.status().ready());
    }
  }

  @Test
  void pluginsOfTheNetworksFolderAreAppended() throws Exception {
    ScriptedPlugins plugins =
        new ScriptedPlugins(folder, "first", "extra").configureList("1.0.0", "first");
    Path more = Files.createDirectory(plugins.confDir.resolve("podnet"));
    Files.writeString(more.resolve("10-extra.conf"), "{\"type\": \"extra\", \"x\": 1}");
    Files.writeString(more.resolve("README"), "not a plugin");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c1"));
      assertThat(plugins.log()).containsExactly("ADD first", "ADD extra");
      assertThat(plugins.input("extra", "ADD", "c1")).startsWith("{\"type\":\"extra\",\"x\":1,");
      Files.writeString(more.resolve("20-broken.conf"), "{}");
      Needs.await("not ready", SOON, () -> !networks.status().ready());
      assertThat(networks.status().message()).contains("20-broken.conf: a plugin has no type");
      remove(more);
      Needs.await("ready", SOON, () -> networks.status().ready());
      networks.delete(attachment("c1"));
      assertThat(plugins.log()).as("the plugins of ADD").endsWith("DEL extra", "DEL first");
    }
  }

  @Test
  void statusOfPluginsDecidesInTheBackground() throws Exception {
    ScriptedPlugins plugins = new ScriptedPlugins(folder, "only");
    plugins.script("only", "STATUS", "while [ ! -e $here/go ]; do sleep 0.02; done");
    plugins.configure(
        "10-podnet.conflist",
        """
        {"cniVersion":"1.1.0","name":"podnet","plugins":[{"type":"only","capabilities":{"dns":true}}]}\
        """);
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(networks.status().ready()).isFalse();
      assertThat(networks.status().message())
          .isEqualTo("network podnet has not answered STATUS yet");
      Files.createFile(folder.resolve("go"));
      Needs.await("ready", SOON, () -> networks.status().ready());
      for (int i = 0; i < 1000; i++) {
        assertThat(networks.status().ready()).isTrue();
      }
      assertThat(plugins.log()).containsExactly("STATUS only");
      assertThat(plugins.input("only", "STATUS", ""))
          .isEqualTo(
              "{\"type\":\"only\",\"capabilities\":{\"dns\":true},\"cniVersion\":\"1.1.0\",\"name\":\"podnet\"}");
    }
  }

  @Test
  void aFailingStatusIsInThePluginsOwnWordsAndItsRecoveryIsSeen() throws Exception {
    ScriptedPlugins plugins = new ScriptedPlugins(folder, "only").configureList("1.1.0", "only");
    plugins.script("only", "STATUS", "echo '{\"code\":50,\"msg\":\"agent is down\"}'; exit 1");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      Needs.await(
          "the plugin's words",
          SOON,
          () ->
              networks
                  .status()
                  .message()
                  .equals(
                      "cni status of network podnet: plugin only failed (code 50): agent is down"));
      plugins.unscript("only", "STATUS");
      Needs.await("ready", Duration.ofSeconds(4), () -> networks.status().ready());
    }
  }

  @Test
  void oneFailedStatusOfAReadyNetworkIsForgiven() throws Exception {
    ScriptedPlugins plugins = new ScriptedPlugins(folder, "only").configureList("1.1.0", "only");
    CniSettings settings =
        plugins.settings().withStatus(Duration.ofMillis(100), Duration.ofSeconds(5));
    try (CniNetworks networks = new CniNetworks(settings)) {
      Needs.await("ready", SOON, () -> networks.status().ready());
      plugins.script(
          "only",
          "STATUS",
          "if mkdir $here/once; then echo '{\"code\":50,\"msg\":\"x\"}'; exit 1; fi");
      Needs.await("the failure", SOON, () -> Files.exists(folder.resolve("once")));
      int calls = plugins.log().size();
      Needs.await(
          "two more calls",
          Duration.ofSeconds(5),
          () -> {
            assertThat(networks.status().ready()).isTrue();
            return plugins.log().size() >= calls + 2;
          });
    }
  }

  @Test
  void aHangingStatusDoesNotHoldUpANewConfiguration() throws Exception {
    ScriptedPlugins plugins =
        new ScriptedPlugins(folder, "stuck", "good").configureList("1.1.0", "stuck");
    plugins.script("stuck", "STATUS", "echo $$ > $here/pid; exec sleep 1000");
    CniSettings settings =
        plugins.settings().withStatus(Duration.ofMinutes(5), Duration.ofMinutes(5));
    try (CniNetworks networks = new CniNetworks(settings)) {
      Needs.await("the call", SOON, () -> plugins.log().contains("STATUS stuck"));
      plugins.configureList("1.1.0", "good");
      Needs.await("ready", SOON, () -> networks.status().ready());
    }
  }
}
