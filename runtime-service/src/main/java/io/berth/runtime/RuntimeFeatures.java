package io.berth.runtime;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.oci.Json;
import java.io.IOException;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What an OCI runtime's program says it can do: the answer of its {@code features} subcommand
 * (runtime-spec, features), or what is known of programs from before there was one.
 *
 * @param mountOptions as in config.json: {@code rro} and so on
 * @param namespaces as in config.json: {@code user} and so on
 * @param mapsOfJoined whether it looks up the id mappings of a user namespace that a container
 *     joins; others must be told
 * @param idmappedMounts mounts with {@code uidMappings}. runc 1.1 ignores these without a word, so
 *     that whoever needs them has to ask here
 */
public record RuntimeFeatures(
    Set<String> mountOptions,
    Set<String> namespaces,
    boolean mapsOfJoined,
    boolean idmappedMounts) {

  /** Of a program of which nothing is known. */
  static final RuntimeFeatures NONE = new RuntimeFeatures(Set.of(), Set.of(), false, false);

  /**
   * Found by trial with 1.8.1; {@code features} came with a later one. Not {@code user}: see {@link
   * #crunGivesDevicesAway}.
   */
  private static final RuntimeFeatures CRUN_1_8 =
      new RuntimeFeatures(
          Set.of("rro"), Set.of("cgroup", "ipc", "mount", "network", "pid", "uts"), false, true);

  private static final Pattern NUMBERS = Pattern.compile("(\\d{1,6})\\.(\\d{1,6}).*");
  private static final Pattern CRUN = Pattern.compile("crun version (\\d{1,6})\\.(\\d{1,6}).*");

  public RuntimeFeatures {
    mountOptions = Collections.unmodifiableSet(new LinkedHashSet<>(mountOptions));
    namespaces = Collections.unmodifiableSet(new LinkedHashSet<>(namespaces));
  }

  /** Whether a mount and all beneath it can be made read-only, mount_setattr(2). */
  public boolean recursiveReadOnly() {
    return mountOptions.contains("rro");
  }

  /** Whether a container can have a user namespace. */
  public boolean userNamespaces() {
    return namespaces.contains("user");
  }

  /**
   * The answer of {@code features}.
   *
   * @throws IOException if it isn't JSON
   */
  static RuntimeFeatures parse(byte[] answer) throws IOException {
    JsonNode tree = Json.MAPPER.readTree(answer);
    JsonNode linux = tree.path("linux");
    JsonNode notes = tree.path("annotations");
    Set<String> namespaces = texts(linux.path("namespaces"));
    if (crunGivesDevicesAway(notes.path("run.oci.crun.version").asText())) {
      namespaces.remove("user");
    }
    JsonNode idmap = linux.path("mountExtensions").path("idmap");
    return new RuntimeFeatures(
        texts(tree.path("mountOptions")),
        namespaces,
        // Both came with runc 1.2, which from then on warns, in the container's log, when told.
        notes.has("org.opencontainers.runc.version") && !idmap.isMissingNode(),
        idmap.path("enabled").asBoolean());
  }

  /**
   * With user namespaces, crun before 1.24 makes the container's root the owner of its stdin: of
   * the machine's /dev/null, which that root may then close to everybody.
   */
  private static boolean crunGivesDevicesAway(String version) {
    Matcher numbers = NUMBERS.matcher(version);
    return numbers.matches()
        && Integer.parseInt(numbers.group(1)) == 1
        && Integer.parseInt(numbers.group(2)) < 24;
  }

  /**
   * What is known of a program that has no {@code features}.
   *
   * @param version the first line of its {@code --version}
   */
  static RuntimeFeatures ofVersion(String version) {
    Matcher crun = CRUN.matcher(version);
    if (crun.matches()) {
      int major = Integer.parseInt(crun.group(1));
      return major > 1 || (major == 1 && Integer.parseInt(crun.group(2)) >= 8) ? CRUN_1_8 : NONE;
    }
    return NONE;
  }

  private static Set<String> texts(JsonNode array) {
    Set<String> texts = new LinkedHashSet<>();
    array.forEach(element -> texts.add(element.asText()));
    return texts;
  }
}
