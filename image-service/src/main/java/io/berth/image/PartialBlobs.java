package io.berth.image;

import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What has come of large layers that aren't on disk as layers yet, as it came, so that an
 * interrupted pull goes on where it stopped, also after the daemon was killed. A file for each, its
 * length the checkpoint. Nothing is synced: the digest finds out what a power cut has left.
 */
public final class PartialBlobs {
  private static final Logger log = LoggerFactory.getLogger(PartialBlobs.class);

  /** An image that nobody has asked for again in this time isn't wanted any more. */
  private static final Duration LIFE = Duration.ofDays(1);

  /** Kept only where this many times its size is free: unpacking needs the room more. */
  private static final long SPARE = 8;

  private final Path folder;
  private final long smallest;
  private final Set<Digest> open = ConcurrentHashMap.newKeySet();

  /**
   * @param folder made when needed
   * @param smallest the size in bytes from which on a blob is worth it
   */
  public PartialBlobs(Path folder, long smallest) {
    this.folder = folder;
    this.smallest = smallest;
  }

  /** Keeps nothing. */
  static PartialBlobs none() {
    return new PartialBlobs(Path.of("/nonexistent"), Long.MAX_VALUE);
  }

  /**
   * One blob: reads give what was kept, appended is what comes after it. Belongs to one thread. Not
   * being able to keep anything is no failure of the transfer.
   */
  final class Partial implements AutoCloseable {
    private final Digest digest;
    private final long kept;
    private @Nullable RandomAccessFile file; // null when nothing is kept, or not any more

    private Partial(Digest digest, @Nullable RandomAccessFile file, long kept) {
      this.digest = digest;
      this.file = file;
      this.kept = kept;
    }

    /** How many bytes were there at the beginning. */
    long kept() {
      return kept;
    }

    /** The next bytes kept; for use before the first append, and only within {@link #kept}. */
    int read(byte[] buffer, int offset, int length) throws IOException {
      if (file == null) {
        throw new IllegalStateException("nothing is kept of " + digest);
      }
      return file.read(buffer, offset, length);
    }

    void append(byte[] buffer, int offset, int length) {
      if (file == null) {
        return;
      }
      try {
        file.write(buffer, offset, length);
      } catch (IOException e) {
        log.info("{} won't be resumed if it is interrupted: {}", digest, e.getMessage());
        drop(); // the layer itself needs the room more
      }
    }

    private void drop() {
      RegistryClient.closeQuietly(this);
      forget(digest);
    }

    @Override
    public void close() {
      if (file != null) {
        RegistryClient.closeQuietly(file);
        file = null;
        open.remove(digest);
      }
    }
  }

  /** What is kept of a blob. While one transfer has it, others of the same blob keep nothing. */
  Partial open(Descriptor blob) {
    Digest digest = blob.digest();
    if (blob.size() < smallest || !open.add(digest)) {
      return new Partial(digest, null, 0);
    }
    RandomAccessFile file = null;
    try {
      Files.createDirectories(folder);
      removeOld();
      if (Files.getFileStore(folder).getUsableSpace() / SPARE < blob.size()) {
        open.remove(digest);
        return new Partial(digest, null, 0);
      }
      file = new RandomAccessFile(path(digest).toFile(), "rw");
      if (file.length() > blob.size()) {
        file.setLength(0);
      }
      return new Partial(digest, file, file.length());
    } catch (IOException e) {
      log.info("{} won't be resumed if it is interrupted: {}", digest, e.getMessage());
      if (file != null) {
        RegistryClient.closeQuietly(file);
      }
      open.remove(digest);
      return new Partial(digest, null, 0);
    }
  }

  /** Removes what is kept of a blob: its layer is on disk, or what came was of no use. */
  void forget(Digest digest) {
    try {
      Files.deleteIfExists(path(digest));
    } catch (IOException e) {
      log.warn("cannot remove {}: {}", path(digest), e.getMessage());
    }
  }

  /** Removes what hasn't grown for a day. */
  public void removeOld() {
    Instant limit = Instant.now().minus(LIFE);
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path file : files) {
        if (Files.getLastModifiedTime(file).toInstant().isBefore(limit)) {
          Files.deleteIfExists(file);
        }
      }
    } catch (NoSuchFileException | NotDirectoryException e) {
      // Nothing was ever kept, or another has removed it.
    } catch (IOException e) {
      log.warn("cannot tidy {}: {}", folder, e.getMessage());
    }
  }

  private Path path(Digest digest) {
    return folder.resolve(digest.toString().replace(':', '-'));
  }
}
