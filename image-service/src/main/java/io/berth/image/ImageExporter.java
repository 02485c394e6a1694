package io.berth.image;

import com.github.luben.zstd.ZstdOutputStreamNoFinalizer;
import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.linux.ErrnoException;
import io.berth.linux.FileTree;
import io.berth.linux.Sha256;
import io.berth.linux.Stages;
import io.berth.oci.ChainId;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageIndex;
import io.berth.oci.ImageManifest;
import io.berth.oci.ImageReference;
import io.berth.oci.Json;
import io.berth.oci.MediaTypes;
import io.berth.oci.Platform;
import io.berth.snapshot.SnapshotException;
import io.berth.snapshot.Snapshotter;
import java.io.BufferedOutputStream;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import java.util.zip.GZIPOutputStream;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;

/**
 * Writes images as archives that {@link ImageImporter}, skopeo, docker and containerd take. Layers
 * come out with the diff IDs that they went in with, so the images keep their ids; how they are
 * compressed, and so the digests of blobs and manifest, is new.
 */
public final class ImageExporter {
  private static final String CONTAINERD_NAME = "io.containerd.image.name";
  private static final String FOLDER = "export";

  private final Path rootDir;
  private final ImageStore store;
  private final Snapshotter snapshotter;
  private final AtomicLong numbers = new AtomicLong();

  /** What is written. */
  public enum Format {
    /** An OCI image layout as a tar; layers are compressed, each by itself. */
    OCI,
    /** What docker save writes; the archive is compressed as a whole. */
    DOCKER
  }

  /** How it is compressed. */
  public enum Packing {
    NONE,
    GZIP,
    ZSTD
  }

  /** Told of each layer before it is written. */
  public interface Progress {
    /**
     * @param number from 1
     * @param bytes of the layer when it isn't compressed
     */
    void layer(Digest diffId, int number, int count, long bytes);
  }

  /**
   * An image to be written.
   *
   * @param tags under which it is
   */
  private record Chosen(ImageRecord record, Image image, List<String> tags) {}

  /**
   * Removes what exports left behind that a crash ended.
   *
   * @param rootDir layers are compressed beneath its folder {@code export}
   */
  public ImageExporter(Path rootDir, ImageStore store, Snapshotter snapshotter) {
    this.rootDir = rootDir;
    this.store = store;
    this.snapshotter = snapshotter;
    try (DirectoryStream<Path> left = Files.newDirectoryStream(rootDir.resolve(FOLDER))) {
      left.forEach(this::clear);
    } catch (NoSuchFileException none) {
      // As it should be.
    } catch (IOException e) {
      throw new UncheckedIOException("clear " + rootDir.resolve(FOLDER), e);
    }
  }

  private void clear(Path folder) {
    snapshotter.unmount(folder.resolve("view"));
    FileTree.delete(folder);
  }

  /**
   * Writes images into one archive. Each layer is compared with its diff ID; when one differs, or
   * the caller fails to take what comes, the archive ends in the middle.
   *
   * @param names of images or ids; a tag goes into the archive alone, other names take all tags
   *     along
   * @throws ImageException NOT_FOUND, AMBIGUOUS; UNSUPPORTED for artifacts and layers without a
   *     record of their archive; CORRUPT for layers that aren't what was pulled; DISK
   */
  public void export(
      List<String> names, Format format, Packing packing, OutputStream out, Progress progress)
      throws InterruptedException {
    String owner = "export:" + numbers.incrementAndGet();
    List<Chosen> images = names.stream().map(this::choose).toList();
    Path folder = rootDir.resolve(FOLDER).resolve(owner);
    try {
      images.forEach(each -> snapshotter.hold(owner, each.record().chain()));
      Files.createDirectories(folder);
      Object _ =
          Fork.onPlatformThread(
              owner,
              Stages.inherit(() -> {
                write(images, format, packing, out, progress, folder);
                return owner;
              }));
    } catch (ImageException e) {
      throw e.within("export " + String.join(", ", names));
    } catch (SnapshotException | ErrnoException e) {
      throw new ImageException(
          Reason.DISK, "export " + String.join(", ", names) + ": " + e.getMessage(), e);
    } catch (IOException | UncheckedIOException e) {
      throw new ImageException(
          Reason.DISK, "export " + String.join(", ", names) + ": " + e.getMessage(), e);
    } finally {
      clear(folder);
      snapshotter.release(owner);
    }
  }

  private void write(
      List<Chosen> images,
      Format format,
      Packing packing,
      OutputStream out,
      Progress progress,
      Path folder)
      throws InterruptedException {
    try {
      if (format == Format.OCI) {
        new Run(folder, out, packing, progress).layout(images);
      } else {
        try (OutputStream packed = pack(out, packing)) {
          new Run(folder, packed, Packing.NONE, progress).docker(images);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("the archive can't be written: " + e.getMessage(), e);
    }
  }

  private Chosen choose(String name) {
    Image image =
        store
            .find(name)
            .orElseThrow(() ->
                new ImageException(
                    Reason.NOT_FOUND, "export " + name + ": it isn't on this machine; pull it"));
    ImageRecord record =
        store
            .record(image.id())
            .orElseThrow(() ->
                new ImageException(Reason.NOT_FOUND, "export " + name + ": it was just removed"));
    if (image.artifactType() != null) {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "export "
              + name
              + ": it is an OCI artifact of type "
              + image.artifactType()
              + ", whose config isn't kept; copy it from its registry");
    }
    String tag = tag(name);
    return new Chosen(
        record, image, image.repoTags().contains(tag) ? List.of(tag) : image.repoTags());
  }

  private static String tag(String name) {
    try {
      return ImageReference.parse(name).toString();
    } catch (IllegalArgumentException id) {
      return "";
    }
  }

  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // handed on to the caller
  private static OutputStream pack(OutputStream out, Packing packing) throws IOException {
    return switch (packing) {
      case NONE -> new BufferedOutputStream(out, 128 << 10);
      case GZIP -> new BufferedOutputStream(new GZIPOutputStream(out, 64 << 10), 64 << 10);
      case ZSTD -> new BufferedOutputStream(new ZstdOutputStreamNoFinalizer(out), 64 << 10);
    };
  }

  /** One archive being written. */
  private final class Run {
    private final Path folder;
    private final TarArchiveOutputStream tar;
    private final Packing packing;
    private final Progress progress;
    private final Set<String> written = new HashSet<>();
    private final Map<ChainId, Descriptor> blobs = new HashMap<>();
    private int number;
    private int count;

    Run(Path folder, OutputStream out, Packing packing, Progress progress) {
      this.folder = folder;
      this.packing = packing;
      this.progress = progress;
      tar = new TarArchiveOutputStream(out, "UTF-8");
      tar.setBigNumberMode(TarArchiveOutputStream.BIGNUMBER_POSIX);
      tar.setLongFileMode(TarArchiveOutputStream.LONGFILE_POSIX);
    }

    /** image-spec, image-layout. */
    void layout(List<Chosen> images) throws IOException, InterruptedException {
      count(images);
      file("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}".getBytes(StandardCharsets.UTF_8));
      List<Descriptor> entries = new ArrayList<>();
      for (Chosen chosen : images) {
        byte[] config = chosen.record().config().getBytes(StandardCharsets.UTF_8);
        List<Descriptor> layers = new ArrayList<>();
        List<ChainId> chain = chosen.record().chain();
        for (int i = 0; i < chain.size(); i++) {
          layers.add(blob(chain.subList(0, i + 1), chosen.record().layers().get(i).diffId()));
        }
        file(path(chosen.record().id()), config);
        byte[] manifest =
            Json.write(
                new ImageManifest(
                    2,
                    MediaTypes.OCI_MANIFEST,
                    null,
                    Descriptor.of(MediaTypes.OCI_CONFIG, chosen.record().id(), config.length),
                    layers,
                    null));
        Digest digest = Digest.sha256(manifest);
        file(path(digest), manifest);
        entries.addAll(entries(chosen, digest, manifest.length));
      }
      file("index.json", Json.write(new ImageIndex(2, MediaTypes.OCI_INDEX, entries, null)));
      tar.finish();
      tar.flush();
    }

    /** One for each name, or one without any. */
    private List<Descriptor> entries(Chosen chosen, Digest manifest, long size) {
      var config = chosen.image().config();
      Platform platform =
          config.architecture() == null || config.os() == null
              ? null
              : new Platform(config.architecture(), config.os(), config.variant(), null, null);
      List<Map<String, String>> names = new ArrayList<>();
      for (String name : chosen.tags()) {
        Map<String, String> annotations = new LinkedHashMap<>();
        annotations.put(CONTAINERD_NAME, name);
        annotations.put(Descriptor.REF_NAME, name.substring(name.lastIndexOf(':') + 1));
        names.add(annotations);
      }
      if (names.isEmpty()) {
        names.add(Map.of());
      }
      return names.stream()
          .map(annotations ->
              new Descriptor(
                  MediaTypes.OCI_MANIFEST,
                  manifest,
                  size,
                  null,
                  null,
                  annotations.isEmpty() ? null : annotations,
                  platform))
          .toList();
    }

    /** As docker save did before it wrote layouts, which every tool still takes. */
    void docker(List<Chosen> images) throws IOException, InterruptedException {
      count(images);
      List<ImageImporter.DockerImage> list = new ArrayList<>();
      for (Chosen chosen : images) {
        List<String> names = new ArrayList<>();
        List<ChainId> chain = chosen.record().chain();
        for (int i = 0; i < chain.size(); i++) {
          Digest diffId = chosen.record().layers().get(i).diffId();
          String name = diffId.hex() + ".tar";
          names.add(name);
          if (written.add(name)) {
            plain(name, chain.subList(0, i + 1), diffId);
          }
        }
        String config = chosen.record().id().hex() + ".json";
        file(config, chosen.record().config().getBytes(StandardCharsets.UTF_8));
        list.add(new ImageImporter.DockerImage(config, chosen.tags(), names));
      }
      file("manifest.json", Json.write(list));
      tar.finish();
      tar.flush();
    }

    private void count(List<Chosen> images) {
      count =
          (int) images.stream().flatMap(each -> each.record().chain().stream()).distinct().count();
    }

    private static String path(Digest blob) {
      return "blobs/" + blob.algorithm() + "/" + blob.hex();
    }

    private void file(String name, byte[] content) throws IOException {
      if (written.add(name)) {
        begin(name, content.length);
        tar.write(content);
        tar.closeArchiveEntry();
      }
    }

    private void begin(String name, long size) throws IOException {
      var entry = new TarArchiveEntry(name);
      entry.setSize(size);
      entry.setModTime(0); // equal images make equal archives
      tar.putArchiveEntry(entry);
    }

    /** A layer once, however many images have it. */
    private Descriptor blob(List<ChainId> chain, Digest diffId)
        throws IOException, InterruptedException {
      Descriptor known = blobs.get(chain.getLast());
      if (known == null) {
        known = packing == Packing.NONE ? plainBlob(chain, diffId) : packedBlob(chain, diffId);
        blobs.put(chain.getLast(), known);
      }
      return known;
    }

    private Descriptor plainBlob(List<ChainId> chain, Digest diffId)
        throws IOException, InterruptedException {
      long size = written.add(path(diffId)) ? plain(path(diffId), chain, diffId) : length(chain);
      return Descriptor.of(MediaTypes.OCI_LAYER, diffId, size);
    }

    private long length(List<ChainId> chain) {
      try (var archive = archive(chain, OutputStream.nullOutputStream())) {
        return archive.length();
      }
    }

    @MustBeClosed
    private LayerArchive archive(List<ChainId> chain, OutputStream out) {
      return new LayerArchive(snapshotter, chain, folder.resolve("view"), out);
    }

    /** Its length is known, so it goes straight into the archive. */
    private long plain(String name, List<ChainId> chain, Digest diffId)
        throws IOException, InterruptedException {
      var hashed = new Hashed(tar, diffId);
      try (var archive = archive(chain, hashed)) {
        long length = archive.length();
        progress.layer(diffId, ++number, count, length);
        begin(name, length);
        archive.write();
        hashed.require(diffId, chain.getLast());
        tar.closeArchiveEntry();
        return length;
      }
    }

    /** A tar says a file's length before its content, so a layer is compressed on disk first. */
    private Descriptor packedBlob(List<ChainId> chain, Digest diffId)
        throws IOException, InterruptedException {
      Path file = folder.resolve("layer");
      Digest digest;
      try (OutputStream stored = Files.newOutputStream(file)) {
        var blob = new Hashed(stored);
        try (OutputStream packed = pack(blob, packing)) {
          var hashed = new Hashed(packed, diffId);
          try (var archive = archive(chain, hashed)) {
            progress.layer(diffId, ++number, count, archive.length());
            archive.write();
          }
          hashed.require(diffId, chain.getLast());
        }
        digest = blob.digest();
      } catch (IOException e) {
        throw new ImageException(
            Reason.DISK, "layer " + diffId + " can't be compressed: " + e.getMessage(), e);
      }
      long size = Files.size(file);
      if (written.add(path(digest))) {
        begin(path(digest), size);
        Files.copy(file, tar);
        tar.closeArchiveEntry();
      }
      Files.delete(file);
      return Descriptor.of(
          packing == Packing.GZIP ? MediaTypes.OCI_LAYER_GZIP : MediaTypes.OCI_LAYER_ZSTD,
          digest,
          size);
    }
  }

  /** Takes the digest of what passes. */
  private static final class Hashed extends FilterOutputStream {
    private final String algorithm;
    private final MessageDigest hash;

    Hashed(OutputStream out) {
      super(out);
      algorithm = Digest.SHA256;
      hash = Sha256.start();
    }

    /** With the algorithm of what is expected. */
    Hashed(OutputStream out, Digest expected) {
      super(out);
      algorithm = expected.algorithm();
      hash = algorithm.equals(Digest.SHA256) ? Sha256.start() : expected.newHash();
    }

    @Override
    public void write(int b) throws IOException {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int offset, int length) throws IOException {
      hash.update(bytes, offset, length);
      out.write(bytes, offset, length);
    }

    Digest digest() {
      return Digest.of(algorithm, hash.digest());
    }

    void require(Digest expected, ChainId layer) {
      if (!digest().equals(expected)) {
        throw new ImageException(
            Reason.CORRUPT,
            "layer "
                + layer
                + " can't be made again as it was pulled: its files have changed, which berth"
                + " image verify --repair mends, or its archive named a file twice");
      }
    }
  }
}
