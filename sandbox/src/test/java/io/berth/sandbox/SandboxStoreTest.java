package io.berth.sandbox;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.InstanceOfAssertFactories.type;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.berth.linux.CgroupDriver;
import io.berth.linux.Seal;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SandboxStoreTest {
  @TempDir Path folder = Path.of("");

  @SuppressWarnings("NullAway.Init") // JUnit calls the method below first
  private SandboxStore store;

  @BeforeEach
  void open() {
    store = new SandboxStore(settings(folder));
  }

  private static SandboxSettings settings(Path folder) {
    return SandboxSettings.of(
        folder.resolve("run"), folder.resolve("lib"), CgroupDriver.CGROUPFS, Duration.ZERO);
  }

  private static Sandbox sandbox(String idStart, String name) {
    return new Sandbox(
        new SandboxId(idStart + "0".repeat(64 - idStart.length())),
        Configs.pod(name)
            .sysctl("net.core.somaxconn", "12")
            .dns(new DnsConfig(List.of("10.0.0.10"), List.of(), List.of()))
            .ports(new PortMapping(PortMapping.Protocol.TCP, 80, 8080, ""))
            .annotations(Map.of("note", "\u00fc"))
            .build(),
        "runc",
        SandboxState.CREATING,
        1_700_000_000_123_456_789L,
        "boot-1",
        name,
        new PodCgroup(CgroupDriver.CGROUPFS, "/kubepods/p", null),
        List.of("10.0.0.5", "fd00::5"),
        JsonNodeFactory.instance.objectNode().put("cniVersion", "1.0.0"),
        17);
  }

  private Sandbox ready(String idStart, String name) {
    Sandbox sandbox = sandbox(idStart, name);
    store.create(sandbox);
    store.update(sandbox.id(), s -> s.withState(SandboxState.READY));
    return sandbox.withState(SandboxState.READY);
  }

  @Test
  void findsByIdAndByUniqueBeginning() {
    Sandbox sandbox = ready("ab1", "a");
    ready("ab2", "b");
    assertThat(store.get(sandbox.id().value())).isEqualTo(sandbox);
    assertThat(store.get("ab1")).isEqualTo(sandbox);
    assertThat(store.find("ac")).isEmpty();
    assertThat(store.find("../etc/passwd")).isEmpty();
  }

  @Test
  void everySandboxHasItsOwnPairOfSelinuxCategoriesUntilItIsGone() {
    Sandbox first = sandbox("ab1", "a");
    store.create(first);
    assertThat(first.selinuxLevel()).matches("s0:c[0-9]+,c[0-9]+");
    // The same number at the beginning, so the same pair.
    Sandbox twin =
        new Sandbox(
            new SandboxId("ab1" + "0".repeat(60) + "1"),
            Configs.pod("b").build(),
            "",
            SandboxState.CREATING,
            1,
            "boot-1",
            "b",
            first.cgroup(),
            List.of(),
            null,
            null);
    assertThatThrownBy(() -> store.create(twin)).hasMessageContaining("SELinux categories");
    store.delete(first.id());
    store.create(twin);
    assertThat(twin.selinuxLevel()).isEqualTo(first.selinuxLevel());
    assertThat(new SandboxStore(settings(folder)).all())
        .as("after a restart")
        .extracting(Sandbox::selinuxLevel)
        .containsExactly(first.selinuxLevel());
  }

  @Test
  void pairsOfCategoriesAreTwoOfA1024() {
    for (int i = 0; i < 10_000; i++) {
      String[] pair = SandboxId.random().selinuxLevel().substring(4).split(",c", -1);
      assertThat(Integer.parseInt(pair[0])).isBetween(0, Integer.parseInt(pair[1]) - 1);
      assertThat(Integer.parseInt(pair[1])).isLessThan(1024);
    }
  }

  @Test
  void refusesABeginningOfSeveralIds() {
    ready("ab1", "a");
    ready("ab2", "b");
    assertThatThrownBy(() -> store.find("ab"))
        .asInstanceOf(type(SandboxException.class))
        .returns(SandboxException.Reason.INVALID, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .isEqualTo("find a sandbox: several ids begin with ab; give more of the id");
  }

  @Test
  void refusesAnEmptyId() {
    assertThatThrownBy(() -> store.find("")).hasMessageContaining("its id is empty");
  }

  @Test
  void saysThatASandboxIsMissing() {
    assertThatThrownBy(() -> store.get("ff"))
        .asInstanceOf(type(SandboxException.class))
        .returns(SandboxException.Reason.NOT_FOUND, SandboxException::reason);
  }

  @Test
  void hidesASandboxThatIsBeingMadeButKeepsItsName() {
    Sandbox making = sandbox("ab1", "a");
    store.create(making);
    assertThat(store.list()).isEmpty();
    assertThat(store.find("ab1")).isEmpty();
    assertThat(store.named(making.name())).contains(making);
    assertThatThrownBy(() -> store.create(sandbox("cd", "a")))
        .asInstanceOf(type(SandboxException.class))
        .returns(SandboxException.Reason.CONFLICT, SandboxException::reason)
        .extracting(Throwable::getMessage)
        .asString()
        .contains("the name is taken by sandbox " + making.id());
  }

  @Test
  void givesTheNameBackWithTheRecord() {
    Sandbox making = sandbox("ab1", "a");
    store.create(making);
    store.delete(making.id());
    store.delete(making.id());
    store.create(sandbox("ab2", "a"));
    assertThat(store.all()).hasSize(1);
  }

  @Test
  void readsBackExactlyWhatItWrote() {
    Sandbox sandbox = ready("ab1", "a");
    assertThat(new SandboxStore(settings(folder)).get("ab1")).isEqualTo(sandbox);
  }

  @Test
  void writesRecordsThatPeopleCanRead() throws IOException {
    Sandbox sandbox = ready("ab1", "a");
    assertThat(Files.readString(folder.resolve("lib/sandboxes").resolve(sandbox.id() + ".json")))
        .startsWith("{\n  \"formatVersion\" : 1,\n  \"id\" : \"ab1")
        .contains("\"state\" : \"READY\"", "\"namespace\" : \"default\"");
  }

  @Test
  void readsARecordOfANewerVersion() throws IOException {
    Sandbox sandbox = ready("ab1", "a");
    Path record = folder.resolve("lib/sandboxes").resolve(sandbox.id() + ".json");
    String text =
        Files.readString(record)
            .replaceFirst("1,", "2, \"novelty\": {\"x\": [1]},")
            .replaceFirst("(?s),\\s*\"crc32c.*", "\n}");
    Files.write(record, Seal.seal(text.getBytes(StandardCharsets.UTF_8)));
    assertThat(new SandboxStore(settings(folder)).get("ab1")).isEqualTo(sandbox);
  }

  @Test
  void putsARecordAsideThatLacksWhatItNeeds() throws IOException {
    ready("ab1", "a");
    Path broken = folder.resolve("lib/sandboxes").resolve("cd" + "0".repeat(62) + ".json");
    Files.writeString(broken, "{\"formatVersion\": 1}");
    assertThat(new SandboxStore(settings(folder)).all()).hasSize(1);
    assertThat(broken).doesNotExist();
  }

  @Test
  void refusesATransitionThatTheStateForbids() {
    Sandbox sandbox = ready("ab1", "a");
    assertThatThrownBy(() -> store.update(sandbox.id(), Sandbox::stopped))
        .hasMessageContaining("may not go from READY to STOPPED");
    assertThatThrownBy(() -> store.delete(sandbox.id()))
        .hasMessageContaining("may not vanish while READY");
    assertThat(store.get("ab1")).isEqualTo(sandbox);
  }

  @Test
  void updatingASandboxThatIsGoneDoesNothing() {
    assertThat(store.update(SandboxId.random(), Sandbox::stopped)).isNull();
  }

  @Test
  void aRecordThatCannotBeWrittenTakesNoName() throws IOException {
    Path records = folder.resolve("lib/sandboxes");
    Files.delete(records);
    Files.writeString(records, "in the way");
    assertThatThrownBy(() -> store.create(sandbox("ab1", "a"))).hasMessageContaining("write ");
    assertThat(store.named(sandbox("ab1", "a").name())).isEmpty();
  }
}
