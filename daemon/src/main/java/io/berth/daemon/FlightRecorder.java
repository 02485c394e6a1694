package io.berth.daemon;

import io.grpc.Status;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/// The last operations of all pods in one file of fixed size, for `berth explain`: lines of JSON,
/// the newest over the oldest. A thread of its own writes them without fsync, so that they outlive
/// the daemon though not the machine. All blocks are taken at the start: a full disk doesn't
/// silence it.
///
/// An operation has a line when it begins, further ones while it takes long, and one when it ends.
/// The one with the highest number holds.
final class FlightRecorder implements OperationListener, AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(FlightRecorder.class);
  static final String FILE = "operations.jsonl";
  private static final Duration FLUSH = Duration.ofSeconds(2);
  private static final Duration SLOW = Duration.ofSeconds(1);
  // What no whole line starts with but a whole line.
  private static final String START = "{\"n\":";

  private final Path file;
  private final long size;
  private final BlockingQueue<Entry> queue = new ArrayBlockingQueue<>(1024);
  private final Thread writer;
  private long number;
  private long position;
  private boolean broken;

  private sealed interface Entry {}

  private record Written(Operation operation) implements Entry {}

  private record Flush(CountDownLatch done, boolean last) implements Entry {}

  private FlightRecorder(Path file, long size) {
    this.file = file;
    this.size = size;
    this.writer = Thread.ofPlatform().daemon().name("flight-recorder").unstarted(this::write);
  }

  /// @param size of the file in bytes
  static FlightRecorder start(Path folder, ByteSize size) {
    var recorder = new FlightRecorder(folder.resolve(FILE), size.bytes());
    recorder.writer.start();
    return recorder;
  }

  @Override
  public void began(Operation operation) {
    if (!operation.isRepeated()) {
      offer(operation);
    }
  }

  /// An operation that takes long: what it waits for must be known even if the daemon dies now.
  void lasts(Operation operation) {
    offer(operation);
  }

  @Override
  public void ended(Operation operation) {
    boolean ordinary =
        operation.code() == Status.Code.OK && operation.elapsed().compareTo(SLOW) < 0;
    if (!ordinary || !(operation.isRepeated() || Operation.isReading(operation.method()))) {
      offer(operation);
    }
  }

  /// Never waits: a disk that hangs must not hold up the pods.
  private void offer(Operation operation) {
    var _ = queue.offer(new Written(operation));
  }

  /// All that is recorded of the pods that a query names, oldest first. What this daemon runs now
  /// is in there as it stood last.
  ///
  /// @param query as for [Subject#isCalled]
  List<Operation> of(String query) throws InterruptedException, IOException {
    var flushed = new CountDownLatch(1);
    if (queue.offer(new Flush(flushed, false))) {
      var _ = flushed.await(FLUSH.toMillis(), TimeUnit.MILLISECONDS);
    }
    return read(file, query);
  }

  /// As [#of], of a file that nobody needs to be writing.
  static List<Operation> read(Path file, String query) throws IOException {
    List<Subject> pods =
        lines(file, Set.of(query)).stream()
            .map(line -> line.operation().subject())
            .filter(subject -> subject.isCalled(query))
            .distinct()
            .toList();
    Set<String> keys = pods.stream().map(Subject::key).collect(Collectors.toSet());
    Map<String, OperationJson.Line> latest = new HashMap<>();
    for (OperationJson.Line line : lines(file, keys)) {
      Operation operation = line.operation();
      if (pods.stream().anyMatch(pod -> pod.isSamePod(operation.subject()))) {
        latest.merge(
            operation.requestId() + operation.startedAt(),
            line,
            (a, b) -> a.number() > b.number() ? a : b);
      }
    }
    return latest.values().stream()
        .map(OperationJson.Line::operation)
        .sorted(Comparator.comparing(Operation::startedAt))
        .toList();
  }

  private static List<OperationJson.Line> lines(Path file, Set<String> containing)
      throws IOException {
    List<OperationJson.Line> found = new ArrayList<>();
    if (containing.isEmpty()) {
      return found;
    }
    try (BufferedReader reader =
        new BufferedReader(
            new InputStreamReader(Files.newInputStream(file), StandardCharsets.ISO_8859_1))) {
      for (String raw = reader.readLine(); raw != null; raw = reader.readLine()) {
        if (raw.startsWith(START) && containing.stream().anyMatch(raw::contains)) {
          OperationJson.read(
                  new String(raw.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8))
              .ifPresent(found::add);
        }
      }
    } catch (NoSuchFileException nothingYet) {
      return found;
    }
    return found;
  }

  private void write() {
    try (FileChannel channel = open()) {
      find();
      while (true) {
        switch (queue.take()) {
          case Written(Operation operation) -> append(channel, operation);
          case Flush(CountDownLatch done, boolean last) -> {
            done.countDown();
            if (last) {
              return;
            }
          }
        }
      }
    } catch (IOException failure) {
      log.error(
          "the flight recorder's file {} can't be used, so operations are forgotten at a restart: {}",
          file,
          failure.toString());
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }

  private FileChannel open() throws IOException {
    Path folder = file.getParent();
    if (folder != null && !Files.isDirectory(folder)) {
      Files.createDirectories(
          folder,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    }
    FileChannel channel =
        FileChannel.open(
            file,
            Set.of(StandardOpenOption.CREATE, StandardOpenOption.WRITE),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    if (channel.size() > size) {
      var _ = channel.truncate(size);
    }
    // Blank lines, so that a reader never meets a long one.
    byte[] blank = " ".repeat(1023).concat("\n").repeat(64).getBytes(StandardCharsets.US_ASCII);
    while (channel.size() < size) {
      int length = (int) Math.min(blank.length, size - channel.size());
      var _ = channel.write(ByteBuffer.wrap(blank, 0, length), channel.size());
    }
    return channel;
  }

  /// Goes on behind the line with the highest number.
  private void find() throws IOException {
    try (BufferedReader reader =
        new BufferedReader(
            Channels.newReader(
                FileChannel.open(file, StandardOpenOption.READ), StandardCharsets.ISO_8859_1))) {
      long at = 0;
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        at += line.length() + 1; // lines end with \n alone
        if (line.startsWith(START)) {
          long found = numberOf(line);
          if (found > number) {
            number = found;
            position = at;
          }
        }
      }
    }
  }

  private static long numberOf(String line) {
    int end = line.indexOf(',');
    try {
      return end < 0 ? -1 : Long.parseLong(line.substring(START.length(), end));
    } catch (NumberFormatException part) {
      return -1;
    }
  }

  private void append(FileChannel channel, Operation operation) {
    byte[] line = OperationJson.write(number + 1, operation);
    if (line.length >= size / 2) {
      return; // nothing real is so long
    }
    ByteBuffer bytes = ByteBuffer.allocate(line.length + 1);
    bytes.put(line).put((byte) '\n').flip();
    if (position + bytes.remaining() > size) {
      position = 0;
    }
    try {
      while (bytes.hasRemaining()) {
        position += channel.write(bytes, position);
      }
      number++;
      broken = false;
    } catch (IOException failure) {
      if (!broken) {
        log.error("the flight recorder can't write {}: {}", file, failure.toString());
      }
      broken = true;
    }
  }

  /// Writes what is still to be written.
  @Override
  public void close() {
    var flushed = new CountDownLatch(1);
    try {
      if (queue.offer(new Flush(flushed, true))) {
        var _ = flushed.await(FLUSH.toMillis(), TimeUnit.MILLISECONDS);
      }
    } catch (InterruptedException hurried) {
      Thread.currentThread().interrupt();
    }
  }

  /// What is recorded as running though nobody runs it any more.
  static Operation lost(Operation operation) {
    return new Operation(
        operation.requestId(),
        operation.method(),
        operation.object(),
        operation.subject(),
        operation.startedAt(),
        operation.elapsed(),
        Status.Code.ABORTED,
        "berthd ended meanwhile",
        operation.trace(),
        operation.stages());
  }
}
