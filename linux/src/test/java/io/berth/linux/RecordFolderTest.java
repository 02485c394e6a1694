package io.berth.linux;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RecordFolderTest {
  @TempDir Path folder;

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
