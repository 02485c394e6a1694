package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Debt;
import io.berth.linux.Debts;
import io.berth.linux.FileTree;
import io.berth.oci.ImageReference;
import io.berth.oci.Platform;
import io.berth.snapshot.Layer;
import io.berth.snapshot.OverlaySnapshotter;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;

/** The image service as the daemon wires it, in a folder of its own. */
final class ImageHouse implements AutoCloseable {
  static final TransferSettings TRANSFERS =
      new TransferSettings(
          Duration.ofSeconds(5),
          Duration.ofSeconds(5),
          Duration.ofSeconds(1),
          1,
          2,
          Duration.ofMillis(10),
          Duration.ofSeconds(5),
          2);

  final Path root;
  final Path certs;
  final List<Debt> debts = new CopyOnWriteArrayList<>();
  final OverlaySnapshotter snapshotter;
  final ImageStore store;
  final PullBoard board = new PullBoard();
  final LayerIngester layers;
  final ImageTrust trust;
  final ImagePuller puller;
  final ImageImporter importer;
  private final RegistryClient registries;

  ImageHouse() throws IOException {
    this(Files.createTempDirectory("berth-images-"));
  }

  /** On a folder that may hold the images of a house before. */
  ImageHouse(Path root) throws IOException {
    this(root, TRANSFERS);
  }

  /** With other limits of what a layer may hold. */
  ImageHouse(UnpackLimits limits) throws IOException {
    this(Files.createTempDirectory("berth-images-"), TRANSFERS, limits, Duration.ZERO);
  }

  /** That keeps what unfinished pulls brought. */
  ImageHouse(Duration grace) throws IOException {
    this(Files.createTempDirectory("berth-images-"), TRANSFERS, UnpackLimits.DEFAULT, grace);
  }

  ImageHouse(Path root, TransferSettings transfers) throws IOException {
    this(root, transfers, UnpackLimits.DEFAULT, Duration.ZERO);
  }

  private ImageHouse(Path root, TransferSettings transfers, UnpackLimits limits, Duration grace)
      throws IOException {
    this.root = root;
    this.certs = Files.createDirectories(root.resolve("certs.d"));
    Debts ledger = (debt, cause) -> debts.add(debt);
    snapshotter = new OverlaySnapshotter(root, ledger, grace, null);
    store = new ImageStore(root, snapshotter, Set.of("pinned.example/it:1"), Clock.systemUTC());
    layers = new LayerIngester(snapshotter, new LayerUnpacker(limits), 3, board);
    registries =
        new RegistryClient(
            new RegistryHosts(certs),
            new CredentialFiles(List.of()),
            Proxies.none(),
            transfers,
            new PartialBlobs(root.resolve("partial"), 64 << 10));
    trust =
        new ImageTrust(
            root.resolve("policy.json"),
            root.resolve("policies"),
            new LookasideStores(root.resolve("registries.d"), registries));
    Platform platform = Platform.linux("amd64", "v1");
    puller =
        new ImagePuller(
            registries, store, snapshotter, layers, trust, board, platform, Set.of("runc"));
    importer = new ImageImporter(root, store, snapshotter, layers, trust, platform);
  }

  Image pull(String name) throws InterruptedException {
    return puller.pull(new PullRequest(name));
  }

  void configure(String registry, String hostsToml) throws IOException {
    Path folder = Files.createDirectories(certs.resolve(registry));
    Files.writeString(folder.resolve("hosts.toml"), hostsToml);
  }

  RegistryClient registries() {
    return registries;
  }

  static ImageReference reference(String name) {
    return ImageReference.parse(name);
  }

  /** A file of an image's layer, bottom layer 0. */
  Path file(Image image, int layer, String name) {
    Layer found = snapshotter.layer(image.layers().get(layer)).orElseThrow();
    return found.path().resolve(name);
  }

  /**
   * Waits until a failed or abandoned operation has left nothing: no layer, draft, record or
   * spooled archive.
   */
  void awaitNothingLeft() throws IOException, InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    List<String> left = leftovers();
    while (!left.isEmpty() && System.nanoTime() < deadline) {
      Thread.sleep(5);
      left = leftovers();
    }
    assertThat(left).isEmpty();
  }

  private List<String> leftovers() throws IOException {
    List<String> left = new ArrayList<>();
    for (String folder : List.of("layers", "layers/.staging", "images", "import")) {
      if (Files.isDirectory(root.resolve(folder))) {
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(root.resolve(folder))) {
          entries.forEach(entry -> left.add(root.relativize(entry).toString()));
        }
      }
    }
    left.remove("layers/.staging");
    return left;
  }

  @Override
  public void close() {
    registries.close();
    FileTree.delete(root);
  }
}
