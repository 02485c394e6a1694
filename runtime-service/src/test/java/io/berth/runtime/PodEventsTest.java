package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.linux.CgroupDriver;
import io.berth.linux.ProcessRef;
import io.berth.linux.RecordFolder;
import io.berth.runtime.ContainerException.Reason;
import io.berth.runtime.PodEvent.Kind;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxSettings;
import io.berth.sandbox.SandboxStore;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PodEventsTest {
  private static final Container.Exit DONE = new Container.Exit(0, "Completed", "", 9);

  @TempDir Path folder;
  private ContainerStore containers;
  private SandboxStore sandboxes;
  private PodEvents events;

  @BeforeEach
  void setUp() {
    Sandbox pod = new RequestFixture().request().sandbox();
    new RecordFolder<>(folder.resolve("sandboxes"), Sandbox.class, 1).write(pod.id().value(), pod);
    sandboxes =
        new SandboxStore(
            SandboxSettings.of(folder, folder, CgroupDriver.CGROUPFS, Duration.ofMinutes(1)));
    containers = new ContainerStore(folder.resolve("containers"));
    events = new PodEvents(sandboxes, containers);
  }

  private static Container creating(int number) {
    return Containers.of(
        Containers.id(Integer.toHexString(0x10000 + number)),
        "c" + number,
        ContainerState.CREATING);
  }

  private void live(Container container) {
    containers.create(container);
    become(container, c -> c.created(new ProcessRef(1, 1), null));
    become(container, c -> c.withState(ContainerState.STARTING));
    become(container, c -> c.started(5));
    become(container, c -> c.exited(DONE));
    become(container, c -> c.withState(ContainerState.REMOVING));
    containers.delete(container.id());
  }

  private void become(
      Container container, java.util.function.Function<Container, @Nullable Container> change) {
    containers.update(container.id(), change);
  }

  private static List<PodEvent> take(PodEvents.Subscription subscription, int count)
      throws InterruptedException {
    List<PodEvent> taken = new ArrayList<>();
    while (taken.size() < count) {
      taken.add(subscription.next());
    }
    return taken;
  }

  @Test
  void everySubscriberGetsALifeInOrderWithTheStateOfTheMoment() throws Exception {
    try (PodEvents.Subscription one = events.subscribe();
        PodEvents.Subscription two = events.subscribe()) {
      Container container = creating(1);
      live(container);

      List<PodEvent> seen = take(one, 4);
      assertThat(take(two, 4)).isEqualTo(seen);
      assertThat(seen)
          .extracting(PodEvent::kind)
          .containsExactly(Kind.CREATED, Kind.STARTED, Kind.STOPPED, Kind.DELETED);
      assertThat(seen).allMatch(event -> event.subject().equals(container.id().value()));
      assertThat(seen)
          .extracting(event -> event.containers().stream().map(Container::state).toList())
          .containsExactly(
              List.of(ContainerState.CREATED),
              List.of(ContainerState.RUNNING),
              List.of(ContainerState.EXITED),
              List.of());
      assertThat(seen).extracting(PodEvent::at).isSorted().doesNotHaveDuplicates();
      assertThat(seen.get(2).containers().getFirst().exit()).isEqualTo(DONE);
    }
    assertThat(events.subscribers()).isZero();
  }

  @Test
  void aContainerFasterThanTheRecordOfItsStartHasStartedAllTheSame() throws Exception {
    Container container = creating(1);
    containers.create(container);
    become(container, c -> c.created(new ProcessRef(1, 1), null));
    become(container, c -> c.withState(ContainerState.STARTING));
    become(container, c -> c.exited(DONE));

    try (PodEvents.Subscription subscription = events.subscribe()) {
      List<PodEvent> seen = take(subscription, 3);
      assertThat(seen)
          .extracting(PodEvent::kind)
          .containsExactly(Kind.CREATED, Kind.STARTED, Kind.STOPPED);
      assertThat(seen.get(1).containers().getFirst().state()).isEqualTo(ContainerState.RUNNING);
    }
  }

  @Test
  void aStartThatFailedIsNoStart() throws Exception {
    Container container = creating(1);
    containers.create(container);
    become(container, c -> c.created(new ProcessRef(1, 1), null));
    become(container, c -> c.withState(ContainerState.STARTING));
    become(container, c -> c.exited(new Container.Exit(128, "StartError", "no such file", 9)));

    try (PodEvents.Subscription subscription = events.subscribe()) {
      assertThat(take(subscription, 2))
          .extracting(PodEvent::kind)
          .containsExactly(Kind.CREATED, Kind.STOPPED);
    }
  }

  @Test
  void anUndoneCreationWasNeverThere() throws Exception {
    try (PodEvents.Subscription subscription = events.subscribe()) {
      containers.create(creating(1));
      containers.delete(creating(1).id());
      containers.create(creating(2));
      become(creating(2), c -> c.created(new ProcessRef(1, 1), null));
      assertThat(subscription.next().subject()).isEqualTo(creating(2).id().value());
    }
  }

  @Test
  void whatHappensBetweenTheFirstListAndTheSubscriptionThatWasSentBeforeIsTold() throws Exception {
    containers.create(creating(1));
    assertThat(containers.list()).as("the first list").isEmpty();
    become(creating(1), c -> c.created(new ProcessRef(1, 1), null));
    try (PodEvents.Subscription subscription = events.subscribe()) {
      assertThat(subscription.next().kind()).isEqualTo(Kind.CREATED);
    }
  }

  @Test
  void aThousandLivesAtOnceAreCompleteAndInOrder() throws Exception {
    int lives = 1000;
    try (PodEvents.Subscription subscription = events.subscribe();
        ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      Future<List<PodEvent>> reader = threads.submit(() -> take(subscription, 4 * lives));
      List<Future<?>> all = new ArrayList<>();
      for (int worker = 0; worker < 8; worker++) {
        int first = worker * lives / 8;
        all.add(
            threads.submit(() -> {
              for (int i = first; i < first + lives / 8; i++) {
                live(creating(i));
              }
            }));
      }
      for (Future<?> one : all) {
        one.get();
      }
      List<PodEvent> seen = reader.get();
      assertThat(seen).extracting(PodEvent::at).isSorted().doesNotHaveDuplicates();
      for (int i = 0; i < lives; i++) {
        String id = creating(i).id().value();
        assertThat(seen.stream().filter(e -> e.subject().equals(id)).map(PodEvent::kind))
            .containsExactly(Kind.CREATED, Kind.STARTED, Kind.STOPPED, Kind.DELETED);
      }
    }
  }

  @Test
  void aSubscriberWhoDoesNotReadIsToldAndHoldsUpNobody() throws Exception {
    try (PodEvents.Subscription slow = events.subscribe();
        PodEvents.Subscription quick = events.subscribe();
        ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      int lives = 1100; // four events each, more than a queue holds
      Future<List<PodEvent>> reader = threads.submit(() -> take(quick, 4 * lives));
      for (int i = 0; i < lives; i++) {
        live(creating(i));
      }
      assertThat(reader.get()).hasSize(4 * lives);
      ContainerException told = catchThrowableOfType(ContainerException.class, slow::next);
      assertThat(told.reason()).isEqualTo(Reason.OVERRUN);
      assertThat(told).hasMessageContaining("subscribe again");
      assertThat(events.subscribers()).isEqualTo(1);
    }
  }
}
