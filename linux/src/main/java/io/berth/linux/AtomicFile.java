package io.berth.linux;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/** Files that after a crash hold either their old or their new content, whole. */
public final class AtomicFile {
  private static final Set<PosixFilePermission> PRIVATE =
      PosixFilePermissions.fromString("rw-------");
  private static final String TEMPORARY = ".tmp";

  private AtomicFile() {}

  /**
   * Replaces {@code file}: temporary file, fsync, rename, fsync of the folder. Mode 0600. Not cut
   * short by an interrupt.
   *
   * @throws UncheckedIOException naming the file
   */
  public static void write(Path file, byte[] content) {
    replace(file, content, true);
    syncFolder(parent(file));
  }

  /**
   * As {@link #write}, but without waiting for the disk: safe from the end of this process, not
   * from the machine's. After that the file may hold its old content, or nothing.
   */
  public static void writeUnsynced(Path file, byte[] content) {
    replace(file, content, false);
  }

  private static void replace(Path file, byte[] content, boolean sync) {
    Path temporary = file.resolveSibling(file.getFileName() + TEMPORARY);
    try {
      Files.deleteIfExists(temporary); // left by a crash
      createPrivate(temporary);
      // Not a FileChannel: a thread that is interrupted as a call is cancelled closes it, and a
      // step that was taken would go unrecorded.
      try (var output = new FileOutputStream(temporary.toFile())) {
        output.write(content);
        if (sync) {
          output.getFD().sync();
        }
      }
      Files.move(
          temporary, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (IOException e) {
      try {
        Files.deleteIfExists(temporary); // on a full disk it would take room for nothing
      } catch (IOException second) {
        e.addSuppressed(second);
      }
      throw new UncheckedIOException("write " + file + ": " + e.getMessage(), e);
    }
  }

  /**
   * Removes {@code file} so that it stays removed after a crash; one that doesn't exist is fine.
   */
  public static void delete(Path file) {
    try {
      if (Files.deleteIfExists(file)) {
        syncFolder(parent(file));
      }
    } catch (IOException e) {
      throw new UncheckedIOException("delete " + file + ": " + e.getMessage(), e);
    }
  }

  /** As {@link #delete}, but without waiting for the disk. */
  public static void deleteUnsynced(Path file) {
    try {
      boolean _ = Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException("delete " + file + ": " + e.getMessage(), e);
    }
  }

  /** Makes the folder's entries durable: fsync(2) on the folder itself. */
  public static void syncFolder(Path folder) {
    try (Fd fd = Fd.openRead(folder)) {
      Libc.check(Libc.fsync(fd.number()), "sync folder " + folder);
    }
  }

  /** Makes everything on the file system that holds {@code path} durable: syncfs(2). */
  public static void syncFileSystem(Path path) {
    try (Fd fd = Fd.openRead(path)) {
      Libc.check(Libc.syncfs(fd.number()), "sync the file system of " + path);
    }
  }

  /** Makes an empty file, mode 0600. */
  static void createPrivate(Path file) throws IOException {
    Files.createFile(file, PosixFilePermissions.asFileAttribute(PRIVATE));
  }

  static boolean isTemporary(Path file) {
    return file.getFileName().toString().endsWith(TEMPORARY);
  }

  static Path parent(Path file) {
    Path parent = file.toAbsolutePath().getParent();
    if (parent == null) {
      throw new IllegalArgumentException("not a file: " + file);
    }
    return parent;
  }
}
