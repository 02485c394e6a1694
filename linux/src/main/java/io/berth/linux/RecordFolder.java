package io.berth.linux;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
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
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A folder of JSON records, one file each, {@code ID.json}, with one writer. A record starts with
 * its format version; fields that this version doesn't know are ignored on reading, so that an
 * older Berth can read what a newer one wrote.
 */
public final class RecordFolder<T> {
  private static final Logger log = LoggerFactory.getLogger(RecordFolder.class);
  private static final long BLOCK = 4096;
  private static final String SUFFIX = ".json";
  private static final String VERSION = "formatVersion";
  private static final ObjectMapper MAPPER =
      JsonMapper.builder()
          .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(SerializationFeature.INDENT_OUTPUT)
          .defaultPropertyInclusion(
              JsonInclude.Value.construct(
                  JsonInclude.Include.NON_NULL, JsonInclude.Include.NON_NULL))
          .build();

  private final Path folder;
  private final Class<T> type;
  private final int formatVersion;

  /** Makes the folder, readable by root alone. */
  public RecordFolder(Path folder, Class<T> type, int formatVersion) {
    this.folder = folder;
    this.type = type;
    this.formatVersion = formatVersion;
    Path _ = PrivateFolder.make(folder);
  }

  /** Durable when it returns. */
  public void write(String id, T record) {
    AtomicFile.write(file(id), json(record));
  }

  /**
   * As {@link #write}, but what the machine's end voids anyway doesn't wait for the disk: see
   * {@link AtomicFile#writeUnsynced}.
   */
  public void writeUnsynced(String id, T record) {
    AtomicFile.writeUnsynced(file(id), json(record));
  }

  /** The version goes in front of what the mapper writes. */
  private byte[] json(T record) {
    try {
      byte[] fields = MAPPER.writeValueAsBytes(record);
      byte[] head =
          ("{\n  \"" + VERSION + "\" : " + formatVersion + ",").getBytes(StandardCharsets.US_ASCII);
      byte[] json = Arrays.copyOf(head, head.length + fields.length - 1);
      System.arraycopy(fields, 1, json, head.length, fields.length - 1); // without its brace
      return json;
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

  /** Durable when it returns; a record that doesn't exist is fine. */
  public void delete(String id) {
    AtomicFile.delete(file(id));
  }

  /**
   * All records by id, in the order of their ids. One that can't be read is moved aside to {@code
   * NAME.corrupt} and logged: a broken record must not keep the daemon from starting.
   */
  public Map<String, T> readAll() {
    Map<String, T> records = new TreeMap<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path file : files) {
        String name = file.getFileName().toString();
        if (AtomicFile.isTemporary(file)) {
          Files.deleteIfExists(file); // left by a crash before its rename
        } else if (name.endsWith(SUFFIX)) {
          try {
            JsonNode node = MAPPER.readTree(Files.readAllBytes(file));
            if (!node.isObject()) { // as an empty file, which some file systems leave after a crash
              throw new IllegalArgumentException("it holds no JSON object");
            }
            records.put(
                name.substring(0, name.length() - SUFFIX.length()), MAPPER.treeToValue(node, type));
          } catch (JsonProcessingException | IllegalArgumentException e) {
            Path aside = file.resolveSibling(name + ".corrupt");
            Files.move(file, aside, StandardCopyOption.REPLACE_EXISTING);
            log.error(
                "record {} can't be read and was moved to {}: {}", file, aside, e.getMessage());
          }
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("read records in " + folder + ": " + e.getMessage(), e);
    }
    return records;
  }

  private Path file(String id) {
    if (id.isEmpty() || id.startsWith(".") || id.indexOf('/') >= 0) {
      throw new IllegalArgumentException("not a record id: " + id);
    }
    return folder.resolve(id + SUFFIX);
  }
}
