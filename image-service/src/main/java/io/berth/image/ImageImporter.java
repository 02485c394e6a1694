package io.berth.image;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.linux.FileTree;
import io.berth.linux.RecordFolder;
import io.berth.linux.Stages;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageIndex;
import io.berth.oci.ImageManifest;
import io.berth.oci.ImageReference;
import io.berth.oci.Json;
import io.berth.oci.MediaTypes;
import io.berth.oci.Platform;
import io.berth.snapshot.Snapshotter;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads images from archives, for machines without a registry: OCI image layouts and what {@code
 * docker save} writes, as tar, compressed or not. They are verified as if they had been pulled.
 */
public final class ImageImporter {
  private static final Logger log = LoggerFactory.getLogger(ImageImporter.class);
  private static final String CONTAINERD_NAME = "io.containerd.image.name";
  private static final String SPOOL = "import";
  private static final int MANIFEST_LIMIT = 4 << 20;
  private static final int INDEX_DEPTH = 3;

  private final Path rootDir;
  private final ImageStore store;
  private final Snapshotter snapshotter;
  private final LayerIngester layers;
  private final ImageTrust trust;
  private final Platform platform;
  private final AtomicLong numbers = new AtomicLong();

  /**
   * Removes what imports left behind that a crash ended.
   *
   * @param rootDir archives are spooled beneath its folder {@code import}
   */
  public ImageImporter(
      Path rootDir,
      ImageStore store,
      Snapshotter snapshotter,
      LayerIngester layers,
      ImageTrust trust,
      Platform platform) {
    this.rootDir = rootDir;
    this.store = store;
    this.snapshotter = snapshotter;
    this.layers = layers;
    this.trust = trust;
    this.platform = platform;
    FileTree.delete(rootDir.resolve(SPOOL));
  }

  /** An image within an archive, before its layers are unpacked. */
  private record Found(
      ImageParts parts,
      List<String> tags,
      List<String> digests,
      List<ImageSignature> signatures,
      BlobSource blobs) {}

  /** What is for this platform, and the digests that lead to it, its manifest's last. */
  private record Chosen(ManifestDocument document, List<Digest> digests) {}

  /**
   * An entry of the manifest.json that docker save writes.
   *
   * @param layers names of files, bottom first
   */
  record DockerImage(
      @JsonProperty("Config") String config,
      @JsonProperty("RepoTags") @Nullable List<String> repoTags,
      @JsonProperty("Layers") List<String> layers) {

    @SuppressWarnings("ConstantValue") // Jackson passes null for a missing field
    DockerImage {
      if (config == null || layers == null) {
        throw new IllegalArgumentException("an image in manifest.json lacks Config or Layers");
      }
    }
  }

  /**
   * Imports every image of an archive, or none: all layers are there before the first record is
   * made.
   *
   * @param archive read to its end
   * @param name for images to which the archive gives none, or no more than a tag; "" when there
   *     should be none such
   * @return the images, in the archive's order
   * @throws ImageException CORRUPT, UNSUPPORTED, NO_PLATFORM, DISK, INVALID for a malformed or
   *     missing name
   */
  public List<Image> importArchive(InputStream archive, String name) throws InterruptedException {
    String owner = "import:" + numbers.incrementAndGet();
    Path spool = rootDir.resolve(SPOOL).resolve(owner);
    try (ArchiveFiles files = new ArchiveFiles(spool)) {
      Stages.run("spool", () -> files.spool(archive));
      List<Found> found = find(files, name);
      for (Found image : found) {
        snapshotter.hold(owner, image.parts().chain());
        Stages.run(
            "layers",
            () -> layers.ingest(image.parts().diffIds(), image.parts().blobs(), image.blobs()));
      }
      return Stages.time(
          "record",
          () ->
              found.stream()
                  .map(image ->
                      store.put(
                          image
                              .parts()
                              .record(image.tags(), image.digests(), Map.of(), image.signatures())))
                  .toList());
    } catch (ImageException e) {
      throw e.within(name.isEmpty() ? "import archive" : "import " + name);
    } finally {
      snapshotter.release(owner); // the archive is at hand: the next try needs no network
    }
  }

  /** An archive may be both; its index tells more, such as digests. */
  private List<Found> find(ArchiveFiles files, String name) throws InterruptedException {
    List<Found> found;
    if (files.has("oci-layout") && files.has("index.json")) {
      found = layout(files, name);
    } else if (files.has("manifest.json")) {
      found = docker(files, name);
    } else {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "the archive is neither an OCI layout nor from docker save: it has no index.json and no"
              + " manifest.json");
    }
    if (found.isEmpty()) {
      throw new ImageException(Reason.CORRUPT, "the archive holds no image");
    }
    return found;
  }

  /** image-spec, image-layout. */
  private List<Found> layout(ArchiveFiles files, String name) throws InterruptedException {
    ImageIndex index = parse(files.read("index.json", MANIFEST_LIMIT), ImageIndex.class);
    // One image under several names is listed once for each.
    Map<Digest, List<String>> names = new HashMap<>();
    List<Descriptor> images = new ArrayList<>();
    for (Descriptor entry : index.manifests()) {
      if (entry.isAttestation()) {
        continue;
      }
      List<String> known = names.get(entry.digest());
      if (known == null) {
        known = new ArrayList<>();
        names.put(entry.digest(), known);
        images.add(entry);
      }
      known.add(nameOf(entry, name));
    }
    List<Found> found = new ArrayList<>();
    for (Descriptor image : images) {
      Chosen chosen = choose(files, image);
      List<ImageReference> references =
          names.getOrDefault(image.digest(), List.of()).stream()
              .map(ImageImporter::reference)
              .toList();
      List<ImageSignature> signatures = new ArrayList<>();
      for (ImageReference reference : references) {
        signatures.addAll(trust.foundHere(reference, chosen.digests()));
      }
      found.add(
          new Found(
              parts(files, chosen.document()),
              references.stream().filter(r -> r.tag() != null).map(String::valueOf).toList(),
              references.stream().map(r -> r.withDigest(image.digest()).toString()).toList(),
              signatures.stream().distinct().toList(),
              new Blobs(files, Map.of())));
    }
    return found;
  }

  /**
   * Tools write a full name, a name with a tag, or only a tag into the annotation that names an
   * image; a bare tag needs the name that the caller gave.
   */
  private static String nameOf(Descriptor entry, String name) {
    String full = entry.annotation(CONTAINERD_NAME);
    if (full != null) {
      return full;
    }
    String given = entry.annotation(Descriptor.REF_NAME);
    if (given == null) {
      return required(name);
    }
    if (given.contains("/") || given.contains(":") || given.contains("@")) {
      return given;
    }
    return reference(required(name)).withTag(given).toString();
  }

  private static String required(String name) {
    if (name.isEmpty()) {
      throw new ImageException(
          Reason.INVALID, "the archive doesn't name its image; say which name it should get");
    }
    return name;
  }

  private Chosen choose(ArchiveFiles files, Descriptor top) {
    Descriptor current = top;
    List<Digest> digests = new ArrayList<>();
    for (int depth = 0; depth < INDEX_DEPTH; depth++) {
      byte[] content = blob(files, current, MANIFEST_LIMIT);
      digests.add(current.digest());
      switch (ManifestDocument.parse(content, current.mediaType())) {
        case ManifestDocument.Single image -> {
          return new Chosen(image, digests);
        }
        case ManifestDocument.Artifact artifact -> {
          return new Chosen(artifact, digests);
        }
        case ManifestDocument.Choice choice -> current = choice.choose(platform);
      }
    }
    throw new ImageException(
        Reason.UNSUPPORTED, "indexes are nested more than " + INDEX_DEPTH + " deep");
  }

  private static ImageParts parts(ArchiveFiles files, ManifestDocument chosen) {
    return switch (chosen) {
      case ManifestDocument.Single(ImageManifest manifest) ->
          ImageParts.of(blob(files, manifest.config(), ImageParts.CONFIG_LIMIT), manifest.layers());
      case ManifestDocument.Artifact artifact -> ImageParts.of(artifact);
      case ManifestDocument.Choice _ ->
          throw new IllegalStateException("a choice that was already made");
    };
  }

  private static byte[] blob(ArchiveFiles files, Descriptor blob, int limit) {
    byte[] content = files.read(Blobs.path(blob.digest()), limit);
    if (content.length != blob.size() || !blob.digest().matches(content)) {
      throw new ImageException(
          Reason.CORRUPT, "the archive's blob " + blob.digest() + " has another digest or size");
    }
    return content;
  }

  /** The format of docker save: configs and plain layers under names of their own. */
  private static List<Found> docker(ArchiveFiles files, String name) {
    DockerImage[] images = parse(files.read("manifest.json", MANIFEST_LIMIT), DockerImage[].class);
    List<Found> found = new ArrayList<>();
    for (DockerImage image : images) {
      byte[] config = files.read(image.config(), ImageParts.CONFIG_LIMIT);
      JsonNode diffIds = parse(config, JsonNode.class).path("rootfs").path("diff_ids");
      if (diffIds.size() != image.layers().size()) {
        throw new ImageException(
            Reason.CORRUPT, "the archive's " + image.config() + " doesn't fit its layers");
      }
      // No blob digests are known here: layers go by their diff IDs, which is what verifies them.
      Map<Digest, String> paths = new HashMap<>();
      List<Descriptor> blobs = new ArrayList<>();
      for (int i = 0; i < image.layers().size(); i++) {
        String path = image.layers().get(i);
        Digest digest = digestOf(files, path);
        paths.put(digest, path);
        blobs.add(Descriptor.of(MediaTypes.OCI_LAYER, digest, files.size(path)));
      }
      List<String> tags =
          image.repoTags() == null || image.repoTags().isEmpty()
              ? List.of(reference(required(name)).toString())
              : image.repoTags().stream().map(tag -> reference(tag).toString()).toList();
      found.add(
          new Found(
              ImageParts.of(config, blobs), tags, List.of(), List.of(), new Blobs(files, paths)));
    }
    return found;
  }

  private static Digest digestOf(ArchiveFiles files, String path) {
    var hash = Digest.sha256(new byte[0]).newHash();
    byte[] buffer = new byte[64 << 10];
    try (InputStream in = files.open(path)) {
      for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
        hash.update(buffer, 0, read);
      }
    } catch (IOException e) {
      throw new ImageException(Reason.DISK, "the archive's " + path + ": " + e.getMessage(), e);
    }
    return Digest.of(Digest.SHA256, hash.digest());
  }

  private static ImageReference reference(String name) {
    try {
      return ImageReference.parse(name);
    } catch (IllegalArgumentException e) {
      throw new ImageException(Reason.INVALID, String.valueOf(e.getMessage()), e);
    }
  }

  private static <T> T parse(byte[] content, Class<T> type) {
    try {
      return Json.read(content, type, "the archive's manifest");
    } catch (IllegalArgumentException e) {
      throw new ImageException(Reason.CORRUPT, String.valueOf(e.getMessage()), e);
    }
  }

  /**
   * The blobs of an archive.
   *
   * @param paths where a blob isn't at its place in an OCI layout
   */
  private record Blobs(ArchiveFiles files, Map<Digest, String> paths) implements BlobSource {
    static String path(Digest digest) {
      return "blobs/" + digest.algorithm() + "/" + digest.hex();
    }

    @Override
    public String name() {
      return "archive";
    }

    @Override
    public int attempts(Descriptor blob) {
      return 1;
    }

    @Override
    @MustBeClosed
    public InputStream open(Descriptor blob, int attempt, LayerProgress progress) {
      return files.open(paths.getOrDefault(blob.digest(), path(blob.digest())));
    }

    @Override
    public Semaphore places() {
      return new Semaphore(1); // for each reader its own: a file takes any number
    }

    @Override
    public void forget(Descriptor blob) {} // the archive is all there is
  }

  /**
   * A file of the preload folder that was imported.
   *
   * @param modified milliseconds since the epoch
   * @param images ids of what was in it
   */
  record PreloadRecord(String file, long size, long modified, List<String> images) {}

  /**
   * Imports the archives of a folder, in the order of their names: {@code *.tar, *.tar.gz, *.tgz,
   * *.tar.zst}. Files that haven't changed since, and whose images are still here, are skipped. A
   * broken file is logged and doesn't keep the others from being read.
   *
   * @param folder need not exist
   */
  public void preload(Path folder) throws InterruptedException {
    RecordFolder<PreloadRecord> records =
        new RecordFolder<>(rootDir.resolve("preloaded"), PreloadRecord.class, 1);
    Map<String, PreloadRecord> known = new TreeMap<>(records.readAll());
    List<Path> archives = new ArrayList<>();
    try (DirectoryStream<Path> files =
        Files.newDirectoryStream(folder, "*.{tar,tar.gz,tgz,tar.zst}")) {
      files.forEach(archives::add);
    } catch (NoSuchFileException e) {
      return;
    } catch (IOException e) {
      log.error("preload folder {} can't be read: {}", folder, e.toString());
      return;
    }
    Collections.sort(archives);
    for (Path file : archives) {
      String id = Digest.sha256(Json.write(file.toString())).hex();
      try {
        long size = Files.size(file);
        long modified = Files.getLastModifiedTime(file).toMillis();
        PreloadRecord before = known.get(id);
        if (before != null
            && before.size() == size
            && before.modified() == modified
            && before.images().stream().allMatch(image -> store.find(image).isPresent())) {
          continue;
        }
        List<Image> images;
        try (InputStream in = Files.newInputStream(file)) {
          images = importArchive(in, "");
        }
        records.write(
            id,
            new PreloadRecord(
                file.toString(),
                size,
                modified,
                images.stream().map(image -> image.id().toString()).toList()));
        log.info("preloaded {} from {}", images.stream().map(Image::name).toList(), file);
      } catch (IOException | ImageException e) {
        log.error("preload of {} failed: {}", file, e.getMessage());
      }
    }
  }
}
