package io.berth.linux;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A folder of JSON records, one file each, {@code ID.json}, with one writer. A record starts with
 * its format version; fields that this version doesn't know are ignored on reading, so that an
 * older Berth can read what a newer one wrote, and ends with a checksum ({@link Seal}).
 *
 * <p>Of records on which running containers depend there is a second copy in another folder, which
 * is never synced and nearly free: one damaged record must not cost a pod. These are replaced on a
 * full disk, too ({@link SpareFiles}).
 */
public final class RecordFolder<T> {
  private static final Logger log = LoggerFactory.getLogger(RecordFolder.class);
  private static final long BLOCK = 4096;
  private static final String SUFFIX = ".json";
  private static final String SPARES = "spare";
  private static final String VERSION = "formatVersion";
  private static final ObjectMapper MAPPER =
      JsonMapper.builder()
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(SerializationFeature.INDENT_OUTPUT)
          .defaultPropertyInclusion(
              JsonInclude.Value.construct(
                  JsonInclude.Include.NON_NULL, JsonInclude.Include.NON_NULL))
          .build();

  /** When a change is safe from a power cut. */
  public enum Durable {
    /** Before the call returns. */
    AT_ONCE,
    /** Some milliseconds later: nobody waits for the disk ({@link SyncBehind}). */
    SOON
  }

  private final Path folder;
  private final @Nullable Path copies;
  private final @Nullable SyncBehind behind;
  private final @Nullable SpareFiles spares;
  private final Class<T> type;
  private final int formatVersion;

  /** Makes the folder, readable by root alone. */
  public RecordFolder(Path folder, Class<T> type, int formatVersion) {
    this(folder, null, Durable.AT_ONCE, type, formatVersion);
  }

  /**
   * @param copies where the second copies go, a folder of their own, made like the first
   */
  public RecordFolder(
      Path folder, @Nullable Path copies, Durable durable, Class<T> type, int formatVersion) {
    this.folder = folder;
    this.behind = durable == Durable.SOON ? new SyncBehind(folder) : null;
    this.copies = copies;
    this.type = type;
    this.formatVersion = formatVersion;
    Path _ = PrivateFolder.make(folder);
    if (copies != null) {
      Path _ = PrivateFolder.make(copies);
    }
    // Beside, as it must be on the same disk; not among the records.
    this.spares =
        copies == null
            ? null
            : new SpareFiles(folder.resolveSibling(SPARES).resolve(folder.getFileName()));
  }

  /** Durable when the folder's {@link Durable} says. */
  public void write(String id, T record) {
    Path file = file(id);
    byte[] content = text(record);
    if (behind == null) {
      write(file, content, AtomicFile::write);
    } else {
      write(file, content, AtomicFile::writeUnsynced);
      behind.changed(file);
    }
    keepCopy(file, content);
  }

  /**
   * As {@link #write}, but what the machine's end voids anyway doesn't wait for the disk: see
   * {@link AtomicFile#writeUnsynced}.
   */
  public void writeUnsynced(String id, T record) {
    Path file = file(id);
    byte[] content = text(record);
    write(file, content, AtomicFile::writeUnsynced);
    keepCopy(file, content);
  }

  /** A record that is there can be replaced on a full disk, too. */
  private void write(Path file, byte[] content, BiConsumer<Path, byte[]> writer) {
    try {
      writer.accept(file, content);
    } catch (UncheckedIOException full) {
      if (!replacedBySpare(file, content, full)) {
        throw full;
      }
      return;
    }
    if (spares != null) {
      spares.refill();
    }
  }

  private boolean replacedBySpare(Path file, byte[] content, Exception why) {
    try {
      return spares != null && spares.replace(file, content);
    } catch (IOException | ErrnoException e) {
      why.addSuppressed(e);
      return false;
    }
  }

  /** The version goes in front of what the mapper writes, and the checksum behind it. */
  private byte[] text(T record) {
    try {
      byte[] fields = MAPPER.writeValueAsBytes(record);
      byte[] head =
          ("{\n  \"" + VERSION + "\" : " + formatVersion + ",").getBytes(StandardCharsets.US_ASCII);
      byte[] json = Arrays.copyOf(head, head.length + fields.length - 1);
      System.arraycopy(fields, 1, json, head.length, fields.length - 1); // without its brace
      return Seal.seal(json);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("a " + type.getSimpleName() + " that is no JSON", e);
    }
  }

  /** What a record takes on disk, in bytes; 0 for one that doesn't exist. */
  public long room(String id) {
    try {
      return Math.ceilDiv(Files.size(file(id)), BLOCK) * BLOCK;
    } catch (IOException e) {
      return 0;
    }
  }

  /** Durable as {@link #write} is; a record that doesn't exist is fine. */
  public void delete(String id) {
    Path file = file(id);
    dropCopy(file);
    if (behind == null) {
      AtomicFile.delete(file);
    } else {
      AtomicFile.deleteUnsynced(file);
      behind.changed(file);
    }
    if (spares != null) {
      spares.refill();
    }
  }

  /**
   * All records by id, in the order of their ids. One that can't be read is moved aside to {@code
   * NAME.corrupt} and logged, and its copy takes its place if there is one: a broken record must
   * not keep the daemon from starting.
   */
  public Map<String, T> readAll() {
    Map<String, T> records = new TreeMap<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path file : files) {
        String name = file.getFileName().toString();
        if (AtomicFile.isTemporary(file)) {
          Files.deleteIfExists(file); // left by a crash before its rename
        } else if (name.endsWith(SUFFIX)) {
          T record = readOrCopy(file);
          if (record != null) {
            records.put(name.substring(0, name.length() - SUFFIX.length()), record);
          }
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("read records in " + folder + ": " + e.getMessage(), e);
    }
    dropOtherCopies(records);
    return records;
  }

  private @Nullable T readOrCopy(Path file) {
    String fault;
    try {
      byte[] content = Files.readAllBytes(file);
      T record = parse(content);
      if (lacksCopy(file)) {
        keepCopy(file, Seal.isWhole(content) ? content : text(record));
      }
      return record;
    } catch (JsonProcessingException e) {
      fault = e.getOriginalMessage();
    } catch (IOException | IllegalArgumentException e) {
      fault = String.valueOf(e.getMessage());
    }
    Path aside = file.resolveSibling(file.getFileName() + ".corrupt");
    try {
      Files.move(file, aside, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      fault += "; " + e;
    }
    Copied<T> copy = copyOf(file);
    if (copy == null) {
      log.error("record {} can't be read and was moved to {}: {}", file, aside, fault);
      return null;
    }
    try {
      AtomicFile.write(file, copy.content());
    } catch (UncheckedIOException | ErrnoException e) {
      fault += "; " + e.getMessage(); // a full disk: it is written with the next change
    }
    log.error(
        "record {} can't be read and was replaced by its copy, see {}: {}", file, aside, fault);
    return copy.record();
  }

  private T parse(byte[] content) throws IOException {
    JsonNode node = MAPPER.readTree(content);
    if (!node.isObject()) { // as an empty file, which some file systems leave after a crash
      throw new IllegalArgumentException("it holds no JSON object");
    }
    Seal.check(content, node.has(Seal.FIELD));
    return MAPPER.treeToValue(node, type);
  }

  // Copies. None of them is worth failing for.

  @SuppressWarnings("ArrayRecordComponent") // read once, never compared
  private record Copied<T>(T record, byte[] content) {}

  private @Nullable Copied<T> copyOf(Path file) {
    if (copies == null) {
      return null;
    }
    try {
      byte[] content = Files.readAllBytes(copies.resolve(file.getFileName()));
      return Seal.isWhole(content) ? new Copied<>(parse(content), content) : null;
    } catch (IOException | IllegalArgumentException e) {
      return null;
    }
  }

  /** One that is older may be of before a downgrade. */
  private boolean lacksCopy(Path file) throws IOException {
    if (copies == null) {
      return false;
    }
    Path copy = copies.resolve(file.getFileName());
    return Files.notExists(copy)
        || Files.getLastModifiedTime(copy).compareTo(Files.getLastModifiedTime(file)) < 0;
  }

  /** Not through a channel, see {@link AtomicFile#write}. A copy that is cut short isn't whole. */
  private void keepCopy(Path file, byte[] content) {
    if (copies == null) {
      return;
    }
    Path copy = copies.resolve(file.getFileName());
    try (var output = new FileOutputStream(copy.toFile())) {
      output.write(content);
    } catch (IOException e) {
      log.warn("no copy of record {} can be kept: {}", file, e.toString());
    }
  }

  private void dropCopy(Path file) {
    if (copies != null) {
      try {
        Files.deleteIfExists(copies.resolve(file.getFileName()));
      } catch (IOException e) {
        log.warn("the copy of record {} can't be deleted: {}", file, e.toString());
      }
    }
  }

  /** Of records that are gone. */
  private void dropOtherCopies(Map<String, T> records) {
    if (copies == null) {
      return;
    }
    try (DirectoryStream<Path> files = Files.newDirectoryStream(copies)) {
      for (Path copy : files) {
        String name = copy.getFileName().toString();
        if (!name.endsWith(SUFFIX)
            || !records.containsKey(name.substring(0, name.length() - SUFFIX.length()))) {
          Files.deleteIfExists(copy);
        }
      }
    } catch (IOException e) {
      log.warn("copies in {} can't be looked at: {}", copies, e.toString());
    }
  }

  private Path file(String id) {
    if (id.isEmpty() || id.startsWith(".") || id.indexOf('/') >= 0) {
      throw new IllegalArgumentException("not a record id: " + id);
    }
    return folder.resolve(id + SUFFIX);
  }
}
