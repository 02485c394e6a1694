package io.berth.daemon;

import io.berth.daemon.DaemonException.Reason;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import org.jspecify.annotations.Nullable;

/// Makes sure that one berthd alone works on a root folder: two would each undo what the other
/// does. The kernel drops the lock with the process, however that ends.
final class StateLock implements AutoCloseable {
  private final FileChannel file;

  private StateLock(FileChannel file) {
    this.file = file;
  }

  /// Makes the folder if needed, for root alone.
  ///
  /// @throws DaemonException when another process holds it
  static StateLock take(Path rootDir) {
    Path path = rootDir.resolve("berthd.lock");
    try {
      Files.createDirectories(
          rootDir,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      FileChannel file =
          FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      if (tryLock(file) == null) {
        file.close();
        throw new DaemonException(
            Reason.ALREADY_RUNNING,
            "start on "
                + rootDir
                + ": another berthd works on this folder; stop it, or set "
                + "state.root_dir to another one",
            null);
      }
      return new StateLock(file);
    } catch (IOException failure) {
      throw new DaemonException(Reason.STATE, "lock " + path + ": " + failure, failure);
    }
  }

  private static @Nullable FileLock tryLock(FileChannel file) throws IOException {
    try {
      return file.tryLock();
    } catch (OverlappingFileLockException heldInThisProcess) {
      return null;
    }
  }

  @Override
  public void close() {
    try {
      file.close();
    } catch (IOException ignored) {
      // The lock goes with the descriptor in any case.
    }
  }
}
