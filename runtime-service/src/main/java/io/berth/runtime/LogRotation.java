package io.berth.runtime;

import io.berth.linux.ErrnoException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Keeps the logs of running containers from growing without end where no kubelet rotates them: a
 * log that exceeds its cap is renamed to LOG.TIME and begun anew, and the oldest ones go. Off,
 * unless the configuration or a container's annotation sets a cap.
 *
 * <p>Sizes are looked at every few seconds, so a log may exceed its cap by what is written
 * meanwhile; nothing of it is lost.
 */
final class LogRotation implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(LogRotation.class);
  private static final Duration LOOK = Duration.ofSeconds(5);

  /** As the kubelet names them; in the order of time when sorted. */
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss.SSS").withZone(ZoneOffset.UTC);

  private final LogLimits limits;
  private final ContainerStore store;
  private final MonitorControl monitors;
  private final Thread thread;
  private final Map<ContainerId, String> complaints = new ConcurrentHashMap<>();

  LogRotation(LogLimits limits, ContainerStore store, MonitorControl monitors) {
    this.limits = limits;
    this.store = store;
    this.monitors = monitors;
    this.thread = Thread.ofVirtual().name("log-rotation").unstarted(this::run);
  }

  void start() {
    thread.start();
  }

  @Override
  public void close() {
    thread.interrupt();
  }

  private void run() {
    try {
      while (true) {
        Thread.sleep(LOOK);
        for (Container container : store.list()) {
          if (container.state() == ContainerState.RUNNING && !container.logPath().isEmpty()) {
            look(container);
          }
        }
        complaints.keySet().removeIf(id -> store.byId(id).isEmpty());
      }
    } catch (InterruptedException e) {
      // the daemon ends
    }
  }

  private void look(Container container) throws InterruptedException {
    try {
      LogLimits own = limits.of(container.config());
      Path path = Path.of(container.logPath());
      if (own.maxBytes() > 0 && Files.exists(path) && Files.size(path) > own.maxBytes()) {
        rotate(container, path, own.maxFiles());
      }
    } catch (ContainerException | ErrnoException | IOException | UncheckedIOException e) {
      String words = String.valueOf(e.getMessage());
      if (!words.equals(complaints.put(container.id(), words))) { // once is enough
        log.warn("the log of container {} isn't rotated: {}", container.id(), words);
      }
    }
  }

  private void rotate(Container container, Path path, int maxFiles)
      throws IOException, InterruptedException {
    Path old = path.resolveSibling(path.getFileName() + "." + TIME.format(Instant.now()));
    Files.move(path, old, StandardCopyOption.ATOMIC_MOVE);
    boolean reopened = false;
    try {
      monitors.reopenLog(container);
      reopened = true;
    } finally {
      if (!reopened && Files.notExists(path)) { // it is still written under its old name
        Files.move(old, path, StandardCopyOption.ATOMIC_MOVE);
      }
    }
    List<Path> earlier = earlier(path);
    for (Path oldest : earlier.subList(0, Math.max(0, earlier.size() - (maxFiles - 1)))) {
      Files.deleteIfExists(oldest);
    }
  }

  /** What was rotated away, the oldest first. */
  private static List<Path> earlier(Path path) throws IOException {
    List<Path> found = new ArrayList<>();
    String begin = path.getFileName() + ".";
    Path folder = Optional.ofNullable(path.getParent()).orElse(Path.of("/"));
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
      for (Path file : files) {
        String name = file.getFileName().toString();
        if (name.startsWith(begin) && name.substring(begin.length()).matches("\\d{8}-.*")) {
          found.add(file);
        }
      }
    }
    found.sort(null);
    return found;
  }
}
