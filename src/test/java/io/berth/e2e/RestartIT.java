package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.admin.v1.DebtsRequest;
import io.berth.cri.v1.Container;
import io.berth.cri.v1.ContainerConfig;
import io.berth.cri.v1.ContainerState;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ContainerStatusRequest;
import io.berth.cri.v1.CreateContainerRequest;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ListContainersRequest;
import io.berth.cri.v1.ListPodSandboxRequest;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.NamespaceMode;
import io.berth.cri.v1.PodSandbox;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxState;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.StatusRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** The daemon dies, its helpers die or hang, the machine restarts: nothing is lost or leaked. */
@Tag("root")
@ExtendWith({DaemonLogs.class, FixtureRegistry.class})
class RestartIT {
  private static final int KILLS = 20;
  private static final int LOOPS = 4;
  private static final Duration SETTLED = Duration.ofSeconds(30);
  private static final Path PLUGINS = Path.of("/usr/lib/cni");
  private static final Path BOOT_ID = Path.of("/proc/sys/kernel/random/boot_id");

  @TempDir Path tools = Path.of("");
  private final DockerRegistry registry;

  RestartIT(DockerRegistry registry) {
    this.registry = registry;
  }

  private Saboteur saboteur() throws IOException {
    return new Saboteur(tools, TestTools.installed("runc", "runc"), PLUGINS);
  }

  private static void pull(BerthDaemon daemon) {
    var _ =
        daemon
            .client()
            .images()
            .pullImage(
                PullImageRequest.newBuilder()
                    .setImage(ImageSpec.newBuilder().setImage(Requests.BUSYBOX))
                    .build());
  }

  private static PodLife life(BerthDaemon daemon) {
    return new PodLife(daemon.socket(), () -> 60_000);
  }

  private static ContainerConfig sleeper(String name) {
    return Requests.container(name, Requests.BUSYBOX, Requests.SLEEP).build();
  }

  /** Ends with 42 as soon as the file {@code go} is in {@code signals}. */
  private static ContainerConfig waiter(String name, Path signals) {
    return Requests.container(
            name,
            Requests.BUSYBOX,
            List.of("sh", "-c", "until [ -e /signals/go ]; do sleep 0.02; done; exit 42"))
        .addMounts(Mount.newBuilder().setContainerPath("/signals").setHostPath(signals.toString()))
        .build();
  }

  private static long conmon(BerthDaemon daemon, String container) throws IOException {
    Path file = daemon.runFolder().resolve("containers").resolve(container).resolve("conmon.pid");
    return Long.parseLong(Files.readString(file).strip());
  }

  private static boolean runs(long pid) {
    return ProcessHandle.of(pid).map(ProcessHandle::isAlive).orElse(false);
  }

  private static void kill(long pid) throws InterruptedException {
    var _ = Commands.run(List.of("/bin/sh", "-c", "kill -9 " + pid));
  }

  private static List<Container> containers(BerthDaemon daemon) {
    return daemon
        .client()
        .runtime()
        .listContainers(ListContainersRequest.getDefaultInstance())
        .getContainersList();
  }

  private static List<PodSandbox> pods(BerthDaemon daemon) {
    return daemon
        .client()
        .runtime()
        .listPodSandbox(ListPodSandboxRequest.getDefaultInstance())
        .getItemsList();
  }

  @Test
  void twentyKillsInTheMiddleOfPodLivesLoseAndLeakNothing() throws Exception {
    long seed = Long.getLong("berth.seed", System.nanoTime());
    System.out.println("RestartIT: -Dberth.seed=" + seed);
    Random random = new Random(seed);
    Path signals = Files.createDirectory(tools.resolve("signals"));
    try (var daemon = BerthDaemon.with().registry(registry.address()).start();
        ExecutorService loops = Executors.newVirtualThreadPerTaskExecutor()) {
      pull(daemon);
      var enough = new AtomicBoolean();
      var lives = new AtomicInteger();
      Map<String, Long> keepers = new LinkedHashMap<>();
      List<String> keeperPods = new ArrayList<>();
      for (int i = 0; i < LOOPS; i++) {
        try (PodLife life = life(daemon)) {
          PodSandboxConfig pod = Requests.pod(daemon, "keeper-" + i).build();
          String podId = life.run(pod);
          String id = life.create(podId, pod, waiter("waits", signals));
          life.start(id);
          keepers.put(id, daemon.pid(id));
          keeperPods.add(podId);
        }
      }
      List<Future<?>> running = new ArrayList<>();
      for (int i = 0; i < LOOPS; i++) {
        String name = "loop-" + i;
        Random own = new Random(random.nextLong());
        running.add(
            loops.submit(() -> {
              try (var life = new PodLife(daemon.socket(), () -> own.nextLong(200, 5000))) {
                for (int n = 0; !enough.get(); n++) {
                  liveOnce(daemon, life, name + "-" + n, own);
                  lives.incrementAndGet();
                }
              }
              return null;
            }));
      }
      Set<String> ids = new TreeSet<>();
      for (int i = 1; i <= KILLS; i++) {
        TimeUnit.MILLISECONDS.sleep(random.nextLong(50, 800));
        daemon.kill9();
        ids.addAll(idsOnRecord(daemon));
        if (i == KILLS) {
          // These end while nobody but their monitors looks.
          Files.writeString(signals.resolve("go"), "");
          for (long pid : keepers.values()) {
            Await.until("end of " + pid, SETTLED, () -> !runs(pid));
          }
        }
        Instant down = Instant.now();
        daemon.restart();
        for (var keeper : keepers.entrySet()) {
          ContainerStatus status =
              daemon
                  .client()
                  .runtime()
                  .containerStatus(
                      ContainerStatusRequest.newBuilder().setContainerId(keeper.getKey()).build())
                  .getStatus();
          if (i < KILLS) {
            assertThat(status.getState()).isEqualTo(ContainerState.CONTAINER_RUNNING);
            assertThat(daemon.pid(keeper.getKey())).isEqualTo(keeper.getValue());
            assertThat(runs(keeper.getValue())).isTrue();
          } else {
            assertThat(status.getState()).isEqualTo(ContainerState.CONTAINER_EXITED);
            assertThat(status.getExitCode()).isEqualTo(42);
            assertThat(status.getReason()).isEqualTo("Error");
            assertThat(Duration.ofNanos(status.getFinishedAt()))
                .isBetween(
                    Duration.ofNanos(status.getStartedAt()),
                    Duration.ofMillis(down.toEpochMilli() + 1));
          }
        }
        running.stream().filter(Future::isDone).forEach(RestartIT::fail);
      }
      enough.set(true);
      for (Future<?> loop : running) {
        var _ = loop.get(60, TimeUnit.SECONDS);
      }
      System.out.println("RestartIT: " + lives.get() + " lives, " + ids.size() + " ids met");
      assertThat(lives.get()).isPositive();
      try (PodLife life = life(daemon)) {
        for (String podId : keeperPods) {
          life.stopPod(podId);
          life.removePod(podId);
        }
      }
      assertThat(pods(daemon)).isEmpty();
      assertThat(containers(daemon)).isEmpty();
      daemon.assertNothingLeft(SETTLED);
      assertThat(cgroupsOf(ids)).isEmpty();
      assertThat(Files.readString(daemon.log())).doesNotContain(" ERROR ");
    }
  }

  private static void fail(Future<?> loop) {
    switch (loop.state()) {
      case FAILED -> throw new AssertionError("a loop has failed", loop.exceptionNow());
      default -> throw new AssertionError("a loop has ended before its time");
    }
  }

  private static void liveOnce(BerthDaemon daemon, PodLife life, String name, Random random)
      throws InterruptedException {
    var namespaces = Requests.ORDINARY.toBuilder();
    if (random.nextInt(3) == 0) {
      namespaces.setPid(NamespaceMode.POD);
    }
    if (random.nextInt(4) == 0) {
      namespaces.setNetwork(NamespaceMode.NODE);
    }
    PodSandboxConfig pod = Requests.pod(daemon, name, namespaces.build()).build();
    ContainerConfig container =
        Requests.container("sleeps", Requests.BUSYBOX, Requests.SLEEP, namespaces.build()).build();
    String podId = life.run(pod);
    String id = life.create(podId, pod, container);
    life.start(id);
    assertThat(life.exec(id, "echo", name)).isEqualTo(name + "\n");
    assertThat(life.status(id).getState()).isEqualTo(ContainerState.CONTAINER_RUNNING);
    if (random.nextBoolean()) {
      life.stop(id, 5);
      assertThat(life.status(id).getState()).isEqualTo(ContainerState.CONTAINER_EXITED);
      life.remove(id);
    }
    life.stopPod(podId);
    life.removePod(podId);
  }

  /** Of pods and containers, half-made ones included. */
  private static List<String> idsOnRecord(BerthDaemon daemon) throws IOException {
    List<String> ids = new ArrayList<>();
    for (String kind : List.of("sandboxes", "containers")) {
      try (Stream<Path> records = Files.list(daemon.rootFolder().resolve(kind))) {
        records
            .map(record -> record.getFileName().toString())
            .filter(name -> name.endsWith(".json"))
            .forEach(name -> ids.add(name.substring(0, name.length() - ".json".length())));
      }
    }
    return ids;
  }

  private static List<Path> cgroupsOf(Set<String> ids) throws IOException {
    try (Stream<Path> cgroups =
        Files.find(
            Path.of("/sys/fs/cgroup"),
            4,
            (path, attributes) ->
                attributes.isDirectory()
                    && ids.stream().anyMatch(path.getFileName().toString()::contains))) {
      return cgroups.toList();
    }
  }

  /** Each step with the daemon killed right before and right after the program it calls. */
  @Test
  void aKillAroundEachProgramIsMendedByAskingAgain() throws Exception {
    Saboteur saboteur = saboteur();
    try (var daemon = saboteur.daemon().registry(registry.address()).start();
        var life = life(daemon);
        ExecutorService client = Executors.newVirtualThreadPerTaskExecutor()) {
      pull(daemon);
      for (String moment :
          List.of(
              "bridge-ADD-before",
              "bridge-ADD-after",
              "firewall-ADD-before",
              "firewall-ADD-after",
              "conmon-run-before",
              "conmon-run-after",
              "runtime-create-before",
              "runtime-create-after",
              "runtime-start-before",
              "runtime-start-after",
              "runtime-exec-after",
              "runtime-delete-before",
              "runtime-delete-after",
              "firewall-DEL-before",
              "bridge-DEL-after")) {
        saboteur.killAt(moment, daemon);
        Future<?> lived = client.submit(() -> wholeLife(daemon, life, moment));
        Await.until("kill at " + moment, SETTLED, () -> lived.isDone() || saboteur.struck(moment));
        if (lived.isDone()) {
          fail(lived);
        }
        daemon.kill9(); // reaps what the wrapper has killed
        daemon.restart();
        try {
          var _ = lived.get(60, TimeUnit.SECONDS);
          daemon.assertNothingLeft(SETTLED);
        } catch (Exception | AssertionError failure) {
          throw new AssertionError("after a kill at " + moment, failure);
        }
      }
      assertThat(Files.readString(daemon.log())).doesNotContain(" ERROR ");
    }
  }

  private static Void wholeLife(BerthDaemon daemon, PodLife life, String name)
      throws InterruptedException {
    PodSandboxConfig pod = Requests.pod(daemon, name.toLowerCase(java.util.Locale.ROOT)).build();
    String podId = life.run(pod);
    String id = life.create(podId, pod, sleeper("sleeps"));
    life.start(id);
    assertThat(life.exec(id, "echo", name)).isEqualTo(name + "\n");
    assertThat(life.status(id).getState()).isEqualTo(ContainerState.CONTAINER_RUNNING);
    life.stop(id, 5);
    assertThat(life.status(id).getExitCode()).isZero();
    life.remove(id);
    life.stopPod(podId);
    life.removePod(podId);
    return null;
  }

  @Test
  void containersRunOnWhileTheDaemonIsKilledAndStopped() throws Exception {
    try (var daemon = BerthDaemon.with().registry(registry.address()).start();
        var life = life(daemon)) {
      pull(daemon);
      PodSandboxConfig pod = Requests.pod(daemon, "outlives").build();
      String podId = life.run(pod);
      String id = life.create(podId, pod, sleeper("sleeps"));
      life.start(id);
      long pid = daemon.pid(id);
      ContainerStatus before = life.status(id);
      daemon.kill9();
      daemon.restart();
      assertThat(life.status(id)).isEqualTo(before);
      assertThat(life.exec(id, "cat", "/proc/1/stat")).startsWith("1 (sh)");
      daemon.stop();
      assertThat(runs(pid)).isTrue();
      daemon.restart();
      assertThat(life.status(id)).isEqualTo(before);
      assertThat(daemon.pid(id)).isEqualTo(pid);
      assertThat(life.exec(id, "cat", "/proc/1/stat")).startsWith("1 (sh)");
    }
  }

  @Test
  void aContainerWhoseMonitorAndWorkloadWereKilledStopsAtOnce() throws Exception {
    try (var daemon = BerthDaemon.with().registry(registry.address()).start();
        var life = life(daemon)) {
      pull(daemon);
      PodSandboxConfig pod = Requests.pod(daemon, "orphans").build();
      String podId = life.run(pod);
      for (String first : List.of("conmon", "workload", "conmon, and the daemon restarts")) {
        String id = life.create(podId, pod, sleeper("dies-" + first.charAt(0) + first.length()));
        life.start(id);
        long workload = daemon.pid(id);
        long conmon = conmon(daemon, id);
        kill(first.startsWith("conmon") ? conmon : workload);
        if (first.endsWith("restarts")) {
          daemon.kill9();
          daemon.restart();
          assertThat(life.status(id).getState()).isEqualTo(ContainerState.CONTAINER_RUNNING);
        }
        if (first.startsWith("conmon")) {
          kill(workload);
        } else {
          var _ = Commands.attempt(List.of("/bin/sh", "-c", "kill -9 " + conmon));
        }
        long asked = System.nanoTime();
        life.stop(id, 30);
        assertThat(Duration.ofNanos(System.nanoTime() - asked)).isLessThan(Duration.ofSeconds(2));
        assertThat(life.status(id).getState()).isEqualTo(ContainerState.CONTAINER_EXITED);
        assertThat(life.status(id).getExitCode()).isIn(137, 255);
        life.stop(id, 30);
        if (first.startsWith("conmon")) { // as if it had been killed between write and rename
          Files.createFile(daemon.runFolder().resolve("exits").resolve(id + ".A1B2C3"));
        }
        life.remove(id);
      }
    }
  }

  @Test
  void aNetworkThatRefusesToLetGoHoldsUpNoPodAndIsPaidLater() throws Exception {
    Saboteur saboteur = saboteur();
    try (var daemon = saboteur.daemon().registry(registry.address()).start();
        var life = life(daemon)) {
      PodSandboxConfig pod = Requests.pod(daemon, "stuck").build();
      String podId = life.run(pod);
      saboteur.at(
          "bridge-DEL-before",
          "echo '{\"cniVersion\":\"1.0.0\",\"code\":11,\"msg\":\"the switch is on fire\"}'; exit 1");
      long asked = System.nanoTime();
      life.stopPod(podId);
      life.removePod(podId);
      assertThat(Duration.ofNanos(System.nanoTime() - asked)).isLessThan(Duration.ofSeconds(5));
      assertThat(pods(daemon)).isEmpty();
      assertThat(debts(daemon))
          .singleElement()
          .asString()
          .contains("cni-del", podId, "the switch is on fire");
      daemon.kill9();
      daemon.restart();
      assertThat(debts(daemon)).singleElement().asString().contains("cni-del", podId);
      saboteur.spare("bridge-DEL-before");
      Await.until("no debts", SETTLED, () -> debts(daemon).isEmpty());
      daemon.assertNothingLeft(SETTLED);
    }
  }

  private static List<String> debts(BerthDaemon daemon) {
    return daemon.client().admin().debts(DebtsRequest.getDefaultInstance()).getDebtsList().stream()
        .map(Object::toString)
        .toList();
  }

  @Test
  void afterARebootPodsAreNotReadyContainersHaveEndedAndAddressesAreFree() throws Exception {
    Path bootId = Files.copy(BOOT_ID, tools.resolve("boot_id"));
    try (var daemon =
            BerthDaemon.with()
                .registry(registry.address())
                .privateMounts("mount --bind " + bootId + " " + BOOT_ID)
                .start();
        var life = life(daemon)) {
      pull(daemon);
      PodSandboxConfig pod = Requests.pod(daemon, "rebooted").build();
      String podId = life.run(pod);
      String running = life.create(podId, pod, sleeper("runs"));
      life.start(running);
      String created = life.create(podId, pod, sleeper("waits"));
      daemon.kill9();
      for (String id : List.of(running, created)) { // as the power goes
        kill(conmon(daemon, id));
        kill(
            Long.parseLong(
                Files.readString(
                    daemon.runFolder().resolve("containers").resolve(id).resolve("pidfile"))));
      }
      Files.writeString(bootId, "11111111-2222-3333-4444-555555555555\n");
      daemon.restart();
      assertThat(pods(daemon))
          .singleElement()
          .satisfies(p -> assertThat(p.getState()).isEqualTo(PodSandboxState.SANDBOX_NOTREADY));
      for (String id : List.of(running, created)) {
        ContainerStatus status = life.status(id);
        assertThat(status.getState()).isEqualTo(ContainerState.CONTAINER_EXITED);
        assertThat(status.getExitCode()).isEqualTo(255);
        assertThat(status.getReason()).isEqualTo("Unknown");
        assertThat(status.getFinishedAt()).isGreaterThanOrEqualTo(status.getStartedAt());
      }
      Await.until("the address is free", SETTLED, () -> leases(daemon) == 0);
      assertThatThrownBy(() -> life.create(podId, pod, sleeper("too-late")))
          .isInstanceOfSatisfying(
              StatusRuntimeException.class,
              e -> assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.FAILED_PRECONDITION));
      life.stopPod(podId);
      life.removePod(podId);
      daemon.assertNothingLeft(SETTLED);
    }
  }

  /** As after a power cut that came before the container's record was on disk. */
  @Test
  void theSnapshotOfAContainerWithoutARecordIsRemovedAtTheNextStart() throws Exception {
    try (var daemon = BerthDaemon.with().registry(registry.address()).start();
        var life = life(daemon)) {
      pull(daemon);
      PodSandboxConfig pod = Requests.pod(daemon, "forgetful").build();
      String podId = life.run(pod);
      String id = life.create(podId, pod, sleeper("known"));
      Path known = daemon.rootFolder().resolve("snapshots").resolve(id);
      Path orphan = known.resolveSibling("f".repeat(64));
      String copy = TestTools.installed("cp", "coreutils").toString();
      var _ = Commands.run(List.of(copy, "-a", known.toString(), orphan.toString()));
      for (Path file : Leftovers.entries(orphan)) {
        if (Files.isRegularFile(file)) { // its record and the copy of that; edited, so unsealed
          Files.writeString(
              file,
              Files.readString(file)
                  .replace(id, orphan.getFileName().toString())
                  .replaceFirst(",\\s*\"crc32c\" : \"[0-9a-f]+\"", ""));
        }
      }
      daemon.kill9();
      daemon.restart();
      assertThat(orphan).doesNotExist();
      assertThat(known).isDirectory();
      life.start(id);
      life.stopPod(podId);
      life.removePod(podId);
      daemon.assertNothingLeft(SETTLED);
    }
  }

  private static long leases(BerthDaemon daemon) throws IOException {
    try (Stream<Path> files = Files.list(daemon.leases().resolve(daemon.networkName()))) {
      return files.filter(f -> Character.isDigit(f.getFileName().toString().charAt(0))).count();
    }
  }

  @Test
  void retriedCreationsOfAHangingRuntimeAreOneContainer() throws Exception {
    Saboteur saboteur = saboteur();
    try (var daemon = saboteur.daemon().registry(registry.address()).start();
        var life = life(daemon)) {
      pull(daemon);
      PodSandboxConfig pod = Requests.pod(daemon, "patient").build();
      String podId = life.run(pod);
      saboteur.hangAt("runtime-create-before");
      var request =
          CreateContainerRequest.newBuilder()
              .setPodSandboxId(podId)
              .setSandboxConfig(pod)
              .setConfig(sleeper("only"))
              .build();
      for (int i = 0; i < 5; i++) {
        assertThatThrownBy(() ->
                daemon
                    .client()
                    .runtime()
                    .withDeadlineAfter(500, TimeUnit.MILLISECONDS)
                    .createContainer(request))
            .isInstanceOfSatisfying(
                StatusRuntimeException.class,
                e -> assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.DEADLINE_EXCEEDED));
      }
      assertThat(saboteur.isHanging()).isTrue();
      assertThat(containers(daemon)).isEmpty();
      saboteur.release();
      String id = life.create(podId, pod, sleeper("only"));
      assertThat(containers(daemon)).extracting(Container::getId).containsExactly(id);
      assertThat(Leftovers.entries(daemon.runFolder().resolve("runtimes/runc"))).hasSize(1);
      life.start(id);
      assertThat(life.exec(id, "echo", "hello")).isEqualTo("hello\n");
    }
  }

  @Test
  void aCreationThatHangsWhenTheDaemonDiesIsTakenDown() throws Exception {
    Saboteur saboteur = saboteur();
    try (var daemon = saboteur.daemon().registry(registry.address()).start();
        var life = life(daemon)) {
      pull(daemon);
      PodSandboxConfig pod = Requests.pod(daemon, "cut-short").build();
      String podId = life.run(pod);
      saboteur.hangAt("runtime-create-before");
      assertThatThrownBy(() ->
              daemon
                  .client()
                  .runtime()
                  .withDeadlineAfter(500, TimeUnit.MILLISECONDS)
                  .createContainer(
                      CreateContainerRequest.newBuilder()
                          .setPodSandboxId(podId)
                          .setSandboxConfig(pod)
                          .setConfig(sleeper("only"))
                          .build()))
          .isInstanceOf(StatusRuntimeException.class);
      Await.until("a runtime that hangs", SETTLED, saboteur::isHanging);
      daemon.kill9();
      daemon.restart();
      saboteur.release();
      assertThat(containers(daemon)).isEmpty();
      String id = life.create(podId, pod, sleeper("only"));
      assertThat(containers(daemon)).extracting(Container::getId).containsExactly(id);
      assertThat(Leftovers.entries(daemon.runFolder().resolve("containers"))).hasSize(1);
    }
  }

  @Test
  void readsAreAnsweredWhileStartsAndDeletionsHang() throws Exception {
    Saboteur saboteur = saboteur();
    try (var daemon = saboteur.daemon().registry(registry.address()).start();
        var life = life(daemon);
        var other = life(daemon);
        ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
      pull(daemon);
      PodSandboxConfig pod = Requests.pod(daemon, "busy").build();
      String podId = life.run(pod);
      String starting = life.create(podId, pod, sleeper("starts"));
      String leaving = life.create(podId, pod, sleeper("leaves"));
      life.start(leaving);
      life.stop(leaving, 5);
      saboteur.hangAt("runtime-start-before");
      saboteur.hangAt("runtime-delete-before");
      List<Future<?>> hanging = new ArrayList<>();
      hanging.add(
          clients.submit(() -> {
            life.start(starting);
            return null;
          }));
      hanging.add(
          clients.submit(() -> {
            other.remove(leaving);
            return null;
          }));
      Await.until("runtimes that hang", SETTLED, saboteur::isHanging);
      var runtime = daemon.client().runtime();
      assertThat(millis(() -> runtime.status(StatusRequest.getDefaultInstance()))).isLessThan(50);
      assertThat(millis(() -> runtime.listContainers(ListContainersRequest.getDefaultInstance())))
          .isLessThan(50);
      assertThat(millis(() -> runtime.listPodSandbox(ListPodSandboxRequest.getDefaultInstance())))
          .isLessThan(50);
      for (String id : List.of(starting, leaving)) {
        assertThat(
                millis(() ->
                    runtime.containerStatus(
                        ContainerStatusRequest.newBuilder().setContainerId(id).build())))
            .isLessThan(50);
      }
      assertThat(hanging).noneMatch(Future::isDone);
      saboteur.release();
      for (Future<?> call : hanging) {
        var _ = call.get(30, TimeUnit.SECONDS);
      }
      assertThat(containers(daemon)).extracting(Container::getId).containsExactly(starting);
    }
  }

  /** The 95th percentile of a hundred calls, after some for the daemon's JVM to get warm. */
  private static long millis(Callable<?> call) throws Exception {
    long[] nanos = new long[100];
    for (int i = -20; i < nanos.length; i++) {
      long began = System.nanoTime();
      Object _ = call.call();
      if (i >= 0) {
        nanos[i] = System.nanoTime() - began;
      }
    }
    Arrays.sort(nanos);
    return TimeUnit.NANOSECONDS.toMillis(nanos[94]);
  }
}
