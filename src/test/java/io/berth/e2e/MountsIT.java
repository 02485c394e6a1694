package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.MountPropagation;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.StartContainerRequest;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What a container finds mounted, and what it can and can't do there. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class MountsIT {
  /** Where links of the fixture images lead. */
  private static final Path ESCAPE = Path.of("/berth-escape");

  private final BerthDaemon daemon;
  private final Crictl crictl;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  MountsIT(DockerRegistry registry) throws Exception {
    daemon = Runtimes.node(registry).start();
    crictl = daemon.crictl();
  }

  @BeforeEach
  void imagesAreThere() throws Exception {
    for (String image : List.of(Requests.BUSYBOX, Requests.VOLUMES, Requests.LINKED_ETC)) {
      crictl.run("pull", image);
    }
  }

  @AfterEach
  void nothingIsLeft() throws Exception {
    daemon.removePods();
    daemon.assertNothingLeft();
  }

  @AfterAll
  void end() throws Exception {
    daemon.close();
  }

  private String started(
      String podId, ContainerConfig.Builder container, PodSandboxConfig.Builder pod) {
    var runtime = daemon.client().runtime();
    String id =
        runtime
            .createContainer(
                CreateContainerRequest.newBuilder()
                    .setPodSandboxId(podId)
                    .setConfig(container)
                    .setSandboxConfig(pod)
                    .build())
            .getContainerId();
    var _ = runtime.startContainer(StartContainerRequest.newBuilder().setContainerId(id).build());
    return id;
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void optionsAndAccessAreAsAsked(String handler) throws Exception {
    Path source = folder("options-" + handler);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "options");
    // Not by crictl, which leaves out what its older copy of the CRI doesn't know.
    String container =
        started(
            crictl.runPod(pod, handler),
            sleeper()
                .addMounts(mount("/rw", source))
                .addMounts(mount("/ro", source).setReadonly(true))
                .addMounts(
                    mount("/no", source)
                        .addMountOptions("noexec")
                        .addMountOptions("nodev")
                        .addMountOptions("nosuid")),
            pod);

    in(container, "printf '#!/bin/sh\\necho ran\\n' > /rw/program && chmod +x /rw/program");
    assertThat(Files.readString(source.resolve("program"))).contains("ran");
    assertThat(in(container, "/rw/program")).isEqualTo("ran");
    assertThat(attempt(container, "touch /ro/x")).contains("Read-only file system");
    assertThat(options(container, "/no")).contains("noexec", "nodev", "nosuid", "rw");
    // By env, as busybox's shell reads itself what it may not execute.
    assertThat(attempt(container, "env /no/program")).contains("ermission denied");
    assertThat(options(container, "/rw")).doesNotContain("noexec", "nodev", "nosuid");
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void recursivelyReadOnlyMeansWhatIsMountedBeneathToo(String handler) throws Exception {
    Path source = folder("deep-" + handler);
    Path beneath = Files.createDirectory(source.resolve("beneath"));
    machine("mount", "-t", "tmpfs", "tmpfs", beneath.toString());
    try {
      PodSandboxConfig.Builder pod = Requests.pod(daemon, "deep");
      String container =
          crictl.start(
              crictl.runPod(pod, handler),
              sleeper()
                  .addMounts(mount("/ro", source).setReadonly(true))
                  .addMounts(mount("/rro", source).setReadonly(true).setRecursiveReadOnly(true)),
              pod);

      in(container, "touch /ro/beneath/x");
      assertThat(attempt(container, "touch /ro/x")).contains("Read-only file system");
      assertThat(attempt(container, "touch /rro/x")).contains("Read-only file system");
      assertThat(attempt(container, "touch /rro/beneath/x")).contains("Read-only file system");
    } finally {
      daemon.removePods();
      machine("umount", beneath.toString());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void mountsPropagateInTheDirectionsThatWereAsked(String handler) throws Exception {
    Path source = folder("shared-" + handler);
    machine("mount", "-t", "tmpfs", "tmpfs", source.toString());
    try {
      for (String name : List.of("before", "from-machine", "from-container")) {
        Files.createDirectory(seen(source).resolve(name));
      }
      PodSandboxConfig.Builder pod = Requests.pod(daemon, "propagation");
      pod.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
      String podId = crictl.runPod(pod, handler);
      ContainerConfig.Builder config =
          sleeper()
              .addMounts(mount("/private", source))
              .addMounts(
                  mount("/slave", source)
                      .setPropagation(MountPropagation.PROPAGATION_HOST_TO_CONTAINER))
              .addMounts(
                  mount("/shared", source)
                      .setPropagation(MountPropagation.PROPAGATION_BIDIRECTIONAL));
      config.getLinuxBuilder().getSecurityContextBuilder().setPrivileged(true);
      machine("mount", "--make-private", source.toString());
      assertThat(crictl.attemptCreate(podId, config, pod).err())
          .contains("InvalidArgument", "isn't shared or slave");

      machine("mount", "--make-shared", source.toString());
      String container = crictl.start(podId, config, pod);
      machine("mount", "-t", "tmpfs", "tmpfs", source.resolve("from-machine").toString());
      Files.createFile(seen(source).resolve("from-machine/file"));
      assertThat(in(container, "ls /private/from-machine")).isEmpty();
      assertThat(in(container, "ls /slave/from-machine /shared/from-machine"))
          .containsPattern("(?s)file.*file");

      in(
          container,
          "mount -t tmpfs tmpfs /shared/from-container && touch /shared/from-container/file");
      assertThat(seen(source).resolve("from-container/file")).exists();
      in(container, "umount /shared/from-container");
      assertThat(seen(source).resolve("from-container/file")).doesNotExist();
    } finally {
      daemon.removePods();
      machine("umount", "-R", source.toString());
    }
  }

  @Test
  void linksAreFollowedMissingSourcesMadeAndTheStatusRepeatsTheRequest() throws Exception {
    Path real = folder("real");
    Files.writeString(real.resolve("file"), "found\n");
    Path link = Files.createSymbolicLink(daemon.folder().resolve("link"), real);
    Path missing = daemon.folder().resolve("missing/folder");
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "links");
    String container =
        crictl.start(
            crictl.runPod(pod),
            sleeper()
                .addMounts(mount("/linked//", link))
                .addMounts(mount("/made", missing).setReadonly(true)),
            pod);

    assertThat(in(container, "cat /linked/file")).isEqualTo("found");
    assertThat(missing).isDirectory();
    JsonNode mounts = crictl.json("inspect", container).at("/status/mounts");
    assertThat(mounts).hasSize(2);
    assertThat(mounts.at("/0/hostPath").asText()).isEqualTo(link.toString());
    assertThat(mounts.at("/0/containerPath").asText()).isEqualTo("/linked//");
    assertThat(mounts.at("/1/readonly").asBoolean()).isTrue();
  }

  @Test
  void parentsComeFirstAndTheRequestWinsOverThePodsOwnFiles() throws Exception {
    Path outer = folder("outer");
    Path inner = folder("inner");
    Files.createFile(outer.resolve("of-outer"));
    Files.createFile(inner.resolve("of-inner"));
    Path hosts = Files.writeString(daemon.folder().resolve("hosts"), "192.0.2.7 mine\n");
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "order");
    String container =
        crictl.start(
            crictl.runPod(pod),
            sleeper()
                .addMounts(mount("/a/b", inner))
                .addMounts(mount("/etc/hosts", hosts))
                .addMounts(mount("/a", outer)),
            pod);

    assertThat(in(container, "ls /a /a/b")).contains("of-outer", "of-inner");
    assertThat(in(container, "cat /etc/hosts")).isEqualTo("192.0.2.7 mine");
  }

  /** As agents ask for that plug in devices: nothing may be made in the machine's folder. */
  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void devicesOfTheRequestReplaceAllOthersAndStayAsTheyAre(String handler) throws Exception {
    Path devices = folder("devices-" + handler);
    for (var device : Map.of("null", "3", "zero", "5", "full", "7").entrySet()) {
      String mknod = TestTools.installed("mknod", "coreutils").toString();
      Commands.run(
          List.of(
              mknod,
              "-m",
              "666",
              devices.resolve(device.getKey()) + "",
              "c",
              "1",
              device.getValue()));
    }
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "devices");
    String container =
        crictl.start(crictl.runPod(pod, handler), sleeper().addMounts(mount("/dev", devices)), pod);

    assertThat(in(container, "ls /dev").lines()).containsExactly("full", "null", "zero");
    assertThat(in(container, "grep -c ' /dev/' /proc/mounts || true")).isEqualTo("0");
    assertThat(Leftovers.entries(devices)).hasSize(3);
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void linksOfAnImageLeadNowhereOnTheMachine(String handler) throws Exception {
    Path source = folder("escape-" + handler);
    Files.createFile(source.resolve("file"));
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "escape");
    String podId = crictl.runPod(pod, handler);
    ContainerConfig.Builder links =
        Requests.container("links", Requests.VOLUMES, Requests.SLEEP)
            .addMounts(mount("/up/berth-it", source));
    if (!handler.equals(Runtimes.CRUN)) { // which refuses a link that leads nowhere
      links.addMounts(mount("/out/berth-it", source));
    }
    String container = crictl.start(podId, links, pod);
    assertThat(in(container, "ls /etc/berth-it")).isEqualTo("file");
    if (!handler.equals(Runtimes.CRUN)) {
      assertThat(in(container, "ls /berth-escape/berth-it")).isEqualTo("file");
    }

    var linkedEtc =
        crictl.attemptCreate(
            podId, Requests.container("etc", Requests.LINKED_ETC, Requests.SLEEP), pod);
    if (!handler.equals(Runtimes.CRUN)) {
      assertThat(linkedEtc.ok()).as(linkedEtc.err()).isTrue();
    }
    assertThat(ESCAPE).doesNotExist();
    assertThat(Path.of("/etc/berth-it")).doesNotExist();
  }

  @ParameterizedTest
  @ValueSource(strings = {Runtimes.CURRENT, Runtimes.DEBIAN, Runtimes.CRUN})
  void volumesOfTheImageAreTheContainersOwnCopies(String handler) throws Exception {
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "declared");
    String podId = crictl.runPod(pod, handler);
    String one =
        crictl.start(podId, Requests.container("one", Requests.VOLUMES, Requests.SLEEP), pod);
    String other =
        crictl.start(
            podId,
            Requests.container("other", Requests.VOLUMES, Requests.SLEEP)
                .addMounts(mount("/fresh", folder("fresh-" + handler))),
            pod);

    assertThat(in(one, "cat /data/seed /data/link")).contains("seed of the image");
    assertThat(in(one, "stat -c %u:%g:%a /data /data/seed").lines())
        .containsExactly("1000:1000:750", "1000:1000:640");
    assertThat(in(one, "readlink /data/link")).isEqualTo("seed");
    assertThat(options(one, "/data")).contains("rw");
    in(one, "echo changed > /data/seed && touch /fresh/new");
    assertThat(in(other, "cat /data/seed")).isEqualTo("seed of the image");
    in(other, "touch /fresh/of-the-request");
    assertThat(daemon.folder().resolve("fresh-" + handler + "/of-the-request")).exists();

    crictl.run("rm", "--force", one);
    String again =
        crictl.start(podId, Requests.container("again", Requests.VOLUMES, Requests.SLEEP), pod);
    assertThat(in(again, "cat /data/seed; ls /fresh")).isEqualTo("seed of the image");
  }

  private static ContainerConfig.Builder sleeper() {
    return Requests.container("main", Requests.BUSYBOX, Requests.SLEEP);
  }

  private static Mount.Builder mount(String target, Path source) {
    return Mount.newBuilder().setContainerPath(target).setHostPath(source.toString());
  }

  private Path folder(String name) throws Exception {
    return Files.createDirectories(daemon.folder().resolve(name));
  }

  /** The same folder through the daemon's mounts. */
  private Path seen(Path folder) {
    return Path.of("/proc/" + daemon.processWithMounts() + "/root" + folder);
  }

  private void machine(String... command) throws InterruptedException {
    String program = TestTools.installed(command[0], "mount").toString();
    var all = new java.util.ArrayList<>(List.of(command));
    all.set(0, program);
    String _ = Commands.run(daemon.inItsMounts(all));
  }

  private String in(String container, String script) throws InterruptedException {
    return crictl.run("exec", "-s", container, "sh", "-c", script);
  }

  private String attempt(String container, String script) throws InterruptedException {
    return crictl.attempt("exec", "-s", container, "sh", "-c", script).err();
  }

  private List<String> options(String container, String target) throws InterruptedException {
    return List.of(in(container, "grep ' " + target + " ' /proc/mounts").split(" ")[3].split(","));
  }
}
