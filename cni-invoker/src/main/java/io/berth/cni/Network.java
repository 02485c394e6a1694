package io.berth.cni;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A network configuration (section 1 of the specification), read and checked.
 *
 * @param versions what it may be used with of what we speak, the newest first; never empty
 * @param config the configuration list, whole: one plugin's file is wrapped into a list of one
 */
record Network(
    String name,
    List<CniVersion> versions,
    List<Plugin> plugins,
    boolean disableCheck,
    boolean disableGc,
    boolean onlyInlinedPlugins,
    ObjectNode config) {

  private static final Pattern NAME = Pattern.compile("[a-zA-Z0-9][a-zA-Z0-9_.\\-]*");

  /**
   * One plugin of the list.
   *
   * @param type the name of its program
   * @param capabilities those it declares to want
   */
  record Plugin(String type, ObjectNode config, Set<String> capabilities) {
    /**
     * @throws IllegalArgumentException telling the field that is wrong
     */
    static Plugin of(ObjectNode config) {
      String type = config.path("type").asText("");
      if (type.isEmpty()) {
        throw new IllegalArgumentException("a plugin has no type");
      }
      if (type.contains("/") || type.equals(".") || type.equals("..") || type.indexOf('\0') >= 0) {
        throw new IllegalArgumentException("plugin type \"" + type + "\" is not a file name");
      }
      Set<String> capabilities = new TreeSet<>();
      config
          .path("capabilities")
          .properties()
          .forEach(entry -> {
            if (entry.getValue().asBoolean()) {
              capabilities.add(entry.getKey());
            }
          });
      return new Plugin(type, config, Set.copyOf(capabilities));
    }
  }

  /**
   * Checks a configuration: a list, or one plugin's. Plugins from the folder named like the network
   * come later, by {@link #withPlugins}, so a list may have none yet.
   *
   * @throws IllegalArgumentException telling what is wrong
   */
  static Network of(ObjectNode file) {
    ObjectNode config = file.has("type") && !file.has("plugins") ? wrapped(file) : file;
    JsonNode name = config.path("name");
    if (!name.isTextual() || !NAME.matcher(name.textValue()).matches()) {
      throw new IllegalArgumentException(
          name.isMissingNode()
              ? "no name"
              : "name " + name + " must consist of letters, digits, _ . and -");
    }
    boolean onlyInlined = flag(config, "loadOnlyInlinedPlugins");
    JsonNode list = config.path("plugins");
    if (list.isMissingNode() ? onlyInlined : !list.isArray() || list.isEmpty()) {
      throw new IllegalArgumentException("plugins is not a list with at least one plugin");
    }
    List<Plugin> plugins = new ArrayList<>();
    for (JsonNode plugin : list) {
      if (!(plugin instanceof ObjectNode object)) {
        throw new IllegalArgumentException("plugins has an element that is no object");
      }
      plugins.add(Plugin.of(object));
    }
    return new Network(
        name.textValue(),
        versions(config),
        List.copyOf(plugins),
        flag(config, "disableCheck"),
        flag(config, "disableGC"),
        onlyInlined,
        config);
  }

  /** This network with further plugins at the end of its list. */
  Network withPlugins(List<Plugin> more) {
    if (more.isEmpty()) {
      return this;
    }
    ObjectNode merged = config.deepCopy();
    ArrayNode list = merged.withArray("plugins");
    more.forEach(plugin -> list.add(plugin.config()));
    // Whoever reads the cached form must not look for them once more.
    merged.put("loadOnlyInlinedPlugins", true);
    return of(merged);
  }

  /** This network bound to one version, so that DEL later speaks the one that ADD did. */
  Network pinned(CniVersion version) {
    if (versions.size() == 1) {
      return this;
    }
    ObjectNode single = config.deepCopy().put("cniVersion", version.toString());
    single.remove("cniVersions");
    return of(single);
  }

  /** The version in use: the newest that configuration and runtime share. */
  CniVersion version() {
    return versions.getFirst();
  }

  /** What a plugin reads for ADD, DEL and CHECK (section 3, "Deriving request configuration"). */
  ObjectNode request(Plugin plugin, CapabilityArgs offered, @Nullable ObjectNode prevResult) {
    ObjectNode request = request(plugin);
    request.remove("capabilities");
    ObjectNode runtimeConfig = offered.declared(plugin.capabilities());
    if (!runtimeConfig.isEmpty()) {
      request.set("runtimeConfig", runtimeConfig);
    }
    if (prevResult != null) {
      request.set("prevResult", prevResult);
    }
    return request;
  }

  /** What a plugin reads for STATUS; GC adds the valid attachments. */
  ObjectNode request(Plugin plugin) {
    ObjectNode request = plugin.config().deepCopy();
    request.put("cniVersion", version().toString()).put("name", name);
    for (Iterator<String> keys = request.fieldNames(); keys.hasNext(); ) {
      // Reserved for the runtime; a configuration has no business setting them.
      if (keys.next().startsWith("cni.dev/")) {
        keys.remove();
      }
    }
    return request;
  }

  private static ObjectNode wrapped(ObjectNode plugin) {
    ObjectNode list = CniJson.newObject();
    for (String key : new String[] {"cniVersion", "cniVersions", "name"}) {
      if (plugin.has(key)) {
        list.set(key, plugin.get(key));
      }
    }
    list.putArray("plugins").add(plugin);
    return list.put("loadOnlyInlinedPlugins", true);
  }

  private static List<CniVersion> versions(ObjectNode config) {
    Set<CniVersion> declared = new TreeSet<>();
    JsonNode several = config.path("cniVersions");
    if (!several.isMissingNode() && !several.isArray()) {
      throw new IllegalArgumentException("cniVersions is not a list");
    }
    several.forEach(version -> declared.add(version(version, "cniVersions")));
    if (config.has("cniVersion") || declared.isEmpty()) {
      declared.add(
          config.has("cniVersion")
              ? version(config.get("cniVersion"), "cniVersion")
              : CniVersion.V0_1_0);
    }
    List<CniVersion> common = CniVersion.SUPPORTED.stream().filter(declared::contains).toList();
    if (common.isEmpty()) {
      throw new IllegalArgumentException(
          "cniVersion "
              + declared
              + " is none of "
              + CniVersion.SUPPORTED
              + ", which this runtime speaks");
    }
    return common;
  }

  private static CniVersion version(JsonNode value, String key) {
    if (!value.isTextual()) {
      throw new IllegalArgumentException(key + ": " + value + " is not a string");
    }
    return CniVersion.parse(value.textValue());
  }

  /** Administrators write booleans as strings too, and other runtimes take them. */
  private static boolean flag(ObjectNode config, String key) {
    JsonNode value = config.path(key);
    if (value.isMissingNode()) {
      return false;
    }
    return switch (value.asText("").toLowerCase(Locale.ROOT)) {
      case "true" -> true;
      case "false" -> false;
      default ->
          throw new IllegalArgumentException(key + ": " + value + " is neither true nor false");
    };
  }
}
