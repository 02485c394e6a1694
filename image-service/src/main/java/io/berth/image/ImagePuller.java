package io.berth.image;

import io.berth.image.ImageException.Reason;
import io.berth.linux.SharedOperations;
import io.berth.linux.Stages;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageManifest;
import io.berth.oci.ImageReference;
import io.berth.oci.Platform;
import io.berth.snapshot.Snapshotter;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * Brings images from registries: manifest, config, layers, and last the record that makes the image
 * visible. Equal pulls at the same time are one; one that nobody waits for any more is interrupted
 * and leaves nothing.
 */
public final class ImagePuller {
  private static final int INDEX_DEPTH = 3;

  private final RegistryClient registries;
  private final ImageStore store;
  private final Snapshotter snapshotter;
  private final LayerIngester layers;
  private final ImageTrust trust;
  private final PullBoard board;
  private final Platform platform;
  private final Set<String> runtimeHandlers;
  private final SharedOperations<PullRequest, Image> pulls =
      new SharedOperations<>("pull", Duration.ZERO);
  private final AtomicLong numbers = new AtomicLong();

  /**
   * @param platform of this machine, see {@link HostPlatform}
   * @param runtimeHandlers the names that a request may give; "" is always allowed
   */
  public ImagePuller(
      RegistryClient registries,
      ImageStore store,
      Snapshotter snapshotter,
      LayerIngester layers,
      ImageTrust trust,
      PullBoard board,
      Platform platform,
      Set<String> runtimeHandlers) {
    this.registries = registries;
    this.store = store;
    this.snapshotter = snapshotter;
    this.layers = layers;
    this.trust = trust;
    this.board = board;
    this.platform = platform;
    this.runtimeHandlers = Set.copyOf(runtimeHandlers);
  }

  /**
   * Pulls an image. One that is here already costs one request for its manifest.
   *
   * @return the image, which any read now shows
   * @throws ImageException any reason but AMBIGUOUS
   * @throws InterruptedException when the caller was interrupted; the pull ends if it was the last
   */
  public Image pull(PullRequest request) throws InterruptedException {
    ImageReference reference;
    try {
      reference = ImageReference.parse(request.image());
    } catch (IllegalArgumentException e) {
      throw new ImageException(Reason.INVALID, "pull: " + e.getMessage(), e);
    }
    if (!request.runtimeHandler().isEmpty()
        && !runtimeHandlers.contains(request.runtimeHandler())) {
      throw new ImageException(
          Reason.INVALID,
          "pull "
              + reference
              + ": unknown runtime handler \""
              + request.runtimeHandler()
              + "\"; configured are "
              + runtimeHandlers.stream().sorted().toList());
    }
    try {
      return pulls.join(
          request,
          () -> {
            try (PullBoard.Pull progress = board.begin(reference.toString())) {
              return run(reference, request, progress);
            }
          });
    } catch (ImageException e) {
      throw e.within("pull " + reference);
    }
  }

  /** How many pulls are under way. */
  public int running() {
    return pulls.size();
  }

  private Image run(ImageReference reference, PullRequest request, PullBoard.Pull progress)
      throws InterruptedException {
    TrustPolicy.Rule rule = trust.rule(reference, request.namespace());
    Repository repository = registries.open(reference, request.credentials());
    ServedManifest top = Stages.time("manifest", reference.registry(), repository::resolve);
    List<String> tags = reference.tag() == null ? List.of() : List.of(reference.toString());
    List<String> digests = List.of(reference.withDigest(top.digest()).toString());

    Optional<Image> present =
        store
            .find(digests.getFirst())
            // An index has one digest for all platforms.
            .filter(image -> request.platform() == null)
            // One whose signatures don't suffice may have got better ones since.
            .filter(image -> ImageTrust.judge(rule, reference, image.signatures()).accepted())
            .filter(image -> image.layers().stream().allMatch(snapshotter::isSound))
            .flatMap(image -> store.addNames(image.id(), tags, digests, request.annotations()));
    if (present.isPresent()) {
      return present.get();
    }

    Chosen chosen =
        Stages.time(
            "manifest",
            reference.registry(),
            () -> choose(repository, content(repository, top), request.platform()));
    List<ImageSignature> signatures =
        Stages.time(
            "signatures",
            reference.registry(),
            () ->
                trust.requireAtPull(
                    rule, reference, repository, List.of(top.digest(), chosen.digest())));
    ImageParts parts =
        Stages.time("config", reference.registry(), () -> parts(repository, chosen.document()));
    String owner = "pull:" + numbers.incrementAndGet();
    // Held before it is looked at: a layer seen now can't vanish before the image is recorded.
    snapshotter.hold(owner, parts.chain());
    try {
      progress.layers(parts.chain(), parts.blobs(), snapshotter::isSound);
      Stages.run("layers", () -> layers.ingest(parts.diffIds(), parts.blobs(), repository));
      Image image =
          Stages.time(
              "record",
              () -> store.put(parts.record(tags, digests, request.annotations(), signatures)));
      progress.succeeded();
      return image;
    } catch (ImageException e) {
      if (e.reason() == Reason.DISK) {
        snapshotter.release(owner); // what came is in the way of whatever else needs the room
      }
      throw e;
    } finally {
      snapshotter.releaseLater(owner);
    }
  }

  private static ServedManifest content(Repository repository, ServedManifest served)
      throws InterruptedException {
    return served.content() == null ? repository.manifest(served.digest(), -1) : served;
  }

  private static ImageParts parts(Repository repository, ManifestDocument chosen)
      throws InterruptedException {
    return switch (chosen) {
      case ManifestDocument.Single(ImageManifest manifest) ->
          ImageParts.of(
              repository.blob(manifest.config(), ImageParts.CONFIG_LIMIT), manifest.layers());
      case ManifestDocument.Artifact artifact -> ImageParts.of(artifact);
      case ManifestDocument.Choice _ ->
          throw new IllegalStateException("a choice that was already made");
    };
  }

  /** What is for this platform, and its manifest's digest. */
  private record Chosen(ManifestDocument document, Digest digest) {}

  /** Goes from an index to the manifest for this platform; an index may list indexes. */
  private Chosen choose(Repository repository, ServedManifest served, @Nullable Platform wanted)
      throws InterruptedException {
    ServedManifest current = served;
    for (int depth = 0; depth < INDEX_DEPTH; depth++) {
      byte[] content = current.content();
      if (content == null) {
        throw new IllegalStateException("a manifest without content");
      }
      switch (ManifestDocument.parse(content, current.mediaType())) {
        case ManifestDocument.Single image -> {
          return new Chosen(image, current.digest());
        }
        case ManifestDocument.Artifact artifact -> {
          return new Chosen(artifact, current.digest());
        }
        case ManifestDocument.Choice choice -> {
          Descriptor best = choice.choose(wanted == null ? platform : wanted);
          current = repository.manifest(best.digest(), best.size());
        }
      }
    }
    throw new ImageException(
        Reason.UNSUPPORTED, "indexes are nested more than " + INDEX_DEPTH + " deep");
  }
}
