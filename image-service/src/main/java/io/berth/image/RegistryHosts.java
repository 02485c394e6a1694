package io.berth.image;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.MissingNode;
import com.fasterxml.jackson.dataformat.toml.TomlMapper;
import io.berth.image.ImageException.Reason;
import io.berth.image.RegistryHost.Capability;
import io.berth.image.RegistryHost.ClientFiles;
import io.berth.image.RegistryHost.Connection;
import io.berth.image.RegistryHost.PemFile;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpRequest;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;

/**
 * Which hosts serve a registry's content: {@code HOST[:PORT]/hosts.toml} in a folder, or {@code
 * HOST_PORT_/hosts.toml}, in containerd's format, else {@code _default/hosts.toml}, else the
 * registry itself. Files are read at every pull, since that costs less than a round trip and an
 * edit can't be missed.
 *
 * <pre>
 * server = "https://registry-1.docker.io"        # the registry itself, asked last
 *
 * [host."https://mirror.example.com"]            # mirrors, in the order of the file
 *   capabilities = ["pull", "resolve"]           # default: both
 *   override_path = false                        # true: the URL's path replaces /v2
 *   skip_verify = false
 *   ca = "ca.pem"                                # one or several, relative to the file
 *   client = [["me.cert", "me.key"]]             # likewise; or files that hold both
 *   dial_timeout = "5s"                          # until a connection stands
 *   [host."https://mirror.example.com".header]
 *     x-team = "blue"
 * </pre>
 *
 * <p>A folder without such a file may hold Docker's form: authorities in {@code *.crt}, and {@code
 * NAME.cert} with {@code NAME.key} to show.
 */
public final class RegistryHosts {

  private static final TomlMapper TOML = new TomlMapper();
  private static final String DOCKER_HUB = "https://registry-1.docker.io";
  private static final Set<String> HOST_KEYS =
      Set.of(
          "capabilities", "ca", "client", "skip_verify", "override_path", "dial_timeout", "header");

  /** Of Go's durations those without a sum. */
  private static final Pattern DURATION = Pattern.compile("([0-9]{1,6})(ms|s|m)");

  private final Path folder;

  /**
   * @param folder holds one folder per registry; need not exist
   */
  public RegistryHosts(Path folder) {
    this.folder = folder;
  }

  /** The folder an administrator would add a mirror to. */
  Path folder(String registry) {
    return folder.resolve(registry);
  }

  /**
   * The hosts to ask, in order; the last one is the registry itself.
   *
   * @param registry in the form of {@link io.berth.oci.ImageReference#registry}
   * @throws ImageException CONFIGURATION naming file and line
   */
  List<RegistryHost> of(String registry) {
    for (String name : List.of(registry, portless(registry), "_default")) {
      Path file = folder.resolve(name).resolve("hosts.toml");
      try {
        return new HostsFile(file, Files.readString(file)).hosts(registry);
      } catch (NoSuchFileException absent) {
        Path own = folder.resolve(name);
        Connection docker = dockerFiles(own);
        if (docker != null) {
          return List.of(itself(registry, docker, own.toString()));
        }
      } catch (IOException e) {
        throw new ImageException(
            Reason.CONFIGURATION, "registry configuration " + file + " can't be read: " + e, e);
      }
    }
    return List.of(itself(registry, Connection.PLAIN, "default"));
  }

  /**
   * What is wrong in the folder, one mistake of each file, with file and line: pulls would fail on
   * it one by one.
   */
  public List<String> mistakes() {
    List<String> found = new ArrayList<>();
    List<Path> registries = new ArrayList<>();
    try (DirectoryStream<Path> folders = Files.newDirectoryStream(folder, Files::isDirectory)) {
      folders.forEach(registries::add);
    } catch (NoSuchFileException none) {
      return found;
    } catch (IOException e) {
      found.add("registry configuration " + folder + " can't be read: " + e);
    }
    registries.sort(null);
    for (Path each : registries) {
      String name = String.valueOf(each.getFileName());
      try {
        String registry = name.replaceFirst("_([0-9]+)_$", ":$1");
        var _ = of(name.equals("_default") ? "registry.example" : registry);
      } catch (ImageException e) {
        found.add(e.words());
      } catch (IllegalArgumentException e) {
        found.add("registry configuration " + each + ": that is no name of a registry");
      }
    }
    return found;
  }

  private static RegistryHost itself(String registry, Connection connection, String source) {
    return new RegistryHost(
        root(defaultServer(registry), false),
        false,
        EnumSet.allOf(Capability.class),
        connection,
        Map.of(),
        source);
  }

  /** Null when the folder holds nothing in Docker's form. */
  private static @Nullable Connection dockerFiles(Path folder) {
    if (!Files.isDirectory(folder)) {
      return null;
    }
    List<PemFile> authorities = new ArrayList<>();
    List<ClientFiles> clients = new ArrayList<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, "*.{crt,cert}")) {
      for (Path file : StreamSupport.stream(files.spliterator(), false).sorted().toList()) {
        PemFile pem = pem(file, folder.toString());
        if (file.toString().endsWith(".crt")) {
          authorities.add(pem);
        } else {
          Path key = Path.of(file.toString().replaceFirst("cert$", "key"));
          clients.add(new ClientFiles(pem, pem(key, folder.toString())));
        }
      }
    } catch (IOException e) {
      throw new ImageException(
          Reason.CONFIGURATION, "registry certificates in " + folder + " can't be read: " + e, e);
    }
    return authorities.isEmpty() && clients.isEmpty()
        ? null
        : new Connection(false, List.copyOf(authorities), List.copyOf(clients), null);
  }

  private static PemFile pem(Path path, String source) throws IOException {
    return new PemFile(path, Files.getLastModifiedTime(path), source);
  }

  /** Containerd's other form of HOST:PORT, for file systems that don't like colons. */
  private static String portless(String registry) {
    return registry.replaceFirst(":([0-9]+)$", "_$1_");
  }

  private static String defaultServer(String registry) {
    return registry.equals("docker.io") ? DOCKER_HUB : withScheme(registry);
  }

  /** Registries on this machine speak plain HTTP unless a scheme or the port of HTTPS is given. */
  private static String withScheme(String address) {
    if (address.contains("://")) {
      return address;
    }
    String authority = address.contains("/") ? address.substring(0, address.indexOf('/')) : address;
    boolean plain = isLoopback(authority) && !authority.endsWith(":443");
    return (plain ? "http://" : "https://") + address;
  }

  static boolean isLoopback(String authority) {
    String host = authority.replaceFirst(":[0-9]+$", "");
    return host.equals("localhost")
        || host.equals("[::1]")
        || host.matches("127\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}");
  }

  private static URI root(String address, boolean overridePath) {
    String url = withScheme(address).replaceFirst("/+$", "");
    URI uri = URI.create(url);
    String scheme = uri.getScheme();
    if (uri.getHost() == null
        || !(scheme.equals("http") || scheme.equals("https"))
        || uri.getRawQuery() != null
        || uri.getRawFragment() != null
        || uri.getRawUserInfo() != null) {
      throw new IllegalArgumentException("not an http or https URL of a host");
    }
    return overridePath || url.endsWith("/v2") ? uri : URI.create(url + "/v2");
  }

  /** One file. The parser keeps no positions, so lines are searched for once there is a mistake. */
  private static final class HostsFile {
    private final Path file;
    private final String text;
    private final JsonNode tree;

    HostsFile(Path file, String text) {
      this.file = file;
      this.text = text;
      try {
        JsonNode read = TOML.readTree(text);
        tree = read.isObject() ? read : JsonNodeFactory.instance.objectNode();
      } catch (JsonProcessingException e) {
        int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
        throw new ImageException(
            Reason.CONFIGURATION,
            "registry configuration " + file + ":" + line + ": " + e.getOriginalMessage(),
            e);
      }
    }

    List<RegistryHost> hosts(String registry) {
      for (var property : tree.properties()) {
        String key = property.getKey();
        if (!key.equals("server") && !key.equals("host") && !HOST_KEYS.contains(key)) {
          throw unknownKey("", key);
        }
      }
      List<RegistryHost> hosts = new ArrayList<>();
      JsonNode mirrors = tree.path("host");
      if (!mirrors.isMissingNode() && !mirrors.isObject()) {
        throw mistake("", "host", "is a table per mirror: [host.\"https://mirror\"]");
      }
      for (var mirror : mirrors.properties()) {
        for (var property : mirror.getValue().properties()) {
          if (!HOST_KEYS.contains(property.getKey())) {
            throw unknownKey(mirror.getKey(), property.getKey());
          }
        }
        hosts.add(host(mirror.getKey(), mirror.getKey(), mirror.getValue(), true));
      }
      String server = text(tree.path("server"), "", "server");
      hosts.add(
          host(
              "",
              server == null || server.isEmpty() ? defaultServer(registry) : server,
              tree,
              false));
      return List.copyOf(hosts);
    }

    private RegistryHost host(String table, String address, JsonNode settings, boolean mirror) {
      URI root;
      try {
        root = root(address, bool(settings, table, "override_path"));
      } catch (IllegalArgumentException e) {
        throw mistake(
            table, mirror ? "host" : "server", "\"" + address + "\" is " + e.getMessage());
      }
      return new RegistryHost(
          root,
          mirror,
          capabilities(settings, table),
          new Connection(
              bool(settings, table, "skip_verify"),
              authorities(settings, table),
              clients(settings, table),
              dialTimeout(settings, table)),
          headers(settings, table),
          file + ":" + line(table, mirror ? "" : "server"));
    }

    private Set<Capability> capabilities(JsonNode settings, String table) {
      JsonNode node = settings.path("capabilities");
      if (node.isMissingNode()) {
        return EnumSet.allOf(Capability.class);
      }
      Set<Capability> found = EnumSet.noneOf(Capability.class);
      for (String name : texts(node, table, "capabilities")) {
        switch (name) {
          case "pull" -> found.add(Capability.PULL);
          case "resolve" -> found.add(Capability.RESOLVE);
          case "push" -> {} // legal in the format; Berth never pushes
          default ->
              throw mistake(
                  table, "capabilities", "has \"" + name + "\": only pull, resolve and push exist");
        }
      }
      return found;
    }

    private List<PemFile> authorities(JsonNode settings, String table) {
      List<PemFile> files = new ArrayList<>();
      for (String name : texts(settings.path("ca"), table, "ca")) {
        files.add(file(name, table, "ca"));
      }
      return List.copyOf(files);
    }

    private PemFile file(String name, String table, String key) {
      Path path = file.resolveSibling(name);
      try {
        return pem(path, file + ":" + line(table, key));
      } catch (IOException e) {
        throw mistake(table, key, "names " + path + ", which can't be read: " + e);
      }
    }

    /** A file with both, a list of such files, or a list of pairs of certificate and key. */
    private List<ClientFiles> clients(JsonNode settings, String table) {
      List<ClientFiles> clients = new ArrayList<>();
      JsonNode node = settings.path("client");
      for (JsonNode item :
          node.isArray() ? node : node.isMissingNode() ? List.<JsonNode>of() : List.of(node)) {
        List<String> names =
            texts(item, table, "client").stream().filter(name -> !name.isEmpty()).toList();
        if (names.isEmpty() || names.size() > 2) {
          throw mistake(table, "client", "is a file, or pairs of a certificate and a key");
        }
        clients.add(
            new ClientFiles(
                file(names.getFirst(), table, "client"), file(names.getLast(), table, "client")));
      }
      return List.copyOf(clients);
    }

    private @Nullable Duration dialTimeout(JsonNode settings, String table) {
      String written = text(settings.path("dial_timeout"), table, "dial_timeout");
      if (written == null) {
        return null;
      }
      Matcher duration = DURATION.matcher(written);
      if (!duration.matches() || duration.group(1).matches("0+")) {
        throw mistake(
            table, "dial_timeout", "is a whole number above 0 and ms, s or m, such as \"5s\"");
      }
      long number = Long.parseLong(duration.group(1));
      return switch (duration.group(2)) {
        case "ms" -> Duration.ofMillis(number);
        case "s" -> Duration.ofSeconds(number);
        default -> Duration.ofMinutes(number);
      };
    }

    private Map<String, String> headers(JsonNode settings, String table) {
      Map<String, String> headers = new HashMap<>();
      for (var property : settings.path("header").properties()) {
        String name = property.getKey();
        String value = String.join(", ", texts(property.getValue(), table, name));
        try {
          HttpRequest.newBuilder().header(name, value);
        } catch (IllegalArgumentException e) {
          throw mistake(table, name, "can't be sent as a header: " + e.getMessage());
        }
        headers.put(name, value);
      }
      return Map.copyOf(headers);
    }

    private boolean bool(JsonNode settings, String table, String key) {
      JsonNode node = settings.path(key);
      if (!node.isMissingNode() && !node.isBoolean()) {
        throw mistake(table, key, "is true or false");
      }
      return node.asBoolean();
    }

    /** A string or a list of strings; missing is empty. */
    private List<String> texts(JsonNode node, String table, String key) {
      List<String> found = new ArrayList<>();
      if (node.isArray()) {
        for (JsonNode item : node) {
          found.add(String.valueOf(text(item, table, key)));
        }
      } else {
        String one = text(node, table, key);
        if (one != null) {
          found.add(one);
        }
      }
      return found;
    }

    private @Nullable String text(JsonNode node, String table, String key) {
      if (node instanceof MissingNode) {
        return null;
      }
      if (!node.isTextual()) {
        throw mistake(table, key, "has a value that isn't text");
      }
      return node.textValue();
    }

    private ImageException unknownKey(String table, String key) {
      return mistake(
          table,
          key,
          "no such key; known are server and, for it or a host, "
              + String.join(", ", HOST_KEYS.stream().sorted().toList()));
    }

    private ImageException mistake(String table, String key, String what) {
      return new ImageException(
          Reason.CONFIGURATION,
          "registry configuration " + file + ":" + line(table, key) + ": " + key + ": " + what);
    }

    /** The line of a key beneath a host's table, of the table itself for "", else 1. */
    private int line(String table, String key) {
      String[] lines = text.split("\n", -1);
      int from = 0;
      if (!table.isEmpty()) {
        while (from < lines.length && !lines[from].contains(table)) {
          from++;
        }
      }
      String quoted = Pattern.quote(key);
      for (String form : List.of("\"?" + quoted + "\"?\\s*=.*", "\\[\\s*" + quoted + "\\b.*")) {
        for (int i = from; i < lines.length && !key.isEmpty(); i++) {
          if (lines[i].strip().matches(form)) {
            return i + 1;
          }
        }
      }
      return Math.min(from, lines.length - 1) + 1;
    }
  }
}
