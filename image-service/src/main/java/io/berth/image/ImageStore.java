package io.berth.image;

import io.berth.image.ImageException.Reason;
import io.berth.linux.ErrnoException;
import io.berth.linux.RecordFolder;
import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.oci.ImageConfig;
import io.berth.oci.ImageReference;
import io.berth.snapshot.Layer;
import io.berth.snapshot.Snapshotter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The images that are here, and sole owner of their records: {@code images/<hex>.json}. An image
 * holds its layers in the snapshotter under {@code image:<id>}.
 *
 * <p>A name belongs to one image. When a tag moves, the image that had it keeps its digest names.
 * Reads take no lock: they look at an immutable state that writers replace.
 */
public final class ImageStore {
  private static final Logger log = LoggerFactory.getLogger(ImageStore.class);
  private static final Pattern ID = Pattern.compile("(?:sha256:)?([a-f0-9]{64})");
  private static final Pattern ID_PREFIX = Pattern.compile("(?:sha256:)?([a-f0-9]{1,63})");

  /** Kept of one image, the latest found first. */
  private static final int SIGNATURES = 64;

  private final Path rootDir;
  private final Snapshotter snapshotter;
  private final Set<String> pinnedNames;
  private final Clock clock;
  private final RecordFolder<ImageRecord> folder;
  private final ReentrantLock writing = new ReentrantLock();
  private final Map<Digest, ImageRecord> records = new TreeMap<>(); // guarded by writing
  private final Map<Digest, Long> rooms = new HashMap<>(); // of the records; guarded by writing
  private volatile State state = new State(Map.of(), Map.of(), 0);

  /** By id in order, and the id of each name. */
  private record State(Map<Digest, Image> byId, Map<String, Digest> byName, long recordBytes) {}

  /**
   * What the store takes of the file system.
   *
   * @param mountpoint a folder on it
   * @param bytes allocated by layers and records, in bytes
   */
  public record FileSystemUse(Path mountpoint, long bytes, long inodes) {}

  /**
   * Reads the records and holds the layers they name.
   *
   * @param rootDir the records are in its folder {@code images}
   * @param pinnedNames images that are not to be removed for want of space, by name or id
   * @throws IllegalArgumentException if a pinned name is malformed
   */
  public ImageStore(
      Path rootDir, Snapshotter snapshotter, Collection<String> pinnedNames, Clock clock) {
    this.rootDir = rootDir;
    this.snapshotter = snapshotter;
    this.clock = clock;
    this.pinnedNames =
        pinnedNames.stream()
            .map(name ->
                ID.matcher(name).matches()
                    ? fullId(name).toString()
                    : ImageReference.parse(name).toString())
            .collect(Collectors.toUnmodifiableSet());
    this.folder =
        new RecordFolder<>(
            rootDir.resolve("images"),
            rootDir.resolve("copies").resolve("images"),
            RecordFolder.Durable.AT_ONCE,
            ImageRecord.class,
            ImageRecord.FORMAT);
    load();
  }

  /**
   * Names of images as a person writes them down.
   *
   * @throws IllegalArgumentException naming the first that is none
   */
  public static List<String> checkedNames(List<String> names) {
    names.forEach(name -> {
      if (!ID.matcher(name).matches()) {
        var _ = ImageReference.parse(name);
      }
    });
    return names;
  }

  private void load() {
    writing.lock();
    try {
      for (ImageRecord record : folder.readAll().values()) {
        snapshotter.hold(owner(record.id()), record.chain());
        List<ChainId> missing =
            record.chain().stream().filter(id -> !snapshotter.hasLayer(id)).toList();
        if (missing.isEmpty() && isReadable(record)) {
          records.put(record.id(), record);
          rooms.put(record.id(), folder.room(record.id().hex()));
        } else if (!missing.isEmpty()) {
          // Its record stays, so that nothing is lost if the layers come back; a pull replaces it.
          log.warn(
              "image {} {} isn't listed, {} of its layers are missing (first {}): pull it again",
              record.id(),
              record.repoTags(),
              missing.size(),
              missing.getFirst());
        }
      }
      publish();
    } finally {
      writing.unlock();
    }
  }

  private static boolean isReadable(ImageRecord record) {
    try {
      record.parseConfig();
      return true;
    } catch (IllegalArgumentException e) {
      log.warn("image {} isn't listed: {}: pull it again", record.id(), e.getMessage());
      return false;
    }
  }

  /** Every image, in the order of their ids. */
  public List<Image> list() {
    return List.copyOf(state.byId().values());
  }

  /**
   * Finds an image by id, by name, or by the unambiguous beginning of its id. Names go before
   * beginnings, so that an image called {@code cafe} is never mistaken for another.
   *
   * @throws ImageException AMBIGUOUS
   */
  public Optional<Image> find(String name) {
    State now = state;
    if (ID.matcher(name).matches()) {
      return Optional.ofNullable(now.byId().get(fullId(name)));
    }
    try {
      Digest id = now.byName().get(ImageReference.parse(name).toString());
      if (id != null) {
        return Optional.ofNullable(now.byId().get(id));
      }
    } catch (IllegalArgumentException e) {
      // No name, but perhaps the beginning of an id.
    }
    var prefix = ID_PREFIX.matcher(name);
    if (!prefix.matches()) {
      return Optional.empty();
    }
    List<Image> found =
        now.byId().values().stream()
            .filter(image -> image.id().hex().startsWith(prefix.group(1)))
            .toList();
    if (found.size() > 1) {
      throw new ImageException(
          Reason.AMBIGUOUS,
          "image id "
              + name
              + " is ambiguous: it begins "
              + found.stream().map(image -> image.id().toString()).collect(Collectors.joining(", "))
              + "; give more digits");
    }
    return found.stream().findFirst();
  }

  /** What is on disk of an image that is here. */
  Optional<ImageRecord> record(Digest id) {
    writing.lock();
    try {
      return Optional.ofNullable(records.get(id));
    } finally {
      writing.unlock();
    }
  }

  /**
   * Images that a filter's text means: one by id or name, or all tags of a repository when no tag
   * is given.
   */
  public List<Image> matching(String text) {
    Optional<Image> one = find(text);
    if (one.isPresent()) {
      return List.of(one.get());
    }
    try {
      ImageReference reference = ImageReference.parse(text);
      if (text.endsWith(":" + reference.tag()) || reference.digest() != null) {
        return List.of();
      }
      String prefix = reference.name();
      return list().stream()
          .filter(image ->
              image.repoTags().stream().anyMatch(tag -> tag.startsWith(prefix + ":"))
                  || image.repoDigests().stream().anyMatch(d -> d.startsWith(prefix + "@")))
          .toList();
    } catch (IllegalArgumentException e) {
      return List.of();
    }
  }

  /**
   * Records an image whose layers are all committed, or adds the names to the one that is here.
   * Durable, and visible, when it returns.
   *
   * @throws ImageException DISK
   */
  Image put(ImageRecord added) {
    writing.lock();
    try {
      ImageRecord present = records.get(added.id());
      snapshotter.hold(owner(added.id()), added.chain());
      try {
        write(present == null ? stamped(added) : merged(present, added));
        takeTagsFromOthers(added);
      } catch (UncheckedIOException | ErrnoException e) {
        if (!records.containsKey(added.id())) {
          snapshotter.release(owner(added.id()));
        }
        throw new ImageException(
            Reason.DISK, "image " + added.id() + " can't be recorded: " + e.getMessage(), e);
      } finally {
        publish();
      }
      return known(added.id());
    } finally {
      writing.unlock();
    }
  }

  /**
   * Gives names to an image that may be here.
   *
   * @return empty when it isn't, or no more
   */
  Optional<Image> addNames(
      Digest id, List<String> tags, List<String> digests, Map<String, String> annotations) {
    writing.lock();
    try {
      ImageRecord present = records.get(id);
      if (present == null) {
        return Optional.empty();
      }
      boolean nothingNew =
          present.repoTags().containsAll(tags)
              && present.repoDigests().containsAll(digests)
              && (annotations.isEmpty() || annotations.equals(present.annotations()));
      if (nothingNew) {
        return Optional.of(known(id));
      }
      return Optional.of(
          put(
              new ImageRecord(
                  id,
                  tags,
                  digests,
                  present.size(),
                  present.config(),
                  present.layers(),
                  annotations,
                  present.signatures(),
                  present.artifactType(),
                  0)));
    } finally {
      writing.unlock();
    }
  }

  private ImageRecord stamped(ImageRecord record) {
    return new ImageRecord(
        record.id(),
        record.repoTags(),
        record.repoDigests(),
        record.size(),
        record.config(),
        record.layers(),
        record.annotations(),
        record.signatures(),
        record.artifactType(),
        clock.millis());
  }

  /** The blobs of the first arrival stay: they are what the size tells. */
  private ImageRecord merged(ImageRecord present, ImageRecord added) {
    List<String> tags = new ArrayList<>(present.repoTags());
    tags.addAll(added.repoTags());
    List<String> digests = new ArrayList<>(present.repoDigests());
    digests.addAll(added.repoDigests());
    return new ImageRecord(
        present.id(),
        tags,
        digests,
        present.size(),
        present.config(),
        present.layers(),
        added.annotations().isEmpty() ? present.annotations() : added.annotations(),
        Stream.concat(added.signatures().stream(), present.signatures().stream())
            .distinct()
            .limit(SIGNATURES)
            .toList(),
        present.artifactType(),
        clock.millis());
  }

  /** After the new record is durable: a crash in between is settled by the records' age. */
  private void takeTagsFromOthers(ImageRecord winner) {
    for (ImageRecord other : List.copyOf(records.values())) {
      if (!other.id().equals(winner.id())
          && other.repoTags().stream().anyMatch(winner.repoTags()::contains)) {
        List<String> kept =
            other.repoTags().stream().filter(tag -> !winner.repoTags().contains(tag)).toList();
        write(other.withNames(kept, other.repoDigests()));
      }
    }
  }

  private void write(ImageRecord record) {
    folder.write(record.id().hex(), record);
    records.put(record.id(), record);
    rooms.put(record.id(), folder.room(record.id().hex()));
  }

  /**
   * Removes an image with all its names; its layers go when nothing else holds them. What isn't
   * here is fine.
   *
   * @throws ImageException AMBIGUOUS, DISK
   */
  public void remove(String name) {
    writing.lock();
    try {
      Optional<Image> found = find(name);
      if (found.isEmpty()) {
        return;
      }
      Digest id = found.get().id();
      try {
        folder.delete(id.hex());
        records.remove(id);
        rooms.remove(id);
        publish();
        snapshotter.release(owner(id));
      } catch (UncheckedIOException | ErrnoException e) {
        throw new ImageException(
            Reason.DISK, "image " + name + " can't be removed: " + e.getMessage(), e);
      }
    } finally {
      writing.unlock();
    }
  }

  /** Counted from the layers' records, not from the disk. */
  public FileSystemUse use() {
    long bytes = 0;
    long inodes = 0;
    for (Layer layer : snapshotter.layers()) {
      bytes += layer.usage().bytes();
      inodes += layer.usage().inodes();
    }
    State now = state;
    return new FileSystemUse(rootDir, bytes + now.recordBytes(), inodes + now.byId().size());
  }

  private void publish() {
    Map<String, Digest> byName = new HashMap<>();
    records.values().stream()
        .sorted(Comparator.comparingLong(ImageRecord::updatedAt))
        .forEach(record -> {
          record.repoTags().forEach(tag -> byName.put(tag, record.id())); // the youngest wins
          record.repoDigests().forEach(digest -> byName.put(digest, record.id()));
        });
    Map<Digest, Image> before = state.byId();
    Map<Digest, Image> byId = new TreeMap<>();
    for (ImageRecord record : records.values()) {
      Image known = before.get(record.id());
      ImageConfig config = known == null ? record.parseConfig() : known.config();
      List<String> tags =
          record.repoTags().stream().filter(tag -> record.id().equals(byName.get(tag))).toList();
      byId.put(
          record.id(),
          record
              .withNames(tags, record.repoDigests())
              .toImage(config, roomOf(record), pinnedNames));
    }
    long recordBytes = records.keySet().stream().mapToLong(id -> rooms.getOrDefault(id, 0L)).sum();
    state = new State(byId, byName, recordBytes);
  }

  /** On disk, with layers that others have, too: what an image that was alone would free. */
  private long roomOf(ImageRecord record) {
    long bytes = rooms.getOrDefault(record.id(), 0L);
    for (ChainId id : record.chain()) {
      bytes += snapshotter.layer(id).map(layer -> layer.usage().bytes()).orElse(0L);
    }
    return bytes;
  }

  private Image known(Digest id) {
    Image image = state.byId().get(id);
    if (image == null) {
      throw new IllegalStateException("image " + id + " was just recorded");
    }
    return image;
  }

  private static Digest fullId(String text) {
    return new Digest(Digest.SHA256, text.substring(text.length() - 64));
  }

  /** Under which an image holds its layers. */
  static String owner(Digest id) {
    return "image:" + id;
  }
}
