package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.image.ImageException.Reason;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class CredentialFilesTest {
  @TempDir private Path folder;
  private CredentialFiles credentials;
  private Path first;
  private Path second;

  @BeforeEach
  void open() {
    first = folder.resolve("auth.json");
    second = folder.resolve("config.json");
    credentials = new CredentialFiles(List.of(first, second), List.of(folder));
  }

  private static String auth(String user) {
    return Base64.getEncoder().encodeToString((user + ":secret of " + user).getBytes(UTF_8));
  }

  private String user(String registry, String repository) throws InterruptedException {
    return credentials
        .find(registry, repository)
        .map(found -> found.credentials().username())
        .orElse("nobody");
  }

  private void helper(String name, String script) throws Exception {
    Path program = folder.resolve("docker-credential-" + name);
    Files.writeString(program, "#!/bin/sh\n" + script);
    Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  @Test
  void closestNamespaceOfTheFirstFileThatKnowsTheRegistryWins() throws Exception {
    Files.writeString(
        first,
        """
        {"auths": {"quay.io": {"auth": "%s"}, "quay.io/team": {"auth": "%s"},
                   "quay.io/team/app": {"auth": "%s"}, "https://index.docker.io/v1/": {"auth": "%s"},
                   "reg.example:5000": {}}}\
        """
            .formatted(auth("all"), auth("team"), auth("app"), auth("hub")));
    Files.writeString(
        second,
        """
        {"auths": {"quay.io": {"auth": "%s"},
                   "reg.example:5000": {"identitytoken": "of the identity"}}}\
        """
            .formatted(auth("late")));

    assertThat(user("quay.io", "team/app")).isEqualTo("app");
    assertThat(user("quay.io", "team/application")).isEqualTo("team");
    assertThat(user("quay.io", "other/app")).isEqualTo("all");
    assertThat(user("docker.io", "library/busybox")).isEqualTo("hub");
    assertThat(user("quay.io.evil.example", "team/app")).isEqualTo("nobody");
    var found = credentials.find("reg.example:5000", "app").orElseThrow();
    assertThat(found.credentials().identityToken()).isEqualTo("of the identity");
    assertThat(found.source()).isEqualTo(second + " (reg.example:5000)");
    assertThat(found.toString()).doesNotContain("of the identity");
  }

  @Test
  void changedFileCountsAtTheNextLook() throws Exception {
    assertThat(user("quay.io", "app")).isEqualTo("nobody");
    Files.writeString(first, "{\"auths\": {\"quay.io\": {\"auth\": \"%s\"}}}".formatted(auth("a")));
    assertThat(user("quay.io", "app")).isEqualTo("a");
  }

  @Test
  void helpersAreAskedForTheirRegistriesAndTheStoreForTheRest() throws Exception {
    helper(
        "own",
        "read -r host; [ \"$1\" = get ] && echo \"{\\\"Username\\\":\\\"$host\\\",\\\"Secret\\\":\\\"s\\\"}\"\n");
    helper("all", "echo '{\"Username\":\"<token>\",\"Secret\":\"identity\"}'\n");
    Files.writeString(
        first,
        """
        {"auths": {"quay.io": {"auth": "%s"}}, "credsStore": "all",
         "credHelpers": {"ecr.example": "own", "docker.io": "own"}}\
        """
            .formatted(auth("quay")));

    assertThat(user("ecr.example", "app")).isEqualTo("ecr.example");
    assertThat(user("docker.io", "library/app")).isEqualTo("https://index.docker.io/v1/");
    assertThat(user("quay.io", "app")).isEqualTo("quay");
    var rest = credentials.find("ghcr.io", "app").orElseThrow();
    assertThat(rest.credentials().identityToken()).isEqualTo("identity");
    assertThat(rest.source()).isEqualTo(first + " (helper all)");
  }

  @Test
  void helperThatFailsOrIsMissingLeavesThePullWithoutCredentials() throws Exception {
    helper("broken", "echo oops >&2; exit 3\n");
    helper("empty", "echo 'credentials not found in native keychain'; exit 1\n");
    helper("chatty", "echo 'hello'\n");
    Files.writeString(
        first,
        """
        {"credHelpers": {"a.example": "broken", "b.example": "empty", "c.example": "chatty",
                         "d.example": "missing", "e.example": "../../bin/sh"}}\
        """);

    for (String registry :
        List.of("a.example", "b.example", "c.example", "d.example", "e.example")) {
      assertThat(user(registry, "app")).isEqualTo("nobody");
    }
  }

  @Test
  void fileThatCannotBeReadIsNamedButNotShown() throws Exception {
    Files.writeString(first, "{\"auths\": {\"quay.io\": {\"auth\": \"topsecret");
    assertThatThrownBy(() -> user("quay.io", "app"))
        .isInstanceOf(ImageException.class)
        .hasMessageContaining(first.toString())
        .hasMessageNotContaining("topsecret")
        .hasNoCause()
        .extracting(e -> ((ImageException) e).reason())
        .isEqualTo(Reason.CONFIGURATION);

    Files.writeString(first, "{\"auths\": {\"quay.io\": {\"auth\": \"%%%\"}}}");
    assertThatThrownBy(() -> user("quay.io", "app"))
        .hasMessageContaining(first + ": quay.io: ")
        .hasMessageNotContaining("%%%");
  }
}
