package io.berth.runtime;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.oci.Hooks;
import io.berth.runtime.ContainerException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HookFilesTest {
  @TempDir Path folder;
  private final RequestFixture pod = new RequestFixture();
  private Path usr = Path.of("/");
  private Path etc = Path.of("/");
  private SpecBuilder builder = RequestFixture.specs(SpecSettings.PLAIN);

  @BeforeEach
  void folders() throws IOException {
    usr = Files.createDirectory(folder.resolve("usr"));
    etc = Files.createDirectory(folder.resolve("etc"));
    builder =
        RequestFixture.specs(
            new SpecSettings(List.of(), List.of(), List.of(usr, etc), Path.of("/none"), false));
    pod.command = List.of("/usr/sbin/nginx", "-g");
    pod.annotations = Map.of("example.com/trace", "yes");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "\"always\": true|true",
        "\"always\": false|false",
        "\"commands\": [\"nginx$\"]|true",
        "\"commands\": [\"^nginx\", \"httpd\"]|false",
        "\"annotations\": {\"^example.com/t\": \"^y\"}|true",
        "\"annotations\": {\"^example.com/t\": \"^n\"}|false",
        "\"annotations\": {\"trace$\": \"yes\", \"absent\": \".*\"}|false",
        "\"hasBindMounts\": true|false",
        "\"hasBindMounts\": false|true",
        "\"always\": true, \"commands\": [\"httpd\"]|false",
      })
  void hookIsAddedWhenAllConditionsHold(String when, boolean added) throws IOException {
    write(usr, "10-a.json", when, "/bin/a");
    assertThat(hooks() != null).isEqualTo(added);
  }

  @Test
  void filesGoByNameAndTheLaterFolderReplaces() throws IOException {
    write(usr, "20-b.json", "\"always\": true", "/bin/b");
    write(usr, "10-a.json", "\"always\": true", "/bin/of-usr");
    write(etc, "10-a.json", "\"always\": true", "/bin/of-etc");
    Files.writeString(usr.resolve("README"), "not a hook");
    Hooks hooks = requireNonNull(hooks());
    assertThat(requireNonNull(hooks.prestart()))
        .extracting(Hooks.Hook::path)
        .containsExactly("/bin/of-etc", "/bin/b");
    assertThat(requireNonNull(hooks.poststop())).hasSize(2);
    assertThat(hooks.createContainer()).isNull();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{",
        "{}",
        "{\"version\": \"0.1.0\", \"hook\": {\"path\": \"/a\"}, \"when\": {\"always\": true}, \"stages\": [\"prestart\"]}",
        "{\"version\": \"1.0.0\", \"hook\": {\"path\": \"a\"}, \"when\": {\"always\": true}, \"stages\": [\"prestart\"]}",
        "{\"version\": \"1.0.0\", \"when\": {\"always\": true}, \"stages\": [\"prestart\"]}",
        "{\"version\": \"1.0.0\", \"hook\": {\"path\": \"/a\"}, \"when\": {}, \"stages\": [\"prestart\"]}",
        "{\"version\": \"1.0.0\", \"hook\": {\"path\": \"/a\"}, \"when\": {\"always\": true}, \"stages\": []}",
        "{\"version\": \"1.0.0\", \"hook\": {\"path\": \"/a\"}, \"when\": {\"always\": true}, \"stages\": [\"later\"]}",
        "{\"version\": \"1.0.0\", \"hook\": {\"path\": \"/a\"}, \"when\": {\"commands\": [\"(\"]}, \"stages\": [\"prestart\"]}",
      })
  void fileThatIsWrongFailsTheCreationByName(String text) throws IOException {
    Path file = Files.writeString(usr.resolve("guard.json"), text);
    assertThatThrownBy(this::hooks)
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.INVALID))
        .hasMessageContaining("hook file " + file)
        .hasMessageEndingWith("correct or remove it");
    Files.delete(file);
    assertThat(hooks()).isNull();
  }

  private static void write(Path folder, String name, String when, String program)
      throws IOException {
    Files.writeString(
        folder.resolve(name),
        """
        {"version": "1.0.0", "hook": {"path": "%s"}, "when": {%s},
         "stages": ["prestart", "poststop"]}
        """
            .formatted(program, when));
  }

  private @Nullable Hooks hooks() {
    return pod.built(builder).hooks();
  }
}
