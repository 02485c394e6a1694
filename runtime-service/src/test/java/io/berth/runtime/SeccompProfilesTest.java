package io.berth.runtime;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.oci.Seccomp;
import io.berth.runtime.ContainerException.Reason;
import io.berth.runtime.SeccompProfiles.Machine;
import io.berth.sandbox.SandboxSecurity.SecurityProfile;
import io.berth.sandbox.SandboxSecurity.SecurityProfile.Kind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SeccompProfilesTest {
  private static final SecurityProfile DEFAULT = new SecurityProfile(Kind.RUNTIME_DEFAULT, "");

  @TempDir Path folder;
  private final SeccompProfiles profiles = new SeccompProfiles(new Machine("amd64", "6.1.0-18"));

  @Test
  void unsetAndUnconfinedHaveNoFilter() {
    assertThat(profiles.filter(null, Set.of())).isNull();
    assertThat(profiles.filter(new SecurityProfile(Kind.UNCONFINED, ""), Set.of())).isNull();
  }

  @Test
  void unknownCallsAnswerEnosysAndDeniedOnesEperm() {
    Seccomp filter = standard(Set.of());
    assertThat(filter.defaultAction()).isEqualTo("SCMP_ACT_ERRNO");
    assertThat(filter.defaultErrnoRet()).isEqualTo(38);
    for (String denied : List.of("mount", "bpf", "keyctl", "kexec_load", "reboot", "unshare")) {
      assertThat(rules(filter, denied))
          .as(denied)
          .singleElement()
          .returns("SCMP_ACT_ERRNO", Seccomp.Rule::action)
          .returns(1, Seccomp.Rule::errnoRet);
    }
    assertThat(rules(filter, "clone3")).isEmpty();
    assertThat(rules(filter, "io_uring_setup")).isEmpty();
  }

  @Test
  void grantedCapabilitiesWidenTheProfile() {
    Seccomp filter = standard(Set.of("CAP_SYS_ADMIN", "CAP_BPF", "CAP_SYS_TIME"));
    for (String allowed : List.of("mount", "bpf", "clone", "clone3", "unshare", "settimeofday")) {
      assertThat(rules(filter, allowed))
          .as(allowed)
          .isNotEmpty()
          .allSatisfy(rule -> assertThat(rule.action()).isEqualTo("SCMP_ACT_ALLOW"))
          .allSatisfy(rule -> assertThat(rule.args()).isNull());
    }
    assertThat(rules(filter, "reboot")).extracting(Seccomp.Rule::errnoRet).containsExactly(1);
  }

  /** libseccomp would let the one without conditions swallow the other. */
  @Test
  void noCallIsBothAllowedAndDeniedWithoutConditions() {
    for (Set<String> granted : List.of(Set.<String>of(), Capabilities.named(-1))) {
      Seccomp filter = standard(granted);
      List<Seccomp.Rule> all = requireNonNull(filter.syscalls());
      all.stream()
          .flatMap(rule -> rule.names().stream())
          .distinct()
          .forEach(name -> {
            List<Seccomp.Rule> rules = rules(filter, name);
            if (rules.stream().anyMatch(rule -> rule.args() == null)) {
              assertThat(rules)
                  .as(name)
                  .extracting(Seccomp.Rule::action)
                  .containsOnly(rules.getFirst().action());
            }
          });
    }
  }

  @Test
  void machineDecidesArchitecturesAndTheirCalls() {
    assertThat(standard(Set.of()).architectures())
        .containsExactly("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32");
    assertThat(rules(standard(Set.of()), "arch_prctl")).hasSize(1);
    Seccomp arm =
        requireNonNull(new SeccompProfiles(new Machine("arm64", "6.1")).filter(DEFAULT, Set.of()));
    assertThat(arm.architectures()).containsExactly("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM");
    assertThat(rules(arm, "arch_prctl")).isEmpty();
    assertThat(rules(arm, "cacheflush")).hasSize(1);
  }

  @Test
  void localhostProfileIsPassedThrough() throws IOException {
    Seccomp filter =
        localhost(
            """
            {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
             "flags": ["SECCOMP_FILTER_FLAG_LOG"],
             "syscalls": [{"names": ["chmod", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5,
               "args": [{"index": 1, "value": 18446744073709551615, "valueTwo": 0, "op": "SCMP_CMP_NE"}]}]}
            """);
    assertThat(filter.architectures()).containsExactly("SCMP_ARCH_X86_64");
    assertThat(filter.flags()).containsExactly("SECCOMP_FILTER_FLAG_LOG");
    assertThat(rules(filter, "no_such_call"))
        .singleElement()
        .returns(5, Seccomp.Rule::errnoRet)
        .satisfies(rule ->
            assertThat(requireNonNull(rule.args()).getFirst().value())
                .isEqualTo("18446744073709551615"));
  }

  @Test
  void localhostProfileMayHaveConditions() throws IOException {
    Seccomp filter =
        localhost(
            """
            {"defaultAction": "SCMP_ACT_ERRNO",
             "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": null}],
             "syscalls": [
               {"name": "old", "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}},
               {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.2"}},
               {"names": ["known"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
               {"names": ["s390"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
               {"names": ["both"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_KILL", "CAP_BPF"]}}]}
            """);
    assertThat(filter.architectures()).containsExactly("SCMP_ARCH_X86_64");
    assertThat(requireNonNull(filter.syscalls()).stream().flatMap(r -> r.names().stream()))
        .containsExactly("old", "known");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "null",
        "{",
        "{}",
        "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": []}]}"
      })
  void brokenLocalhostProfileIsRefusedWithItsPath(String text) throws IOException {
    Path file = Files.writeString(folder.resolve("broken.json"), text);
    assertRefused(file.toString());
  }

  @Test
  void missingAndRelativeLocalhostProfilesAreRefused() {
    assertRefused(folder.resolve("gone.json").toString());
    assertRefused("gone.json");
    assertRefused("");
    assertRefused(folder.toString());
  }

  private void assertRefused(String file) {
    assertThatThrownBy(() -> profiles.filter(new SecurityProfile(Kind.LOCALHOST, file), Set.of()))
        .isInstanceOf(ContainerException.class)
        .hasMessageContaining("load seccomp profile \"" + file + "\"")
        .extracting(e -> ((ContainerException) e).reason())
        .isEqualTo(Reason.INVALID);
  }

  private Seccomp localhost(String text) throws IOException {
    Path file = Files.writeString(folder.resolve("profile.json"), text);
    return requireNonNull(
        profiles.filter(new SecurityProfile(Kind.LOCALHOST, file.toString()), Set.of("CAP_KILL")));
  }

  private Seccomp standard(Set<String> capabilities) {
    return requireNonNull(profiles.filter(DEFAULT, capabilities));
  }

  private static List<Seccomp.Rule> rules(Seccomp filter, String name) {
    return requireNonNull(filter.syscalls()).stream()
        .filter(rule -> rule.names().contains(name))
        .toList();
  }
}
