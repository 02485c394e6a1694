package io.berth.image;

import io.berth.image.ImageException.Reason;
import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Whether an image may be used, by the administrator's policy: asked before a pull makes an image
 * visible, and again before a container is made of one that is here, however it came. The second
 * needs no registry, since signatures are kept in the image's record.
 *
 * <p>Policies are looked at each time, at the price of a stat(2), so an edit counts at once.
 */
public final class ImageTrust {
  /** As Kubernetes names namespaces (RFC 1123 label), so that none leads out of the folder. */
  private static final Pattern NAMESPACE = Pattern.compile("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?");

  private final Path policyFile;
  private final Path namespaceDir;
  private final LookasideStores lookasides;
  private final Map<Path, Known> known = new ConcurrentHashMap<>();

  /** A policy as read, and of which file. */
  private record Known(FileTime changed, long size, TrustPolicy policy) {}

  /**
   * What the policy says of an image.
   *
   * @param scope the rule's
   * @param requirements in words, all of which must be met
   * @param unmet why not, one sentence each; empty when the image may be used
   */
  public record Verdict(
      String image, String policy, String scope, List<String> requirements, List<String> unmet) {
    public boolean accepted() {
      return unmet.isEmpty();
    }

    /** With one more sentence about why not. */
    Verdict and(String sentence) {
      List<String> more = new ArrayList<>(unmet);
      more.add(sentence);
      return new Verdict(image, policy, scope, requirements, List.copyOf(more));
    }
  }

  /**
   * @param policyFile in the format of containers-policy.json(5); absent: everything is accepted
   * @param namespaceDir holds NAMESPACE.json for namespaces with a policy of their own
   * @param lookasides where OpenPGP signatures are
   */
  public ImageTrust(Path policyFile, Path namespaceDir, LookasideStores lookasides) {
    this.policyFile = policyFile;
    this.namespaceDir = namespaceDir;
    this.lookasides = lookasides;
  }

  /**
   * The rule for a pull.
   *
   * @throws ImageException SIGNATURE where no signature could help; CONFIGURATION
   */
  TrustPolicy.Rule rule(ImageReference name, String namespace) {
    TrustPolicy.Rule rule = policy(namespace).rule(name);
    if (rule.needed().isEmpty()) {
      require(judge(rule, name, List.of()));
    }
    return rule;
  }

  /**
   * Makes sure that an image may be pulled, fetching signatures if the rule wants them.
   *
   * @param manifests the digests that lead to it: an index's, and that of the manifest in it
   * @return the signatures that were found, for its record; empty when nobody asked for any
   * @throws ImageException SIGNATURE; CONFIGURATION; as the registry fails
   */
  List<ImageSignature> requireAtPull(
      TrustPolicy.Rule rule, ImageReference name, Repository repository, List<Digest> manifests)
      throws InterruptedException {
    List<ImageSignature> found = new ArrayList<>();
    Set<ImageSignature.Kind> needed = rule.needed();
    for (Digest manifest : manifests.stream().distinct().toList()) {
      if (needed.contains(ImageSignature.Kind.SIGSTORE)) {
        found.addAll(SignatureFinder.find(repository, manifest));
      }
      if (needed.contains(ImageSignature.Kind.OPENPGP)) {
        found.addAll(lookasides.find(name, manifest));
      }
    }
    Verdict verdict = judge(rule, name, found);
    if (!verdict.accepted() && needed.contains(ImageSignature.Kind.OPENPGP)) {
      verdict = verdict.and("OpenPGP signatures were looked for in " + lookasides.of(name));
    }
    require(verdict);
    found.removeIf(each -> each.signature().length > OpenPgpMessage.LIMIT); // not worth keeping
    return List.copyOf(found);
  }

  /**
   * OpenPGP signatures of an image that came without a registry, from the stores on this machine;
   * not verified, as the policy is asked when a container is to be made of it.
   *
   * @throws ImageException CONFIGURATION
   */
  List<ImageSignature> foundHere(ImageReference name, List<Digest> manifests)
      throws InterruptedException {
    List<ImageSignature> found = new ArrayList<>();
    if (policy("").rule(name).needed().contains(ImageSignature.Kind.OPENPGP)) {
      for (Digest manifest : manifests.stream().distinct().toList()) {
        found.addAll(lookasides.findHere(name, manifest));
      }
    }
    found.removeIf(each -> each.signature().length > OpenPgpMessage.LIMIT);
    return found;
  }

  /**
   * Makes sure that a container may be made of an image.
   *
   * @param asked as the pod calls it; what is no name of the image doesn't count
   * @param namespace the pod's
   * @throws ImageException SIGNATURE, CONFIGURATION
   */
  public void requireAtCreate(Image image, List<String> asked, String namespace) {
    Verdict verdict = explain(image, asked, namespace);
    require(verdict);
  }

  /**
   * What the policy says of an image that is here, without asking anyone. It may be used when it
   * may under the name that was asked for; without one, under any of its names.
   *
   * @param asked names, of which the image's own count
   */
  public Verdict explain(Image image, List<String> asked, String namespace) {
    TrustPolicy policy = policy(namespace);
    @Nullable Verdict first = null;
    for (ImageReference name : names(image, asked)) {
      Verdict verdict = judge(policy.rule(name), name, image.signatures());
      if (verdict.accepted()) {
        return verdict;
      }
      first = first == null ? verdict : first;
    }
    return first == null ? nameless(policy, image) : first;
  }

  /** What the policy will say of an image that isn't here, as far as its name tells. */
  public Verdict explain(ImageReference name, String namespace) {
    return judge(policy(namespace).rule(name), name, List.of());
  }

  /** An image without a name is under no scope. */
  private static Verdict nameless(TrustPolicy policy, Image image) {
    TrustPolicy.Rule rule = policy.general();
    List<String> unmet =
        rule.requirements().stream()
            .filter(each -> !(each instanceof TrustRequirement.AcceptAnything))
            .map(each -> "the image has no name that could be judged: " + each)
            .toList();
    return verdict(rule, image.id().toString(), unmet);
  }

  private static List<ImageReference> names(Image image, List<String> asked) {
    List<ImageReference> own =
        Stream.concat(image.repoTags().stream(), image.repoDigests().stream())
            .map(ImageReference::parse)
            .toList();
    Set<ImageReference> chosen = new LinkedHashSet<>();
    for (String name : asked) {
      parse(name).filter(own::contains).ifPresent(chosen::add);
    }
    return chosen.isEmpty() ? own : List.copyOf(chosen);
  }

  private static Optional<ImageReference> parse(String name) {
    try {
      return Optional.of(ImageReference.parse(name));
    } catch (IllegalArgumentException idOrEmpty) {
      return Optional.empty();
    }
  }

  static Verdict judge(
      TrustPolicy.Rule rule, ImageReference name, List<ImageSignature> signatures) {
    List<String> unmet =
        rule.requirements().stream()
            .flatMap(each -> each.unmet(name, signatures).stream())
            .toList();
    return verdict(rule, name.toString(), unmet);
  }

  private static Verdict verdict(TrustPolicy.Rule rule, String image, List<String> unmet) {
    return new Verdict(
        image,
        rule.source(),
        rule.scope(),
        rule.requirements().stream().map(Object::toString).toList(),
        unmet);
  }

  private static void require(Verdict verdict) {
    if (!verdict.accepted()) {
      throw new ImageException(
          Reason.SIGNATURE,
          "image "
              + verdict.image()
              + " may not be used by "
              + verdict.policy()
              + ", scope \""
              + verdict.scope()
              + "\" ("
              + String.join(", and ", verdict.requirements())
              + "): "
              + String.join("; ", verdict.unmet())
              + "; see berth image trust");
    }
  }

  private TrustPolicy policy(String namespace) {
    if (NAMESPACE.matcher(namespace).matches()) {
      Optional<TrustPolicy> own = read(namespaceDir.resolve(namespace + ".json"));
      if (own.isPresent()) {
        return own.get();
      }
    }
    return read(policyFile).orElseGet(() -> TrustPolicy.none(policyFile));
  }

  private Optional<TrustPolicy> read(Path file) {
    try {
      var now = Files.readAttributes(file, BasicFileAttributes.class);
      Known before = known.get(file);
      if (before == null
          || !before.changed().equals(now.lastModifiedTime())
          || before.size() != now.size()) {
        before =
            new Known(
                now.lastModifiedTime(),
                now.size(),
                TrustPolicy.parse(Files.readAllBytes(file), file));
        known.put(file, before);
      }
      return Optional.of(before.policy());
    } catch (NoSuchFileException absent) {
      known.remove(file);
      return Optional.empty();
    } catch (IOException e) {
      throw new ImageException(
          Reason.CONFIGURATION, "trust policy " + file + " can't be read: " + e, e);
    }
  }
}
