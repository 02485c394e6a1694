package io.berth.image;

import io.berth.linux.AtomicFile;
import io.berth.linux.ErrnoException;
import io.berth.oci.Json;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Clock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Remembers, in {@code scrub.json}, whether the machine may have lost power under a running berthd,
 * and what of the comparing of the store is still to be done. A berthd that was killed while the
 * machine ran on loses nothing that the kernel had.
 */
public final class ScrubMark implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(ScrubMark.class);

  private final Path rootDir;
  private final Path file;
  private final Clock clock;
  private final String bootId;
  private State record;

  /**
   * The file.
   *
   * @param running a berthd is there, or was when everything ended
   * @param pendingSince milliseconds since the epoch: layers that were compared before are to be
   *     compared again; 0: none
   * @param completedAt when the whole store was last compared; 0: never
   */
  record State(
      int formatVersion, String bootId, boolean running, long pendingSince, long completedAt) {
    static final int FORMAT = 1;
  }

  /** Reads the last berthd's mark and sets its own. */
  public ScrubMark(Path rootDir, String bootId, Clock clock) {
    this.rootDir = rootDir;
    this.file = rootDir.resolve("scrub.json");
    this.bootId = bootId;
    this.clock = clock;
    State before = read(file, clock.millis());
    boolean unclean = before.running() && !before.bootId().equals(bootId);
    if (unclean) {
      log.warn(
          "the machine went down without berthd being stopped: layers will be compared with their"
              + " manifests");
    }
    this.record =
        new State(
            State.FORMAT,
            bootId,
            true,
            unclean ? clock.millis() : before.pendingSince(),
            before.completedAt());
    write();
  }

  private static State read(Path file, long now) {
    try {
      State record = Json.read(Files.readAllBytes(file), State.class, "scrub mark");
      return record.bootId() == null ? new State(1, "", true, now, 0) : record;
    } catch (NoSuchFileException e) {
      return new State(State.FORMAT, "", false, 0, 0);
    } catch (IOException | IllegalArgumentException e) {
      log.warn("{} can't be read, so the store counts as not compared: {}", file, e.toString());
      return new State(State.FORMAT, "", false, now, 0);
    }
  }

  /** 0: nothing is pending. */
  synchronized long pendingSince() {
    return record.pendingSince();
  }

  synchronized long completedAt() {
    return record.completedAt();
  }

  synchronized void completed() {
    record = new State(State.FORMAT, bootId, record.running(), 0, clock.millis());
    write();
  }

  private void write() {
    try {
      AtomicFile.write(file, Json.write(record));
    } catch (UncheckedIOException | ErrnoException e) {
      // A full disk must not keep berthd from starting; the older mark errs on the safe side.
      log.warn("{} can't be written: {}", file, e.getMessage());
    }
  }

  /** A clean stop: what is here is on disk. */
  @Override
  public synchronized void close() {
    try {
      AtomicFile.syncFileSystem(rootDir);
    } catch (ErrnoException e) {
      log.warn("{}", e.getMessage());
      return;
    }
    record = new State(State.FORMAT, bootId, false, record.pendingSince(), record.completedAt());
    write();
  }
}
