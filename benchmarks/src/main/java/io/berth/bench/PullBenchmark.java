package io.berth.bench;

import io.berth.linux.AtomicFile;
import io.berth.linux.FileTree;
import io.berth.linux.Subprocess;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * Pulls of an image from a registry on this machine, in turns with the floor: {@code gzip -dc | tar
 * -x} of the same layers from local files, all at once, each into an empty folder on the file
 * system that holds the images. The floor fetches nothing, verifies nothing and leaves its files in
 * the page cache; with a final syncfs(2) it is as durable as Berth's layers.
 */
final class PullBenchmark {
  private static final String UNPACK = "exec gzip -dc \"$1\" | tar -x -C \"$2\"";

  private final CriClient client;
  private final LargeImage image;
  private final String name;
  private final Path folder;

  /**
   * @param name of the image in the registry, pushed already
   * @param folder on the file system of the daemon's layers; what is made in it is removed
   */
  PullBenchmark(CriClient client, LargeImage image, String name, Path folder) {
    this.client = client;
    this.image = image;
    this.name = name;
    this.folder = folder;
  }

  /** The first pair, which finds cold caches, is not among the values. */
  MarkdownTable run(int pulls) throws IOException, InterruptedException {
    List<Duration> pulled = new ArrayList<>();
    List<Duration> floor = new ArrayList<>();
    List<Duration> durableFloor = new ArrayList<>();
    for (int i = -1; i < pulls; i++) {
      quiet();
      long start = System.nanoTime();
      client.pullImage(name);
      Duration pull = since(start);
      client.removeImage(name);
      quiet();
      start = System.nanoTime();
      Path unpacked = unpack();
      Duration bare = since(start);
      AtomicFile.syncFileSystem(unpacked);
      Duration durable = since(start);
      FileTree.delete(unpacked);
      if (i >= 0) {
        pulled.add(pull);
        floor.add(bare);
        durableFloor.add(durable);
      }
    }
    var pull = new Distribution(pulled);
    var bare = new Distribution(floor);
    var durable = new Distribution(durableFloor);
    return new MarkdownTable("ms", "p50", "p95", "ratio of p50", "goal")
        .row(
            "PullImage",
            MarkdownTable.millis(pull.median()),
            MarkdownTable.millis(pull.percentile(95)),
            "",
            "")
        .row(
            "floor: gzip -dc, tar -x, layers in parallel",
            MarkdownTable.millis(bare.median()),
            MarkdownTable.millis(bare.percentile(95)),
            MarkdownTable.ratio(pull.ratioTo(bare)),
            "≤ 1.30")
        .row(
            "the same and syncfs",
            MarkdownTable.millis(durable.median()),
            MarkdownTable.millis(durable.percentile(95)),
            MarkdownTable.ratio(pull.ratioTo(durable)),
            "");
  }

  private Path unpack() throws IOException, InterruptedException {
    Path root = Files.createTempDirectory(folder, "unpacked-");
    List<Subprocess> running = new ArrayList<>();
    for (Path layer : image.layers()) {
      Path target = Files.createDirectory(root.resolve(layer.getFileName()));
      running.add(
          Subprocess.command("/bin/sh", "-c", UNPACK, "sh", layer.toString(), target.toString())
              .start());
    }
    for (Subprocess one : running) {
      Subprocess.Result result = one.await();
      if (!result.ok()) {
        throw new BenchException(
            BenchException.Reason.PROGRAM, "unpack a layer: " + result.err(), null);
      }
    }
    return root;
  }

  /** What one side has left to be written must not be paid by the other. */
  private void quiet() {
    AtomicFile.syncFileSystem(folder);
  }

  private static Duration since(long start) {
    return Duration.ofNanos(System.nanoTime() - start);
  }
}
