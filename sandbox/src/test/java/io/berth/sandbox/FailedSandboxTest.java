package io.berth.sandbox;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import io.berth.linux.DebtLedger;
import io.berth.sandbox.SandboxException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/// A failure at every step of a pod's life: nothing is left, and the same call succeeds afterwards.
@Tag("root")
class FailedSandboxTest {
  private static final NamespaceMode POD = NamespaceMode.POD;

  /// With every step that a pod can have.
  private static final SandboxConfig FULL = Configs.pod("a").modes(POD, POD, POD).build();

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

  private void assertUndone() throws IOException {
    machine.assertNothingLeft();
    assertThat(machine.debts.owed).isEmpty();
    assertThat(store.all()).isEmpty();
  }

  private void assertRunsNow() throws Exception {
    Sandbox sandbox = manager.run(FULL, "");
    assertThat(sandbox.state()).isEqualTo(SandboxState.READY);
    manager.remove(sandbox.id().value());
    assertUndone();
  }

  @Test
  void aSysctlThatTheKernelRefusesLeavesNothing() throws Exception {
    assertThatThrownBy(
            () -> manager.run(Configs.pod("a").sysctl("net.core.nonesuch", "1").build(), ""))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.INVALID, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains("run sandbox default/a", "net/core/nonesuch", "no such parameter");
    assertThatThrownBy(
            () -> manager.run(Configs.pod("a").sysctl("kernel.shmmax", "many").build(), ""))
        .hasMessageContaining("kernel/shmmax to \"many\"");
    assertUndone();
    assertRunsNow();
  }

  @Test
  void aFileThatCannotBeCopiedLeavesNothing() throws Exception {
    Files.delete(machine.settings.resolvConf());
    Files.createDirectory(machine.settings.resolvConf());
    assertThatThrownBy(() -> manager.run(FULL, ""))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.FAILED, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains("write the pod's files");
    assertUndone();
    Files.delete(machine.settings.resolvConf());
    assertRunsNow();
  }

  @Test
  void aNetworkThatFailsHalfWayLeavesNoAddress() throws Exception {
    machine.script("fail-ADD");
    assertThatThrownBy(() -> manager.run(FULL, ""))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.FAILED, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains("run sandbox", "default/a", "plugin bridge", "the cable is cut");
    assertUndone();
    machine.unscript("fail-ADD");
    assertRunsNow();
  }

  @Test
  void aNetworkThatGivesNoAddressFailsThePod() throws Exception {
    Path conflist = machine.folder.resolve("net.d/10-pods.conflist");
    String original = Files.readString(conflist);
    Files.writeString(conflist, original.replaceFirst("(?s)\"ipam\": .*", "\"ipam\": {}}]}"));
    assertThatThrownBy(
            () -> {
              // The folder is watched: until the change is seen the pod still gets an address.
              while (true) {
                manager.remove(manager.run(FULL, "").id().value());
              }
            })
        .hasMessageContaining("no address");
    assertUndone();
  }

  @Test
  void anAddThatIsAbandonedIsKilledAndUndone() throws Exception {
    machine.script("hang-ADD");
    AtomicReference<Throwable> failure = new AtomicReference<>();
    Thread caller =
        Thread.startVirtualThread(() -> {
          try {
            manager.run(FULL, "");
          } catch (InterruptedException | RuntimeException e) {
            failure.set(e);
          }
        });
    PodMachine.await(() -> Files.exists(machine.plugin.resolve("hanging")));
    caller.interrupt();
    caller.join();
    assertThat(failure.get()).isInstanceOf(InterruptedException.class);
    PodMachine.await(() -> store.all().isEmpty());
    assertUndone();
    machine.unscript("hang-ADD");
    assertRunsNow();
  }

  @Test
  void anInitThatDoesNotStartLeavesNothing() throws Exception {
    AtomicReference<Path> cgroup = new AtomicReference<>();
    machine.init.failsAfterStart = true;
    machine.init.onStart =
        sandbox -> {
          Path made = machine.cgroups.folder("memory", sandbox.cgroup().containerPath("init"));
          assertThat(made.toFile().mkdirs()).isTrue(); // as the OCI runtime does
          cgroup.set(machine.cgroups.folder("memory", sandbox.cgroup().parent()));
        };
    assertThatThrownBy(() -> manager.run(FULL, "")).hasMessageContaining("did not start");
    assertUndone();
    assertThat(cgroup.get()).doesNotExist();
    machine.init.onStart = _ -> {};
    machine.init.failsAfterStart = false;
    assertRunsNow();
  }

  @Test
  void aRecordThatCannotBeWrittenLeavesOnlyADebt() throws Exception {
    Path records = machine.settings.rootDir().resolve("sandboxes");
    machine.script("on-ADD", "mv " + records + " " + records + ".away; touch " + records + "\n");
    assertThatThrownBy(() -> manager.run(FULL, ""))
        .asInstanceOf(type(SandboxException.class))
        .returns(Reason.FAILED, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains("write " + records);
    assertThat(machine.debts.kinds()).containsExactly("sandbox-record");
    assertThat(machine.mounts()).isEmpty();
    assertThat(machine.leases()).isEmpty();
    assertThat(machine.folders()).isEmpty();

    machine.unscript("on-ADD");
    Files.delete(records);
    Files.move(Path.of(records + ".away"), records);
    settleDebts();
    assertUndone();
    assertRunsNow();
  }

  @Test
  void aDelThatFailsWhileUndoingIsOwedAndLaterSettled() throws Exception {
    machine.script("fail-ADD");
    machine.script("refuse-DEL");
    assertThatThrownBy(() -> manager.run(FULL, "")).hasMessageContaining("the cable is cut");
    assertThat(machine.debts.kinds()).containsExactly("cni-del");
    assertThat(machine.leases()).isNotEmpty();
    assertThat(machine.mounts()).containsExactlyElementsOf(machine.namespacesKeptForDel());
    assertThat(machine.mounts()).hasSize(1);
    assertThat(store.all()).isEmpty();

    machine.unscript("fail-ADD");
    machine.unscript("refuse-DEL");
    settleDebts();
    assertUndone();
    assertRunsNow();
  }

  @Test
  void aNetworkThatIsDownDoesNotHoldUpStopAndRemove() throws Exception {
    Sandbox sandbox = manager.run(FULL, "");
    machine.script("refuse-DEL");
    manager.stop(sandbox.id().value());
    assertThat(store.get(sandbox.id().value()).state()).isEqualTo(SandboxState.STOPPED);
    manager.remove(sandbox.id().value());
    assertThat(machine.debts.kinds()).containsExactly("cni-del");
    assertThat(machine.mounts()).containsExactlyElementsOf(machine.namespacesKeptForDel());
    assertThat(machine.mounts()).hasSize(1);
    assertThat(store.all()).isEmpty();

    machine.unscript("refuse-DEL");
    settleDebts();
    assertUndone();
    assertThat(machine.calls("DEL").getLast()).as("with a namespace").contains("/owed-netns/");
  }

  @Test
  void aStopThatFailedCanBeRepeated() throws Exception {
    Sandbox sandbox = manager.run(FULL, "");
    machine.init.failsToStop = true;
    assertThatThrownBy(() -> manager.stop(sandbox.id().value())).hasMessageContaining("not end");
    assertThat(store.get(sandbox.id().value()).state()).isEqualTo(SandboxState.STOPPING);
    assertThatThrownBy(() -> manager.remove(sandbox.id().value())).hasMessageContaining("not end");
    machine.init.failsToStop = false;
    manager.remove(sandbox.id().value());
    assertUndone();
  }

  /// Hands what is owed to a real ledger, as the daemon does, and waits until nothing is owed.
  private void settleDebts() throws InterruptedException {
    try (DebtLedger ledger = new DebtLedger(machine.folder.resolve("debts"), Clock.systemUTC())) {
      manager.registerDebts(ledger);
      machine.debts.owed.forEach(debt -> ledger.owe(debt, new IllegalStateException("test")));
      ledger.start();
      PodMachine.await(() -> ledger.list().isEmpty());
    }
    machine.debts.owed.clear();
  }
}
