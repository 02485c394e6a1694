package io.berth.snapshot;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.linux.Seal;
import io.berth.oci.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The record of a snapshot, written twice and not synced: a container that the snapshot is mounted
 * for must neither lose what it wrote nor the hold on its layers by one damaged file.
 */
final class SnapshotFiles {
  private static final Logger log = LoggerFactory.getLogger(SnapshotFiles.class);

  private SnapshotFiles() {}

  static void write(Path folder, SnapshotRecord record) throws IOException {
    byte[] content =
        Seal.seal(Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsBytes(record));
    Files.write(folder.resolve(SnapshotLayout.SNAPSHOT_RECORD), content);
    Files.write(folder.resolve(SnapshotLayout.SNAPSHOT_COPY), content);
  }

  /** From the record, or from its copy, which then takes its place; nothing if both are damaged. */
  static @Nullable SnapshotRecord read(Path folder) {
    Path file = folder.resolve(SnapshotLayout.SNAPSHOT_RECORD);
    try {
      return parse(folder, file);
    } catch (IOException | IllegalArgumentException damage) {
      Path copy = folder.resolve(SnapshotLayout.SNAPSHOT_COPY);
      try {
        SnapshotRecord record = parse(folder, copy);
        log.error("record {} was damaged and is replaced by its copy: {}", file, damage.toString());
        mend(folder, record);
        return record;
      } catch (IOException | IllegalArgumentException e) {
        log.error(
            "record {} can't be read, the snapshot stays until its container is removed: {}; {}",
            file,
            damage.toString(),
            e.toString());
        return null;
      }
    }
  }

  private static void mend(Path folder, SnapshotRecord record) {
    try {
      write(folder, record);
    } catch (IOException e) {
      log.warn("the record in {} can't be replaced: {}", folder, e.toString());
    }
  }

  private static SnapshotRecord parse(Path folder, Path file) throws IOException {
    byte[] content = Files.readAllBytes(file);
    JsonNode node = Json.read(content, JsonNode.class, "snapshot record");
    Seal.check(content, node.has(Seal.FIELD));
    SnapshotRecord record = Json.read(content, SnapshotRecord.class, "snapshot record");
    if (!folder.endsWith(record.key())) {
      throw new IllegalArgumentException("it is about snapshot " + record.key());
    }
    return record;
  }
}
