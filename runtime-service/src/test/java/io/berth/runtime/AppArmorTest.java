package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.SandboxSecurity.SecurityProfile;
import io.berth.sandbox.SandboxSecurity.SecurityProfile.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** With files in place of the kernel and of the parser; the real ones are met in the test VM. */
class AppArmorTest {
  @TempDir Path folder;
  private final RequestFixture pod = new RequestFixture();
  private Path loaded = Path.of("/");
  private Path parser = Path.of("/");

  @BeforeEach
  void kernel() throws IOException {
    loaded = Files.writeString(folder.resolve("profiles"), "mine-too (enforce)\nmine (complain)\n");
    parser =
        Files.createFile(
            folder.resolve("apparmor_parser"),
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x")));
    Files.writeString(
        parser,
        """
        #!/bin/sh
        for file; do :; done
        echo "$@" >>%s
        sed -n 's/^profile \\([^ ]*\\).*/\\1 (enforce)/p' "$file" >>%s
        """
            .formatted(folder.resolve("calls"), loaded));
  }

  @Test
  void defaultIsLoadedWhenFirstNeededAndAgainWhenItHasGone() throws Exception {
    AppArmor apparmor = new AppArmor(loaded, () -> Optional.of(parser), folder.resolve("text"));
    assertThat(profile(apparmor)).isEqualTo("berth-default");
    assertThat(profile(apparmor)).isEqualTo("berth-default");
    Path calls = folder.resolve("calls");
    assertThat(calls)
        .hasContent("--replace --skip-cache --quiet " + folder.resolve("text/berth-default"));
    Files.writeString(loaded, "");
    assertThat(profile(apparmor)).isEqualTo("berth-default");
    assertThat(Files.readAllLines(calls)).hasSize(2);
  }

  @Test
  void privilegedContainersGetOnlyAProfileThatTheyName() throws Exception {
    AppArmor apparmor = new AppArmor(loaded, () -> Optional.of(parser), folder.resolve("text"));
    pod.privileged = true;
    assertThat(profile(apparmor)).isNull();
    pod.apparmor = new SecurityProfile(Kind.RUNTIME_DEFAULT, "");
    assertThat(profile(apparmor)).isNull();
    assertThat(folder.resolve("calls")).doesNotExist();
    pod.apparmor = new SecurityProfile(Kind.LOCALHOST, "mine");
    assertThat(profile(apparmor)).isEqualTo("mine");
  }

  @Test
  void namedProfileMustBeLoaded() throws Exception {
    AppArmor apparmor = new AppArmor(loaded, () -> Optional.of(parser), folder.resolve("text"));
    pod.apparmor = new SecurityProfile(Kind.LOCALHOST, "localhost/mine");
    assertThat(profile(apparmor)).isEqualTo("mine");
    pod.apparmor = new SecurityProfile(Kind.LOCALHOST, "mine-");
    assertThatThrownBy(() -> profile(apparmor))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.INVALID))
        .hasMessageContaining("\"mine-\" isn't loaded");
    pod.apparmor = new SecurityProfile(Kind.UNCONFINED, "");
    assertThat(profile(apparmor)).isEqualTo("unconfined");
  }

  @Test
  void withoutTheParserOnlyWhoAsksForTheDefaultIsRefused() throws Exception {
    AppArmor apparmor = new AppArmor(loaded, Optional::empty, folder.resolve("text"));
    assertThat(profile(apparmor)).isNull();
    pod.apparmor = new SecurityProfile(Kind.RUNTIME_DEFAULT, "");
    assertThatThrownBy(() -> profile(apparmor))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.UNSUPPORTED))
        .hasMessageContaining("install the package apparmor");
  }

  @Test
  void parsersComplaintIsPassedOn() throws Exception {
    Files.writeString(parser, "#!/bin/sh\necho 'syntax error, line 3' >&2\nexit 1\n");
    AppArmor apparmor = new AppArmor(loaded, () -> Optional.of(parser), folder.resolve("text"));
    assertThatThrownBy(() -> profile(apparmor))
        .isInstanceOf(ContainerException.class)
        .hasMessageContaining("load AppArmor profile berth-default")
        .hasMessageContaining("syntax error, line 3");
  }

  @Test
  void withoutAppArmorANameIsRefusedAndTheDefaultIsNothing() throws Exception {
    AppArmor apparmor = new AppArmor(null, () -> Optional.of(parser), folder.resolve("text"));
    assertThat(profile(apparmor)).isNull();
    pod.apparmor = new SecurityProfile(Kind.UNCONFINED, "");
    assertThat(profile(apparmor)).isNull();
    pod.apparmor = new SecurityProfile(Kind.LOCALHOST, "mine");
    assertThatThrownBy(() -> profile(apparmor))
        .isInstanceOf(ContainerException.class)
        .hasMessageContaining("AppArmor isn't enabled on this machine");
  }

  private @Nullable String profile(AppArmor apparmor) throws InterruptedException {
    apparmor.prepare(pod.security());
    return apparmor.profile(pod.request());
  }
}
