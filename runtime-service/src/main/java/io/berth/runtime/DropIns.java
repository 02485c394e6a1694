package io.berth.runtime;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Files that other programs drop into folders. They are looked at when somebody needs them, and
 * read only when they have changed: a device plugin that writes a file and then has a pod made
 * finds it in force, which a watch that reports a little later couldn't promise.
 *
 * @param <T> what a file says
 */
final class DropIns<T> {
  private static final int LONGEST_FILE = 4 << 20;

  private final List<Path> folders;
  private final List<String> endings;
  private final Parser<T> parser;
  private final Map<Path, Known<T>> known = new ConcurrentHashMap<>();

  /** Reads one file. */
  interface Parser<T> {
    /**
     * What the file says.
     *
     * @throws IllegalArgumentException with what is wrong in it
     */
    T parse(Path file, byte[] content) throws IOException;
  }

  /**
   * A file as it is now.
   *
   * @param folder which of the folders it lies in, from 0; later ones have precedence
   * @param content absent: it can't be used
   * @param error why not; else empty
   */
  record Entry<T>(Path file, int folder, @Nullable T content, String error) {}

  private record Known<T>(FileTime modified, long size, @Nullable Object inode, Entry<T> entry) {
    boolean isOf(BasicFileAttributes now) {
      return modified.equals(now.lastModifiedTime())
          && size == now.size()
          && Objects.equals(inode, now.fileKey());
    }
  }

  /**
   * Looks at nothing yet.
   *
   * @param endings of the files that count, such as {@code .json}
   */
  DropIns(List<Path> folders, List<String> endings, Parser<T> parser) {
    this.folders = List.copyOf(folders);
    this.endings = List.copyOf(endings);
    this.parser = parser;
  }

  List<Path> folders() {
    return folders;
  }

  /** All files by folder and name, also those that can't be used. A missing folder is empty. */
  List<Entry<T>> read() {
    List<Entry<T>> entries = new ArrayList<>();
    for (int folder = 0; folder < folders.size(); folder++) {
      for (Path file : files(folders.get(folder))) {
        Entry<T> entry = entry(file, folder);
        if (entry != null) {
          entries.add(entry);
        }
      }
    }
    if (known.size() > entries.size()) {
      List<Path> there = entries.stream().map(Entry::file).toList();
      known.keySet().retainAll(there);
    }
    return entries;
  }

  private List<Path> files(Path folder) {
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(file -> endings.stream().anyMatch(file.toString()::endsWith))
          .sorted()
          .toList();
    } catch (IOException e) {
      return List.of();
    }
  }

  /** Absent when the file has just gone. */
  private @Nullable Entry<T> entry(Path file, int folder) {
    try {
      BasicFileAttributes now = Files.readAttributes(file, BasicFileAttributes.class);
      Known<T> before = known.get(file);
      if (before != null && before.isOf(now)) {
        return before.entry();
      }
      Entry<T> entry = parse(file, folder, now.size());
      known.put(file, new Known<>(now.lastModifiedTime(), now.size(), now.fileKey(), entry));
      return entry;
    } catch (NoSuchFileException e) {
      return null;
    } catch (IOException e) {
      return new Entry<>(file, folder, null, file + " can't be read: " + e.getMessage());
    }
  }

  private Entry<T> parse(Path file, int folder, long size) throws IOException {
    if (size > LONGEST_FILE) {
      return new Entry<>(file, folder, null, file + " is longer than " + LONGEST_FILE + " bytes");
    }
    try {
      return new Entry<>(file, folder, parser.parse(file, Files.readAllBytes(file)), "");
    } catch (IllegalArgumentException e) {
      return new Entry<>(file, folder, null, file + ": " + e.getMessage());
    }
  }
}
