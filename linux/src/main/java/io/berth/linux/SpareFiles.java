package io.berth.linux;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Files whose blocks are taken in advance, so that a record can be replaced on a full disk:
 * stopping and removing, by which room is made, begin with writing that down.
 *
 * <p>A spare file is written in place and changes places with the record, whose blocks are the
 * spare ones from then on: so there are always as many, whoever takes what becomes free. On file
 * systems that never write in place it doesn't help, nor does it harm.
 */
final class SpareFiles {
  private static final Logger log = LoggerFactory.getLogger(SpareFiles.class);
  private static final int COUNT = 4;
  private static final int SIZE = 32 << 10;
  private static final long BLOCK = 4096;

  private final List<Path> files;
  private volatile boolean wanting;

  /** Makes the folder, and takes as much room as there is. */
  SpareFiles(Path folder) {
    files = IntStream.range(0, COUNT).mapToObj(i -> folder.resolve(Integer.toString(i))).toList();
    try {
      Path _ = PrivateFolder.make(folder);
    } catch (UncheckedIOException | ErrnoException e) { // the disk is full already
      log.debug("no room for {}: {}", folder, e.toString());
    }
    fill();
  }

  /** Takes the room anew that {@link #replace} has given away; to be called when there is some. */
  void refill() {
    if (wanting) {
      fill();
    }
  }

  private synchronized void fill() {
    wanting = false;
    for (Path file : files) {
      if (room(file) < SIZE) {
        try {
          if (Files.notExists(file)) {
            AtomicFile.createPrivate(file);
          }
          write(file, new byte[SIZE]);
        } catch (IOException e) {
          wanting = true;
          log.debug("no room for {}: {}", file, e.toString());
        }
      }
    }
  }

  /**
   * Replaces a file that exists. Durable when it returns.
   *
   * @return false if no spare file is large enough, or there is no such file
   * @throws IOException if the file system needs room all the same
   * @throws ErrnoException likewise
   */
  synchronized boolean replace(Path file, byte[] content) throws IOException {
    Path spare =
        files.stream()
            .filter(f -> room(f) >= content.length)
            .min(Comparator.comparingLong(SpareFiles::room))
            .orElse(null);
    if (spare == null || Files.notExists(file)) {
      return false;
    }
    write(spare, content);
    FileTree.exchange(spare, file);
    AtomicFile.syncFolder(AtomicFile.parent(file));
    wanting = true;
    return true;
  }

  /** In place: what is beyond the content is let go. */
  private static void write(Path file, byte[] content) throws IOException {
    try (var output = new RandomAccessFile(file.toFile(), "rw")) {
      output.write(content);
      output.setLength(content.length);
      output.getFD().sync();
    }
  }

  /** What can be written without taking a block. */
  private static long room(Path file) {
    try {
      return Math.ceilDiv(Files.size(file), BLOCK) * BLOCK;
    } catch (IOException missing) {
      return 0;
    }
  }
}
