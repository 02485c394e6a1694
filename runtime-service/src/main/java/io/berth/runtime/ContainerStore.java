package io.berth.runtime;

import io.berth.linux.RecordFolder;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.SandboxId;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Sole owner of the containers' records. Reads are answered from an immutable index, without a
 * lock. A transition is in its file before anyone sees it, and on disk where a reboot doesn't void
 * it, see decision 33.
 */
public final class ContainerStore {
  private static final int FORMAT_VERSION = 1;
  private static final int STRIPES = 64;

  private final RecordFolder<Container> records;
  private final AtomicReference<Index> index;
  private volatile Listener listener = (_, _) -> {};
  private final List<ReentrantLock> writers =
      IntStream.range(0, STRIPES).mapToObj(_ -> new ReentrantLock()).toList();

  /** Reads what an earlier process left. */
  ContainerStore(Path folder) {
    this(folder, null);
  }

  /**
   * Reads what an earlier process left.
   *
   * @param copies of the records
   */
  ContainerStore(Path folder, @Nullable Path copies) {
    records =
        new RecordFolder<>(
            folder, copies, RecordFolder.Durable.SOON, Container.class, FORMAT_VERSION);
    NavigableMap<String, Container> byId = new TreeMap<>();
    Map<ContainerName, ContainerId> idByName = new HashMap<>();
    for (Container container : records.readAll().values()) {
      byId.put(container.id().value(), container);
      idByName.put(container.name(), container.id());
    }
    index = new AtomicReference<>(new Index(byId, idByName));
  }

  /** Hears of transitions. */
  @FunctionalInterface
  interface Listener {
    /**
     * Called when the transition is recorded and in the index, and before another one of the same
     * container; must not wait.
     *
     * @param after absent when the record was deleted
     */
    void changed(@Nullable Container before, @Nullable Container after);
  }

  /** To be set before the store is served. */
  void onChange(Listener listener) {
    this.listener = listener;
  }

  /** Both maps are never changed once they are in an index. */
  private record Index(
      NavigableMap<String, Container> byId, Map<ContainerName, ContainerId> idByName) {
    Index with(Container container) {
      NavigableMap<String, Container> containers = new TreeMap<>(byId);
      containers.put(container.id().value(), container);
      Map<ContainerName, ContainerId> names = new HashMap<>(idByName);
      names.put(container.name(), container.id());
      return new Index(containers, names);
    }

    Index without(Container container) {
      NavigableMap<String, Container> containers = new TreeMap<>(byId);
      containers.remove(container.id().value());
      Map<ContainerName, ContainerId> names = new HashMap<>(idByName);
      names.remove(container.name(), container.id());
      return new Index(containers, names);
    }
  }

  /** All containers that CRI shows, by id. */
  public List<Container> list() {
    return index.get().byId().values().stream().filter(c -> c.state().visible()).toList();
  }

  /** All of one sandbox, also those that are being made. */
  List<Container> of(SandboxId sandbox) {
    return index.get().byId().values().stream().filter(c -> c.sandboxId().equals(sandbox)).toList();
  }

  /** All, also those that are being made. */
  List<Container> all() {
    return List.copyOf(index.get().byId().values());
  }

  Optional<Container> byId(ContainerId id) {
    return Optional.ofNullable(index.get().byId().get(id.value()));
  }

  /**
   * Finds a visible container.
   *
   * @param idOrPrefix a whole id or the beginning of exactly one
   * @throws ContainerException INVALID if it is empty or begins several ids
   */
  public Optional<Container> find(String idOrPrefix) {
    if (idOrPrefix.isEmpty()) {
      throw new ContainerException(
          Reason.INVALID, "find a container: its id is empty; give the id or the beginning of it");
    }
    List<Container> matches =
        index.get().byId().tailMap(idOrPrefix, true).values().stream()
            .takeWhile(c -> c.id().value().startsWith(idOrPrefix))
            .filter(c -> c.state().visible())
            .limit(2)
            .toList();
    if (matches.size() > 1) {
      throw new ContainerException(
          Reason.INVALID,
          "find a container: several ids begin with " + idOrPrefix + "; give more of the id");
    }
    return matches.stream().findFirst();
  }

  /**
   * As {@link #find}, but a missing one is an error.
   *
   * @throws ContainerException NOT_FOUND, and INVALID as in {@link #find}
   */
  public Container get(String idOrPrefix) {
    return find(idOrPrefix)
        .orElseThrow(() ->
            new ContainerException(
                Reason.NOT_FOUND,
                "find container \"" + idOrPrefix + "\": there is none; it may have been removed"));
  }

  Optional<Container> named(ContainerName name) {
    Index now = index.get();
    ContainerId id = now.idByName().get(name);
    return id == null ? Optional.empty() : Optional.ofNullable(now.byId().get(id.value()));
  }

  /**
   * Takes the name and records the container.
   *
   * @throws ContainerException CONFLICT if the name is taken
   */
  void create(Container container) {
    index.updateAndGet(now -> {
      if (now.idByName().containsKey(container.name())) {
        throw new ContainerException(
            Reason.CONFLICT,
            "create container "
                + container.name()
                + ": the name is taken by container "
                + now.idByName().get(container.name())
                + "; remove that one or raise the attempt");
      }
      return now.with(container);
    });
    try {
      write(container);
    } catch (RuntimeException e) {
      index.updateAndGet(now -> now.without(container));
      throw e;
    }
  }

  /**
   * Records what {@code change} makes of the container as it stands; null leaves it as it is.
   *
   * @return the container as it stands afterwards, or null if it is gone
   * @throws IllegalStateException if the state may not change in this way
   */
  @Nullable Container update(ContainerId id, Function<Container, @Nullable Container> change) {
    ReentrantLock writer = writer(id);
    writer.lock();
    try {
      Container old = index.get().byId().get(id.value());
      if (old == null) {
        return null;
      }
      Container changed = change.apply(old);
      if (changed == null || changed.equals(old)) {
        return old;
      }
      if (old.state() != changed.state() && !old.state().mayBecome(changed.state())) {
        throw new IllegalStateException(
            "container " + id + " may not go from " + old.state() + " to " + changed.state());
      }
      write(changed);
      index.updateAndGet(now -> now.with(changed));
      listener.changed(old, changed);
      return changed;
    } finally {
      writer.unlock();
    }
  }

  /** Deletes the record and frees the name. A container that is gone already is fine. */
  void delete(ContainerId id) {
    ReentrantLock writer = writer(id);
    writer.lock();
    try {
      records.delete(id.value());
      Container old = index.get().byId().get(id.value());
      if (old != null) {
        index.updateAndGet(now -> now.without(old));
        listener.changed(old, null);
      }
    } finally {
      writer.unlock();
    }
  }

  private void write(Container container) {
    switch (container.state()) {
      case CREATED, EXITED -> records.write(container.id().value(), container);
      case CREATING, STARTING, RUNNING, REMOVING ->
          records.writeUnsynced(container.id().value(), container);
    }
  }

  private ReentrantLock writer(ContainerId id) {
    return writers.get(Math.floorMod(id.hashCode(), STRIPES));
  }
}
