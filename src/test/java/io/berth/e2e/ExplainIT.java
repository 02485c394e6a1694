package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.cri.v1.StartContainerRequest;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Something is slow: {@code berth explain} says what, while it is and afterwards. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class ExplainIT {
  private static final Duration PATIENCE = Duration.ofMinutes(2);
  private static final Path PLUGINS = Path.of("/usr/lib/cni");
  // Longer than all the rest of the call takes, on a busy machine too.
  private static final long SLOW_NANOS = TimeUnit.SECONDS.toNanos(4);

  @TempDir private Path tools;
  private final DockerRegistry registry;

  ExplainIT(DockerRegistry registry) {
    this.registry = registry;
  }

  private Saboteur saboteur() throws IOException {
    return new Saboteur(tools, TestTools.installed("runc", "runc"), PLUGINS);
  }

  private interface Letting {
    void go() throws Exception;
  }

  /**
   * @param asked what hangs until it is let go
   * @param words what is to blame, as the command says it
   */
  private static void names(
      BerthDaemon daemon, String pod, Callable<?> asked, Letting let, String... words)
      throws Exception {
    var berth = new BerthCli(daemon);
    var call = new FutureTask<Object>(asked::call);
    Thread.ofVirtual().start(call);
    try {
      Await.until(
          "the culprit is named while it is slow",
          PATIENCE,
          () -> {
            if (call.isDone()) {
              call.get();
            }
            JsonNode explained = berth.json("explain", pod);
            JsonNode running = explained.at("/operations").path(0);
            for (JsonNode operation : explained.get("operations")) {
              running = operation.get("finished_at").asLong() == 0 ? operation : running;
            }
            String finding = explained.at("/findings/0").asText();
            return running.get("finished_at").asLong() == 0
                && running.get("elapsed").asLong() > SLOW_NANOS
                && finding.contains("has been running for")
                && List.of(words).stream().allMatch(finding::contains);
          });
    } finally {
      let.go();
    }
    Object _ = call.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    assertThat(berth.run("explain", pod).lines())
        .anyMatch(
            line -> line.contains(" took ") && List.of(words).stream().allMatch(line::contains));
  }

  private static void pull(BerthDaemon daemon, PodSandboxConfig pod) {
    var _ =
        daemon
            .client()
            .images()
            .pullImage(
                PullImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage(Requests.BUSYBOX))
                    .setSandboxConfig(pod)
                    .build());
  }

  private static String run(BerthDaemon daemon, PodSandboxConfig pod) {
    return daemon
        .client()
        .runtime()
        .runPodSandbox(RunPodSandboxRequest.newBuilder().setConfig(pod).build())
        .getPodSandboxId();
  }

  private static String create(
      BerthDaemon daemon, String podId, PodSandboxConfig pod, ContainerConfig.Builder container) {
    return daemon
        .client()
        .runtime()
        .createContainer(
            CreateContainerRequest.newBuilder()
                .setPodSandboxId(podId)
                .setSandboxConfig(pod)
                .setConfig(container)
                .build())
        .getContainerId();
  }

  private static ContainerConfig.Builder sleeper() {
    return Requests.container("main", Requests.BUSYBOX, Requests.SLEEP);
  }

  @Test
  void aSlowRegistry() throws Exception {
    try (var slow = SlowRegistry.start(registry.address());
        var daemon = BerthDaemon.with().registry(slow.address()).start()) {
      PodSandboxConfig pod = Requests.pod(daemon, "slow-registry").build();
      names(
          daemon,
          "slow-registry",
          () -> {
            pull(daemon, pod);
            return "";
          },
          slow::hurry,
          "PullImage",
          "registry registry.k8s.io (fetch)");
    }
  }

  @Test
  void aSlowNetworkPlugin() throws Exception {
    Saboteur saboteur = saboteur();
    try (var daemon = saboteur.daemon().registry(registry.address()).start()) {
      saboteur.hangAt("portmap-ADD-before");
      PodSandboxConfig pod = Requests.pod(daemon, "slow-network").build();
      names(
          daemon,
          "e2e/slow-network",
          () -> run(daemon, pod),
          saboteur::release,
          "RunPodSandbox",
          "CNI plugin portmap");
    }
  }

  @Test
  void aSlowRuntime() throws Exception {
    Saboteur saboteur = saboteur();
    try (var daemon = saboteur.daemon().registry(registry.address()).start()) {
      PodSandboxConfig pod = Requests.pod(daemon, "slow-runtime").build();
      pull(daemon, pod);
      String podId = run(daemon, pod);
      String id = create(daemon, podId, pod, sleeper());
      saboteur.hangAt("runtime-start-before");
      names(
          daemon,
          podId.substring(0, 12),
          () ->
              daemon
                  .client()
                  .runtime()
                  .startContainer(StartContainerRequest.newBuilder().setContainerId(id).build()),
          saboteur::release,
          "StartContainer of container main",
          "OCI runtime runc (start)");
    }
  }

  @Test
  void aSlowMonitor() throws Exception {
    Saboteur saboteur = saboteur();
    try (var daemon = saboteur.daemon().registry(registry.address()).start()) {
      PodSandboxConfig pod = Requests.pod(daemon, "slow-monitor").build();
      pull(daemon, pod);
      String podId = run(daemon, pod);
      saboteur.hangAt("conmon-run-before");
      names(
          daemon,
          "slow-monitor",
          () -> create(daemon, podId, pod, sleeper()),
          saboteur::release,
          "CreateContainer of container main",
          ": conmon ");
    }
  }

  @Test
  void aSlowHook() throws Exception {
    Path released = tools.resolve("hook-released");
    Path hook = tools.resolve("slow-hook");
    Files.writeString(hook, "#!/bin/sh\nwhile [ ! -e " + released + " ]; do sleep 0.02; done\n");
    Files.setPosixFilePermissions(hook, PosixFilePermissions.fromString("rwxr-xr-x"));
    Path hooks = Files.createDirectory(tools.resolve("hooks.d"));
    Files.writeString(
        hooks.resolve("slow.json"),
        """
        {"version": "1.0.0", "hook": {"path": "%s"}, "when": {"always": true},
         "stages": ["createRuntime"]}
        """
            .formatted(hook));
    try (var daemon =
        BerthDaemon.with()
            .config("[containers]\nhooks_dirs = [\"" + hooks + "\"]\n")
            .registry(registry.address())
            .start()) {
      PodSandboxConfig pod = Requests.pod(daemon, "slow-hook").build();
      pull(daemon, pod);
      String podId = run(daemon, pod);
      names(
          daemon,
          "slow-hook",
          () -> create(daemon, podId, pod, sleeper()),
          () -> Files.createFile(released),
          "CreateContainer of container main",
          "OCI hook slow-hook, run by OCI runtime runc (create)");
    }
  }

  /** A file system in user space whose server never answers. */
  @Test
  void aHungMount() throws Exception {
    if (!Files.isReadable(Path.of("/dev/fuse"))) {
      throw TestTools.missing("/dev/fuse is missing: modprobe fuse");
    }
    Path mountPoint = Files.createDirectory(tools.resolve("hung"));
    try (var daemon =
        BerthDaemon.with().privateMounts("true").registry(registry.address()).start()) {
      PodSandboxConfig pod = Requests.pod(daemon, "hung-mount").build();
      pull(daemon, pod);
      String podId = run(daemon, pod);
      Process server =
          new ProcessBuilder(
                  daemon.inItsMounts(
                      List.of(
                          TestTools.installed("bash", "bash").toString(),
                          "-ec",
                          "exec 7<> /dev/fuse; mount -i -t fuse"
                              + " -o fd=7,rootmode=40000,user_id=0,group_id=0 hung "
                              + mountPoint
                              + "; : > "
                              + tools.resolve("mounted")
                              + "; exec sleep infinity")))
              .inheritIO()
              .start();
      try {
        Await.until(
            "a mount", PATIENCE, () -> Files.exists(tools.resolve("mounted")) || !server.isAlive());
        assertThat(server.isAlive()).isTrue();
        ContainerConfig.Builder container =
            sleeper()
                .addMounts(
                    Mount.newBuilder()
                        .setHostPath(mountPoint.resolve("data").toString())
                        .setContainerPath("/data"));
        names(
            daemon,
            "hung-mount",
            () -> {
              assertThatThrownBy(() -> create(daemon, podId, pod, container))
                  .isInstanceOf(StatusRuntimeException.class);
              return "";
            },
            () -> server.destroyForcibly().waitFor(),
            "CreateContainer of container main",
            "the file system of " + mountPoint.resolve("data"));
      } finally {
        server.destroyForcibly().waitFor();
        var _ =
            Commands.attempt(
                daemon.inItsMounts(
                    List.of(
                        TestTools.installed("umount", "mount").toString(),
                        "-l",
                        mountPoint.toString())));
      }
    }
  }

  @Test
  void aFullDiskWhichDoesNotSilenceTheRecorder() throws Exception {
    try (var daemon =
        BerthDaemon.with()
            .privateMounts("true")
            .config("[recorder]\nsize = \"256KiB\"\n")
            .registry(registry.address())
            .start()) {
      daemon.stop();
      var _ =
          Commands.run(
              daemon.inItsMounts(
                  List.of(
                      TestTools.installed("mount", "mount").toString(),
                      "-t",
                      "tmpfs",
                      "-o",
                      "size=768k,mode=0700",
                      "small-disk",
                      daemon.rootFolder().toString())));
      try {
        daemon.restart();
        PodSandboxConfig pod = Requests.pod(daemon, "full-disk").build();
        assertThatThrownBy(() -> pull(daemon, pod)).hasMessageContaining("no space left on device");
        assertThat(new BerthCli(daemon).run("explain", "full-disk").lines())
            .anyMatch(line ->
                line.startsWith("PullImage failed after")
                    && line.contains("unpack")
                    && line.contains("no space left on device"));
      } finally {
        daemon.stop();
        Commands.run(
            daemon.inItsMounts(
                List.of(
                    TestTools.installed("umount", "mount").toString(),
                    daemon.rootFolder().toString())));
      }
      daemon.restart();
    }
  }

  @Test
  void theWatchdogLogsWhatPassesItsLimitAndACrashForgetsNothing() throws Exception {
    Saboteur saboteur = saboteur();
    try (var daemon =
        saboteur
            .daemon()
            .config("[watchdog]\nlimit = \"1s\"\n")
            .registry(registry.address())
            .start()) {
      var berth = new BerthCli(daemon);
      saboteur.hangAt("bridge-ADD-before");
      PodSandboxConfig pod = Requests.pod(daemon, "watched").build();
      var call = new FutureTask<String>(() -> run(daemon, pod));
      Thread.ofVirtual().start(call);
      Await.until(
          "the log names pod, stage, process, its state and our stack",
          PATIENCE,
          () ->
              Files.readString(daemon.log())
                  .replace('\n', '~')
                  .matches(
                      ".*RunPodSandbox [0-9a-f]{8} of pod e2e/watched,? .*in stage cni add bridge,"
                          + " whose limit is 1\\.0 s~  process [0-9]+ \\(bridge\\) state S.*"
                          + "~    at io\\.berth\\.cni\\.PluginProcess.*"));
      assertThat(berth.run("ops", "e2e/watched"))
          .contains("RunPodSandbox", "running for", "cni add bridge", "bridge > sleep");
      daemon.kill9();
      assertThatThrownBy(call::get).isInstanceOf(ExecutionException.class);
      saboteur.release();
      daemon.restart();
      assertThat(berth.run("explain", "watched"))
          .contains("cni add bridge")
          .contains("RunPodSandbox failed after")
          .contains("CNI plugin bridge took")
          .contains("berthd ended meanwhile");
    }
  }
}
