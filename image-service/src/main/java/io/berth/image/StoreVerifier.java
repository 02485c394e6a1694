package io.berth.image;

import io.berth.linux.Stages;
import io.berth.oci.ChainId;
import io.berth.oci.ImageReference;
import io.berth.snapshot.Layer;
import io.berth.snapshot.LayerHealth;
import io.berth.snapshot.Pace;
import io.berth.snapshot.SnapshotException;
import io.berth.snapshot.Snapshotter;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Compares layers with their manifests, and fetches those anew that differ: each alone, from where
 * the images that have it came from, while pods run. Containers that have the damaged layer mounted
 * keep it until they end; those that are made afterwards get the new one.
 */
public final class StoreVerifier {
  private final ImageStore store;
  private final Snapshotter snapshotter;
  private final RegistryClient registries;
  private final LayerIngester layers;
  private final AtomicLong numbers = new AtomicLong();

  public StoreVerifier(
      ImageStore store, Snapshotter snapshotter, RegistryClient registries, LayerIngester layers) {
    this.store = store;
    this.snapshotter = snapshotter;
    this.registries = registries;
    this.layers = layers;
  }

  /**
   * What came of one layer.
   *
   * @param found before a repair
   * @param images that have it, by name
   * @param repair what was done about flaws, or why it wasn't; empty when there was nothing to do
   * @param sound now; also a layer of which nothing can be known
   */
  public record Checked(
      Layer layer, LayerHealth found, List<String> images, String repair, boolean sound) {}

  /** The layers of these images, each once, lower ones first. */
  public List<Layer> layersOf(List<Image> images) {
    Set<ChainId> ids = new LinkedHashSet<>();
    images.forEach(image -> ids.addAll(image.layers()));
    return ids.stream().flatMap(id -> snapshotter.layer(id).stream()).toList();
  }

  /** Every layer, lower ones first; those of no image last. */
  public List<Layer> allLayers() {
    Set<Layer> all = new LinkedHashSet<>(layersOf(store.list()));
    all.addAll(snapshotter.layers());
    return List.copyOf(all);
  }

  /**
   * Verifies layers one after the other. One that goes away meanwhile is passed over.
   *
   * @param repair fetches damaged ones anew
   * @param told of each
   */
  public void verify(
      List<Layer> wanted, Predicate<Layer> due, boolean repair, Pace pace, Consumer<Checked> told)
      throws InterruptedException {
    for (Layer layer : wanted) {
      if (due.test(layer)) {
        Checked checked = verify(layer, repair, pace);
        if (checked != null) {
          told.accept(checked);
        }
      }
    }
  }

  private @Nullable Checked verify(Layer layer, boolean repair, Pace pace)
      throws InterruptedException {
    List<Image> images =
        store.list().stream().filter(image -> image.layers().contains(layer.chainId())).toList();
    List<String> names = images.stream().map(Image::name).toList();
    LayerHealth found;
    try {
      found =
          Stages.time(
              "verify",
              layer.chainId().digest().abbreviated(),
              () -> snapshotter.verify(layer.chainId(), pace));
    } catch (SnapshotException e) {
      if (e.reason() == SnapshotException.Reason.LAYER_MISSING) {
        return null;
      }
      throw e;
    }
    if (found.sound()) {
      return new Checked(layer, found, names, "", true);
    }
    String done = repair ? repair(images) : "not asked for, see berth image verify --repair";
    return new Checked(layer, found, names, done, snapshotter.isSound(layer.chainId()));
  }

  /** Asks every repository that an image with this layer came from, until one has it. */
  private String repair(List<Image> images) throws InterruptedException {
    List<String> failures = new ArrayList<>();
    for (Image image : images) {
      ImageRecord record = store.record(image.id()).orElse(null);
      if (record == null) {
        continue;
      }
      String owner = "repair:" + numbers.incrementAndGet();
      snapshotter.hold(owner, record.chain());
      try {
        for (ImageReference name : repositories(record)) {
          try {
            fetch(record, name);
            return "fetched anew from " + name.name();
          } catch (ImageException | SnapshotException e) {
            failures.add(e.getMessage());
          }
        }
      } finally {
        snapshotter.release(owner);
      }
    }
    if (!failures.isEmpty()) {
      return "couldn't be fetched anew: " + String.join("; ", failures);
    }
    return images.isEmpty()
        ? "no image has it any more, so nobody can say where it came from"
        : "the image came from an archive; import that again (berth import)";
  }

  /** The damaged layers of an image, and none that is sound. */
  private void fetch(ImageRecord record, ImageReference name) throws InterruptedException {
    Repository repository = registries.open(name, RegistryCredentials.NONE);
    layers.ingest(
        record.layers().stream().map(ImageRecord.LayerRecord::diffId).toList(),
        record.layers().stream().map(ImageRecord.LayerRecord::blob).toList(),
        repository);
  }

  /** One name of each; digest names come from registries for certain. */
  private static List<ImageReference> repositories(ImageRecord record) {
    Set<String> seen = new LinkedHashSet<>();
    return Stream.concat(record.repoDigests().stream(), record.repoTags().stream())
        .map(ImageReference::parse)
        .filter(name -> seen.add(name.name()))
        .toList();
  }
}
