package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.image.ImageException.Reason;
import io.berth.linux.ErrnoException;
import io.berth.linux.Subprocess;
import io.berth.oci.Json;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Credentials that the administrator has left on this machine, in the form of
 * containers-auth.json(5), which is Docker's config.json: {@code auths}, {@code credHelpers} and
 * {@code credsStore}. Read at each pull, so that a changed password counts at once.
 */
public final class CredentialFiles {
  private static final Logger log = LoggerFactory.getLogger(CredentialFiles.class);
  private static final Duration HELPER_LIMIT = Duration.ofSeconds(30);
  private static final List<String> HELPER_FOLDERS =
      List.of("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin");
  private static final String DOCKER_HUB_KEY = "https://index.docker.io/v1/";

  private final List<Path> files;
  private final List<Path> helperFolders;

  /**
   * Credentials and where they were found.
   *
   * @param source for people, without a secret
   */
  record Found(RegistryCredentials credentials, String source) {}

  /**
   * @param files those that exist are asked in this order
   */
  public CredentialFiles(List<Path> files) {
    this(files, HELPER_FOLDERS.stream().map(Path::of).toList());
  }

  /**
   * @param helperFolders where the programs {@code docker-credential-NAME} are looked for
   */
  CredentialFiles(List<Path> files, List<Path> helperFolders) {
    this.files = List.copyOf(files);
    this.helperFolders = List.copyOf(helperFolders);
  }

  /**
   * What the first file that knows the repository says.
   *
   * @param registry host and optional port
   * @param repository path within it
   * @throws ImageException CONFIGURATION if a file can't be read; the message shows none of it
   */
  Optional<Found> find(String registry, String repository) throws InterruptedException {
    for (Path file : files) {
      Optional<Found> found = find(file, registry, repository);
      if (found.isPresent()) {
        return found;
      }
    }
    return Optional.empty();
  }

  private Optional<Found> find(Path file, String registry, String repository)
      throws InterruptedException {
    JsonNode json;
    try {
      json = Json.read(Files.readAllBytes(file), JsonNode.class, "credentials");
    } catch (NoSuchFileException absent) {
      return Optional.empty();
    } catch (IOException e) {
      throw new ImageException(
          Reason.CONFIGURATION, "credentials file " + file + " can't be read: " + e, e);
    } catch (IllegalArgumentException notJson) { // whose message may show a secret
      throw new ImageException(Reason.CONFIGURATION, "credentials file " + file + " is no JSON");
    }
    String helper = json.path("credHelpers").path(registry).asText("");
    if (!helper.isEmpty()) {
      return ask(file, helper, registry);
    }
    Map<String, JsonNode> entries = new HashMap<>();
    json.path("auths").properties().forEach(e -> entries.put(key(e.getKey()), e.getValue()));
    for (String key : keys(registry, repository)) {
      JsonNode entry = entries.get(key);
      // Docker leaves empty entries for what its store holds.
      if (entry != null && !entry.isEmpty()) {
        return Optional.of(new Found(read(file, key, entry), file + " (" + key + ")"));
      }
    }
    String store = json.path("credsStore").asText("");
    return store.isEmpty() ? Optional.empty() : ask(file, store, registry);
  }

  /** From the repository up to the host: the closest namespace wins. */
  private static List<String> keys(String registry, String repository) {
    List<String> keys = new ArrayList<>();
    String key = registry + "/" + repository;
    for (int slash = key.length(); slash > 0; slash = key.lastIndexOf('/', slash - 1)) {
      keys.add(key.substring(0, slash));
    }
    return keys;
  }

  /** Docker writes URLs, and several names for its own registry. */
  private static String key(String written) {
    String key = written.replaceFirst("^https?://", "").replaceFirst("/(v[12]/?)?$", "");
    return key.replaceFirst("^(index|registry-1)\\.docker\\.io(?=/|$)", "docker.io");
  }

  private static RegistryCredentials read(Path file, String key, JsonNode entry) {
    try {
      return RegistryCredentials.of(
          entry.path("username").asText(""),
          entry.path("password").asText(""),
          entry.path("auth").asText(""),
          "",
          entry.path("identitytoken").asText(""),
          entry.path("registrytoken").asText(""));
    } catch (ImageException e) {
      throw new ImageException(
          Reason.CONFIGURATION, "credentials file " + file + ": " + key + ": " + e.getMessage());
    }
  }

  /**
   * Asks a credential helper (docker-credential-helpers, "get"). One that fails leaves the pull
   * without credentials, for which most images can be pulled.
   */
  private Optional<Found> ask(Path file, String helper, String registry)
      throws InterruptedException {
    String source = file + " (helper " + helper + ")";
    String program = "docker-credential-" + helper;
    Optional<Path> path =
        helper.matches("[A-Za-z0-9][A-Za-z0-9_.-]*")
            ? helperFolders.stream()
                .map(folder -> folder.resolve(program))
                .filter(Files::isExecutable)
                .findFirst()
            : Optional.empty();
    if (path.isEmpty()) {
      log.warn("{}: {} is not in {}; going on without credentials", file, program, helperFolders);
      return Optional.empty();
    }
    String asked = registry.equals("docker.io") ? DOCKER_HUB_KEY : registry;
    Subprocess.Result result;
    try {
      result =
          Subprocess.command(path.get().toString(), "get")
              .environment(environment())
              .input(asked.getBytes(UTF_8))
              .run(HELPER_LIMIT);
    } catch (ErrnoException e) {
      log.warn("{}: {}; going on without credentials", source, e.getMessage());
      return Optional.empty();
    }
    if (!result.ok()) {
      if (!Stream.of(result.out(), result.err()).anyMatch(text -> text.contains("not found"))) {
        log.warn(
            "{}: {} {}; going on without credentials",
            source,
            program,
            result.timedOut()
                ? "took longer than " + HELPER_LIMIT.toSeconds() + " s"
                : "failed with code " + result.exitCode());
      }
      return Optional.empty();
    }
    try {
      JsonNode answer = Json.read(result.stdout(), JsonNode.class, "credentials");
      String user = answer.path("Username").asText("");
      String secret = answer.path("Secret").asText("");
      RegistryCredentials credentials =
          user.equals("<token>")
              ? RegistryCredentials.of("", "", "", "", secret, "")
              : RegistryCredentials.of(user, secret, "", "", "", "");
      return credentials.isEmpty() ? Optional.empty() : Optional.of(new Found(credentials, source));
    } catch (IllegalArgumentException e) { // whose message may show the secret
      log.warn("{}: {} answers with no JSON; going on without credentials", source, program);
      return Optional.empty();
    }
  }

  /** Helpers are configured by variables of berthd's own environment. */
  private static Map<String, String> environment() {
    Map<String, String> environment = new HashMap<>(System.getenv());
    environment.put("PATH", String.join(":", HELPER_FOLDERS) + ":/sbin:/bin");
    environment.putIfAbsent("HOME", "/root");
    return environment;
  }
}
