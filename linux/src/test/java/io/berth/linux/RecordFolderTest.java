package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RecordFolderTest {
  private static final int DAMAGES = 200;

  @TempDir Path temporary;
  private Path folder;

  @BeforeEach
  void aFolder() throws Exception {
    folder = Files.createDirectory(temporary.resolve("records"));
  }

  record Thing(String name, int size, @Nullable String note, List<String> parts) {
    Thing {
      parts = List.copyOf(parts);
    }
  }

  private RecordFolder<Thing> records() {
    return new RecordFolder<>(folder, Thing.class, 3);
  }

  @Test
  void recordIsReadBackAsItWas() {
    Thing thing = new Thing("n", 7, null, List.of("a", "b"));
    records().write("id", thing);
    assertThat(records().readAll()).isEqualTo(Map.of("id", thing));
  }

  @Test
  void anUnsyncedRecordReplacesASyncedOneAndIsReplacedByOne() {
    Thing first = new Thing("first", 1, null, List.of());
    Thing second = new Thing("second", 2, null, List.of());
    records().write("id", first);
    records().writeUnsynced("id", second);
    assertThat(records().readAll()).isEqualTo(Map.of("id", second));
    records().write("id", first);
    assertThat(records().readAll()).isEqualTo(Map.of("id", first));
    assertThat(folder).isDirectoryNotContaining("glob:**.tmp");
  }

  @Test
  void formatVersionComesFirstAndAbsentFieldsAreLeftOut() throws Exception {
    records().write("id", new Thing("n", 7, null, List.of()));
    assertThat(Files.readAllLines(folder.resolve("id.json")).get(1))
        .isEqualTo("  \"formatVersion\" : 3,");
    assertThat(Files.readString(folder.resolve("id.json"))).doesNotContain("note");
  }

  @Test
  void fieldsOfANewerVersionAreIgnored() throws Exception {
    Files.writeString(
        folder.resolve("id.json"),
        "{\"formatVersion\":9,\"name\":\"n\",\"size\":1,\"parts\":[],\"new\":{\"x\":1}}");
    assertThat(records().readAll()).containsOnlyKeys("id");
  }

  /** Cut off, empty (after a power loss), of another shape, without what the record needs. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "{\"name\":",
        "",
        "null",
        "[]",
        "7",
        "{\"name\":\"n\",\"size\":\"x\"}",
        "{\"name\":\"n\"}"
      })
  void unreadableRecordIsMovedAsideAndTheOthersAreRead(String content) throws Exception {
    records().write("good", new Thing("n", 7, null, List.of()));
    Files.writeString(folder.resolve("bad.json"), content);

    assertThat(records().readAll()).containsOnlyKeys("good");

    assertThat(folder.resolve("bad.json")).doesNotExist();
    assertThat(folder.resolve("bad.json.corrupt")).hasContent(content);
    assertThat(records().readAll()).containsOnlyKeys("good");
  }

  /** A later version's record, with its checksum; and one of before there were any. */
  @Test
  void recordsOfTheVersionsBeforeAndAfterAreRead() throws Exception {
    record Later(String name, int size, List<String> parts, List<String> novelty) {}
    new RecordFolder<>(folder, Later.class, 4)
        .write("later", new Later("n", 1, List.of(), List.of("x")));
    Files.writeString(
        folder.resolve("before.json"),
        "{\n  \"formatVersion\" : 3,\n  \"name\" : \"n\",\n  \"size\" : 1,\n  \"parts\" : [ ]\n}");

    Thing same = new Thing("n", 1, null, List.of());
    assertThat(records().readAll()).isEqualTo(Map.of("later", same, "before", same));
  }

  @Test
  void noDamageIsTakenForWhatWasWritten() throws Exception {
    Thing thing = new Thing("of the pod", 71, "note", List.of("a", "b"));
    byte[] whole = written(records(), thing);
    var random = new Random(12);
    for (int i = 0; i < DAMAGES; i++) {
      Files.write(folder.resolve("id.json"), damaged(whole, random));

      Map<String, Thing> read = records().readAll();

      // A flip in the name of the checksum's own field leaves the rest as it was.
      assertThat(read.values()).allMatch(thing::equals);
      assertThat(folder.resolve("id.json.corrupt").toFile().exists()).isEqualTo(read.isEmpty());
      Files.deleteIfExists(folder.resolve("id.json.corrupt"));
    }
  }

  @Test
  void damagedRecordIsReplacedByItsCopy(@TempDir Path copies) throws Exception {
    Thing thing = new Thing("of the pod", 71, "note", List.of("a", "b"));
    var records = new RecordFolder<>(folder, copies, RecordFolder.Durable.SOON, Thing.class, 3);
    records.write("other", new Thing("stays", 1, null, List.of()));
    byte[] whole = written(records, thing);
    var random = new Random(13);
    for (int i = 0; i < DAMAGES; i++) {
      byte[] bad = damaged(whole, random);
      Files.write(folder.resolve("id.json"), bad);

      assertThat(
              new RecordFolder<>(folder, copies, RecordFolder.Durable.SOON, Thing.class, 3)
                  .readAll())
          .hasSize(2)
          .containsEntry("id", thing);
      if (Files.exists(folder.resolve("id.json.corrupt"))) {
        assertThat(folder.resolve("id.json")).hasBinaryContent(whole);
        assertThat(folder.resolve("id.json.corrupt")).hasBinaryContent(bad);
        Files.delete(folder.resolve("id.json.corrupt"));
      }
    }
  }

  @Test
  void copyNeverBringsBackWhatWasDeletedAndIsNotTrustedWhenItIsDamagedItself(@TempDir Path copies)
      throws Exception {
    var records = new RecordFolder<>(folder, copies, RecordFolder.Durable.SOON, Thing.class, 3);
    byte[] whole = written(records, new Thing("n", 7, null, List.of()));
    records.delete("id");
    assertThat(copies).isEmptyDirectory();

    Files.write(copies.resolve("id.json"), whole); // the daemon died in between
    assertThat(records.readAll()).isEmpty();
    assertThat(copies).isEmptyDirectory();

    Files.write(folder.resolve("id.json"), new byte[whole.length]);
    Files.write(copies.resolve("id.json"), damaged(whole, new Random(1)));
    assertThat(records.readAll()).isEmpty();
    assertThat(folder.resolve("id.json.corrupt")).exists();
  }

  @Test
  void missingCopyIsMadeAnew(@TempDir Path copies) throws Exception {
    Thing thing = new Thing("n", 7, null, List.of());
    byte[] whole = written(records(), thing); // by a version that made none, or before a reboot
    var records = new RecordFolder<>(folder, copies, RecordFolder.Durable.SOON, Thing.class, 3);
    assertThat(records.readAll()).containsEntry("id", thing);
    assertThat(copies.resolve("id.json")).hasBinaryContent(whole);
  }

  private byte[] written(RecordFolder<Thing> records, Thing thing) throws Exception {
    records.write("id", thing);
    return Files.readAllBytes(folder.resolve("id.json"));
  }

  /** One bit flipped, or the end cut off. */
  private static byte[] damaged(byte[] whole, Random random) {
    if (random.nextBoolean()) {
      return Arrays.copyOf(whole, random.nextInt(whole.length));
    }
    byte[] damaged = whole.clone();
    damaged[random.nextInt(whole.length)] ^= (byte) (1 << random.nextInt(8));
    return damaged;
  }

  @Test
  void halfWrittenFileOfACrashIsRemoved() throws Exception {
    Files.writeString(folder.resolve("id.json.tmp"), "{\"na");
    assertThat(records().readAll()).isEmpty();
    assertThat(folder).isEmptyDirectory();
  }

  @Test
  void deletingIsDurablyDoneAndMayBeRepeated() {
    RecordFolder<Thing> records = records();
    records.write("id", new Thing("n", 7, null, List.of()));
    records.delete("id");
    records.delete("id");
    assertThat(folder).isEmptyDirectory();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "../x", "a/b", ".hidden"})
  void idThatWouldLeaveTheFolderIsRefused(String id) {
    assertThatThrownBy(() -> records().write(id, new Thing("n", 7, null, List.of())))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("not a record id: " + id);
    assertThatThrownBy(() -> records().delete(id)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void onlyTheOwnerMayLook() throws Exception {
    Path made = folder.resolve("made");
    new RecordFolder<>(made, Thing.class, 1).write("id", new Thing("n", 7, null, List.of()));
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(made)))
        .isEqualTo("rwx------");
    assertThat(
            PosixFilePermissions.toString(Files.getPosixFilePermissions(made.resolve("id.json"))))
        .isEqualTo("rw-------");
  }
}
