package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.image.RegistryHost.Capability;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import org.jspecify.annotations.Nullable;

/** A repository at all hosts that serve it: each request goes to the next host when one fails. */
final class Repository implements BlobSource {
  private final ImageReference image;
  private final List<RegistryEndpoint> endpoints;
  private final Path configuration;
  private final TransferSettings settings;
  private final PartialBlobs partials;
  private final Semaphore places;

  /** Blobs that began with what an earlier transfer had left. */
  private final Set<Digest> resumed = ConcurrentHashMap.newKeySet();

  /**
   * @param endpoints in the order to ask; the last is the registry itself
   * @param configuration where hosts could be configured, for advice
   */
  Repository(
      ImageReference image,
      List<RegistryEndpoint> endpoints,
      Path configuration,
      TransferSettings settings,
      PartialBlobs partials,
      Semaphore places) {
    this.image = image;
    this.endpoints = endpoints;
    this.configuration = configuration;
    this.settings = settings;
    this.partials = partials;
    this.places = places;
  }

  /** One request to one host. */
  private interface Request<T> {
    T to(RegistryEndpoint endpoint) throws InterruptedException;
  }

  /**
   * The manifest that the reference stands for now; content only where it had to be fetched anyway.
   *
   * @throws ImageException as the last host failed, with what the others said
   */
  ServedManifest resolve() throws InterruptedException {
    Digest wanted = image.digest();
    ServedManifest found =
        ask(
            wanted == null ? Capability.RESOLVE : Capability.PULL,
            endpoint -> {
              ServedManifest served = endpoint.resolve(image.tagOrDigest());
              byte[] content = served.content();
              if (wanted != null && content != null) {
                requireSame(wanted, content, endpoint);
              }
              return served;
            });
    return wanted == null ? found : new ServedManifest(wanted, found.mediaType(), found.content());
  }

  /**
   * A manifest's verified content.
   *
   * @param size as some descriptor says, -1 when none does
   */
  ServedManifest manifest(Digest digest, long size) throws InterruptedException {
    return ask(
        Capability.PULL,
        endpoint -> {
          ServedManifest served = endpoint.manifest(digest.toString());
          byte[] content = served.content();
          if (content == null || (size >= 0 && content.length != size)) {
            throw new ImageException(
                Reason.CORRUPT, "manifest " + digest + " at " + endpoint + " is not of its size");
          }
          requireSame(digest, content, endpoint);
          return served;
        });
  }

  /**
   * A manifest that may not exist, such as one that only holds signatures.
   *
   * @return empty when every host says that it has none
   */
  Optional<ServedManifest> find(String tag) throws InterruptedException {
    return optional(() -> ask(Capability.RESOLVE, endpoint -> endpoint.manifest(tag)));
  }

  /**
   * The list of what refers to a manifest (distribution-spec, "Listing Referrers").
   *
   * @return empty when no host keeps such lists
   */
  Optional<ServedManifest> referrers(Digest manifest) throws InterruptedException {
    Optional<ServedManifest> listed =
        optional(() -> ask(Capability.RESOLVE, endpoint -> endpoint.referrers(manifest)));
    // Clients keep the list under a tag where the registry doesn't ("Referrers Tag Schema").
    return listed.isPresent() ? listed : find(manifest.algorithm() + "-" + manifest.hex());
  }

  private interface Question {
    ServedManifest ask() throws InterruptedException;
  }

  private static Optional<ServedManifest> optional(Question question) throws InterruptedException {
    try {
      return Optional.of(question.ask());
    } catch (ImageException e) {
      if (e.reason() == Reason.NOT_FOUND) {
        return Optional.empty();
      }
      throw e;
    }
  }

  private static void requireSame(Digest digest, byte[] content, RegistryEndpoint endpoint) {
    if (!digest.matches(content)) {
      throw new ImageException(
          Reason.CORRUPT,
          "what " + endpoint + " serves as manifest " + digest + " has another digest");
    }
  }

  /** A small blob's verified content. */
  byte[] blob(Descriptor blob, int limit) throws InterruptedException {
    if (blob.size() > limit) {
      throw new ImageException(
          Reason.UNSUPPORTED,
          "blob " + blob.digest() + " is larger than the " + limit + " bytes allowed for its kind");
    }
    return ask(
        Capability.PULL,
        endpoint -> {
          try (InputStream in =
              new VerifyingStream(
                  endpoint.blob(blob, 0), "blob " + blob.digest(), blob.digest(), blob.size())) {
            return in.readAllBytes();
          } catch (IOException e) {
            throw new ImageException(
                Reason.REGISTRY_UNAVAILABLE, "blob " + blob.digest() + ": " + e.getMessage(), e);
          }
        });
  }

  @Override
  public String name() {
    return image.registry();
  }

  /** One more where what was kept may be to blame. */
  @Override
  public int attempts(Descriptor blob) {
    return route(Capability.PULL).size() + (resumed.contains(blob.digest()) ? 1 : 0);
  }

  @Override
  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // closed with the transfer that is returned
  public InputStream open(Descriptor blob, int attempt, LayerProgress progress) {
    List<RegistryEndpoint> hosts = route(Capability.PULL);
    if (hosts.isEmpty()) {
      throw nobodyMay(Capability.PULL);
    }
    int first = resumed.contains(blob.digest()) ? Math.max(0, attempt - 1) : attempt;
    PartialBlobs.Partial partial = partials.open(blob);
    if (partial.kept() > 0) {
      resumed.add(blob.digest());
    }
    return new BlobTransfer(blob, hosts.subList(first, hosts.size()), settings, partial, progress);
  }

  @Override
  public Semaphore places() {
    return places;
  }

  @Override
  public void forget(Descriptor blob) {
    partials.forget(blob.digest());
  }

  /** In the order to ask, but a host that has failed within this pull after those that haven't. */
  private List<RegistryEndpoint> route(Capability capability) {
    return endpoints.stream()
        .filter(endpoint -> endpoint.can(capability))
        .sorted(Comparator.comparing(RegistryEndpoint::failing))
        .toList();
  }

  private <T> T ask(Capability capability, Request<T> request) throws InterruptedException {
    List<String> earlier = new ArrayList<>();
    @Nullable ImageException last = null;
    for (RegistryEndpoint endpoint : route(capability)) {
      try {
        return request.to(endpoint);
      } catch (ImageException e) {
        if (e.reason() == Reason.REGISTRY_UNAVAILABLE) {
          endpoint.failed();
        }
        if (last != null) {
          earlier.add(last.words());
        }
        last = e;
      }
    }
    if (last == null) {
      throw nobodyMay(capability);
    }
    throw earlier.isEmpty()
        ? last
        : new ImageException(
            last.reason(),
            last.getMessage() + "; before that: " + String.join("; ", earlier),
            last);
  }

  private ImageException nobodyMay(Capability capability) {
    return new ImageException(
        Reason.CONFIGURATION,
        "no host of " + image.registry() + " may " + capability + "; see " + configuration);
  }
}
