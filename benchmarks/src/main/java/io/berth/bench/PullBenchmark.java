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
import java.util.concurrent.atomic.AtomicLong;

/**
 * Pulls of an image from a registry on this machine, in turns with the floor: {@code gzip -dc | tar
 * -x} of the same layers from local files, all at once or one after the other, each into an empty
 * folder on the file system that holds the images. The floor fetches nothing, verifies nothing and
 * leaves its files in the page cache; with a final syncfs(2) it is as durable as Berth's layers.
 */
final class PullBenchmark {
  private static final String UNPACK = "exec gzip -dc \"$1\" | tar -x -C \"$2\"";

  private static final Duration SAMPLES = Duration.ofMillis(50);

  /** What a pull is compared with. */
  enum Floor {
    PARALLEL("layers in parallel", "≤ 0.80"),
    SEQUENTIAL("one layer after the other", "≤ 0.50");

    final String label;
    final String goal;

    Floor(String label, String goal) {
      this.label = label;
      this.goal = goal;
    }
  }

  private final CriClient client;
  private final int daemon;
  private final Floor floor;
  private final LargeImage image;
  private final String name;
  private final Path folder;

  /**
   * @param daemon its process id
   * @param name of the image in the registry, pushed already
   * @param folder on the file system of the daemon's layers; what is made in it is removed
   */
  PullBenchmark(
      CriClient client, int daemon, LargeImage image, Floor floor, String name, Path folder) {
    this.client = client;
    this.daemon = daemon;
    this.floor = floor;
    this.image = image;
    this.name = name;
    this.folder = folder;
  }

  /**
   * The first pair, which finds cold caches, is not among the values; during it the daemon's memory
   * is sampled, which would slow down the others.
   */
  MarkdownTable run(int pulls) throws IOException, InterruptedException {
    List<Duration> pulled = new ArrayList<>();
    List<Duration> bareFloor = new ArrayList<>();
    List<Duration> durableFloor = new ArrayList<>();
    long idle = ProcessMemory.pss(daemon);
    long peak = idle;
    for (int i = -1; i < pulls; i++) {
      quiet();
      PeakMemory memory = i < 0 ? new PeakMemory(daemon) : null;
      long start = System.nanoTime();
      client.pullImage(name);
      Duration pull = since(start);
      if (memory != null) {
        peak = memory.end();
      }
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
        bareFloor.add(bare);
        durableFloor.add(durable);
      }
    }
    var pull = new Distribution(pulled);
    var bare = new Distribution(bareFloor);
    var durable = new Distribution(durableFloor);
    return new MarkdownTable("ms", "p50", "p95", "ratio of p50", "goal")
        .row(
            "PullImage",
            MarkdownTable.millis(pull.median()),
            MarkdownTable.millis(pull.percentile(95)),
            "",
            "")
        .row(
            "floor: gzip -dc, tar -x, " + floor.label,
            MarkdownTable.millis(bare.median()),
            MarkdownTable.millis(bare.percentile(95)),
            MarkdownTable.ratio(pull.ratioTo(bare)),
            floor.goal)
        .row(
            "the same and syncfs",
            MarkdownTable.millis(durable.median()),
            MarkdownTable.millis(durable.percentile(95)),
            MarkdownTable.ratio(pull.ratioTo(durable)),
            "")
        .row(
            "PSS of the daemon before, and at its peak in the first pull, MiB",
            MarkdownTable.mebibytes(idle),
            MarkdownTable.mebibytes(peak),
            "+ " + MarkdownTable.mebibytes(peak - idle),
            "≤ + 48");
  }

  private Path unpack() throws IOException, InterruptedException {
    Path root = Files.createTempDirectory(folder, "unpacked-");
    List<Subprocess> running = new ArrayList<>();
    for (Path layer : image.layers()) {
      Path target = Files.createDirectory(root.resolve(layer.getFileName()));
      Subprocess one =
          Subprocess.command("/bin/sh", "-c", UNPACK, "sh", layer.toString(), target.toString())
              .start();
      if (floor == Floor.SEQUENTIAL) {
        finish(one);
      } else {
        running.add(one);
      }
    }
    for (Subprocess one : running) {
      finish(one);
    }
    return root;
  }

  private static void finish(Subprocess one) throws InterruptedException {
    Subprocess.Result result = one.await();
    if (!result.ok()) {
      throw new BenchException(
          BenchException.Reason.PROGRAM, "unpack a layer: " + result.err(), null);
    }
  }

  /** The largest of samples taken until it ends. */
  private static final class PeakMemory {
    private final AtomicLong peak = new AtomicLong();
    private final Thread sampler;

    PeakMemory(int daemon) {
      sampler =
          Thread.ofPlatform()
              .daemon()
              .start(() -> {
                try {
                  while (true) {
                    peak.accumulateAndGet(ProcessMemory.pss(daemon), Math::max);
                    Thread.sleep(SAMPLES);
                  }
                } catch (InterruptedException ended) {
                  // What was seen stands.
                }
              });
    }

    /** In bytes. */
    long end() throws InterruptedException {
      sampler.interrupt();
      sampler.join();
      return peak.get();
    }
  }

  /** What one side has left to be written must not be paid by the other. */
  private void quiet() {
    AtomicFile.syncFileSystem(folder);
  }

  private static Duration since(long start) {
    return Duration.ofNanos(System.nanoTime() - start);
  }
}
