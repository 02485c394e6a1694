package io.berth.sandbox;

import io.berth.linux.RecordFolder;
import io.berth.sandbox.SandboxException.Reason;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/// Sole owner of the sandboxes' records. Reads are answered from an immutable index, without a
/// lock. A transition is recorded before anyone sees it. A name is taken as long as a record with
/// it exists, in whatever state.
public final class SandboxStore {
  private static final int FORMAT_VERSION = 1;
  private static final int STRIPES = 64;

  private final RecordFolder<Sandbox> records;
  private final AtomicReference<Index> index;
  private volatile Listener listener = (_, _) -> {};

  /// One writer at a time per record, while others may wait for the disk at the same time.
  private final List<ReentrantLock> writers =
      IntStream.range(0, STRIPES).mapToObj(_ -> new ReentrantLock()).toList();

  /// Reads what an earlier process left.
  ///
  /// @param settings tell the folder, which has one JSON file per sandbox
  public SandboxStore(SandboxSettings settings) {
    records =
        new RecordFolder<>(
            settings.layout().records(),
            settings.layout().recordCopies(),
            RecordFolder.Durable.SOON,
            Sandbox.class,
            FORMAT_VERSION);
    NavigableMap<String, Sandbox> byId = new TreeMap<>();
    Map<SandboxName, SandboxId> idByName = new HashMap<>();
    for (Sandbox sandbox : records.readAll().values()) {
      byId.put(sandbox.id().value(), sandbox);
      idByName.put(sandbox.name(), sandbox.id());
    }
    index = new AtomicReference<>(new Index(byId, idByName));
  }

  /// Hears of transitions.
  @FunctionalInterface
  public interface Listener {
    /// Called when the transition is recorded and in the index, and before another one of the same
    /// sandbox; must not wait.
    ///
    /// @param after absent when the record was deleted
    void changed(@Nullable Sandbox before, @Nullable Sandbox after);
  }

  /// To be set before the store is served.
  public void onChange(Listener listener) {
    this.listener = listener;
  }

  /// Both maps are never changed once they are in an index.
  private record Index(NavigableMap<String, Sandbox> byId, Map<SandboxName, SandboxId> idByName) {
    Index with(Sandbox sandbox) {
      NavigableMap<String, Sandbox> sandboxes = new TreeMap<>(byId);
      sandboxes.put(sandbox.id().value(), sandbox);
      Map<SandboxName, SandboxId> names = new HashMap<>(idByName);
      names.put(sandbox.name(), sandbox.id());
      return new Index(sandboxes, names);
    }

    /// Whether a sandbox has the level that is the other's by its id.
    boolean hasCategoriesOf(SandboxId other) {
      String level = other.selinuxLevel();
      return byId.values().stream().anyMatch(s -> s.selinuxLevel().equals(level));
    }

    Index without(Sandbox sandbox) {
      NavigableMap<String, Sandbox> sandboxes = new TreeMap<>(byId);
      sandboxes.remove(sandbox.id().value());
      Map<SandboxName, SandboxId> names = new HashMap<>(idByName);
      names.remove(sandbox.name(), sandbox.id());
      return new Index(sandboxes, names);
    }
  }

  /// All sandboxes CRI shows, by id.
  public List<Sandbox> list() {
    return index.get().byId().values().stream().filter(s -> s.state().visible()).toList();
  }

  /// @param idOrPrefix a whole id or the beginning of exactly one
  /// @throws SandboxException INVALID if it is empty or begins several ids
  public Optional<Sandbox> find(String idOrPrefix) {
    if (idOrPrefix.isEmpty()) {
      throw new SandboxException(
          Reason.INVALID, "find a sandbox: its id is empty; give the id or the beginning of it");
    }
    List<Sandbox> matches =
        index.get().byId().tailMap(idOrPrefix, true).values().stream()
            .takeWhile(s -> s.id().value().startsWith(idOrPrefix))
            .filter(s -> s.state().visible())
            .limit(2)
            .toList();
    if (matches.size() > 1) {
      throw new SandboxException(
          Reason.INVALID,
          "find a sandbox: several ids begin with " + idOrPrefix + "; give more of the id");
    }
    return matches.stream().findFirst();
  }

  /// As [#find], but a missing one is an error.
  ///
  /// @throws SandboxException NOT_FOUND; INVALID as in [#find]
  public Sandbox get(String idOrPrefix) {
    return find(idOrPrefix)
        .orElseThrow(() ->
            new SandboxException(
                Reason.NOT_FOUND,
                "find sandbox \"" + idOrPrefix + "\": there is none; it may have been removed"));
  }

  /// A sandbox in which containers may be created.
  ///
  /// @throws SandboxException NOT_FOUND; NOT_READY; INVALID as in [#find]
  public Sandbox getReady(String idOrPrefix) {
    Sandbox sandbox = get(idOrPrefix);
    if (sandbox.state() != SandboxState.READY) {
      throw new SandboxException(
          Reason.NOT_READY,
          "use sandbox "
              + sandbox.id()
              + " ("
              + sandbox.name()
              + "): it has ended; run the pod in a new one");
    }
    return sandbox;
  }

  /// The sandbox that has taken the name, visible or not.
  Optional<Sandbox> named(SandboxName name) {
    Index now = index.get();
    SandboxId id = now.idByName().get(name);
    return id == null ? Optional.empty() : Optional.ofNullable(now.byId().get(id.value()));
  }

  /// All sandboxes, also those that are being made.
  List<Sandbox> all() {
    return List.copyOf(index.get().byId().values());
  }

  /// An id whose SELinux categories no sandbox has.
  SandboxId freshId() {
    while (true) {
      SandboxId id = SandboxId.random();
      if (!index.get().hasCategoriesOf(id)) {
        return id;
      }
    }
  }

  /// Takes the name and records the sandbox.
  ///
  /// @throws SandboxException CONFLICT if the name is taken, or another sandbox was given the same
  ///   SELinux categories at the same moment
  void create(Sandbox sandbox) {
    // The name is taken in memory first, atomically; nobody sees a sandbox that is being made.
    index.updateAndGet(now -> {
      if (now.idByName().containsKey(sandbox.name())) {
        throw new SandboxException(
            Reason.CONFLICT,
            "run sandbox "
                + sandbox.name()
                + ": the name is taken by sandbox "
                + now.idByName().get(sandbox.name())
                + "; remove that one or raise the attempt");
      }
      if (now.hasCategoriesOf(sandbox.id())) {
        throw new SandboxException(
            Reason.CONFLICT,
            "run sandbox "
                + sandbox.name()
                + ": another one was given its SELinux categories at the same moment; ask again");
      }
      return now.with(sandbox);
    });
    try {
      records.write(sandbox.id().value(), sandbox);
    } catch (RuntimeException e) {
      index.updateAndGet(now -> now.without(sandbox));
      throw e;
    }
  }

  /// Records what `change` makes of the sandbox as it stands. A change to the same state is
  /// allowed.
  ///
  /// @return the new record, or nothing if the sandbox is gone
  /// @throws IllegalStateException if the state may not change in this way
  @Nullable Sandbox update(SandboxId id, UnaryOperator<Sandbox> change) {
    ReentrantLock writer = writer(id);
    writer.lock();
    try {
      Sandbox old = index.get().byId().get(id.value());
      if (old == null) {
        return null;
      }
      Sandbox changed = change.apply(old);
      if (changed.equals(old)) {
        return old;
      }
      if (old.state() != changed.state() && !old.state().mayBecome(changed.state())) {
        throw new IllegalStateException(
            "sandbox " + id + " may not go from " + old.state() + " to " + changed.state());
      }
      records.write(id.value(), changed);
      index.updateAndGet(now -> now.with(changed));
      listener.changed(old, changed);
      return changed;
    } finally {
      writer.unlock();
    }
  }

  /// Deletes the record and frees the name. A sandbox that is gone already is fine.
  ///
  /// @throws IllegalStateException if its state doesn't allow that
  void delete(SandboxId id) {
    ReentrantLock writer = writer(id);
    writer.lock();
    try {
      Sandbox old = index.get().byId().get(id.value());
      if (old == null) {
        records.delete(id.value());
        return;
      }
      if (!old.state().mayVanish()) {
        throw new IllegalStateException("sandbox " + id + " may not vanish while " + old.state());
      }
      records.delete(id.value());
      index.updateAndGet(now -> now.without(old));
      listener.changed(old, null);
    } finally {
      writer.unlock();
    }
  }

  private ReentrantLock writer(SandboxId id) {
    return writers.get(Math.floorMod(id.hashCode(), STRIPES));
  }
}
