package io.berth.image;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.image.ImageException.Reason;
import io.berth.image.TrustRequirement.KeySource;
import io.berth.oci.ImageReference;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Which images may be used: a file in the format of containers-policy.json(5). Of its transports
 * only {@code docker} matters here, as every image has a name of that kind. What the file asks for
 * and Berth can't check is an error: a policy is never half applied.
 */
final class TrustPolicy {
  private static final ObjectMapper STRICT =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  private static final Set<String> SIGSTORE_KEYS =
      Set.of("type", "keyPath", "keyPaths", "keyData", "keyDatas", "signedIdentity");
  private static final Set<String> OPENPGP_KEYS =
      Set.of("type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity");

  private final String source;
  private final List<TrustRequirement> general;
  private final Map<String, List<TrustRequirement>> scopes;

  private TrustPolicy(
      String source, List<TrustRequirement> general, Map<String, List<TrustRequirement>> scopes) {
    this.source = source;
    this.general = general;
    this.scopes = scopes;
  }

  /**
   * What applies to an image.
   *
   * @param scope as the file calls it: a name, a repository, a namespace, a host; or "default"
   * @param requirements all of which must be met
   */
  record Rule(String source, String scope, List<TrustRequirement> requirements) {
    /** The kinds of signatures that have to be looked for. */
    Set<ImageSignature.Kind> needed() {
      Set<ImageSignature.Kind> kinds = EnumSet.noneOf(ImageSignature.Kind.class);
      requirements.forEach(each -> each.needed().ifPresent(kinds::add));
      return kinds;
    }

    @Override
    public String toString() {
      return source + ", scope \"" + scope + "\"";
    }
  }

  /** For a node without a policy. */
  static TrustPolicy none(Path file) {
    return new TrustPolicy(
        "no policy (" + file + " doesn't exist)",
        List.of(new TrustRequirement.AcceptAnything()),
        Map.of());
  }

  /**
   * Reads a policy.
   *
   * @throws ImageException CONFIGURATION, naming the file and what is wrong in it
   */
  static TrustPolicy parse(byte[] json, Path file) {
    return new Reader(file).read(json);
  }

  /**
   * The rule of the narrowest scope that holds the name: itself, its repository, the namespaces
   * around that, the host, {@code *.} and a domain around the host, all docker images, default.
   */
  Rule rule(ImageReference name) {
    for (String scope : scopesOf(name)) {
      List<TrustRequirement> found = scopes.get(scope);
      if (found != null) {
        return new Rule(source, scope.isEmpty() ? "docker" : scope, found);
      }
    }
    return general();
  }

  /** What applies to an image that has no name. */
  Rule general() {
    return new Rule(source, "default", general);
  }

  /** Names of scopes that hold an image, narrowest first; "" is all docker images. */
  static List<String> scopesOf(ImageReference name) {
    List<String> narrowestFirst = new ArrayList<>();
    narrowestFirst.add(name.toString());
    String around = name.name();
    narrowestFirst.add(around);
    for (int slash = around.lastIndexOf('/'); slash >= 0; slash = around.lastIndexOf('/')) {
      around = around.substring(0, slash);
      narrowestFirst.add(around);
    }
    String host = name.registry();
    for (int dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.')) {
      host = host.substring(dot + 1);
      narrowestFirst.add("*." + host);
    }
    narrowestFirst.add("");
    return narrowestFirst;
  }

  private static final class Reader {
    private final Path file;

    Reader(Path file) {
      this.file = file;
    }

    TrustPolicy read(byte[] json) {
      JsonNode tree;
      try {
        tree = STRICT.readTree(json);
      } catch (JsonProcessingException e) {
        int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
        throw new ImageException(
            Reason.CONFIGURATION,
            "trust policy " + file + ":" + line + ": " + e.getOriginalMessage(),
            e);
      } catch (IOException e) { // bytes that are no text in the encoding that they seem to have
        throw new ImageException(
            Reason.CONFIGURATION, "trust policy " + file + ": it is no UTF-8 text", e);
      }
      requireKeys("the policy", tree, Set.of("default", "transports"));
      if (!tree.has("default")) {
        throw mistake("\"default\" is missing, which must say what applies to all else");
      }
      Map<String, List<TrustRequirement>> scopes = new TreeMap<>();
      for (var scope : tree.path("transports").path("docker").properties()) {
        scopes.put(scope.getKey(), requirements(scope.getKey(), scope.getValue()));
      }
      return new TrustPolicy(file.toString(), requirements("default", tree.get("default")), scopes);
    }

    private List<TrustRequirement> requirements(String scope, JsonNode list) {
      if (!list.isArray() || list.isEmpty()) {
        throw mistake("scope \"" + scope + "\" has no list of requirements");
      }
      List<TrustRequirement> found = new ArrayList<>();
      for (JsonNode each : list) {
        found.add(requirement("scope \"" + scope + "\"", each));
      }
      return List.copyOf(found);
    }

    private TrustRequirement requirement(String where, JsonNode tree) {
      String type = tree.path("type").asText();
      return switch (type) {
        case "insecureAcceptAnything" -> {
          requireKeys(where, tree, Set.of("type"));
          yield new TrustRequirement.AcceptAnything();
        }
        case "reject" -> {
          requireKeys(where, tree, Set.of("type"));
          yield new TrustRequirement.Reject();
        }
        case "sigstoreSigned" -> {
          requireKeys(where, tree, SIGSTORE_KEYS);
          yield new TrustRequirement.SigstoreSigned(
              keys(where, tree), identity(where, tree.path("signedIdentity")));
        }
        case "signedBy" -> {
          requireKeys(where, tree, OPENPGP_KEYS);
          yield new TrustRequirement.SignedBy(
              openPgpKeys(where, tree), identity(where, tree.path("signedIdentity")));
        }
        default ->
            throw mistake(
                where
                    + " wants \""
                    + type
                    + "\", which can't be checked: insecureAcceptAnything, reject, signedBy and"
                    + " sigstoreSigned can");
      };
    }

    private List<OpenPgpKeySource> openPgpKeys(String where, JsonNode tree) {
      String kind = text(where, tree, "keyType");
      if (!kind.equals("GPGKeys")) {
        throw mistake(
            where + " has the keyType \"" + kind + "\", which can't be checked: GPGKeys can");
      }
      List<OpenPgpKeySource> keys = new ArrayList<>();
      for (String path : texts(where, tree, "keyPath", "keyPaths")) {
        keys.add(new OpenPgpKeySource.InFile(Path.of(path)));
      }
      if (tree.has("keyData")) {
        keys.add(new OpenPgpKeySource.Inline(decoded(where, text(where, tree, "keyData"))));
      }
      requireOneOf(where, tree, List.of("keyPath", "keyPaths", "keyData"), keys);
      return List.copyOf(keys);
    }

    private byte[] decoded(String where, String data) {
      try {
        return Base64.getDecoder().decode(data);
      } catch (IllegalArgumentException e) {
        throw mistake(where + " has a keyData that is not base64");
      }
    }

    private void requireOneOf(String where, JsonNode tree, List<String> names, List<?> keys) {
      if (names.stream().filter(tree::has).count() != 1 || keys.isEmpty()) {
        throw mistake(where + " must have one of " + String.join(", ", names));
      }
    }

    private List<KeySource> keys(String where, JsonNode tree) {
      List<KeySource> keys = new ArrayList<>();
      for (String path : texts(where, tree, "keyPath", "keyPaths")) {
        keys.add(new KeySource.InFile(Path.of(path)));
      }
      for (String data : texts(where, tree, "keyData", "keyDatas")) {
        String pem = new String(decoded(where, data), StandardCharsets.UTF_8);
        keys.add(new KeySource.Inline(PublicKeys.parse(pem, "in " + file + ", " + where)));
      }
      requireOneOf(where, tree, List.of("keyPath", "keyPaths", "keyData", "keyDatas"), keys);
      return List.copyOf(keys);
    }

    private List<String> texts(String where, JsonNode tree, String one, String many) {
      List<String> found = new ArrayList<>();
      if (tree.has(one)) {
        found.add(text(where, tree, one));
      }
      for (JsonNode each : tree.path(many)) {
        if (!each.isTextual()) {
          throw mistake(where + " has a " + many + " that is not a list of texts");
        }
        found.add(each.asText());
      }
      return found;
    }

    private SignedIdentity identity(String where, JsonNode tree) {
      if (tree.isMissingNode()) {
        return new SignedIdentity.RepositoryOfDigestOrExact();
      }
      try {
        return switch (tree.path("type").asText()) {
          case "matchExact" -> new SignedIdentity.Exact();
          case "matchRepoDigestOrExact" -> new SignedIdentity.RepositoryOfDigestOrExact();
          case "matchRepository" -> new SignedIdentity.SameRepository();
          case "exactReference" ->
              new SignedIdentity.Given(ImageReference.parse(text(where, tree, "dockerReference")));
          case "exactRepository" ->
              new SignedIdentity.GivenRepository(
                  ImageReference.parse(text(where, tree, "dockerRepository")).name());
          case "remapIdentity" ->
              new SignedIdentity.Remapped(
                  text(where, tree, "prefix"), text(where, tree, "signedPrefix"));
          default ->
              throw mistake(
                  where + " has the unknown signedIdentity \"" + tree.path("type").asText() + "\"");
        };
      } catch (IllegalArgumentException e) {
        throw mistake(where + " has a signedIdentity that is no name: " + e.getMessage());
      }
    }

    private String text(String where, JsonNode tree, String key) {
      JsonNode value = tree.path(key);
      if (!value.isTextual() || value.asText().isEmpty()) {
        throw mistake(where + " lacks the text " + key);
      }
      return value.asText();
    }

    private void requireKeys(String where, JsonNode tree, Set<String> known) {
      if (!tree.isObject()) {
        throw mistake(where + " is not an object");
      }
      for (var property : tree.properties()) {
        if (!known.contains(property.getKey())) {
          throw mistake(
              where
                  + " has \""
                  + property.getKey()
                  + "\", which can't be checked; known are "
                  + known.stream().sorted().toList());
        }
      }
    }

    private ImageException mistake(String words) {
      return new ImageException(Reason.CONFIGURATION, "trust policy " + file + ": " + words);
    }
  }
}
