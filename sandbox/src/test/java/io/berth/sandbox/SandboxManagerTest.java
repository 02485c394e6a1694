package io.berth.sandbox;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.berth.linux.Namespaces;
import io.berth.linux.UserNamespace;
import io.berth.sandbox.SandboxException.Reason;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.NetworkInterface;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Tag("root")
class SandboxManagerTest {
  private static final NamespaceMode POD = NamespaceMode.POD;
  private static final NamespaceMode NODE = NamespaceMode.NODE;

  @TempDir Path folder = Path.of("");
  private PodMachine machine;
  private SandboxStore store;
  private SandboxManager manager;

  @BeforeEach
  void start() throws IOException {
    machine = PodMachine.at(folder);
    store = new SandboxStore(machine.settings);
    manager = machine.start(store);
  }

  @AfterEach
  void end() throws InterruptedException {
    if (machine != null) {
      machine.close();
    }
  }

  private SandboxLayout.Paths paths(Sandbox sandbox) {
    return manager.layout().paths(sandbox);
  }

  @Test
  void runMakesAPodThatIsReadyWithAnAddress() throws Exception {
    Sandbox sandbox = manager.run(Configs.pod("a").build(), "runc");

    assertThat(store.list()).containsExactly(sandbox);
    assertThat(sandbox.state()).isEqualTo(SandboxState.READY);
    assertThat(sandbox.createdAtNanos()).isPositive();
    assertThat(sandbox.handler()).isEqualTo("runc");
    assertThat(sandbox.ips()).hasSize(2);
    assertThat(sandbox.ips().getFirst()).startsWith("10.");
    assertThat(sandbox.ips().getLast()).startsWith("fd").contains("::");
    assertThat(sandbox.cniResult()).isNotNull();
    assertThat(sandbox.initPid()).isNull();
    assertThat(machine.debts.owed).isEmpty();
  }

  @Test
  void namespacesCarryHostnameLoopbackAndSysctls() throws Exception {
    Sandbox sandbox =
        manager.run(
            Configs.pod("a").hostname("web-1.example").sysctl("fs.mqueue.msg_max", "23").build(),
            "");
    SandboxLayout.Paths paths = paths(sandbox);
    Path network = paths.network();
    Path ipc = paths.ipc();
    Path uts = paths.uts();
    assertThat(network).isNotNull();
    assertThat(ipc).isNotNull();
    assertThat(uts).isNotNull();
    if (network == null || ipc == null || uts == null) {
      return;
    }

    assertThat(Namespaces.inside(uts, () -> read("/proc/sys/kernel/hostname")))
        .isEqualTo("web-1.example");
    assertThat(Namespaces.inside(ipc, () -> read("/proc/sys/fs/mqueue/msg_max"))).isEqualTo("23");
    assertThat(
            Namespaces.inside(network, () -> read("/proc/sys/net/ipv4/ip_unprivileged_port_start")))
        .isEqualTo("0");
    assertThat(Namespaces.inside(network, () -> NetworkInterface.getByName("lo").isUp())).isTrue();
    assertThat(read("/proc/sys/kernel/hostname")).isNotEqualTo("web-1.example");
  }

  @Test
  void filesSayWhatTheContainersAreToSee() throws Exception {
    Sandbox sandbox =
        manager.run(
            Configs.pod("a")
                .dns(new DnsConfig(List.of("10.0.0.10"), List.of("cluster.local"), List.of()))
                .build(),
            "");
    SandboxLayout.Paths paths = paths(sandbox);
    assertThat(paths.hostname()).hasContent("web-1\n");
    assertThat(paths.resolvConf()).hasContent("search cluster.local\nnameserver 10.0.0.10\n");
    assertThat(paths.hosts()).hasContent("127.0.0.1 localhost\n");
    assertThat(Files.getPosixFilePermissions(paths.resolvConf()))
        .isEqualTo(PosixFilePermissions.fromString("rw-r--r--"));
    assertThat(Files.getPosixFilePermissions(paths.hosts().resolveSibling(".").normalize()))
        .isEqualTo(PosixFilePermissions.fromString("rwx------"));
  }

  @Test
  void podsWithoutAResolverGetTheMachines() throws Exception {
    Sandbox sandbox = manager.run(Configs.pod("a").build(), "");
    assertThat(paths(sandbox).resolvConf()).hasContent("nameserver 10.9.8.7\n");
  }

  @Test
  void sharedMemoryIsSmallAndExecutesNothing() throws Exception {
    Sandbox sandbox = manager.run(Configs.pod("a").build(), "");
    Path shm = paths(sandbox).shm();
    assertThat(Files.getFileStore(shm).getTotalSpace()).isEqualTo(64L << 20);
    assertThat(Files.getPosixFilePermissions(shm))
        .isEqualTo(PosixFilePermissions.fromString("rwxrwxrwx"));
    assertThat(Files.readAllLines(Path.of("/proc/self/mountinfo")))
        .filteredOn(line -> line.contains(shm.toString()))
        .singleElement()
        .asString()
        .contains("nosuid,nodev,noexec", " tmpfs ");
  }

  @Test
  void aPodOnTheMachinesNamespacesGetsNoneOfItsOwn() throws Exception {
    Sandbox sandbox =
        manager.run(Configs.pod("a").hostname("").modes(NODE, NODE, NODE).build(), "");
    assertThat(machine.mounts()).isEmpty();
    assertThat(machine.calls("ADD")).isEmpty();
    assertThat(sandbox.ips()).isEmpty();
    assertThat(paths(sandbox))
        .returns(null, SandboxLayout.Paths::network)
        .returns(null, SandboxLayout.Paths::ipc)
        .returns(null, SandboxLayout.Paths::uts)
        .returns(Path.of("/dev/shm"), SandboxLayout.Paths::shm);
    assertThat(paths(sandbox).hostname()).hasContent(read("/proc/sys/kernel/hostname") + "\n");
    manager.remove(sandbox.id().value());
    machine.assertNothingLeft();
  }

  @Test
  void cniIsToldAboutThePod() throws Exception {
    Sandbox sandbox =
        manager.run(
            Configs.pod("a").ports(new PortMapping(PortMapping.Protocol.TCP, 80, 8080, "")).build(),
            "");
    assertThat(machine.calls("ADD"))
        .containsExactly("ADD " + sandbox.id() + " " + paths(sandbox).network());
    assertThat(machine.plugin.resolve("configs"))
        .content()
        .contains("\"hostPort\":8080", "\"protocol\":\"tcp\"");
  }

  @Test
  void stopGivesTheAddressBackAndKeepsTheRecord() throws Exception {
    Sandbox sandbox = manager.run(Configs.pod("a").build(), "");
    assertThat(manager.beginStop(sandbox.id().value()))
        .get()
        .returns(SandboxState.STOPPING, Sandbox::state)
        .returns(sandbox.ips(), Sandbox::ips);

    manager.stop(sandbox.id().shortForm());
    manager.stop(sandbox.id().value());

    assertThatThrownBy(() -> store.getReady(sandbox.id().value()))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.NOT_READY, SandboxException::reason);
    assertThat(store.get(sandbox.id().value()))
        .returns(SandboxState.STOPPED, Sandbox::state)
        .returns(List.of(), Sandbox::ips)
        .returns(sandbox.createdAtNanos(), Sandbox::createdAtNanos);
    assertThat(machine.mounts()).isEmpty();
    assertThat(machine.leases()).isEmpty();
    assertThat(machine.calls("DEL")).hasSize(1);
  }

  @Test
  void removeStopsFirstAndLeavesNothing() throws Exception {
    Sandbox sandbox = manager.run(Configs.pod("a").modes(POD, POD, POD).build(), "");
    assertThat(sandbox.initPid()).isEqualTo(4711);

    manager.remove(sandbox.id().value());
    manager.remove(sandbox.id().value());

    machine.assertNothingLeft();
    assertThat(machine.debts.owed).isEmpty();
    assertThat(store.list()).isEmpty();
    assertThat(manager.run(Configs.pod("a").build(), "").id()).isNotEqualTo(sandbox.id());
  }

  @Test
  void stoppingAndRemovingWhatIsUnknownSucceeds() throws Exception {
    manager.stop("0123");
    manager.remove(SandboxId.random().value());
    manager.remove("no id at all");
    assertThat(manager.beginStop("0123")).isEmpty();
  }

  @Test
  void eightCallsForOnePodMakeOneSandbox() throws Exception {
    SandboxConfig config = Configs.pod("a").build();
    Set<SandboxId> ids = ConcurrentHashMap.newKeySet();
    List<Thread> callers =
        IntStream.range(0, 8)
            .mapToObj(_ ->
                Thread.startVirtualThread(() -> {
                  try {
                    ids.add(manager.run(config, "").id());
                  } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                  }
                }))
            .toList();
    for (Thread caller : callers) {
      caller.join();
    }
    assertThat(ids).hasSize(1);
    assertThat(machine.calls("ADD")).hasSize(1);
    assertThat(store.list()).hasSize(1);
  }

  @Test
  void callsThatGaveUpFindTheirPodWhenTheyAskAgain() throws Exception {
    manager = machine.start(store, Duration.ofMinutes(1), machine.init);
    machine.script("on-ADD", "while [ ! -e \"$here/go\" ]; do sleep 0.02; done\n");
    SandboxConfig config = Configs.pod("a").build();
    for (int call = 0; call < 5; call++) {
      Thread caller =
          Thread.startVirtualThread(() -> {
            try {
              Sandbox _ = manager.run(config, "");
            } catch (InterruptedException e) {
              Thread.currentThread().interrupt(); // its deadline has passed
            }
          });
      PodMachine.await(() -> caller.getState() == Thread.State.WAITING);
      caller.interrupt();
      caller.join();
    }
    machine.script("go");
    Sandbox sandbox = manager.run(config, "");
    assertThat(store.list()).containsExactly(sandbox);
    assertThat(machine.calls("ADD")).hasSize(1);
  }

  @Test
  void aRepeatedCallGetsTheSandboxThatItMadeBefore() throws Exception {
    Sandbox sandbox = manager.run(Configs.pod("a").build(), "");
    assertThat(manager.run(Configs.pod("a").build(), "")).isEqualTo(sandbox);
  }

  @Test
  void anotherConfigurationUnderTheSameNameIsAConflict() throws Exception {
    Sandbox sandbox = manager.run(Configs.pod("a").build(), "");
    assertThatThrownBy(() -> manager.run(Configs.pod("a").hostname("other").build(), ""))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.CONFLICT, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains("run sandbox default/a", sandbox.id().value(), "raise the attempt");
    assertThatThrownBy(() -> manager.run(Configs.pod("a").build(), "crun"))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.CONFLICT, SandboxException::reason);
  }

  @Test
  void theNameOfAStoppedPodStaysTaken() throws Exception {
    Sandbox sandbox = manager.run(Configs.pod("a").build(), "");
    manager.stop(sandbox.id().value());
    assertThatThrownBy(() -> manager.run(Configs.pod("a").build(), ""))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.CONFLICT, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains("has ended; remove it");
  }

  @ParameterizedTest
  @EnumSource(names = {"CONTAINER", "TARGET"})
  void refusesModesThatASandboxCannotHave(NamespaceMode mode) throws Exception {
    for (SandboxConfig config :
        List.of(
            Configs.pod("a").modes(mode, POD, POD).build(),
            Configs.pod("a").modes(POD, POD, mode).build(),
            Configs.pod("a").modes(POD, NamespaceMode.TARGET, POD).build(),
            userNamespace(mode, List.of()))) {
      assertThatThrownBy(() -> manager.run(config, ""))
          .asInstanceOf(type(SandboxException.class))
          .returns(Reason.INVALID, SandboxException::reason);
    }
    machine.assertNothingLeft();
  }

  @Test
  void podWithUsersOfItsOwnHasNamespacesAndFilesThatBelongToThem() throws Exception {
    NamespaceModes.IdMapping mapping = new NamespaceModes.IdMapping(0, 100_000, 65_536);
    Sandbox sandbox = manager.run(userNamespace(POD, List.of(mapping)), "");

    SandboxLayout.Paths paths = manager.layout().paths(sandbox);
    UserNamespace user = requireNonNull(paths.user());
    assertThat(Namespaces.isPinned(user.pin())).isTrue();
    assertThat(Namespaces.isPinned(requireNonNull(paths.network()))).isTrue();
    for (Path file : List.of(paths.hostname(), paths.hosts(), paths.resolvConf(), paths.shm())) {
      assertThat(Files.getAttribute(file, "unix:uid")).as(file.toString()).isEqualTo(100_000);
    }

    SandboxManager restarted = machine.start(new SandboxStore(machine.settings));
    restarted.recover();
    assertThat(machine.mounts()).contains(user.pin());
    restarted.remove(sandbox.id().value());
    machine.assertNothingLeft();
  }

  @Test
  void refusesAUserNamespaceThatIsNotOneRangeWithARoot() throws Exception {
    NamespaceModes.IdMapping mapping = new NamespaceModes.IdMapping(0, 100_000, 65_536);
    refusesUser("takes no id mappings", NODE, List.of(mapping));
    refusesUser("exactly one uid mapping, not 0", POD, List.of());
    refusesUser("exactly one uid mapping, not 2", POD, List.of(mapping, mapping));
    refusesUser("must begin at 0", POD, List.of(new NamespaceModes.IdMapping(1, 100_000, 65_536)));
    refusesUser(
        "isn't within the machine's",
        POD,
        List.of(new NamespaceModes.IdMapping(0, 0xffff_fff0L, 65_536)));
    machine.assertNothingLeft();
  }

  private void refusesUser(
      String why, NamespaceMode mode, List<NamespaceModes.IdMapping> mappings) {
    assertThatThrownBy(() -> manager.run(userNamespace(mode, mappings), ""))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.INVALID, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains(why);
  }

  private static SandboxConfig userNamespace(
      NamespaceMode mode, List<NamespaceModes.IdMapping> mappings) {
    return Configs.pod("a")
        .with(
            new NamespaceModes(
                POD,
                NamespaceMode.CONTAINER,
                POD,
                new NamespaceModes.UserNamespace(mode, mappings, mappings),
                ""));
  }

  @Test
  void refusesAPodWithoutAName() {
    SandboxConfig config = Configs.pod("").build();
    assertThatThrownBy(() -> manager.run(config, ""))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.INVALID, SandboxException::reason);
  }

  @Test
  void withoutANetworkAPodIsRefusedBeforeAnythingIsMade() throws Exception {
    Path config = machine.folder.resolve("net.d/10-pods.conflist");
    Files.delete(config);
    PodMachine.await(() -> !machine.networks.status().ready());
    assertThatThrownBy(() -> manager.run(Configs.pod("a").build(), ""))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.UNAVAILABLE, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains("the pod network isn't ready");
    machine.assertNothingLeft();
    assertThat(manager.run(Configs.hostNetwork("b"), "").state()).isEqualTo(SandboxState.READY);
  }

  @Test
  void cgroupThatWasMissingIsRemovedWithThePod() throws Exception {
    Sandbox sandbox = manager.run(Configs.hostNetwork("a"), "");
    String own = sandbox.cgroup().parent();
    Path made = machine.cgroups.folder("memory", sandbox.cgroup().containerPath("c1"));
    Files.createDirectories(made); // as the OCI runtime does
    manager.remove(sandbox.id().value());
    assertThat(machine.cgroups.folder("memory", own)).doesNotExist();
  }

  @Test
  void stateOfOnePodDoesNotHoldUpAnother() throws Exception {
    machine.script("hang-ADD");
    Thread hanging =
        Thread.startVirtualThread(() -> {
          try {
            manager.run(Configs.pod("slow").build(), "");
          } catch (InterruptedException | RuntimeException e) {
            // it is abandoned below
          }
        });
    PodMachine.await(() -> Files.exists(machine.plugin.resolve("hanging")));
    machine.unscript("hang-ADD");
    Sandbox other = manager.run(Configs.pod("quick").build(), "");
    assertThat(store.list()).containsExactly(other);
    hanging.interrupt();
    hanging.join();
    PodMachine.await(() -> store.all().size() == 1);
  }

  @Test
  void aSubnetOfFiveAddressesServesNineteenPodsOneAfterAnother() throws Exception {
    for (int i = 0; i < 19; i++) {
      Sandbox sandbox =
          manager.run(Configs.pod("p" + i).annotations(Map.of("round", "" + i)).build(), "");
      manager.remove(sandbox.id().value());
    }
    machine.assertNothingLeft();
  }

  /// In one read(2): of a number the kernel gives a second read nothing.
  private static String read(String file) throws IOException {
    byte[] buffer = new byte[4096];
    try (InputStream in = new FileInputStream(file)) {
      int length = in.read(buffer);
      return new String(buffer, 0, length, UTF_8).strip();
    }
  }
}
