package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.linux.ProcessRef;
import io.berth.runtime.ContainerException.Reason;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ContainerStoreTest {
  @TempDir Path temporary;
  private Path folder = Path.of("/");

  @BeforeEach
  void setUp() {
    folder = temporary.resolve("containers");
  }

  private static Container creating(String prefix, String name) {
    return Containers.of(Containers.id(prefix), name, ContainerState.CREATING);
  }

  private static ContainerException refusal(Runnable call) {
    try {
      call.run();
    } catch (ContainerException e) {
      return e;
    }
    throw new AssertionError("was not refused");
  }

  @Test
  void recordsOutliveTheStoreWhole() {
    ContainerStore store = new ContainerStore(folder);
    Container container = creating("aa", "web");
    store.create(container);
    store.update(container.id(), c -> c.created(new ProcessRef(10, 11), new ProcessRef(12, 13)));
    store.update(container.id(), c -> c.withState(ContainerState.STARTING));
    store.update(container.id(), c -> c.started(5));
    Container ended =
        store.update(
            container.id(), c -> c.exited(new Container.Exit(137, "OOMKilled", "words", 9)));

    ContainerStore again = new ContainerStore(folder);
    assertThat(again.get(container.id().value())).isEqualTo(ended);
    assertThat(again.named(container.name())).contains(again.get("aa"));
  }

  @Test
  void containerBeingMadeIsHiddenButHasItsName() {
    ContainerStore store = new ContainerStore(folder);
    Container container = creating("aa", "web");
    store.create(container);
    assertThat(store.list()).isEmpty();
    assertThat(store.find("aa")).isEmpty();
    assertThat(store.byId(container.id())).contains(container);
    assertThat(store.of(Containers.POD)).containsExactly(container);
    assertThat(store.named(container.name())).contains(container);

    ContainerException e = refusal(() -> store.create(creating("bb", "web")));
    assertThat(e.reason()).isEqualTo(Reason.CONFLICT);
    assertThat(e)
        .hasMessageContaining("the name is taken by container " + container.id())
        .hasMessageContaining("raise the attempt");
    assertThat(store.all()).containsExactly(container);
  }

  @Test
  void beginningOfAnIdIsEnoughWhenItIsOne() {
    ContainerStore store = new ContainerStore(folder);
    for (String prefix : List.of("aa1", "aa2", "ab")) {
      Container container = creating(prefix, "c" + prefix);
      store.create(container);
      store.update(container.id(), c -> c.created(new ProcessRef(1, 1), null));
    }
    store.create(creating("ab2", "hidden"));

    assertThat(store.get("aa1").id()).isEqualTo(Containers.id("aa1"));
    assertThat(store.get("ab").id()).as("hidden ones don't count").isEqualTo(Containers.id("ab"));
    assertThat(store.find("b")).isEmpty();
    assertThat(refusal(() -> store.find("aa")).reason()).isEqualTo(Reason.INVALID);
    assertThat(refusal(() -> store.find("")).reason()).isEqualTo(Reason.INVALID);
    assertThat(refusal(() -> store.get("ff")).reason()).isEqualTo(Reason.NOT_FOUND);
    assertThat(refusal(() -> store.get("ff")))
        .hasMessage("find container \"ff\": there is none; it may have been removed");
  }

  @Test
  void forbiddenTransitionChangesNothing() {
    ContainerStore store = new ContainerStore(folder);
    Container container = creating("aa", "web");
    store.create(container);
    assertThatThrownBy(() -> store.update(container.id(), c -> c.withState(ContainerState.RUNNING)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("container " + container.id() + " may not go from CREATING to RUNNING");
    assertThat(store.byId(container.id())).contains(container);
    assertThat(new ContainerStore(folder).byId(container.id())).contains(container);
  }

  @Test
  void changeMayLeaveTheContainerAsItIs() {
    ContainerStore store = new ContainerStore(folder);
    Container container = creating("aa", "web");
    store.create(container);
    assertThat(store.update(container.id(), _ -> null)).isEqualTo(container);
    assertThat(store.update(Containers.id("ff"), c -> c)).isNull();
  }

  @Test
  void deletedContainerFreesItsName() {
    ContainerStore store = new ContainerStore(folder);
    Container container = creating("aa", "web");
    store.create(container);
    store.delete(container.id());
    store.delete(container.id());
    assertThat(store.all()).isEmpty();
    assertThat(folder).isEmptyDirectory();
    store.create(creating("bb", "web"));
  }

  @Test
  void whatCantBeRecordedDidNotHappen() throws Exception {
    ContainerStore store = new ContainerStore(folder);
    Container container = creating("aa", "web");
    store.create(container);
    // As with a full disk: nothing can be written.
    Files.move(folder, temporary.resolve("away"));

    assertThatThrownBy(
            () -> store.update(container.id(), c -> c.created(new ProcessRef(1, 1), null)))
        .isInstanceOf(java.io.UncheckedIOException.class);
    assertThat(store.byId(container.id())).contains(container);
    assertThatThrownBy(() -> store.create(creating("bb", "other")))
        .isInstanceOf(java.io.UncheckedIOException.class);
    assertThat(store.all()).containsExactly(container);

    Files.move(temporary.resolve("away"), folder);
    store.create(creating("bb", "other"));
  }

  @Test
  void oneOfManyGetsTheName() throws Exception {
    ContainerStore store = new ContainerStore(folder);
    int made = 0;
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Boolean>> attempts = new ArrayList<>();
      for (int i = 0; i < 20; i++) {
        String prefix = Integer.toHexString(0x100 + i);
        attempts.add(
            threads.submit(() -> {
              try {
                store.create(creating(prefix, "web"));
                return true;
              } catch (ContainerException e) {
                return false;
              }
            }));
      }
      for (Future<Boolean> attempt : attempts) {
        made += attempt.get() ? 1 : 0;
      }
    }
    assertThat(made).isEqualTo(1);
    assertThat(new ContainerStore(folder).all()).hasSize(1).isEqualTo(store.all());
  }

  @Test
  void noUpdateIsLostAmongMany() throws Exception {
    ContainerStore store = new ContainerStore(folder);
    List<ContainerId> ids = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      Container container = creating("a" + i, "c" + i);
      store.create(container);
      ids.add(container.id());
    }
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<?>> all = new ArrayList<>();
      for (int i = 0; i < 100; i++) {
        ContainerId id = ids.get(i % ids.size());
        all.add(
            threads.submit(() ->
                store.update(
                    id,
                    c -> {
                      Container.User user = c.user();
                      return c.resolved(
                          new Container.User(user == null ? 1 : user.uid() + 1, 0, List.of()),
                          c.volumeImages());
                    })));
      }
      for (Future<?> one : all) {
        one.get();
      }
    }
    assertThat(store.all())
        .extracting(Container::user)
        .containsOnly(new Container.User(25, 0, List.of()));
    assertThat(new ContainerStore(folder).all()).isEqualTo(store.all());
  }

  @Test
  void containerThatNeverBeganHasATimeline() {
    Container never =
        creating("aa", "web").exited(new Container.Exit(128, "StartError", "no such file", 77));
    assertThat(never.startedAt()).isEqualTo(77);
    Container skewed =
        creating("aa", "web").started(100).exited(new Container.Exit(0, "Completed", "", 90));
    assertThat(skewed.exit())
        .as("not before it began")
        .isEqualTo(new Container.Exit(0, "Completed", "", 100));
  }
}
