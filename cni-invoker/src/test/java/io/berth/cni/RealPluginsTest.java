package io.berth.cni;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cni.CapabilityArgs.PortMapping;
import io.berth.linux.Namespaces;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The reference plugins in real namespaces. The "host" they change is a network namespace of the
 * test's own, so bridges, addresses and packet filter rules go with it.
 */
@Tag("root")
class RealPluginsTest {
  private static final String PLUGINS = "/usr/lib/cni/";

  @TempDir Path folder = Path.of("");

  private final String prefix = "berth-" + UUID.randomUUID().toString().substring(0, 8);
  private final List<String> namespaces = new ArrayList<>();
  private Path confDir = Path.of("");
  private Path binDir = Path.of("");
  private Path leases = Path.of("");
  private Path host = Path.of("");

  @BeforeEach
  void makeHost() throws Exception {
    Needs.root();
    Needs.program("/usr/sbin/ip");
    Needs.program("/usr/bin/nsenter");
    confDir = Files.createDirectory(folder.resolve("net.d"));
    binDir = Files.createDirectory(folder.resolve("bin"));
    leases = folder.resolve("leases");
    host = namespace("host");
    run("/usr/bin/nsenter", "--net=" + host, "/usr/sbin/ip", "link", "set", "lo", "up");
  }

  @AfterEach
  void removeNamespaces() throws Exception {
    for (String name : namespaces) {
      if (Files.exists(Path.of("/run/netns", name))) {
        run("/usr/sbin/ip", "netns", "delete", name);
      }
    }
  }

  private Path namespace(String name) throws InterruptedException {
    String full = prefix + "-" + name;
    namespaces.add(full);
    run("/usr/sbin/ip", "netns", "add", full);
    return Path.of("/run/netns", full);
  }

  private static String run(String... command) throws InterruptedException {
    Subprocess.Result result = Subprocess.command(command).run(Duration.ofSeconds(30));
    assertThat(result.ok()).as("%s: %s", String.join(" ", command), result.err()).isTrue();
    return result.out();
  }

  private void program(String name, String shell) throws IOException {
    Path file = binDir.resolve(name);
    Files.writeString(file, "#!/bin/sh\n" + shell + "\n");
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  /** Installs reference plugins so that they find themselves on the test's host. */
  private void reference(String... plugins) throws IOException {
    for (String plugin : plugins) {
      Needs.program(PLUGINS + plugin);
      program(plugin, "exec /usr/bin/nsenter --net=" + host + " " + PLUGINS + plugin);
    }
  }

  private CniNetworks networks(String version, String... plugins) throws IOException {
    Files.writeString(
        confDir.resolve("10-podnet.conflist"),
        "{\"cniVersion\":\"%s\",\"name\":\"podnet\",\"plugins\":[%s]}"
            .formatted(version, String.join(",", plugins)));
    return new CniNetworks(CniSettings.of(confDir, List.of(binDir), folder.resolve("cache")));
  }

  private String bridge(String... subnets) {
    List<String> ranges = new ArrayList<>();
    for (String subnet : subnets) {
      ranges.add("[{\"subnet\":\"" + subnet + "\"}]");
    }
    return """
    {"type":"bridge","bridge":"pods0","isGateway":true,"ipMasq":false,"hairpinMode":true,
     "ipam":{"type":"host-local","dataDir":"%s","ranges":[%s],"routes":[{"dst":"0.0.0.0/0"}]}}\
    """
        .formatted(leases, String.join(",", ranges));
  }

  /** The addresses that are given out, as host-local notes them: one file each. */
  private Set<String> leased() throws IOException {
    Path folderOfNetwork = leases.resolve("podnet");
    if (!Files.exists(folderOfNetwork)) {
      return Set.of();
    }
    try (var files = Files.list(folderOfNetwork)) {
      return Set.copyOf(
          files
              .map(f -> f.getFileName().toString())
              .filter(name -> name.matches("[0-9a-f.:]+"))
              .toList());
    }
  }

  private static Attachment attachment(String id, Path netns, CapabilityArgs capabilities) {
    return new Attachment(id, netns, "web", "default", "uid-1", capabilities);
  }

  private static Attachment attachment(String id, Path netns) {
    return attachment(id, netns, CapabilityArgs.none());
  }

  @Test
  void thePodHasItsAddressUntilItIsDeleted() throws Exception {
    reference("bridge", "host-local");
    Path pod = namespace("pod");
    for (String version : new String[] {"0.3.1", "0.4.0", "1.0.0"}) {
      try (CniNetworks networks = networks(version, bridge("10.77.1.0/29"))) {
        assertThat(networks.status().ready()).isTrue();
        CniResult result = networks.add(attachment("pod1", pod));
        String address = CniResult.format(result.addresses().getFirst());
        assertThat(leased()).containsExactly(address);
        assertThat(
                run(
                    "/usr/bin/nsenter",
                    "--net=" + pod,
                    "/usr/sbin/ip",
                    "-o",
                    "addr",
                    "show",
                    "eth0"))
            .contains("inet " + address + "/29");
        networks.check(attachment("pod1", pod));
        networks.delete(attachment("pod1", pod));
        networks.delete(attachment("pod1", pod));
        assertThat(leased()).isEmpty();
        assertThat(run("/usr/bin/nsenter", "--net=" + pod, "/usr/sbin/ip", "-o", "link"))
            .doesNotContain("eth0");
      }
    }
  }

  @Test
  void checkFindsAnAddressThatWasTakenAway() throws Exception {
    reference("bridge", "host-local");
    Path pod = namespace("pod");
    try (CniNetworks networks = networks("1.0.0", bridge("10.77.1.0/29"))) {
      networks.add(attachment("pod1", pod));
      run("/usr/bin/nsenter", "--net=" + pod, "/usr/sbin/ip", "addr", "flush", "dev", "eth0");
      assertThatThrownBy(() -> networks.check(attachment("pod1", pod)))
          .isInstanceOf(CniException.class)
          .hasMessageStartingWith(
              "cni check of sandbox pod1 in network podnet: plugin bridge failed (code 999): ");
    }
  }

  @Test
  void bothAddressFamiliesAreGiven() throws Exception {
    reference("bridge", "host-local");
    Path pod = namespace("pod");
    try (CniNetworks networks = networks("1.0.0", bridge("10.77.1.0/24", "fd77:1::/64"))) {
      CniResult result = networks.add(attachment("pod1", pod));
      assertThat(result.addresses())
          .extracting(CniResult::format)
          .containsExactly("10.77.1.2", "fd77:1::2");
      networks.delete(attachment("pod1", pod));
      assertThat(leased()).isEmpty();
    }
  }

  @Test
  void aRoutedPairWorksToo() throws Exception {
    reference("ptp", "host-local");
    Path pod = namespace("pod");
    String ptp = bridge("10.77.1.0/29").replace("\"bridge\",\"bridge\":\"pods0\"", "\"ptp\"");
    try (CniNetworks networks = networks("1.0.0", ptp)) {
      assertThat(networks.add(attachment("pod1", pod)).addresses()).hasSize(1);
      networks.delete(attachment("pod1", pod));
      assertThat(leased()).isEmpty();
    }
  }

  @Test
  void aHostPortLeadsToThePodUntilItIsDeleted() throws Exception {
    reference("bridge", "host-local", "portmap");
    Needs.program("/usr/sbin/iptables");
    Path pod = namespace("pod");
    var ports =
        CapabilityArgs.none().portMappings(List.of(new PortMapping(18080, 80, "tcp", null)));
    try (CniNetworks networks =
        networks(
            "1.0.0",
            bridge("10.77.1.0/29"),
            "{\"type\":\"portmap\",\"snat\":true,\"capabilities\":{\"portMappings\":true}}")) {
      InetAddress address = networks.add(attachment("pod1", pod, ports)).addresses().getFirst();
      try (ServerSocket server = Namespaces.inside(pod, () -> new ServerSocket(80, 5, address));
          Socket client =
              Namespaces.inside(
                  host,
                  () -> {
                    Socket socket = new Socket();
                    socket.connect(
                        new InetSocketAddress(InetAddress.ofLiteral("127.0.0.1"), 18080), 5000);
                    return socket;
                  });
          Socket served = server.accept()) {
        served.getOutputStream().write('x');
        assertThat(client.getInputStream().read()).isEqualTo('x');
      }
      // The arguments of DEL come from the cache: the caller may not know the ports any more.
      networks.delete(attachment("pod1", pod));
      assertThat(run("/usr/bin/nsenter", "--net=" + host, "/usr/sbin/iptables", "-t", "nat", "-S"))
          .doesNotContain("10.77.1.");
      assertThat(leased()).isEmpty();
    }
  }

  @Test
  void addressesReturnThoughTheNamespaceIsGone() throws Exception {
    reference("bridge", "host-local");
    try (CniNetworks networks = networks("1.0.0", bridge("10.77.1.0/29"))) {
      // A /29 has five addresses for pods: a leak of one each time would fail the sixth.
      for (int i = 0; i < 12; i++) {
        Path pod = namespace("pod" + i);
        networks.add(attachment("pod" + i, pod));
        run("/usr/sbin/ip", "netns", "delete", prefix + "-pod" + i);
        networks.delete(attachment("pod" + i, pod));
      }
      assertThat(leased()).isEmpty();
    }
  }

  @Test
  void aFailingSecondPluginLeavesNoLease() throws Exception {
    reference("bridge", "host-local");
    program(
        "second",
        "[ \"$CNI_COMMAND\" != ADD ] || { echo '{\"code\":100,\"msg\":\"refused\"}'; exit 1; }");
    Path pod = namespace("pod");
    try (CniNetworks networks =
        networks("1.0.0", bridge("10.77.1.0/29"), "{\"type\":\"second\"}")) {
      for (int i = 0; i < 12; i++) {
        Attachment attachment = attachment("pod" + i, pod);
        assertThatThrownBy(() -> networks.add(attachment))
            .hasMessageEndingWith("plugin second failed (code 100): refused");
        assertThat(leased()).hasSize(1);
        networks.delete(attachment);
        assertThat(leased()).isEmpty();
      }
    }
  }

  @Test
  void anInterruptedAddLeavesNoLease() throws Exception {
    reference("bridge", "host-local");
    program("second", "[ \"$CNI_COMMAND\" != ADD ] || exec sleep 1000");
    Path pod = namespace("pod");
    try (CniNetworks networks =
        networks("1.0.0", bridge("10.77.1.0/29"), "{\"type\":\"second\"}")) {
      for (int i = 0; i < 7; i++) {
        Attachment attachment = attachment("pod" + i, pod);
        AtomicReference<Throwable> thrown =
            new AtomicReference<>(new AssertionError("add did not end"));
        Thread caller =
            Thread.ofVirtual()
                .start(() -> {
                  try {
                    networks.add(attachment);
                  } catch (Throwable e) {
                    thrown.set(e);
                  }
                });
        Needs.await("the lease", Duration.ofSeconds(10), () -> leasedNow() == 1);
        caller.interrupt();
        caller.join();
        assertThat(thrown.get()).isInstanceOf(InterruptedException.class);
        networks.delete(attachment);
        assertThat(leased()).isEmpty();
      }
    }
  }

  private int leasedNow() {
    try {
      return leased().size();
    } catch (IOException e) {
      return -1;
    }
  }

  @Test
  void anExhaustedNetworkSaysSoInThePluginsWordsAndRecovers() throws Exception {
    reference("bridge", "host-local");
    try (CniNetworks networks = networks("1.0.0", bridge("10.77.1.0/29"))) {
      Path pod = namespace("pod0");
      for (int i = 0; i < 5; i++) {
        networks.add(attachment("pod" + i, i == 0 ? pod : namespace("pod" + i)));
      }
      Path one = namespace("more");
      assertThatThrownBy(() -> networks.add(attachment("more", one)))
          .isInstanceOfSatisfying(
              CniException.class, e -> assertThat(e.plugin()).isEqualTo("bridge"))
          .hasMessageContaining("no IP addresses available in range set");
      networks.delete(attachment("more", one));
      networks.delete(attachment("pod0", pod));
      networks.add(attachment("more", one));
      assertThat(leased()).hasSize(5);
    }
  }

  @Test
  void podsComeAndGoTogether() throws Exception {
    reference("bridge", "host-local");
    try (CniNetworks networks = networks("1.0.0", bridge("10.77.1.0/24"));
        ExecutorService callers = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<InetAddress>> addresses = new ArrayList<>();
      List<Path> pods = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        pods.add(namespace("pod" + i));
      }
      for (int i = 0; i < 8; i++) {
        Attachment attachment = attachment("pod" + i, pods.get(i));
        addresses.add(callers.submit(() -> networks.add(attachment).addresses().getFirst()));
      }
      assertThat(addresses).extracting(Future::get).doesNotHaveDuplicates();
      List<Future<?>> deletes = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        Attachment attachment = attachment("pod" + i, pods.get(i));
        deletes.add(
            callers.submit(() -> {
              networks.delete(attachment);
              return null;
            }));
      }
      for (Future<?> delete : deletes) {
        delete.get();
      }
      assertThat(leased()).isEmpty();
    }
  }

  @Test
  void aVersionThatAPluginDoesNotKnowIsSaidByThePlugin() throws Exception {
    reference("bridge", "host-local");
    program("bridge", "echo '{\"code\":1,\"msg\":\"incompatible CNI versions\"}'; exit 1");
    try (CniNetworks networks = networks("1.1.0", bridge("10.77.1.0/29"))) {
      Needs.await(
          "the plugin's words",
          Duration.ofSeconds(2),
          () ->
              networks
                  .status()
                  .message()
                  .endsWith("plugin bridge failed (code 1): incompatible CNI versions"));
    }
  }

  @Test
  void theNewestVersionThatInstalledPluginsKnowIsFound() throws Exception {
    reference("bridge", "host-local");
    String plugin = bridge("10.77.1.0/29");
    Files.writeString(
        confDir.resolve("10-podnet.conflist"),
        "{\"cniVersion\":\"9.9.9\",\"cniVersions\":[\"0.4.0\",\"1.0.0\",\"1.1.0\"],\"name\":\"podnet\",\"plugins\":[%s]}"
            .formatted(plugin));
    Path pod = namespace("pod");
    try (CniNetworks networks =
        new CniNetworks(CniSettings.of(confDir, List.of(binDir), folder.resolve("cache")))) {
      CniResult result = networks.add(attachment("pod1", pod));
      String spoken = result.raw().path("cniVersion").asText();
      // 1.0.0 with Debian 12's plugins, 1.1.0 with newer ones.
      assertThat(spoken).isIn("1.0.0", "1.1.0");
      networks.delete(attachment("pod1", pod));
      assertThat(leased()).isEmpty();
    }
  }
}
