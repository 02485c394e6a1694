package io.berth.image;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.berth.image.ImageException.Reason;
import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Where OpenPGP signatures of a registry's images lie, beside the registry and not in it: a folder
 * of files as in containers-registries.d(5), and beneath the place that they name {@code
 * REPOSITORY@ALGORITHM=HEX/signature-1} and so on. Read whenever signatures are wanted, so an edit
 * counts at once.
 */
public final class LookasideStores {
  /** For images of which no file speaks, as elsewhere. */
  private static final URI COMMON = URI.create("file:///var/lib/containers/sigstore");

  /** An image has a few; a store that never ends must not hold a pull up. */
  private static final int MOST = 32;

  private final Path folder;
  private final RegistryClient registries;

  /**
   * @param folder of {@code *.yaml}; need not exist
   */
  public LookasideStores(Path folder, RegistryClient registries) {
    this.folder = folder;
    this.registries = registries;
  }

  /**
   * Where an image's signatures are.
   *
   * @param source the file that says so
   */
  record Place(URI base, String source) {
    URI of(ImageReference name, Digest manifest, int number) {
      String path = base.toString().replaceFirst("/+$", "");
      return URI.create(
          "%s/%s@%s=%s/signature-%d"
              .formatted(path, name.repository(), manifest.algorithm(), manifest.hex(), number));
    }

    boolean isLocal() {
      return "file".equals(base.getScheme());
    }

    @Override
    public String toString() {
      return base + " (" + source + ")";
    }
  }

  /**
   * The place of the narrowest scope that holds a name.
   *
   * @throws ImageException CONFIGURATION
   */
  Place of(ImageReference name) {
    Map<String, Place> places = read();
    for (String scope : TrustPolicy.scopesOf(name)) {
      Place place = places.get(scope);
      if (place != null) {
        return place;
      }
    }
    return new Place(COMMON, "as nothing in " + folder + " speaks of it");
  }

  /**
   * Signatures of a manifest, not verified.
   *
   * @throws ImageException CONFIGURATION; REGISTRY_UNAVAILABLE when the store doesn't answer;
   *     having none is no failure
   */
  List<ImageSignature> find(ImageReference name, Digest manifest) throws InterruptedException {
    return find(of(name), name, manifest);
  }

  /** As {@link #find}, asking nobody: only what lies on this machine. */
  List<ImageSignature> findHere(ImageReference name, Digest manifest) throws InterruptedException {
    Place place = of(name);
    return place.isLocal() ? find(place, name, manifest) : List.of();
  }

  private List<ImageSignature> find(Place place, ImageReference name, Digest manifest)
      throws InterruptedException {
    List<ImageSignature> found = new ArrayList<>();
    while (found.size() < MOST) {
      Optional<byte[]> message = fetch(place, place.of(name, manifest, found.size() + 1));
      if (message.isEmpty()) {
        return found;
      }
      found.add(ImageSignature.openPgp(manifest, message.get()));
    }
    return found;
  }

  /** What is longer than a signature can be is cut off there: it will prove nothing. */
  private Optional<byte[]> fetch(Place place, URI uri) throws InterruptedException {
    if (!place.isLocal()) {
      return registries.document(uri, OpenPgpMessage.LIMIT + 1, place.source());
    }
    Path file = Path.of(uri);
    try (InputStream in = Files.newInputStream(file)) {
      return Optional.of(in.readNBytes(OpenPgpMessage.LIMIT + 1));
    } catch (NoSuchFileException end) {
      return Optional.empty();
    } catch (IOException e) {
      throw new ImageException(
          Reason.CONFIGURATION, "signature " + file + " can't be read: " + e, e);
    }
  }

  /** By scope, "" for all others. */
  private Map<String, Place> read() {
    Map<String, Place> places = new TreeMap<>();
    List<Path> files = new ArrayList<>();
    try (DirectoryStream<Path> found = Files.newDirectoryStream(folder, "*.yaml")) {
      found.forEach(files::add);
    } catch (NoSuchFileException absent) {
      return places;
    } catch (IOException e) {
      throw new ImageException(
          Reason.CONFIGURATION, "signature stores in " + folder + " can't be read: " + e, e);
    }
    files.sort(null);
    for (Path file : files) {
      read(file, places);
    }
    return places;
  }

  private static void read(Path file, Map<String, Place> places) {
    JsonNode tree;
    try {
      tree = new YAMLMapper().readTree(Files.readAllBytes(file));
    } catch (JacksonException e) {
      int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
      throw new ImageException(
          Reason.CONFIGURATION, "signature stores " + file + ":" + line + ": it is no YAML", e);
    } catch (IOException e) {
      throw new ImageException(
          Reason.CONFIGURATION, "signature stores " + file + " can't be read: " + e, e);
    }
    if (tree.has("default-docker")) {
      add("", tree.get("default-docker"), file, places);
    }
    tree.path("docker")
        .properties()
        .forEach(scope -> add(scope.getKey(), scope.getValue(), file, places));
  }

  /** A scope without a place, for pushing alone, is left to the wider ones. */
  private static void add(String scope, JsonNode section, Path file, Map<String, Place> places) {
    String shown = scope.isEmpty() ? "default-docker" : scope;
    String where = section.path("lookaside").asText(section.path("sigstore").asText(""));
    if (where.isEmpty()) {
      return;
    }
    URI base;
    try {
      base = URI.create(where);
    } catch (IllegalArgumentException e) {
      throw mistake(file, shown, where);
    }
    String scheme = String.valueOf(base.getScheme());
    boolean local = scheme.equals("file") && base.getRawAuthority() == null;
    boolean remote = (scheme.equals("https") || scheme.equals("http")) && base.getHost() != null;
    if (!local && !remote) {
      throw mistake(file, shown, where);
    }
    Place before = places.put(scope, new Place(base, file.toString()));
    if (before != null) {
      throw new ImageException(
          Reason.CONFIGURATION,
          "signature stores: " + shown + " is in both " + before.source() + " and " + file);
    }
  }

  private static ImageException mistake(Path file, String scope, String where) {
    return new ImageException(
        Reason.CONFIGURATION,
        "signature stores "
            + file
            + ": "
            + scope
            + ": \""
            + where
            + "\" is no place for signatures; give file:///FOLDER or a URL of http or https");
  }
}
