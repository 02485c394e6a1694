package io.berth.bench;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.bench.BenchException.Reason;
import io.berth.linux.FileTree;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageIndex;
import io.berth.oci.ImageManifest;
import io.berth.oci.Json;
import io.berth.oci.MediaTypes;
import java.io.BufferedOutputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Supplier;
import java.util.zip.GZIPOutputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;

/**
 * An image to be pulled for measurement, as an OCI layout on disk: gzip layers of many files in
 * packages, sizes and compressibility as in images of real software. Pseudo-random from a fixed
 * seed, so it is the same each time; made once per folder.
 */
final class LargeImage {
  static final String TAG = "layers";

  private static final long SEED = 340;
  private static final int POOL = 8 << 20;

  /** Shares of the whole, largest not first: a base, a language, its libraries, an application. */
  static final List<Integer> FEW_LAYERS = List.of(8, 36, 26, 18, 12);

  /** As of a long Dockerfile. */
  static final List<Integer> SIXTY_LAYERS = Collections.nCopies(60, 1);

  private final Path folder;
  private final Facts facts;

  /**
   * What it consists of.
   *
   * @param layers blobs in the layout, base first
   * @param compressed bytes of all blobs
   * @param unpacked bytes of all files
   */
  record Facts(List<Digest> layers, long compressed, long unpacked, long files) {}

  /** One finished layer. */
  private record Layer(Digest blob, Digest diffId, long compressed, long unpacked, long files) {}

  private LargeImage(Path folder, Facts facts) {
    this.folder = folder;
    this.facts = facts;
  }

  /**
   * @param folder kept from run to run; made when it does not exist
   * @param size bytes of all layers together, compressed; met to within a file per layer
   * @param shares of the layers, base first
   */
  static LargeImage make(Path folder, long size, List<Integer> shares)
      throws IOException, InterruptedException {
    Path facts = folder.resolve("facts.json");
    if (!Files.exists(facts)) {
      // Made beside it and renamed, so that a broken run leaves nothing that looks whole.
      Path partial = folder.resolveSibling(folder.getFileName() + ".partial");
      FileTree.delete(partial);
      FileTree.delete(folder);
      Files.createDirectories(blobs(partial));
      write(partial, size, shares);
      Files.move(partial, folder, StandardCopyOption.ATOMIC_MOVE);
    }
    return new LargeImage(
        folder, Json.read(Files.readAllBytes(facts), Facts.class, facts.toString()));
  }

  Facts facts() {
    return facts;
  }

  /** The layers as gzip files, base first. */
  List<Path> layers() {
    return facts.layers().stream().map(blob -> blobs(folder).resolve(blob.hex())).toList();
  }

  /** Pushes it with skopeo; blobs that the registry has already are not sent again. */
  void push(String name) throws InterruptedException {
    Programs.run(
        List.of(
            Programs.find("skopeo").toString(),
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            "oci:" + folder + ":" + TAG,
            "docker://" + name),
        "push " + name);
  }

  private static Path blobs(Path folder) {
    return folder.resolve("blobs/sha256");
  }

  private static void write(Path folder, long size, List<Integer> shares)
      throws IOException, InterruptedException {
    Contents contents = new Contents(new SplittableRandom(SEED));
    int whole = shares.stream().mapToInt(Integer::intValue).sum();
    List<Layer> layers = new ArrayList<>();
    try (ExecutorService workers =
        Executors.newFixedThreadPool(Runtime.getRuntime().availableProcessors())) {
      List<Callable<Layer>> work = new ArrayList<>();
      for (int i = 0; i < shares.size(); i++) {
        int number = i;
        work.add(() -> layer(blobs(folder), number, size * shares.get(number) / whole, contents));
      }
      for (Future<Layer> layer : workers.invokeAll(work)) {
        layers.add(layer.get());
      }
    } catch (ExecutionException e) {
      throw new BenchException(Reason.FILES, "make an image in " + folder + ": " + e.getCause(), e);
    }
    Descriptor config =
        blob(
            folder,
            MediaTypes.OCI_CONFIG,
            Map.of(
                "architecture",
                DemoImage.architecture(),
                "os",
                "linux",
                "created",
                "2026-01-01T00:00:00Z",
                "rootfs",
                Map.of("type", "layers", "diff_ids", layers.stream().map(Layer::diffId).toList())));
    Descriptor manifest =
        blob(
            folder,
            MediaTypes.OCI_MANIFEST,
            new ImageManifest(
                2,
                MediaTypes.OCI_MANIFEST,
                null,
                config,
                layers.stream()
                    .map(l -> Descriptor.of(MediaTypes.OCI_LAYER_GZIP, l.blob(), l.compressed()))
                    .toList(),
                null));
    Descriptor tagged =
        new Descriptor(
            manifest.mediaType(),
            manifest.digest(),
            manifest.size(),
            null,
            null,
            Map.of(Descriptor.REF_NAME, TAG),
            null);
    Files.write(
        folder.resolve("index.json"),
        Json.write(new ImageIndex(2, MediaTypes.OCI_INDEX, List.of(tagged), null)));
    Files.writeString(folder.resolve("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
    Files.write(
        folder.resolve("facts.json"),
        Json.write(
            new Facts(
                layers.stream().map(Layer::blob).toList(),
                layers.stream().mapToLong(Layer::compressed).sum(),
                layers.stream().mapToLong(Layer::unpacked).sum(),
                layers.stream().mapToLong(Layer::files).sum())));
  }

  private static Descriptor blob(Path folder, String mediaType, Object content) throws IOException {
    byte[] bytes = Json.write(content);
    Digest digest = Digest.sha256(bytes);
    Files.write(blobs(folder).resolve(digest.hex()), bytes);
    return Descriptor.of(mediaType, digest, bytes.length);
  }

  private static Layer layer(Path blobs, int number, long size, Contents contents)
      throws IOException {
    Path unnamed = blobs.resolve("layer-" + number);
    var random = new SplittableRandom(SEED + number + 1);
    MessageDigest blobHash = Digest.sha256(new byte[0]).newHash();
    MessageDigest diffHash = Digest.sha256(new byte[0]).newHash();
    long unpacked = 0;
    long files = 0;
    try (var counted =
            new Counting(
                new DigestOutputStream(
                    new BufferedOutputStream(Files.newOutputStream(unnamed), 1 << 16), blobHash));
        var tar =
            new TarArchiveOutputStream(
                new DigestOutputStream(new GZIPOutputStream(counted, 1 << 16), diffHash),
                "UTF-8")) {
      tar.setLongFileMode(TarArchiveOutputStream.LONGFILE_POSIX);
      for (int pack = 0; counted.bytes < size; pack++) {
        String folder = "usr/lib/layer%d/package-%04d/".formatted(number, pack);
        add(tar, new TarArchiveEntry(folder), 0755);
        int many = random.nextInt(8, 64);
        for (int i = 0; i < many && counted.bytes < size; i++) {
          String name = folder + "file-%03d%s".formatted(i, i % 4 == 0 ? ".so" : ".txt");
          byte[] content = contents.file(random, i % 4 == 0);
          var entry = new TarArchiveEntry(name);
          entry.setSize(content.length);
          entry.setMode(i % 4 == 0 ? 0755 : 0644);
          entry.setModTime(0);
          tar.putArchiveEntry(entry);
          tar.write(content);
          tar.closeArchiveEntry();
          unpacked += content.length;
          files++;
          if (i % 16 == 15) {
            var link = new TarArchiveEntry(folder + "link-" + i, TarConstants.LF_SYMLINK);
            link.setLinkName("file-000.so");
            add(tar, link, 0777);
            files++;
          }
        }
      }
    }
    Digest blob = Digest.of(Digest.SHA256, blobHash.digest());
    long compressed = Files.size(unnamed);
    Files.move(unnamed, blobs.resolve(blob.hex()));
    return new Layer(
        blob, Digest.of(Digest.SHA256, diffHash.digest()), compressed, unpacked, files);
  }

  private static void add(TarArchiveOutputStream tar, TarArchiveEntry entry, int mode)
      throws IOException {
    entry.setMode(mode);
    entry.setModTime(0);
    tar.putArchiveEntry(entry);
    tar.closeArchiveEntry();
  }

  /** Counts what has left the compressor. */
  private static final class Counting extends FilterOutputStream {
    long bytes;

    Counting(OutputStream out) {
      super(out);
    }

    @Override
    public void write(int b) throws IOException {
      out.write(b);
      bytes++;
    }

    @Override
    public void write(byte[] b, int offset, int length) throws IOException {
      out.write(b, offset, length);
      bytes += length;
    }
  }

  /**
   * File contents, cut from two pools: words and something like machine code. Cutting anywhere
   * keeps how well they compress, because gzip looks back 32 KiB only.
   */
  private static final class Contents {
    private static final int NEAR = 24 << 10;
    private static final int PASSAGE = 128;
    private static final int REPEAT_ONE_IN = 10;

    private final byte[] text;
    private final byte[] code;

    Contents(SplittableRandom random) {
      byte[][] words = new byte[4096][];
      for (int i = 0; i < words.length; i++) {
        var word = new StringBuilder();
        for (int n = random.nextInt(2, 11); n > 0; n--) {
          word.append((char) ('a' + random.nextInt(26)));
        }
        words[i] = word.append(random.nextInt(9) == 0 ? '\n' : ' ').toString().getBytes(UTF_8);
      }
      // Few words are frequent and most are rare, as in languages of both kinds.
      text =
          pool(
              random,
              () -> {
                double uniform = random.nextDouble();
                return words[(int) (words.length * uniform * uniform * uniform)];
              });
      byte[][] instructions = new byte[512][];
      for (int i = 0; i < instructions.length; i++) {
        instructions[i] = new byte[random.nextInt(2, 7)];
        random.nextBytes(instructions[i]);
      }
      code =
          pool(
              random,
              () -> {
                byte[] known =
                    instructions[random.nextInt(1 + random.nextInt(instructions.length))];
                byte[] one = Arrays.copyOf(known, known.length + random.nextInt(2));
                one[one.length - 1] = (byte) random.nextInt(64); // an operand
                return one;
              });
    }

    /** Pieces one after the other, now and then a passage that stood shortly before. */
    private static byte[] pool(SplittableRandom random, Supplier<byte[]> pieces) {
      byte[] pool = new byte[POOL];
      for (int at = 0; at < POOL; ) {
        byte[] piece = pieces.get();
        if (at > NEAR && random.nextInt(REPEAT_ONE_IN) == 0) {
          int from = at - random.nextInt(PASSAGE, NEAR);
          piece = Arrays.copyOfRange(pool, from, from + random.nextInt(16, PASSAGE));
        }
        int length = Math.min(piece.length, POOL - at);
        System.arraycopy(piece, 0, pool, at, length);
        at += length;
      }
      return pool;
    }

    /** Sizes as on disks: half are below 8 KiB, few are megabytes. */
    byte[] file(SplittableRandom random, boolean program) {
      double size = Math.exp(9 + 1.6 * random.nextGaussian());
      byte[] content = new byte[(int) Math.clamp(size, 32, POOL / 2)];
      System.arraycopy(
          program ? code : text, random.nextInt(POOL - content.length), content, 0, content.length);
      return content;
    }
  }
}
