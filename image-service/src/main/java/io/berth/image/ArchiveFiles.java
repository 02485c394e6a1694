package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.linux.FileTree;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;

/**
 * The files of an image archive, spooled to a folder because an archive names its layers only
 * after, or amid, their content. On disk they are numbered: no name from the archive becomes a
 * path.
 */
final class ArchiveFiles implements AutoCloseable {
  private static final int ENTRY_LIMIT = 10_000;
  private static final int LINK_LIMIT = 8;

  private final Path folder;
  private final Map<String, Path> files = new HashMap<>();
  private final Map<String, String> links = new HashMap<>();

  /**
   * Still without files.
   *
   * @param folder made for this, removed by {@link #close}
   */
  @MustBeClosed
  ArchiveFiles(Path folder) {
    this.folder = folder;
  }

  /**
   * Reads an archive, compressed or not, to its end.
   *
   * @throws ImageException CORRUPT if it's no tar, UNSUPPORTED, DISK
   */
  void spool(InputStream archive) throws InterruptedException {
    try {
      Files.createDirectories(folder);
    } catch (IOException e) {
      throw new ImageException(
          Reason.DISK, "no folder for the archive can be made: " + e.getMessage(), e);
    }
    try {
      readAll(archive);
    } catch (IOException e) {
      throw new ImageException(Reason.CORRUPT, "the archive can't be read: " + e.getMessage(), e);
    }
  }

  private void readAll(InputStream archive) throws IOException, InterruptedException {
    try (InputStream plain = Compression.open(archive, "the archive");
        TarArchiveInputStream tar = new TarArchiveInputStream(plain)) {
      for (TarArchiveEntry entry = tar.getNextEntry(); entry != null; entry = tar.getNextEntry()) {
        if (Thread.interrupted()) {
          throw new InterruptedException("import was interrupted");
        }
        if (files.size() + links.size() >= ENTRY_LIMIT) {
          throw new ImageException(
              Reason.UNSUPPORTED, "the archive has more than " + ENTRY_LIMIT + " files");
        }
        String name = clean(entry.getName());
        if (entry.isSymbolicLink()) {
          links.put(name, resolve(parent(name), entry.getLinkName()));
        } else if (entry.isLink()) {
          links.put(name, clean(entry.getLinkName()));
        } else if (entry.isFile()) {
          Path file = folder.resolve(String.valueOf(files.size()));
          store(tar, file);
          files.put(name, file);
        }
      }
    }
  }

  private static void store(InputStream content, Path file) {
    try {
      Files.copy(content, file);
    } catch (IOException e) {
      throw new ImageException(
          Reason.DISK, "the archive can't be spooled to " + file + ": " + e.getMessage(), e);
    }
  }

  /** Archives by docker link one layer of equal content to another. */
  private Optional<Path> find(String name) {
    String current = clean(name);
    for (int i = 0; i < LINK_LIMIT; i++) {
      Path file = files.get(current);
      if (file != null) {
        return Optional.of(file);
      }
      String target = links.get(current);
      if (target == null) {
        return Optional.empty();
      }
      current = target;
    }
    return Optional.empty();
  }

  boolean has(String name) {
    return find(name).isPresent();
  }

  /**
   * A small file's content.
   *
   * @throws ImageException CORRUPT when it's missing or larger than the limit
   */
  byte[] read(String name, int limit) {
    try (InputStream in = open(name)) {
      byte[] content = in.readNBytes(limit + 1);
      if (content.length > limit) {
        throw new ImageException(
            Reason.CORRUPT, "the archive's " + name + " is larger than " + limit + " bytes");
      }
      return content;
    } catch (IOException e) {
      throw new ImageException(Reason.DISK, "the archive's " + name + ": " + e.getMessage(), e);
    }
  }

  long size(String name) {
    try {
      return Files.size(find(name).orElseThrow(() -> missing(name)));
    } catch (IOException e) {
      throw new ImageException(Reason.DISK, "the archive's " + name + ": " + e.getMessage(), e);
    }
  }

  @MustBeClosed
  InputStream open(String name) {
    try {
      return Files.newInputStream(find(name).orElseThrow(() -> missing(name)));
    } catch (IOException e) {
      throw new ImageException(Reason.DISK, "the archive's " + name + ": " + e.getMessage(), e);
    }
  }

  private static ImageException missing(String name) {
    return new ImageException(Reason.CORRUPT, "the archive lacks the file " + name);
  }

  private static String parent(String name) {
    int slash = name.lastIndexOf('/');
    return slash < 0 ? "" : name.substring(0, slash);
  }

  private static String resolve(String folder, String target) {
    return clean(Path.of("/", folder).resolve(target).normalize().toString());
  }

  private static String clean(String name) {
    return Path.of("/", name).normalize().toString().substring(1);
  }

  @Override
  public void close() {
    FileTree.delete(folder);
  }
}
