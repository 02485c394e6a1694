package io.berth.image;

import io.berth.oci.ChainId;
import io.berth.oci.Digest;
import io.berth.snapshot.Layer;
import io.berth.snapshot.Snapshotter;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Who keeps what at one moment, from the images' records over the layers to those that have them
 * mounted. Whether something may go is answered from here and nowhere else.
 *
 * @param images in the order of their ids
 * @param layers in the order of their chain IDs
 */
public record StoreGraph(List<ImageNode> images, List<LayerNode> layers) {
  private static final String CONTAINER = "snapshot:";
  private static final String VOLUME = "volume:";

  /**
   * An image.
   *
   * @param transferBytes of config and blobs, as a registry has them
   * @param bytes on disk, shared layers included
   * @param uniqueBytes of the layers that no other image has
   * @param updatedAt milliseconds since the epoch: when it came or got its latest name
   * @param users who has it in use, in words
   */
  public record ImageNode(
      Image image,
      List<ImageLayer> layers,
      long transferBytes,
      long bytes,
      long uniqueBytes,
      long updatedAt,
      List<String> users) {
    public boolean inUse() {
      return !users.isEmpty();
    }
  }

  /** A layer of an image: what it is called here, and the blob that it came in. */
  public record ImageLayer(Layer layer, String blob, String mediaType, long blobBytes) {}

  /**
   * A layer on disk.
   *
   * @param holders in words; nobody: it goes
   * @param unreferencedSince milliseconds since the epoch: since when it has had no holder; 0: it
   *     has one
   */
  public record LayerNode(Layer layer, List<String> holders, long unreferencedSince) {}

  /** Knows which image a container was made from. */
  @FunctionalInterface
  public interface Containers {
    /** Nothing for an id that isn't known. */
    Optional<Digest> imageOf(String containerId);
  }

  /**
   * Where nothing is known of containers, all images of the layers that one holds count as used.
   */
  public static StoreGraph of(ImageStore store, Snapshotter snapshotter) {
    return of(store, snapshotter, _ -> Optional.empty());
  }

  public static StoreGraph of(ImageStore store, Snapshotter snapshotter, Containers containers) {
    // Holds first: an image that is removed meanwhile then shows as a holder too many, never as one
    // too few.
    Map<String, Set<ChainId>> holds = snapshotter.holds();
    Map<ChainId, Layer> layers = new TreeMap<>();
    snapshotter.layers().forEach(layer -> layers.put(layer.chainId(), layer));

    Map<ChainId, List<String>> holders = new HashMap<>();
    Map<ChainId, Integer> imagesOf = new HashMap<>();
    Map<Digest, List<String>> users = new HashMap<>();
    Map<Set<ChainId>, List<String>> usersOfLayers = new HashMap<>();
    Map<ChainId, Long> unreferenced = snapshotter.unreferenced();
    Map<String, String> names = new LinkedHashMap<>();
    List<Image> images = store.list();
    images.forEach(image -> names.put(ImageStore.owner(image.id()), "image " + image.name()));
    holds.forEach((owner, held) -> {
      String words = names.getOrDefault(owner, words(owner));
      boolean isImage = owner.startsWith("image:");
      for (ChainId id : held) {
        holders.computeIfAbsent(id, _ -> new ArrayList<>()).add(words);
        if (isImage) {
          imagesOf.merge(id, 1, Integer::sum);
        }
      }
      // Who uses an image holds exactly its layers. Images that differ in their configs alone are
      // told apart by what is known of the user.
      if (!isImage && !owner.startsWith("verify:")) {
        imageOf(owner, containers)
            .map(image -> users.computeIfAbsent(image, _ -> new ArrayList<>()))
            .orElseGet(() -> usersOfLayers.computeIfAbsent(held, _ -> new ArrayList<>()))
            .add(words);
      }
    });

    List<ImageNode> imageNodes = new ArrayList<>();
    for (Image image : images) {
      ImageRecord record = store.record(image.id()).orElse(null);
      if (record == null) {
        continue; // removed meanwhile
      }
      List<ImageLayer> parts = new ArrayList<>();
      long bytes = 0;
      long unique = 0;
      for (ImageRecord.LayerRecord part : record.layers()) {
        Layer layer = layers.get(part.chainId());
        if (layer == null) {
          continue;
        }
        parts.add(
            new ImageLayer(
                layer,
                part.blob().digest().toString(),
                part.blob().mediaType() == null ? "" : part.blob().mediaType(),
                part.blob().size()));
        bytes += layer.usage().bytes();
        unique += imagesOf.getOrDefault(part.chainId(), 0) > 1 ? 0 : layer.usage().bytes();
      }
      imageNodes.add(
          new ImageNode(
              image,
              parts,
              record.size(),
              bytes,
              unique,
              record.updatedAt(),
              Stream.concat(
                      users.getOrDefault(image.id(), List.of()).stream(),
                      usersOfLayers.getOrDefault(Set.copyOf(image.layers()), List.of()).stream())
                  .toList()));
    }
    List<LayerNode> layerNodes =
        layers.values().stream()
            .map(layer ->
                new LayerNode(
                    layer,
                    List.copyOf(holders.getOrDefault(layer.chainId(), List.of())),
                    unreferenced.getOrDefault(layer.chainId(), 0L)))
            .toList();
    return new StoreGraph(imageNodes, layerNodes);
  }

  /** What one image is in here. */
  public Optional<ImageNode> image(Digest id) {
    return images.stream().filter(node -> node.image().id().equals(id)).findFirst();
  }

  /** A volume's owner ends with the digits of its image's id. */
  private static Optional<Digest> imageOf(String owner, Containers containers) {
    if (owner.startsWith(CONTAINER)) {
      return containers.imageOf(owner.substring(CONTAINER.length()));
    }
    if (owner.startsWith(VOLUME)) {
      return Optional.of(new Digest(Digest.SHA256, owner.substring(owner.lastIndexOf(':') + 1)));
    }
    return Optional.empty();
  }

  /** Owners as people call them; those that aren't known speak for themselves. */
  private static String words(String owner) {
    int colon = owner.indexOf(':');
    String rest = owner.substring(colon + 1);
    return switch (owner.substring(0, Math.max(colon, 0))) {
      case "snapshot" -> "container " + rest;
      case "volume" -> "volume of pod " + rest.substring(0, Math.max(rest.indexOf(':'), 0));
      case "pull" -> "a pull under way";
      case "import" -> "an import under way";
      case "layer" -> "a layer under way";
      case "verify" -> "a comparison under way";
      case "repair" -> "a repair under way";
      case "image" -> "image " + rest + ", which isn't listed";
      default -> owner;
    };
  }
}
