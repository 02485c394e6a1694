package io.berth.cni;

import static io.berth.cni.ScriptedPlugins.attachment;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.cni.CapabilityArgs.PortMapping;
import io.berth.cni.CniException.Reason;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.Base64;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CniNetworksTest {
  @TempDir Path folder = Path.of("");

  private ScriptedPlugins plugins(String... names) {
    return new ScriptedPlugins(folder, names);
  }

  private static CniException failure(ThrowingCall call) {
    try {
      call.run();
    } catch (CniException e) {
      return e;
    } catch (Exception e) {
      throw new AssertionError(e);
    }
    throw new AssertionError("it succeeded");
  }

  private interface ThrowingCall {
    void run() throws Exception;
  }

  // What plugins are told.

  @Test
  void addHandsEachPluginItsOwnWordsAndTheResultBefore() throws Exception {
    ScriptedPlugins plugins = plugins("first", "second");
    plugins.configure(
        "10-net.conflist",
        """
        {"cniVersion": "1.0.0", "name": "podnet", "plugins": [
          {"zeta": 1.50, "type": "first", "capabilities": {"portMappings": true}, "big": 12345678901234567890,
           "nested": {"b": null, "a": [1, "x"]}, "cni.dev/forged": true},
          {"type": "second", "capabilities": {"dns": false}}]}
        """);
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      var ports =
          CapabilityArgs.none()
              .portMappings(List.of(new PortMapping(8080, 80, "tcp", null)))
              .dns(new CapabilityArgs.DnsArgs(List.of("10.0.0.10"), List.of(), List.of()));
      CniResult result = networks.add(attachment("c1", ports));

      assertThat(plugins.log()).containsExactly("ADD first", "ADD second");
      assertThat(plugins.input("first", "ADD", "c1"))
          .isEqualTo(
              """
              {"zeta":1.50,"type":"first","big":12345678901234567890,"nested":{"b":null,"a":[1,"x"]},\
              "cniVersion":"1.0.0","name":"podnet",\
              "runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}}\
              """);
      assertThat(plugins.input("second", "ADD", "c1"))
          .isEqualTo(
              "{\"type\":\"second\",\"cniVersion\":\"1.0.0\",\"name\":\"podnet\",\"prevResult\":"
                  + ScriptedPlugins.RESULT
                  + "}");
      assertThat(plugins.environment("second", "ADD", "c1"))
          .contains(
              "CNI_COMMAND=ADD",
              "CNI_CONTAINERID=c1",
              "CNI_NETNS=/proc/self/ns/net",
              "CNI_IFNAME=eth0",
              "CNI_PATH=" + folder.resolve("no-such-bin") + ":" + plugins.binDir,
              "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;"
                  + "K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1");
      assertThat(result.addresses()).extracting(CniResult::format).containsExactly("10.1.0.5");
      assertThat(result.network()).isEqualTo("podnet");
    }
  }

  @Test
  void deleteGoesBackwardsWithTheResultAndTheArgumentsOfAdd() throws Exception {
    ScriptedPlugins plugins = plugins("first", "second");
    plugins.configure(
        "10-net.conflist",
        """
        {"cniVersion": "1.0.0", "name": "podnet", "plugins": [
          {"type": "first"}, {"type": "second", "capabilities": {"mac": true}}]}
        """);
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c1", CapabilityArgs.none().mac("02:00:00:00:00:09")));
      networks.delete(attachment("c1"));

      assertThat(plugins.log())
          .containsExactly("ADD first", "ADD second", "DEL second", "DEL first");
      assertThat(plugins.input("second", "DEL", "c1"))
          .contains("\"runtimeConfig\":{\"mac\":\"02:00:00:00:00:09\"}")
          .contains("\"prevResult\":" + ScriptedPlugins.RESULT);
      assertThat(plugins.input("first", "DEL", "c1"))
          .contains("\"prevResult\":" + ScriptedPlugins.RESULT);
      assertThat(plugins.environment("first", "DEL", "c1")).contains("CNI_NETNS=/proc/self/ns/net");
      assertThat(plugins.cached("c1")).doesNotExist();
    }
  }

  @Test
  void networksBefore040GetNoPreviousResultOnDelete() throws Exception {
    ScriptedPlugins plugins = plugins("only").configureList("0.3.1", "only");
    plugins.result("{\"ips\":[{\"version\":\"4\",\"address\":\"10.1.0.5/24\"}]}");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c1"));
      networks.delete(attachment("c1"));
      assertThat(plugins.input("only", "DEL", "c1")).doesNotContain("prevResult");
    }
  }

  @Test
  void aSinglePluginsFileIsANetwork() throws Exception {
    ScriptedPlugins plugins = plugins("only");
    plugins.configure(
        "10-only.conf", "{\"cniVersion\":\"0.2.0\",\"name\":\"podnet\",\"type\":\"only\",\"x\":1}");
    plugins.result(
        "{\"cniVersion\":\"0.2.0\",\"ip4\":{\"ip\":\"10.1.0.5/24\"},\"ip6\":{\"ip\":\"fd00::5/64\"}}");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      CniResult result = networks.add(attachment("c1"));
      assertThat(result.addresses())
          .extracting(CniResult::format)
          .containsExactly("10.1.0.5", "fd00::5");
      assertThat(plugins.input("only", "ADD", "c1"))
          .isEqualTo("{\"cniVersion\":\"0.2.0\",\"name\":\"podnet\",\"type\":\"only\",\"x\":1}");
      networks.delete(attachment("c1"));
      assertThat(plugins.log()).containsExactly("ADD only", "DEL only");
    }
  }

  @Test
  void aResultOfAnOlderVersionReachesTheNextPluginInTheNetworksOwn() throws Exception {
    ScriptedPlugins plugins = plugins("old", "new").configureList("1.0.0", "old", "new");
    plugins.script(
        "old", "ADD", "echo '{\"cniVersion\":\"0.2.0\",\"ip4\":{\"ip\":\"10.1.0.5/24\"}}'; exit 0");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c1"));
      assertThat(plugins.input("new", "ADD", "c1"))
          .contains(
              "\"prevResult\":{\"cniVersion\":\"1.0.0\",\"interfaces\":[],\"ips\":[{\"address\":\"10.1.0.5/24\"}]");
    }
  }

  @Test
  void checkAsksInOrderWithTheResultUnlessTheNetworkForbidsIt() throws Exception {
    ScriptedPlugins plugins = plugins("first", "second").configureList("1.0.0", "first", "second");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(failure(() -> networks.check(attachment("c1"))).reason())
          .isEqualTo(Reason.NOT_ATTACHED);
      networks.add(attachment("c1"));
      networks.check(attachment("c1"));
      assertThat(plugins.log()).endsWith("CHECK first", "CHECK second");
      assertThat(plugins.input("first", "CHECK", "c1"))
          .contains("\"prevResult\":" + ScriptedPlugins.RESULT);
      plugins.script("second", "CHECK", "echo '{\"code\":100,\"msg\":\"route is gone\"}'; exit 1");
      assertThat(failure(() -> networks.check(attachment("c1"))))
          .hasMessage(
              "cni check of sandbox c1 in network podnet: plugin second failed (code 100): route is gone");
    }
    plugins.configure(
        "10-podnet.conflist",
        "{\"cniVersion\":\"1.0.0\",\"name\":\"podnet\",\"disableCheck\":\"true\",\"plugins\":[{\"type\":\"first\"}]}");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c2"));
      networks.check(attachment("c2"));
      assertThat(plugins.log()).endsWith("ADD first");
    }
  }

  // What is kept for DEL.

  @Test
  void theCacheIsTheOneOtherRuntimesKeep() throws Exception {
    ScriptedPlugins plugins = plugins("only");
    String config =
        "{\"cniVersion\":\"1.0.0\",\"name\":\"podnet\",\"plugins\":[{\"type\":\"only\",\"capabilities\":{\"mac\":true}}]}";
    plugins.configure("10-podnet.conflist", config);
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c1", CapabilityArgs.none().mac("02:00:00:00:00:09")));
    }
    ObjectNode cached = CniJson.parse(Files.readAllBytes(plugins.cached("c1")));
    String base64 = Base64.getEncoder().encodeToString(config.getBytes(StandardCharsets.UTF_8));
    assertThat(cached)
        .hasToString(
            "{\"kind\":\"cniCacheV1\",\"containerId\":\"c1\",\"config\":\""
                + base64
                + "\",\"ifName\":\"eth0\",\"networkName\":\"podnet\",\"netns\":\"/proc/self/ns/net\","
                + "\"cniArgs\":[[\"IgnoreUnknown\",\"1\"],[\"K8S_POD_NAMESPACE\",\"shop\"],[\"K8S_POD_NAME\",\"web\"],"
                + "[\"K8S_POD_INFRA_CONTAINER_ID\",\"c1\"],[\"K8S_POD_UID\",\"u-1\"]],"
                + "\"capabilityArgs\":{\"mac\":\"02:00:00:00:00:09\"},\"result\":"
                + ScriptedPlugins.RESULT
                + "}");
    assertThat(mode(plugins.cached("c1"))).isEqualTo("rw-------");
    assertThat(mode(plugins.cacheDir.resolve("results"))).isEqualTo("rwx------");
    try (var files = Files.list(plugins.cacheDir.resolve("results"))) {
      assertThat(files).hasSize(1);
    }
  }

  private static String mode(Path path) throws IOException {
    return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
  }

  @Test
  void deleteUsesTheConfigurationOfAddThoughTheFileHasChanged() throws Exception {
    ScriptedPlugins plugins =
        plugins("first", "second", "other").configureList("1.0.0", "first", "second");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c1"));
    }
    Files.delete(plugins.confDir.resolve("10-podnet.conflist"));
    plugins.configure(
        "10-new.conflist",
        "{\"cniVersion\":\"1.0.0\",\"name\":\"newnet\",\"plugins\":[{\"type\":\"other\"}]}");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.delete(attachment("c1"));
    }
    assertThat(plugins.log()).endsWith("DEL second", "DEL first");
  }

  @Test
  void failedAddIsUndoneWithItsOwnConfigurationEvenAfterARestart() throws Exception {
    ScriptedPlugins plugins = plugins("first", "second").configureList("1.0.0", "first", "second");
    plugins.script(
        "second", "ADD", "echo '{\"code\":7,\"msg\":\"no\",\"details\":\"bad mtu\"}'; exit 1");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      CniException e = failure(() -> networks.add(attachment("c1")));
      assertThat(e)
          .hasMessage(
              "cni add of sandbox c1 to network podnet: plugin second failed (code 7): no; bad mtu");
      assertThat(e.reason()).isEqualTo(Reason.PLUGIN_FAILED);
      assertThat(e.plugin()).isEqualTo("second");
      assertThat(e.code()).hasValue(7);
      assertThat(e.pluginMessage()).isEqualTo("no");
      assertThat(e.details()).isEqualTo("bad mtu");
    }
    Files.delete(plugins.confDir.resolve("10-podnet.conflist"));
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.delete(attachment("c1"));
    }
    assertThat(plugins.log()).containsExactly("ADD first", "ADD second", "DEL second", "DEL first");
    assertThat(plugins.input("second", "DEL", "c1"))
        .as("the address that first has given")
        .contains("\"prevResult\"", "10.1.0.5/24");
  }

  @Test
  void deleteWaitsForAnAddThatAKilledDaemonHasLeftRunning() throws Exception {
    ScriptedPlugins plugins = plugins("only").configureList("1.0.0", "only");
    plugins.script("only", "ADD", "exit 1");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      CniException _ = failure(() -> networks.add(attachment("c1")));
      var builder = new ProcessBuilder("sh", "-c", "sleep 0.3; echo late >> \"$0\"/log");
      builder.command().add(plugins.folder.toString());
      builder.environment().put("CNI_CONTAINERID", "c1");
      Process left = builder.start();
      networks.delete(attachment("c1"));
      assertThat(left.isAlive()).isFalse();
    }
    assertThat(plugins.log()).containsExactly("ADD only", "late", "DEL only");
  }

  @Test
  void deleteWithoutCacheOrNamespaceUsesThePresentConfigurationAnyNumberOfTimes() throws Exception {
    ScriptedPlugins plugins = plugins("only").configureList("1.0.0", "only");
    Attachment gone = new Attachment("c1", null, "web", "shop", "u-1", CapabilityArgs.none());
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.delete(gone);
      networks.delete(gone);
      assertThat(plugins.log()).containsExactly("DEL only", "DEL only");
      assertThat(plugins.environment("only", "DEL", "c1")).contains("CNI_NETNS=");

      Path unpinned = Files.createFile(folder.resolve("net"));
      networks.delete(new Attachment("c2", unpinned, "web", "shop", "u-1", CapabilityArgs.none()));
      assertThat(plugins.environment("only", "DEL", "c2"))
          .as("a file without a namespace on it")
          .contains("CNI_NETNS=");
    }
  }

  @Test
  void deleteSucceedsWhereNoNetworkEverWas() throws Exception {
    ScriptedPlugins plugins = plugins();
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.delete(attachment("c1"));
    }
    assertThat(plugins.log()).isEmpty();
  }

  @Test
  void aCorruptCacheEntryKeepsNoPodFromBeingDeleted() throws Exception {
    ScriptedPlugins plugins = plugins("only").configureList("1.0.0", "only");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      for (String content :
          new String[] {"", "{}", "{\"kind\":\"cniCacheV1\",\"config\":\"?\"}", "garbage"}) {
        networks.add(attachment("c1"));
        Files.writeString(plugins.cached("c1"), content);
        networks.delete(attachment("c1"));
        assertThat(plugins.log()).endsWith("DEL only");
        assertThat(plugins.cached("c1")).doesNotExist();
      }
    }
  }

  @Test
  void deleteStopsAtAFailingPluginAndSucceedsOnceItIsRepaired() throws Exception {
    ScriptedPlugins plugins = plugins("first", "second").configureList("1.0.0", "first", "second");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c1"));
      plugins.script("second", "DEL", "echo 'iptables: busy' >&2; exit 4");
      assertThat(failure(() -> networks.delete(attachment("c1"))))
          .hasMessage(
              "cni del of sandbox c1 from network podnet: plugin second failed: it exited with 4 and said: iptables: busy");
      assertThat(plugins.log()).endsWith("DEL second");
      assertThat(plugins.cached("c1")).exists();

      plugins.unscript("second", "DEL");
      networks.delete(attachment("c1"));
      assertThat(plugins.log()).endsWith("DEL second", "DEL second", "DEL first");
      assertThat(plugins.input("first", "DEL", "c1")).contains("prevResult");
    }
  }

  @Test
  void aPluginThatDoesNotKnowTheSandboxHasDeletedIt() throws Exception {
    ScriptedPlugins plugins = plugins("first", "second").configureList("1.0.0", "first", "second");
    plugins.script("second", "DEL", "echo '{\"code\":3,\"msg\":\"unknown container\"}'; exit 1");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.delete(attachment("c1"));
    }
    assertThat(plugins.log()).containsExactly("DEL second", "DEL first");
  }

  // Plugins that misbehave.

  @Test
  void interruptedAddKillsThePluginWithItsChildren() throws Exception {
    ScriptedPlugins plugins = plugins("slow").configureList("1.0.0", "slow");
    plugins.script(
        "slow", "ADD", "sleep 1000 & echo $! > $here/child; echo $$ > $here/parent; wait");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      AtomicReference<Throwable> thrown =
          new AtomicReference<>(new AssertionError("add did not end"));
      Thread caller =
          Thread.ofVirtual()
              .start(() -> {
                try {
                  networks.add(attachment("c1"));
                } catch (Throwable e) {
                  thrown.set(e);
                }
              });
      Path parent = folder.resolve("parent");
      Needs.await(
          "the plugin's start", Duration.ofSeconds(10), () -> content(parent).endsWith("\n"));
      caller.interrupt();
      caller.join();
      assertThat(thrown.get()).isInstanceOf(InterruptedException.class);
      for (String file : new String[] {"parent", "child"}) {
        long pid = Long.parseLong(content(folder.resolve(file)).strip());
        Needs.await("the end of " + file, Duration.ofSeconds(5), () -> !running(pid));
      }
      plugins.unscript("slow", "ADD");
      networks.delete(attachment("c1"));
      networks.add(attachment("c1"));
    }
  }

  private static String content(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return "";
    }
  }

  /** A child of a killed process may stay a zombie for a while where init is slow to reap. */
  private static boolean running(long pid) {
    String stat = content(Path.of("/proc", Long.toString(pid), "stat"));
    return !stat.isEmpty() && !stat.substring(stat.lastIndexOf(')')).startsWith(") Z");
  }

  @Test
  void hangingDeleteEndsAtItsDeadline() throws Exception {
    ScriptedPlugins plugins = plugins("first", "second").configureList("1.0.0", "first", "second");
    plugins.script("second", "DEL", "echo 'waiting for the API' >&2; exec sleep 1000");
    CniSettings settings = plugins.settings().withDeleteTimeout(Duration.ofMillis(300));
    try (CniNetworks networks = new CniNetworks(settings)) {
      networks.add(attachment("c1"));
      long start = System.nanoTime();
      CniException e = failure(() -> networks.delete(attachment("c1")));
      assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(4));
      assertThat(e.reason()).isEqualTo(Reason.TIMED_OUT);
      assertThat(e.plugin()).isEqualTo("second");
      assertThat(e)
          .hasMessageStartingWith(
              "cni del of sandbox c1 from network podnet: plugin second did not answer");
      assertThat(plugins.cached("c1")).exists();
    }
  }

  @Test
  void anAnswerThatIsNoResultIsNamed() throws Exception {
    ScriptedPlugins plugins = plugins("odd").configureList("1.0.0", "odd");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      String add = "cni add of sandbox c1 to network podnet: plugin odd gave ";
      String[][] answers = {
        {"garbage", add + "a result that can't be used: not JSON"},
        {"", add + "a result that can't be used: not a JSON object"},
        {"[]", add + "a result that can't be used: not a JSON object"},
        {"{}", add + "no address on eth0"},
        {
          "{\"ips\":[{\"address\":\"10.1.0.5\"}]}",
          add + "a result that can't be used: address \"10.1.0.5\" is not in CIDR"
        },
        {
          "{\"ips\":[{\"address\":\"host/24\"}]}",
          add + "a result that can't be used: \"host\" is not an IP address"
        },
        {
          "{\"ips\":[{\"address\":\"10.1.0.5/33\"}]}",
          add + "a result that can't be used: address \"10.1.0.5/33\" has no"
        },
        {
          "{\"ips\":[{\"address\":\"10.1.0.5/24\",\"interface\":2}]}",
          add + "a result that can't be used: address \"10.1.0.5/24\" is on interface 2 of 0"
        },
        {
          "{\"interfaces\":[{\"name\":\"eth0\"}],\"ips\":[{\"address\":\"10.1.0.5/24\",\"interface\":0}]}",
          add + "no address on eth0"
        },
      };
      for (String[] answer : answers) {
        plugins.result(answer[0]);
        CniException e = failure(() -> networks.add(attachment("c1")));
        assertThat(e).hasMessageStartingWith(answer[1]);
        assertThat(e.reason()).isEqualTo(Reason.BAD_RESULT);
      }
    }
  }

  @Test
  void aPluginThatAsksToTryAgainLaterIsToldApart() throws Exception {
    ScriptedPlugins plugins = plugins("busy").configureList("1.0.0", "busy");
    plugins.script("busy", "ADD", "echo '{\"code\":11,\"msg\":\"agent is starting\"}'; exit 1");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(failure(() -> networks.add(attachment("c1"))).reason())
          .isEqualTo(Reason.TRY_AGAIN);
    }
  }

  @Test
  void aPluginThatDiesSilentlyIsStillNamed() throws Exception {
    ScriptedPlugins plugins = plugins("mute").configureList("1.0.0", "mute");
    plugins.script("mute", "ADD", "kill -9 $$");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(failure(() -> networks.add(attachment("c1"))))
          .hasMessage(
              "cni add of sandbox c1 to network podnet: plugin mute failed: it exited with 137 and said nothing");
    }
  }

  @Test
  void nothingRunsWhenALaterPluginIsNotInstalled() throws Exception {
    ScriptedPlugins plugins = plugins("first").configureList("1.0.0", "first", "absent");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      CniException e = failure(() -> networks.add(attachment("c1")));
      assertThat(e.reason()).isEqualTo(Reason.NETWORK_NOT_READY);
      assertThat(e)
          .hasMessage(
              "cni add of sandbox c1: plugin absent is not installed in "
                  + folder.resolve("no-such-bin")
                  + ":"
                  + plugins.binDir
                  + "; install it or correct the plugin folders");
      assertThat(plugins.log()).isEmpty();
      assertThat(plugins.cached("c1")).doesNotExist();
    }
  }

  @Test
  void nothingRunsWhenTheCacheCanNotBeWritten() throws Exception {
    ScriptedPlugins plugins = plugins("only").configureList("1.0.0", "only");
    Files.writeString(plugins.cacheDir, "a file in the way");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(failure(() -> networks.add(attachment("c1"))).reason())
          .isEqualTo(Reason.CACHE_FAILED);
      assertThat(plugins.log()).isEmpty();
    }
  }

  @Test
  void aPluginThatIsJustBeingWrittenIsWaitedFor() throws Exception {
    ScriptedPlugins plugins = plugins("only").configureList("1.0.0", "only");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      CompletableFuture<Void> added;
      try (OutputStream _ =
          Files.newOutputStream(plugins.binDir.resolve("only"), StandardOpenOption.APPEND)) {
        added = inBackground(() -> networks.add(attachment("c1")));
        Needs.await("the add", Duration.ofSeconds(5), () -> Files.exists(plugins.cached("c1")));
      }
      added.get(10, TimeUnit.SECONDS);
    }
  }

  @Test
  void namesThatWouldForgeArgumentsAreRefused() {
    assertThatThrownBy(() -> new Attachment("../x", null, "p", "n", "u", CapabilityArgs.none()))
        .hasMessage("attach sandbox \"../x\": CNI ids consist of letters, digits, _ . and -");
    assertThatThrownBy(() ->
            new Attachment(
                "c1", null, "p;K8S_POD_NAMESPACE=kube-system", "n", "u", CapabilityArgs.none()))
        .isInstanceOf(CniException.class)
        .hasMessageContaining("has a ; which separates CNI arguments");
  }

  // Who runs beside whom.

  @Test
  void operationsOfOneSandboxWaitForEachOtherAndThoseOfTwoDoNot() throws Exception {
    ScriptedPlugins plugins = plugins("gate").configureList("1.0.0", "gate");
    plugins.script(
        "gate", "ADD", "while [ ! -e $here/open.$CNI_CONTAINERID ]; do sleep 0.02; done");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      var first = inBackground(() -> networks.add(attachment("c1")));
      Needs.await("the first add", Duration.ofSeconds(10), () -> plugins.log().size() == 1);
      var delete = inBackground(() -> networks.delete(attachment("c1")));
      Files.createFile(folder.resolve("open.c2"));
      networks.add(attachment("c2"));
      assertThat(plugins.log()).containsExactly("ADD gate", "ADD gate");
      Files.createFile(folder.resolve("open.c1"));
      first.get(10, TimeUnit.SECONDS);
      delete.get(10, TimeUnit.SECONDS);
      assertThat(plugins.log()).containsExactly("ADD gate", "ADD gate", "DEL gate");
    }
  }

  @Test
  void collectionKeepsWhatIsValidAndGoesOnPastErrors() throws Exception {
    ScriptedPlugins plugins = plugins("first", "second").configureList("1.1.0", "first", "second");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c1"));
      networks.add(attachment("c2"));
      networks.add(attachment("c3"));
      plugins.script("second", "DEL", "if [ $CNI_CONTAINERID = c2 ]; then echo broken; exit 1; fi");
      plugins.script("first", "GC", "echo '{\"code\":100,\"msg\":\"gc failed\"}'; exit 1");

      CniException e =
          failure(() -> networks.garbageCollect(() -> Set.of(new ValidAttachment("c1", "eth0"))));

      assertThat(e).hasMessageContaining("cni del of sandbox c2").hasMessageContaining("broken");
      assertThat(e.getSuppressed()).singleElement().asString().contains("gc failed");
      assertThat(plugins.cached("c1")).exists();
      assertThat(plugins.cached("c2")).exists();
      assertThat(plugins.cached("c3")).doesNotExist();
      assertThat(plugins.log()).endsWith("GC first", "GC second");
      assertThat(plugins.input("second", "GC", ""))
          .isEqualTo(
              """
              {"type":"second","cniVersion":"1.1.0","name":"podnet",\
              "cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"}],\
              "cni.dev/attachments":[{"containerID":"c1","ifname":"eth0"}]}\
              """);
    }
  }

  @Test
  void collectionIsNotForNetworksThatForbidIt() throws Exception {
    ScriptedPlugins plugins = plugins("only");
    plugins.configure(
        "10.conflist",
        "{\"cniVersion\":\"1.1.0\",\"name\":\"podnet\",\"disableGC\":true,\"plugins\":[{\"type\":\"only\"}]}");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.add(attachment("c1"));
      networks.garbageCollect(Set::of);
      assertThat(plugins.cached("c1")).exists();
      assertThat(plugins.log()).doesNotContain("GC only");
    }
  }

  @Test
  void collectionWaitsForAddsButDoesNotHoldUpOthers() throws Exception {
    ScriptedPlugins plugins = plugins("gate").configureList("1.1.0", "gate");
    plugins.script(
        "gate", "ADD", "while [ ! -e $here/open.$CNI_CONTAINERID ]; do sleep 0.02; done");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      var add = inBackground(() -> networks.add(attachment("c1")));
      Needs.await("the add", Duration.ofSeconds(10), () -> plugins.log().contains("ADD gate"));
      var collection =
          inBackground(
              () -> networks.garbageCollect(() -> Set.of(new ValidAttachment("c1", "eth0"))));
      Files.createFile(folder.resolve("open.c2"));
      networks.add(attachment("c2"));
      networks.delete(attachment("c2"));
      assertThat(plugins.log()).doesNotContain("GC gate");
      Files.createFile(folder.resolve("open.c1"));
      add.get(10, TimeUnit.SECONDS);
      collection.get(10, TimeUnit.SECONDS);
      assertThat(plugins.log()).endsWith("GC gate");
      assertThat(plugins.cached("c1")).exists();
    }
  }

  @Test
  void collectionGivesUpWhenTheNetworkIsNeverIdle() throws Exception {
    ScriptedPlugins plugins = plugins("gate").configureList("1.1.0", "gate");
    plugins.script("gate", "ADD", "while [ ! -e $here/open ]; do sleep 0.02; done");
    CniSettings settings = plugins.settings().withDeleteTimeout(Duration.ofMillis(200));
    try (CniNetworks networks = new CniNetworks(settings)) {
      var add = inBackground(() -> networks.add(attachment("c1")));
      Needs.await("the add", Duration.ofSeconds(10), () -> plugins.log().contains("ADD gate"));
      assertThat(failure(() -> networks.garbageCollect(Set::of)).reason())
          .isEqualTo(Reason.TIMED_OUT);
      Files.createFile(folder.resolve("open"));
      add.get(10, TimeUnit.SECONDS);
    }
  }

  private static CompletableFuture<Void> inBackground(ThrowingCall call) {
    CompletableFuture<Void> done = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(() -> {
          try {
            call.run();
            done.complete(null);
          } catch (Throwable e) {
            done.completeExceptionally(e);
          }
        });
    return done;
  }

  // Versions.

  @Test
  void theNewestVersionThatAllPluginsKnowIsChosenWithoutAProcessOnAdd() throws Exception {
    ScriptedPlugins plugins = plugins("new", "old");
    plugins.script(
        "new",
        "VERSION",
        "echo '{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.4.0\",\"1.0.0\",\"1.1.0\"]}'");
    plugins.script(
        "old",
        "VERSION",
        "echo '{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.1\",\"0.4.0\",\"1.0.0\"]}'");
    plugins.configure(
        "10.conflist",
        """
        {"cniVersion": "1.1.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0", "2.0.0"], "name": "podnet",
         "plugins": [{"type": "new"}, {"type": "old"}]}
        """);
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(plugins.log()).containsExactly("VERSION new", "VERSION old");
      assertThat(networks.status().ready()).isTrue();
      networks.add(attachment("c1"));
      assertThat(plugins.log()).containsExactly("VERSION new", "VERSION old", "ADD new", "ADD old");
      assertThat(plugins.input("old", "ADD", "c1")).contains("\"cniVersion\":\"1.0.0\"");
      // DEL must speak what ADD spoke, though the plugins may have been replaced by then.
      plugins.script(
          "old", "VERSION", "echo '{\"cniVersion\":\"0.4.0\",\"supportedVersions\":[\"0.4.0\"]}'");
    }
    Files.setLastModifiedTime(
        plugins.binDir.resolve("old"), java.nio.file.attribute.FileTime.fromMillis(1));
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      networks.delete(attachment("c1"));
      assertThat(plugins.input("old", "DEL", "c1")).contains("\"cniVersion\":\"1.0.0\"");
      networks.add(attachment("c2"));
      assertThat(plugins.input("old", "ADD", "c2")).contains("\"cniVersion\":\"0.4.0\"");
    }
  }

  @Test
  void oneVersionInTheConfigurationNeedsNoQuestion() throws Exception {
    ScriptedPlugins plugins = plugins("only").configureList("1.0.0", "only");
    try (CniNetworks networks = new CniNetworks(plugins.settings())) {
      assertThat(networks.status().ready()).isTrue();
      assertThat(plugins.log()).isEmpty();
    }
  }

  @Test
  void closeTwiceIsFine() throws ExecutionException {
    CniNetworks networks = new CniNetworks(plugins().settings());
    networks.close();
    networks.close();
  }
}
