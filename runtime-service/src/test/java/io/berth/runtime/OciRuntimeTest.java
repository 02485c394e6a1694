package io.berth.runtime;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.linux.CgroupDriver;
import io.berth.runtime.ContainerException.Reason;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class OciRuntimeTest {
  private static final ContainerId ID = Containers.id("aa");

  @TempDir Path folder;

  private OciRuntime runtime(String script) throws IOException {
    Path program =
        Files.writeString(
            Files.createFile(
                folder.resolve("runtime"),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x"))),
            "#!/bin/sh\n" + script);
    return new OciRuntime(
        "fake", () -> Optional.of(program), folder.resolve("root"), CgroupDriver.SYSTEMD);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "''|nothing",
        "'  \n \n'|nothing",
        "plain words|plain words",
        "'time=\"2026-01-01T00:00:00Z\" level=error msg=\"exec: \\\"x\\\": not found\"'|exec: \"x\": not found",
        "'time=\"t\" level=warning msg=\"first\"\ntime=\"t\" level=error msg=\"last\"\n\n'|last",
        "error: open executable: No such file|open executable: No such file",
        "ERROR: loud|loud"
      })
  void wordsAreWhatTheRuntimeSaidLastWithoutItsLogFormat(String stderr, String words) {
    assertThat(OciRuntime.words(stderr)).isEqualTo(words);
  }

  @Test
  void noOutputAtAllIsSaidToo() {
    assertThat(OciRuntime.words(null)).isEqualTo("nothing");
  }

  @Test
  void commandLineIsTheOneThatRuncAndCrunShare() throws Exception {
    OciRuntime runtime = runtime("echo \"$@\" >>" + folder.resolve("calls"));
    runtime.start(ID);
    runtime.delete(ID);
    String global = "--root=" + folder.resolve("root") + " --systemd-cgroup ";
    assertThat(folder.resolve("calls"))
        .hasContent(global + "start " + ID + "\n" + global + "delete --force " + ID + "\n");
  }

  @Test
  void failureCarriesTheRuntimesWords() throws Exception {
    OciRuntime runtime = runtime("echo 'level=error msg=\"cannot do it\"' >&2; exit 3");
    assertThatThrownBy(() -> runtime.start(ID))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.RUNTIME_FAILED))
        .hasMessage(
            "start container "
                + ID
                + ": runtime fake ("
                + folder.resolve("runtime")
                + ") says: cannot do it");
  }

  @Test
  void statusIsTheRuntimesAndEmptyForTheUnknown() throws Exception {
    assertThat(runtime("echo '{\"status\":\"stopped\",\"pid\":0}'").status(ID))
        .isEqualTo("stopped");
    Files.delete(folder.resolve("runtime"));
    assertThat(runtime("exit 1").status(ID)).isEmpty();
    Files.delete(folder.resolve("runtime"));
    OciRuntime babbling = runtime("echo '{'");
    assertThatThrownBy(() -> babbling.status(ID))
        .isInstanceOf(ContainerException.class)
        .hasMessageStartingWith("read the state of container " + ID);
  }

  @Test
  void daemonsEnvironmentStaysWithTheDaemon() throws Exception {
    OciRuntime runtime = runtime("/usr/bin/env >" + folder.resolve("env"));
    runtime.start(ID);
    assertThat(Files.readAllLines(folder.resolve("env")))
        .map(line -> line.substring(0, line.indexOf('=')))
        .isSubsetOf("PATH", "XDG_RUNTIME_DIR", "PWD", "OLDPWD", "SHLVL", "_");
  }

  @Test
  void featuresAreAskedOnceForEachFileThatTheProgramIs() throws Exception {
    OciRuntime runtime =
        runtime(
            "echo asked >>"
                + folder.resolve("calls")
                + "; echo '{\"mountOptions\":[\"ro\",\"rro\"],\"linux\":{\"namespaces\":[\"user\"],"
                + "\"mountExtensions\":{\"idmap\":{\"enabled\":true}}}}'");
    RuntimeFeatures features = runtime.features();
    assertThat(features.recursiveReadOnly()).isTrue();
    assertThat(features.userNamespaces()).isTrue();
    assertThat(features.idmappedMounts()).isTrue();
    assertThat(runtime.features()).isSameAs(features);
    assertThat(folder.resolve("calls")).hasContent("asked");

    Path program = folder.resolve("runtime");
    Files.writeString(program, "#!/bin/sh\necho '{\"mountOptions\":[]}'\n");
    assertThat(runtime.features()).isEqualTo(RuntimeFeatures.NONE);
  }

  @ParameterizedTest
  @CsvSource({"crun version 1.8.1, true", "crun version 1.7, false", "fake version 9.9, false"})
  void programWithoutFeaturesIsKnownByItsVersionOrNotAtAll(String version, boolean known)
      throws Exception {
    RuntimeFeatures features =
        runtime("[ \"$1\" = --version ] && { echo " + version + "; exit 0; }; exit 1").features();
    assertThat(features.recursiveReadOnly()).isEqualTo(known);
    assertThat(features.idmappedMounts()).isEqualTo(known);
    assertThat(features.userNamespaces()).as("1.8 gives /dev/null away").isFalse();
  }

  @ParameterizedTest
  @CsvSource({"1.8.7, false", "1.23.1, false", "1.24, true", "1.28, true", "2.0, true"})
  void crunHasUserNamespacesOnceItKeepsTheMachinesDevices(String version, boolean safe)
      throws Exception {
    RuntimeFeatures features =
        runtime(
                "echo '{\"linux\":{\"namespaces\":[\"user\"]},\"annotations\":{"
                    + "\"run.oci.crun.version\":\"%s\"}}'".formatted(version))
            .features();
    assertThat(features.userNamespaces()).isEqualTo(safe);
    assertThat(features.mapsOfJoined()).isFalse();
  }

  @Test
  void runcOf12LooksUpTheMapsOfAUserNamespaceThatIsJoined() throws Exception {
    String runc = "\"annotations\":{\"org.opencontainers.runc.version\":\"1.x\"}";
    String idmap = "\"linux\":{\"mountExtensions\":{\"idmap\":{\"enabled\":false}}}";
    assertThat(parse("{%s}".formatted(runc)).mapsOfJoined()).isFalse();
    assertThat(parse("{%s}".formatted(idmap)).mapsOfJoined()).isFalse();
    assertThat(parse("{%s,%s}".formatted(runc, idmap)).mapsOfJoined()).isTrue();
  }

  private static RuntimeFeatures parse(String answer) throws IOException {
    return RuntimeFeatures.parse(answer.getBytes(UTF_8));
  }

  @Test
  void programsEnvironmentIsTheConfiguredOne() throws Exception {
    Path program = runtime("/usr/bin/env >" + folder.resolve("env")).binary();
    new OciRuntime(
            "fake",
            () -> Optional.of(program),
            folder,
            CgroupDriver.CGROUPFS,
            Map.of("LOG", "debug", "PATH", "/only/here"),
            HandlerPolicy.STRICT)
        .start(ID);
    assertThat(Files.readAllLines(folder.resolve("env")))
        .contains("LOG=debug", "PATH=/only/here", "XDG_RUNTIME_DIR=/run");
  }

  @Test
  void missingProgramIsUnsupportedAndNamesTheSetting() {
    OciRuntime runtime = new OciRuntime("gvisor", Optional::empty, folder, CgroupDriver.CGROUPFS);
    assertThat(runtime.isInstalled()).isFalse();
    var handlers = new RuntimeHandlers("gvisor", List.of(runtime));
    assertThat(handlers.names()).isEmpty();
    assertThatThrownBy(() -> handlers.get(""))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.UNSUPPORTED))
        .hasMessageContaining("correct runtimes.gvisor.path");
    assertThatThrownBy(() -> handlers.get("kata"))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.INVALID))
        .hasMessageContaining("the configured ones are [gvisor]");
  }

  @Test
  void programThatVanishedIsAFailureWithItsPath() {
    Path gone = folder.resolve("gone");
    OciRuntime runtime =
        new OciRuntime("fake", () -> Optional.of(gone), folder, CgroupDriver.CGROUPFS);
    assertThatThrownBy(() -> runtime.start(ID))
        .isInstanceOf(ContainerException.class)
        .hasMessageContaining("execute " + gone + ": no such file or directory (ENOENT)");
  }

  @Test
  void versionIsTheFirstLine() throws Exception {
    assertThat(runtime("echo fake version 1.2; echo spec: 1.3").version())
        .isEqualTo("fake version 1.2");
  }
}
