package io.berth.stats;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.berth.linux.Namespaces;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("root")
class NetworkStatsTest {
  @TempDir Path folder;
  private Path pin;

  @BeforeEach
  void makeNetwork() throws Exception {
    assumeTrue(Integer.valueOf(0).equals(Files.getAttribute(Path.of("/proc/self"), "unix:uid")));
    Namespaces.create(
        EnumSet.of(Namespaces.Kind.NET),
        folder,
        () -> {
          Namespaces.raiseLoopback();
          ip("link add aa0 type veth peer name eth0");
          ip("addr add 192.0.2.1/24 dev eth0");
          ip("link set eth0 arp off up");
          ip("link set aa0 up");
          try (DatagramSocket socket = new DatagramSocket()) {
            socket.send(
                new DatagramPacket(new byte[1000], 1000, InetAddress.getByName("192.0.2.9"), 9));
          }
        });
    pin = folder.resolve("net");
  }

  private static void ip(String command) throws Exception {
    Process process = new ProcessBuilder(("ip " + command).split(" ")).inheritIO().start();
    assertThat(process.waitFor()).as(command).isZero();
  }

  @AfterEach
  void unpin() {
    Namespaces.unpin(folder.resolve("net"));
  }

  @Test
  void eth0ComesFirstAndTheLoopbackNotAtAll() {
    List<InterfaceCounters> interfaces = NetworkStats.read(List.of(pin)).getFirst();
    assertThat(interfaces).extracting(InterfaceCounters::name).containsExactly("eth0", "aa0");
    InterfaceCounters.Direction transmitted = interfaces.getFirst().transmitted();
    assertThat(transmitted.packets()).isPositive();
    assertThat(transmitted.bytes()).isGreaterThanOrEqualTo(1000 + 28 + 14);
    assertThat(interfaces.getLast().received().bytes())
        .as("its other end")
        .isGreaterThanOrEqualTo(1000 + 28 + 14);
  }

  @Test
  void aNetworkThatHasGoneHasNoInterfacesAndTheOthersHave() throws Exception {
    Path plain = Files.createFile(folder.resolve("unpinned"));
    List<List<InterfaceCounters>> read =
        NetworkStats.read(List.of(folder.resolve("gone"), pin, plain));
    assertThat(read).hasSize(3);
    assertThat(read.get(0)).isEmpty();
    assertThat(read.get(1)).hasSize(2);
    assertThat(read.get(2)).isEmpty();
  }

  @Test
  void nobodyToVisitIsNoWork() {
    assertThat(NetworkStats.read(List.of())).isEmpty();
  }
}
