package io.berth.runtime;

import com.fasterxml.jackson.core.JsonProcessingException;
import io.berth.oci.Hooks;
import io.berth.oci.Json;
import io.berth.runtime.SpecBuilder.Request;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.jspecify.annotations.Nullable;

/**
 * Hooks that an administrator adds to containers, by JSON files in the form of Podman and CRI-O
 * (oci-hooks, version 1.0.0). All conditions that a file gives must hold. Files are applied in the
 * order of their names; in a later folder one replaces that of the same name.
 *
 * <p>A file that is wrong fails every creation rather than being passed over: nobody knows which
 * containers it was meant for, and hooks guard as often as they decorate.
 */
final class HookFiles {
  private static final String VERSION = "1.0.0";

  private final DropIns<Rule> files;

  /** A file as it is read. */
  private record Document(
      @Nullable String version,
      Hooks.@Nullable Hook hook,
      @Nullable When when,
      @Nullable List<String> stages) {}

  private record When(
      @Nullable Boolean always,
      @Nullable Map<String, String> annotations,
      @Nullable List<String> commands,
      @Nullable Boolean hasBindMounts) {}

  private record Rule(
      Hooks.Hook hook,
      List<SpecEdits.Stage> stages,
      @Nullable Boolean always,
      @Nullable Boolean hasBindMounts,
      Map<Pattern, Pattern> annotations,
      List<Pattern> commands) {

    boolean matches(Map<String, String> annotationsOfContainer, String command, boolean mounts) {
      return !Boolean.FALSE.equals(always)
          && (hasBindMounts == null || hasBindMounts == mounts)
          && annotations.entrySet().stream()
              .allMatch(wanted ->
                  annotationsOfContainer.entrySet().stream()
                      .anyMatch(has ->
                          wanted.getKey().matcher(has.getKey()).find()
                              && wanted.getValue().matcher(has.getValue()).find()))
          && (commands.isEmpty() || commands.stream().anyMatch(c -> c.matcher(command).find()));
    }
  }

  /**
   * Reads nothing yet.
   *
   * @param folders later ones have precedence
   */
  HookFiles(List<Path> folders) {
    files = new DropIns<>(folders, List.of(".json"), HookFiles::parse);
  }

  /**
   * Adds the hooks that are meant for the container.
   *
   * @param command what it will run
   * @throws ContainerException INVALID if a file is wrong
   */
  void addTo(SpecEdits edits, Request request, String command) {
    Map<String, DropIns.Entry<Rule>> byName = new TreeMap<>();
    for (DropIns.Entry<Rule> entry : files.read()) {
      byName.put(String.valueOf(entry.file().getFileName()), entry);
    }
    if (byName.isEmpty()) {
      return;
    }
    Map<String, String> annotations = new LinkedHashMap<>(request.sandbox().config().annotations());
    annotations.putAll(request.config().annotations());
    for (DropIns.Entry<Rule> entry : byName.values()) {
      Rule rule = entry.content();
      if (rule == null) {
        throw request.invalid("hook file " + entry.error() + "; correct or remove it");
      }
      if (rule.matches(annotations, command, !request.config().mounts().isEmpty())) {
        rule.stages().forEach(stage -> edits.hook(stage, rule.hook()));
      }
    }
  }

  private static Rule parse(Path file, byte[] content) throws IOException {
    Document document;
    try {
      document = Json.MAPPER.readValue(content, Document.class);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("it is malformed: " + e.getOriginalMessage(), e);
    }
    if (document == null || !VERSION.equals(document.version())) {
      throw new IllegalArgumentException("its version isn't " + VERSION);
    }
    Hooks.Hook hook = document.hook();
    // Not @Nullable in the record, but a file may well leave it out.
    if (hook == null || !String.valueOf(hook.path()).startsWith("/")) {
      throw new IllegalArgumentException("hook.path must be absolute");
    }
    if (document.stages() == null || document.stages().isEmpty()) {
      throw new IllegalArgumentException("stages is empty");
    }
    When when = document.when();
    Map<Pattern, Pattern> annotations = new LinkedHashMap<>();
    List<Pattern> commands = new ArrayList<>();
    try {
      if (when != null && when.annotations() != null) {
        when.annotations()
            .forEach((key, value) -> annotations.put(Pattern.compile(key), Pattern.compile(value)));
      }
      if (when != null && when.commands() != null) {
        when.commands().forEach(command -> commands.add(Pattern.compile(command)));
      }
    } catch (PatternSyntaxException e) {
      throw new IllegalArgumentException("\"" + e.getPattern() + "\" isn't a pattern", e);
    }
    if (when == null
        || (when.always() == null
            && when.hasBindMounts() == null
            && annotations.isEmpty()
            && commands.isEmpty())) {
      throw new IllegalArgumentException("when gives no condition");
    }
    return new Rule(
        hook,
        document.stages().stream().map(SpecEdits.Stage::named).toList(),
        when.always(),
        when.hasBindMounts(),
        annotations,
        commands);
  }
}
