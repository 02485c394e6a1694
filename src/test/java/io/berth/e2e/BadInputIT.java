package io.berth.e2e;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.json.JsonMapper;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ExecSyncRequest;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ImageStatusRequest;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.ListImagesRequest;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.NamespaceOption;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxMetadata;
import io.berth.cri.v1.PodSandboxStatusRequest;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RemoveContainerRequest;
import io.berth.cri.v1.RemoveImageRequest;
import io.berth.cri.v1.RemovePodSandboxRequest;
import io.berth.cri.v1.RunPodSandboxRequest;
import io.berth.cri.v1.RuntimeCondition;
import io.berth.cri.v1.StartContainerRequest;
import io.berth.cri.v1.StatusRequest;
import io.berth.cri.v1.StopContainerRequest;
import io.berth.cri.v1.StopPodSandboxRequest;
import io.berth.oci.Digest;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * What goes wrong is answered with the code that clients act on, and with words that name the
 * operation, its object, the cause and what to do next. Nothing half-made stays.
 */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.Random.class)
class BadInputIT {
  private static final Duration SOON = Duration.ofSeconds(20);
  private static final String INDEX = "application/vnd.oci.image.index.v1+json";
  private static final String MANIFEST = "application/vnd.oci.image.manifest.v1+json";
  private static final String REPOSITORY = "e2e-test-images/busybox";
  private static final String NO_ID = "0".repeat(64);

  private final DockerRegistry registry;
  private final BerthDaemon daemon;

  @SuppressWarnings("MustBeClosedChecker") // closed after the last test
  BadInputIT(DockerRegistry registry) throws Exception {
    this.registry = registry;
    daemon =
        BerthDaemon.with()
            .registry(registry.address())
            .config(
                """
                [runtimes.gone]
                path = "/nonexistent/runc"
                [gc]
                grace = "0s"
                """)
            .start();
  }

  @AfterEach
  void nothingIsLeft() throws Exception {
    daemon.removePods();
    daemon.assertNothingLeft();
    for (var image :
        daemon
            .client()
            .images()
            .listImages(ListImagesRequest.getDefaultInstance())
            .getImagesList()) {
      var _ =
          daemon
              .client()
              .images()
              .removeImage(
                  RemoveImageRequest.newBuilder()
                      .setImage(ImageSpec.newBuilder().setImage(image.getId()))
                      .build());
    }
    Await.until(
        "no layer is left",
        SOON,
        () -> Leftovers.entries(daemon.layers()).stream().allMatch(p -> p.endsWith(".staging")));
  }

  @AfterAll
  void end() throws Exception {
    daemon.close();
  }

  @Test
  void imageThatDoesNotExist() {
    String name = registry.address() + "/" + REPOSITORY + ":no-such-tag";
    refuses(Code.NOT_FOUND, () -> pull(name), name, "no-such-tag");
    var status =
        daemon
            .client()
            .images()
            .imageStatus(ImageStatusRequest.newBuilder().setImage(image(name)).build());
    assertThat(status.hasImage()).isFalse();
  }

  @Test
  void imageNameThatIsNone() {
    refuses(Code.INVALID_ARGUMENT, () -> pull("No/Image:::Name"), "No/Image:::Name");
  }

  @Test
  void imageThatWasNotPulled() {
    String pod = run(Requests.pod(daemon, "unpulled"));
    refuses(
        Code.NOT_FOUND,
        () -> create(pod, Requests.pod(daemon, "unpulled"), sleeper("main")),
        "create container main",
        Requests.BUSYBOX,
        "pull it first");
  }

  @Test
  void registryThatIsDown() throws Exception {
    String name = "127.0.0.1:" + closedPort() + "/some/image:1";
    String words =
        refuses(Code.UNKNOWN, () -> pull(name), name, "connection refused", "see that it runs");
    assertThat(words).startsWith("RegistryUnavailable");
  }

  @Test
  void wrongCredentials() throws Exception {
    try (var guarded = DockerRegistry.startWithPassword()) {
      String name = guarded.address() + "/some/image:1";
      refuses(Code.UNAUTHENTICATED, () -> pull(name), name, guarded.address());
      PullImageRequest.Builder wrong = PullImageRequest.newBuilder().setImage(image(name));
      wrong.getAuthBuilder().setUsername(DockerRegistry.USER).setPassword("not-the-one");
      String words =
          refuses(
              Code.UNAUTHENTICATED,
              () -> daemon.client().images().pullImage(wrong.build()),
              name,
              guarded.address());
      assertThat(words).doesNotContain("not-the-one");
      PullImageRequest.Builder right = PullImageRequest.newBuilder().setImage(image(name));
      right.getAuthBuilder().setUsername(DockerRegistry.USER).setPassword(DockerRegistry.PASSWORD);
      refuses(Code.NOT_FOUND, () -> daemon.client().images().pullImage(right.build()), name);
    }
  }

  @Test
  void layerThatIsCorrupt() throws Exception {
    try (var damaged = DockerRegistry.start()) {
      damaged.pushFixtureImages();
      String layer =
          new JsonMapper()
              .readTree(manifest(damaged, "1.29-2"))
              .at("/layers/0/digest")
              .asText()
              .substring("sha256:".length());
      Path blob =
          damaged
              .storage()
              .resolve("docker/registry/v2/blobs/sha256")
              .resolve(layer.substring(0, 2))
              .resolve(layer)
              .resolve("data");
      byte[] content = Files.readAllBytes(blob);
      content[content.length / 2] ^= 1;
      Files.write(blob, content);
      String image = damaged.address() + "/" + REPOSITORY + ":1.29-2";

      refuses(Code.DATA_LOSS, () -> pull(image), image, layer);
    }
  }

  @Test
  void imageForAnotherPlatformOnly() throws Exception {
    String manifest = manifest(registry, "1.29-2");
    String index =
        """
        {"schemaVersion": 2, "mediaType": "%s", "manifests": [
          {"mediaType": "%s", "digest": "%s", "size": %d,
           "platform": {"os": "linux", "architecture": "s390x"}}]}
        """
            .formatted(INDEX, MANIFEST, Digest.sha256(manifest.getBytes(UTF_8)), manifest.length());
    putIndex("elsewhere", index);
    String name = registry.address() + "/" + REPOSITORY + ":elsewhere";

    refuses(Code.FAILED_PRECONDITION, () -> pull(name), name, "linux/s390x", "linux/amd64");
  }

  @Test
  void runtimeWhoseProgramIsMissing() {
    refuses(
        Code.FAILED_PRECONDITION,
        () -> run(Requests.pod(daemon, "no-runtime"), "gone"),
        "use runtime handler \"gone\"",
        "missing",
        "install it or correct runtimes.gone.path");
  }

  @Test
  void runtimeHandlerThatIsNotConfigured() {
    refuses(
        Code.INVALID_ARGUMENT,
        () -> run(Requests.pod(daemon, "unknown-handler"), "gvisor"),
        "find runtime handler \"gvisor\"",
        "runc",
        "add [runtimes.gvisor]");
  }

  @Test
  void networkConfigurationThatIsBroken() throws Exception {
    Path file;
    try (Stream<Path> files = Files.list(daemon.cniFolder())) {
      file = files.findFirst().orElseThrow();
    }
    String good = Files.readString(file);
    try {
      Files.writeString(file, good.substring(0, good.length() / 2));
      Await.until("the network is not ready", SOON, () -> !networkMessage().isEmpty());
      assertThat(networkMessage()).contains(file.toString());
      assertThat(networkReason()).isEqualTo("NetworkPluginNotReady");
      NamespaceOption machine =
          Requests.ORDINARY.toBuilder().setNetwork(NamespaceMode.NODE).build();
      assertThat(run(Requests.pod(daemon, "on-the-machines-network", machine))).hasSize(64);
      refuses(
          Code.UNAVAILABLE,
          () -> run(Requests.pod(daemon, "no-network")),
          "run sandbox e2e/no-network",
          file.toString());

      Files.writeString(
          file, good.replace("\"bridge\", \"bridge\"", "\"no-such-plugin\", \"bridge\""));
      Await.until("the plugin is missed", SOON, () -> networkMessage().contains("no-such-plugin"));
      refuses(
          Code.UNAVAILABLE,
          () -> run(Requests.pod(daemon, "no-plugin")),
          "run sandbox e2e/no-plugin",
          "no-such-plugin");
    } finally {
      Files.writeString(file, good);
    }
    Await.until("the network is ready again", SOON, () -> networkMessage().isEmpty());
    assertThat(run(Requests.pod(daemon, "network-is-back"))).hasSize(64);
  }

  @Test
  void networkPluginThatRefuses() throws Exception {
    Path file;
    try (Stream<Path> files = Files.list(daemon.cniFolder())) {
      file = files.findFirst().orElseThrow();
    }
    String good = Files.readString(file);
    try {
      // Leaving such a network succeeds, so that nothing stays owed.
      Files.writeString(file, good.replace("\"" + daemon.bridge() + "\"", "\"lo\""));
      Await.until(
          "a pod is refused in the plugin's words",
          SOON,
          () -> {
            try {
              run(Requests.pod(daemon, "refused"));
              daemon.removePods();
              return false; // the file was not read yet
            } catch (StatusRuntimeException failure) {
              assertThat(failure.getStatus().getCode()).isEqualTo(Code.UNKNOWN);
              assertThat(failure.getStatus().getDescription())
                  .contains("run sandbox", "e2e/refused", "plugin bridge", "not a bridge");
              return true;
            }
          });
    } finally {
      Files.writeString(file, good);
    }
    Await.until(
        "the file is read again", SOON, () -> !run(Requests.pod(daemon, "accepted")).isEmpty());
  }

  @Test
  void commandThatIsNotInTheImage() {
    pull(Requests.BUSYBOX);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "no-command");
    String podId = run(pod);
    refuses(
        Code.UNKNOWN,
        () ->
            create(
                podId,
                pod,
                Requests.container("main", Requests.BUSYBOX, List.of("/no/such/program"))),
        "create container",
        "main",
        "/no/such/program",
        "no such file or directory",
        "correct the command or the image");
    assertThat(containers()).isEmpty();
    assertThat(daemon.logs().resolve("no-command/main.log")).doesNotExist();
    // The name is free again.
    assertThat(create(podId, pod, sleeper("main"))).hasSize(64);
  }

  @Test
  void nameThatIsTaken() {
    pull(Requests.BUSYBOX);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "twice");
    String podId = run(pod);
    assertThat(run(pod)).as("a caller who asks again for the same").isEqualTo(podId);
    refuses(
        Code.ALREADY_EXISTS,
        () -> run(Requests.pod(daemon, "twice").setHostname("another")),
        "run sandbox e2e/twice",
        podId);
    String container = create(podId, pod, sleeper("main"));
    assertThat(create(podId, pod, sleeper("main"))).isEqualTo(container);
    refuses(
        Code.ALREADY_EXISTS,
        () -> create(podId, pod, sleeper("main").setWorkingDir("/tmp")),
        "create container main",
        container,
        "attempt");
    assertThat(containers()).containsExactly(container);
  }

  @Test
  void cgroupParentsThatAreNone() {
    for (String parent : List.of("/pods/../../escape", "/kubepods.slice/kubepods-podx.slice")) {
      PodSandboxConfig.Builder pod = Requests.pod(daemon, "bad-parent");
      pod.getLinuxBuilder().setCgroupParent(parent);
      refuses(
          Code.INVALID_ARGUMENT,
          () -> run(pod),
          "run sandbox e2e/bad-parent",
          "\"" + parent + "\"");
    }
  }

  @Test
  void requestsWithoutMetadata() {
    refuses(
        Code.INVALID_ARGUMENT,
        () -> run(Requests.pod(daemon, "nameless").clearMetadata()),
        "run a sandbox",
        "metadata",
        "set name, namespace and uid");
    refuses(
        Code.INVALID_ARGUMENT,
        () ->
            run(
                Requests.pod(daemon, "nameless")
                    .setMetadata(PodSandboxMetadata.newBuilder().setName("../up"))),
        "run sandbox");
    pull(Requests.BUSYBOX);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "nameless-container");
    String podId = run(pod);
    refuses(
        Code.INVALID_ARGUMENT,
        () -> create(podId, pod, sleeper("main").clearMetadata()),
        "create a container",
        "metadata",
        "set its name");
  }

  @Test
  void idsThatAreNoneAreNotFoundAndStoppingThemSucceeds() {
    var runtime = daemon.client().runtime();
    for (String id : List.of(NO_ID, "nonsense", "../../../etc", "-")) {
      refuses(
          Code.NOT_FOUND,
          () ->
              runtime.podSandboxStatus(
                  PodSandboxStatusRequest.newBuilder().setPodSandboxId(id).build()),
          "sandbox",
          id);
      refuses(
          Code.NOT_FOUND,
          () ->
              runtime.containerStatus(
                  ContainerStatusRequest.newBuilder().setContainerId(id).build()),
          "container",
          id);
      refuses(
          Code.NOT_FOUND,
          () ->
              runtime.startContainer(StartContainerRequest.newBuilder().setContainerId(id).build()),
          "container",
          id);
      refuses(
          Code.NOT_FOUND,
          () ->
              runtime.execSync(
                  ExecSyncRequest.newBuilder().setContainerId(id).addCmd("true").build()),
          "container",
          id);
      refuses(
          Code.NOT_FOUND, () -> create(id, Requests.pod(daemon, "nowhere"), sleeper("main")), id);
      var _ = runtime.stopContainer(StopContainerRequest.newBuilder().setContainerId(id).build());
      var _ =
          runtime.removeContainer(RemoveContainerRequest.newBuilder().setContainerId(id).build());
      var _ =
          runtime.stopPodSandbox(StopPodSandboxRequest.newBuilder().setPodSandboxId(id).build());
      var _ =
          runtime.removePodSandbox(
              RemovePodSandboxRequest.newBuilder().setPodSandboxId(id).build());
      var _ =
          daemon
              .client()
              .images()
              .removeImage(RemoveImageRequest.newBuilder().setImage(image(NO_ID)).build());
    }
    refuses(
        Code.INVALID_ARGUMENT,
        () -> runtime.podSandboxStatus(PodSandboxStatusRequest.getDefaultInstance()),
        "id is empty");
    refuses(
        Code.INVALID_ARGUMENT,
        () -> runtime.containerStatus(ContainerStatusRequest.getDefaultInstance()),
        "id is empty");
    refuses(
        Code.INVALID_ARGUMENT,
        () -> daemon.client().images().removeImage(RemoveImageRequest.getDefaultInstance()),
        "image");
  }

  @Test
  void containerThatIsNotInTheRightState() {
    pull(Requests.BUSYBOX);
    PodSandboxConfig.Builder pod = Requests.pod(daemon, "states");
    String podId = run(pod);
    String container = create(podId, pod, sleeper("main"));
    var runtime = daemon.client().runtime();
    refuses(
        Code.FAILED_PRECONDITION,
        () ->
            runtime.execSync(
                ExecSyncRequest.newBuilder().setContainerId(container).addCmd("true").build()),
        "execute in container " + container,
        "running");
    var start = StartContainerRequest.newBuilder().setContainerId(container).build();
    var _ = runtime.startContainer(start);
    var _ =
        runtime.stopPodSandbox(StopPodSandboxRequest.newBuilder().setPodSandboxId(podId).build());
    refuses(
        Code.FAILED_PRECONDITION,
        () -> runtime.startContainer(start),
        "start container " + container);
    refuses(
        Code.FAILED_PRECONDITION,
        () -> create(podId, pod, sleeper("late")),
        "create container late",
        podId);
  }

  /**
   * @return the words, all of {@code parts} among them
   */
  private static String refuses(Code code, Callable<?> call, String... parts) {
    try {
      Object answer = call.call();
      throw new AssertionError("succeeds with " + answer + " instead of failing with " + code);
    } catch (StatusRuntimeException failure) {
      String words = String.valueOf(failure.getStatus().getDescription());
      assertThat(failure.getStatus().getCode()).as(words).isEqualTo(code);
      assertThat(words).contains(parts);
      return words;
    } catch (AssertionError failure) {
      throw failure;
    } catch (Exception failure) {
      throw new AssertionError("not an answer of the daemon", failure);
    }
  }

  private String run(PodSandboxConfig.Builder pod) {
    return run(pod, "");
  }

  private String run(PodSandboxConfig.Builder pod, String handler) {
    return daemon
        .client()
        .runtime()
        .runPodSandbox(
            RunPodSandboxRequest.newBuilder().setConfig(pod).setRuntimeHandler(handler).build())
        .getPodSandboxId();
  }

  private String create(
      String podId, PodSandboxConfig.Builder pod, ContainerConfig.Builder container) {
    return daemon
        .client()
        .runtime()
        .createContainer(
            CreateContainerRequest.newBuilder()
                .setPodSandboxId(podId)
                .setConfig(container)
                .setSandboxConfig(pod)
                .build())
        .getContainerId();
  }

  private String pull(String name) {
    return daemon
        .client()
        .images()
        .pullImage(PullImageRequest.newBuilder().setImage(image(name)).build())
        .getImageRef();
  }

  private List<String> containers() {
    return daemon
        .client()
        .runtime()
        .listContainers(ListContainersRequest.getDefaultInstance())
        .getContainersList()
        .stream()
        .map(container -> container.getId())
        .toList();
  }

  /** Why the network isn't ready; empty when it is. */
  private String networkMessage() {
    return networkFault(RuntimeCondition::getMessage);
  }

  private String networkReason() {
    return networkFault(RuntimeCondition::getReason);
  }

  private String networkFault(Function<RuntimeCondition, String> part) {
    return daemon
        .client()
        .runtime()
        .status(StatusRequest.getDefaultInstance())
        .getStatus()
        .getConditionsList()
        .stream()
        .filter(condition -> condition.getType().equals("NetworkReady") && !condition.getStatus())
        .map(part)
        .findFirst()
        .orElse("");
  }

  private static ImageSpec image(String name) {
    return ImageSpec.newBuilder().setImage(name).build();
  }

  private static ContainerConfig.Builder sleeper(String name) {
    return Requests.container(name, Requests.BUSYBOX, Requests.SLEEP);
  }

  private static String manifest(DockerRegistry from, String tag)
      throws IOException, InterruptedException {
    return send(HttpRequest.newBuilder(manifestUri(from, tag)).header("Accept", MANIFEST)).body();
  }

  private void putIndex(String tag, String index) throws IOException, InterruptedException {
    HttpResponse<String> answer =
        send(
            HttpRequest.newBuilder(manifestUri(registry, tag))
                .header("Content-Type", INDEX)
                .PUT(HttpRequest.BodyPublishers.ofString(index)));
    assertThat(answer.statusCode()).as(answer.body()).isEqualTo(201);
  }

  private static URI manifestUri(DockerRegistry at, String tag) {
    return URI.create("http://" + at.address() + "/v2/" + REPOSITORY + "/manifests/" + tag);
  }

  private static HttpResponse<String> send(HttpRequest.Builder request)
      throws IOException, InterruptedException {
    try (var client = HttpClient.newHttpClient()) {
      return client.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }
  }

  private static int closedPort() throws IOException {
    try (var socket = new ServerSocket()) {
      socket.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
      return socket.getLocalPort();
    }
  }
}
