package io.berth.cni;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.linux.Subprocess;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * What a plugin said when it failed: the error structure of the specification's section 5, or, from
 * plugins that print anything else, their standard error.
 *
 * @param code null when the plugin printed no error structure
 */
record PluginError(String plugin, @Nullable Integer code, String message, String details) {
  /** "Container unknown": there is nothing to clean up. */
  static final int UNKNOWN_CONTAINER = 3;

  static final int TRY_AGAIN_LATER = 11;

  /** As much of a plugin's unstructured output as an error message can bear, in characters. */
  private static final int EXCERPT = 1024;

  static PluginError of(String plugin, Subprocess.Result result) {
    return structured(plugin, result.stdout())
        .or(() -> structured(plugin, result.stderr()))
        .orElseGet(() -> new PluginError(plugin, null, unstructured(result), ""));
  }

  String describe() {
    String words = "plugin " + plugin + " failed" + (code == null ? "" : " (code " + code + ")");
    return words + ": " + message + (details.isBlank() ? "" : "; " + details);
  }

  boolean unknownContainer() {
    return code != null && code == UNKNOWN_CONTAINER;
  }

  private static Optional<PluginError> structured(String plugin, byte[] output) {
    return CniJson.object(output)
        .filter(error -> error.has("code") || error.has("msg"))
        .map((ObjectNode error) ->
            new PluginError(
                plugin,
                error.path("code").isInt() ? Integer.valueOf(error.path("code").intValue()) : null,
                error.path("msg").asText("").strip(),
                error.path("details").asText("").strip()));
  }

  private static String unstructured(Subprocess.Result result) {
    String said = result.err().isBlank() ? result.out() : result.err();
    String exit = "it exited with " + result.exitCode();
    return said.isBlank() ? exit + " and said nothing" : exit + " and said: " + excerpt(said);
  }

  /** The end of the text: a stack trace or a log has its cause there. */
  static String excerpt(String text) {
    String stripped = text.strip();
    return stripped.length() <= EXCERPT
        ? stripped
        : "…" + stripped.substring(stripped.length() - EXCERPT);
  }
}
