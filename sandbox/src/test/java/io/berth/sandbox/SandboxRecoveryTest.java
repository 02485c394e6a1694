package io.berth.sandbox;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.DebtLedger;
import io.berth.linux.Namespaces;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// A second manager over the folders of the first: what a restart of the daemon or of the machine
/// finds.
@Tag("root")
class SandboxRecoveryTest {
  private static final NamespaceMode POD = NamespaceMode.POD;

  @TempDir Path folder = Path.of("");
  private PodMachine machine;
  private SandboxManager first;

  @BeforeEach
  void start() throws IOException {
    machine = PodMachine.at(folder);
    first = machine.start(new SandboxStore(machine.settings));
  }

  @AfterEach
  void end() throws InterruptedException {
    if (machine != null) {
      machine.close();
    }
  }

  private SandboxStore restart() throws InterruptedException {
    SandboxStore store = new SandboxStore(machine.settings);
    SandboxManager manager = machine.start(store);
    manager.recover();
    settleDebts(manager);
    return store;
  }

  private void settleDebts(SandboxManager manager) throws InterruptedException {
    try (DebtLedger ledger = new DebtLedger(machine.folder.resolve("debts"), Clock.systemUTC())) {
      manager.registerDebts(ledger);
      machine.debts.owed.forEach(debt -> ledger.owe(debt, new IllegalStateException("test")));
      ledger.start();
      PodMachine.await(() -> ledger.list().isEmpty());
    }
  }

  @Test
  void podsLiveThroughARestartOfTheDaemon() throws Exception {
    Sandbox sandbox = first.run(Configs.pod("a").modes(POD, POD, POD).build(), "runc");
    Sandbox stopped = first.run(Configs.pod("b").build(), "");
    first.stop(stopped.id().value());
    SandboxStore store = restart();
    assertThat(store.get(sandbox.id().value())).isEqualTo(sandbox);
    assertThat(store.get(stopped.id().value()).state()).isEqualTo(SandboxState.STOPPED);
    assertThat(machine.debts.owed).isEmpty();
    assertThat(machine.leases()).hasSize(2);
  }

  @Test
  void namesStayTakenOverARestart() throws Exception {
    SandboxConfig config = Configs.pod("a").build();
    Sandbox sandbox = first.run(config, "");
    SandboxManager second = machine.start(restart());
    assertThat(second.run(config, "")).isEqualTo(sandbox);
  }

  @Test
  void afterARebootPodsAreNotReadyAndTheirAddressesAreGivenBack() throws Exception {
    Sandbox sandbox = first.run(Configs.pod("a").modes(POD, POD, POD).build(), "");
    machine.reboot();
    SandboxStore store = restart();
    assertThat(store.get(sandbox.id().value()))
        .returns(SandboxState.STOPPED, Sandbox::state)
        .returns(List.of(), Sandbox::ips)
        .returns(sandbox.createdAtNanos(), Sandbox::createdAtNanos);
    assertThat(machine.leases()).isEmpty();
    assertThat(machine.calls("DEL")).singleElement().asString().endsWith(sandbox.id() + " ");
    SandboxManager second = machine.start(store);
    second.stop(sandbox.id().value());
    second.remove(sandbox.id().value());
    machine.assertNothingLeft();
  }

  @Test
  void aPodWhoseNamespaceIsGoneIsNotReady() throws Exception {
    Sandbox sandbox = first.run(Configs.pod("a").build(), "");
    Path network = first.layout().paths(sandbox).network();
    assertThat(network).isNotNull();
    if (network != null) {
      Namespaces.unpin(network);
    }
    assertThat(restart().get(sandbox.id().value()).state()).isEqualTo(SandboxState.STOPPED);
    assertThat(machine.leases()).isEmpty();
    assertThat(machine.mounts()).isEmpty();
  }

  @Test
  void aPodThatWasBeingMadeIsTakenDownAndItsNameIsFree() throws Exception {
    CountDownLatch reached = new CountDownLatch(1);
    CountDownLatch ended = new CountDownLatch(1);
    SandboxConfig config = Configs.pod("a").modes(POD, POD, POD).build();
    machine.init.onStart =
        _ -> {
          reached.countDown();
          try {
            ended.await();
          } catch (InterruptedException e) {
            throw new IllegalStateException("the daemon ended", e);
          }
        };
    Thread caller =
        Thread.startVirtualThread(() -> {
          try {
            first.run(config, "");
          } catch (InterruptedException | RuntimeException e) {
            // stands for a daemon that was killed at this point
          }
        });
    reached.await();
    assertThat(machine.mounts()).hasSize(4);
    assertThat(machine.leases()).hasSize(2);

    PodMachine.ScriptedInit survivor = new PodMachine.ScriptedInit();
    SandboxStore store = new SandboxStore(machine.settings);
    assertThat(store.all()).hasSize(1);
    SandboxManager second = machine.start(store, Duration.ZERO, survivor);
    survivor.failsToStop = true;
    second.recover();
    assertThat(machine.debts.kinds()).containsExactly("cni-del", "pod-init");
    assertThat(machine.mounts()).containsExactlyElementsOf(machine.namespacesKeptForDel());
    assertThat(machine.records()).isEmpty();
    assertThat(machine.folders()).isEmpty();
    survivor.failsToStop = false;
    settleDebts(second);
    assertThat(machine.leases()).isEmpty();
    assertThat(machine.mounts()).isEmpty();
    assertThat(second.run(config, "").state()).isEqualTo(SandboxState.READY);

    machine.init.failsAfterStart = true; // ended: the first manager finds nothing to undo
    ended.countDown();
    caller.join();
  }

  @Test
  void aPodThatWasBeingStoppedIsStoppedToTheEnd() throws Exception {
    Sandbox sandbox = first.run(Configs.pod("a").build(), "");
    first.beginStop(sandbox.id().value());
    assertThat(restart().get(sandbox.id().value()).state()).isEqualTo(SandboxState.STOPPED);
    assertThat(machine.mounts()).isEmpty();
    assertThat(machine.leases()).isEmpty();
  }

  @Test
  void aFolderThatNoRecordKnowsIsCleared() throws Exception {
    Sandbox sandbox = first.run(Configs.pod("a").build(), "");
    Files.delete(machine.settings.rootDir().resolve("sandboxes").resolve(sandbox.id() + ".json"));
    assertThat(restart().all()).isEmpty();
    assertThat(machine.folders()).isEmpty();
    assertThat(machine.mounts()).isEmpty();
  }
}
