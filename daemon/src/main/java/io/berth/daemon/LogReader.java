package io.berth.daemon;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/// Prints a log in the CRI's form, `TIME STREAM TAGS CONTENT`: content to the stream that it came
/// from. Never holds more than a buffer, however long a line is.
final class LogReader {
  static final long ALL = -1;

  private static final int BUFFER = 64 << 10;
  private static final int LONGEST_HEADER = 128;
  private static final Duration POLL = Duration.ofMillis(100);

  private final Path path;
  private final OutputStream out;
  private final OutputStream err;
  private final boolean timestamps;
  private final ByteBuffer buffer = ByteBuffer.allocate(BUFFER);

  private final byte[] header = new byte[LONGEST_HEADER];
  private int headerLength;
  private @Nullable OutputStream to; // of the content that is being read; null within the header
  private boolean whole; // the content ends its line
  private boolean outContinues; // the last record of this stream was a part of a line
  private boolean errContinues;

  LogReader(Path path, OutputStream out, OutputStream err, boolean timestamps) {
    this.path = path;
    this.out = out;
    this.err = err;
    this.timestamps = timestamps;
  }

  /// Prints what is in the file now.
  ///
  /// @param tail how many of the last lines, or [#ALL]
  void print(long tail) throws IOException {
    try (FileChannel file = FileChannel.open(path)) {
      file.position(start(file, tail));
      drain(file);
    }
  }

  /// As [#print], and goes on with what is written until `ended` and everything is printed, in as
  /// many files as the log is rotated to.
  void follow(long tail, BooleanSupplier ended) throws IOException, InterruptedException {
    FileChannel file = FileChannel.open(path);
    try {
      Object current = key(path).orElseThrow(() -> new NoSuchFileException(path.toString()));
      file.position(start(file, tail));
      while (true) {
        // Asked before reading: what was written until then is there to be read.
        boolean last = ended.getAsBoolean();
        Optional<Object> named = key(path);
        drain(file);
        if (named.isPresent() && !named.get().equals(current)) {
          // Nothing was written to the old file any more when there was a new one.
          Path next = successor(current);
          Optional<Object> nextKey = key(next);
          FileChannel opened = open(next);
          if (opened != null && nextKey.equals(key(next))) {
            file.close();
            file = opened;
            current = nextKey.get();
          } else if (opened != null) { // rotated in this very moment
            opened.close();
          }
        } else if (last) {
          return;
        } else {
          Thread.sleep(POLL);
        }
      }
    } finally {
      file.close();
    }
  }

  private static @Nullable FileChannel open(Path file) throws IOException {
    try {
      return FileChannel.open(file);
    } catch (NoSuchFileException rotatedAway) { // looked for again
      return null;
    }
  }

  /// The file that was begun after this one: rotated files are named by time after the log.
  private Path successor(Object current) throws IOException {
    List<Path> rotated = new ArrayList<>();
    String begin = path.getFileName() + ".";
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder())) {
      for (Path file : files) {
        String name = file.getFileName().toString();
        if (name.startsWith(begin) && !name.endsWith(".tmp") && !name.endsWith(".gz")) {
          rotated.add(file);
        }
      }
    }
    rotated.sort(null);
    for (int i = 0; i + 1 < rotated.size(); i++) {
      if (key(rotated.get(i)).filter(current::equals).isPresent()) {
        return rotated.get(i + 1);
      }
    }
    return path;
  }

  private Path folder() {
    return Objects.requireNonNullElse(path.toAbsolutePath().getParent(), Path.of("/"));
  }

  private static Optional<Object> key(Path file) {
    try {
      return Optional.ofNullable(Files.readAttributes(file, BasicFileAttributes.class).fileKey());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private void drain(FileChannel file) throws IOException {
    for (int n = read(file); n > 0; n = read(file)) {
      print(buffer.array(), n);
    }
    out.flush();
    err.flush();
  }

  private int read(FileChannel file) throws IOException {
    buffer.clear();
    return file.read(buffer);
  }

  private void print(byte[] bytes, int count) throws IOException {
    int at = 0;
    while (at < count) {
      if (to == null) {
        at = readHeader(bytes, at, count);
      } else {
        at = readContent(to, bytes, at, count);
      }
    }
  }

  private int readHeader(byte[] bytes, int from, int count) throws IOException {
    int spaces = 0;
    for (int i = 0; i < headerLength; i++) {
      spaces += header[i] == ' ' ? 1 : 0;
    }
    int at = from;
    while (at < count) {
      byte b = bytes[at];
      boolean foreign = b == '\n' || headerLength == LONGEST_HEADER;
      if (foreign) { // not in the CRI's form: printed as it is
        begin(out, true, header, headerLength);
        return at;
      }
      header[headerLength++] = b;
      at++;
      spaces += b == ' ' ? 1 : 0;
      if (spaces == 3) {
        String[] fields =
            new String(header, 0, headerLength, StandardCharsets.ISO_8859_1).split(" ");
        boolean stderr = fields.length > 1 && fields[1].equals("stderr");
        boolean continues = stderr ? errContinues : outContinues;
        boolean ends = fields.length > 2 && fields[2].startsWith("F");
        byte[] time = (fields[0] + " ").getBytes(StandardCharsets.ISO_8859_1);
        begin(stderr ? err : out, ends, time, timestamps && !continues ? time.length : 0);
        if (stderr) {
          errContinues = !ends;
        } else {
          outContinues = !ends;
        }
        return at;
      }
    }
    return at;
  }

  private void begin(OutputStream stream, boolean ends, byte[] prefix, int length)
      throws IOException {
    stream.write(prefix, 0, length);
    to = stream;
    whole = ends;
    headerLength = 0;
  }

  private int readContent(OutputStream stream, byte[] bytes, int from, int count)
      throws IOException {
    int end = from;
    while (end < count && bytes[end] != '\n') {
      end++;
    }
    stream.write(bytes, from, end - from);
    if (end == count) {
      return end;
    }
    if (whole) {
      stream.write('\n');
    }
    to = null;
    return end + 1;
  }

  /// Where the last lines begin. Looks from the end, so that a large file costs no more than what
  /// is printed.
  private static long start(FileChannel file, long tail) throws IOException {
    if (tail < 0) {
      return 0;
    }
    long found = 0;
    long size = file.size();
    long recordEnd = size; // after the newline
    if (tail == 0) {
      return recordEnd;
    }
    ByteBuffer block = ByteBuffer.allocate(BUFFER);
    long blockStart = recordEnd;
    while (blockStart > 0) {
      int length = (int) Math.min(BUFFER, blockStart);
      blockStart -= length;
      block.clear().limit(length);
      readFully(file, block, blockStart);
      for (int i = length - 1; i >= 0; i--) {
        long recordStart = blockStart + i + 1;
        if (block.get(i) == '\n' && recordStart < size) {
          boolean line = recordEnd == size || endsLine(file, recordStart);
          if (line && found++ == tail) {
            return recordEnd;
          }
          recordEnd = recordStart;
        }
      }
    }
    boolean line = recordEnd == size || endsLine(file, 0);
    return line && found == tail ? recordEnd : 0;
  }

  private static boolean endsLine(FileChannel file, long recordStart) throws IOException {
    ByteBuffer head = ByteBuffer.allocate(LONGEST_HEADER);
    readFully(file, head, recordStart);
    String[] fields =
        new String(head.array(), 0, head.position(), StandardCharsets.ISO_8859_1).split(" ", 4);
    return fields.length < 3 || !fields[2].startsWith("P");
  }

  private static void readFully(FileChannel file, ByteBuffer into, long from) throws IOException {
    long at = from;
    while (into.hasRemaining()) {
      int n = file.read(into, at);
      if (n <= 0) {
        return;
      }
      at += n;
    }
  }
}
