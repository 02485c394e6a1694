package io.berth.runtime;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.linux.AtomicFile;
import io.berth.linux.Debt;
import io.berth.linux.Debts;
import io.berth.linux.Rollback;
import io.berth.linux.Stages;
import io.berth.oci.Json;
import io.berth.oci.RuntimeSpec;
import io.berth.runtime.Container.Update;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.LinuxResources;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Changes the limits of a living container, all of them or none: cgroup, config.json and record.
 *
 * <p>What the cgroup's files said before is in the record while a change is under way, so that the
 * next start of the daemon can undo one that was cut short. OCI runtimes can't be relied on for
 * that: runc 1.1 gives up half way when a value is refused.
 */
final class ContainerUpdater {
  static final String DEBT = "container-limits";
  private static final int STRIPES = 16;

  private final ContainerLayout layout;
  private final ContainerStore store;
  private final RuntimeHandlers handlers;
  private final HostFeatures host;
  private final CgroupLimits limits;
  private final Debts debts;

  /** One change at a time for each container. */
  private final List<ReentrantLock> locks =
      IntStream.range(0, STRIPES).mapToObj(_ -> new ReentrantLock()).toList();

  ContainerUpdater(
      ContainerLayout layout,
      ContainerStore store,
      RuntimeHandlers handlers,
      HostFeatures host,
      CgroupLimits limits,
      Debts debts) {
    this.layout = layout;
    this.store = store;
    this.handlers = handlers;
    this.host = host;
    this.limits = limits;
    this.debts = debts;
  }

  /**
   * Sets new limits; what {@code request} leaves at zero or empty stays.
   *
   * @throws ContainerException NOT_FOUND; INVALID; WRONG_STATE unless the container is created or
   *     running, or when it uses more memory than it is to have; RUNTIME_FAILED, with the old
   *     limits in force
   */
  void update(String idOrPrefix, LinuxResources request) throws InterruptedException {
    ContainerId id = store.get(idOrPrefix).id();
    ReentrantLock lock = locks.get(Math.floorMod(id.hashCode(), STRIPES));
    lock.lockInterruptibly();
    try {
      updateAlone(store.get(id.value()), request);
    } finally {
      lock.unlock();
    }
  }

  private void updateAlone(Container container, LinuxResources request)
      throws InterruptedException {
    ContainerId id = container.id();
    requireLive(container);
    LinuxResources wanted = merge(container.resources(), request);
    RuntimeSpec.Resources resources = spec(container, wanted);
    requireMemory(container, request.memoryLimit());

    Map<String, String> before = limits.read(container.cgroup(), wanted);
    try (Rollback rollback = new Rollback("update container " + id, debts)) {
      rollback.add(new Debt(DEBT, id.value()), () -> undo(id));
      store.update(
          id,
          c -> {
            requireLive(c);
            return c.withUpdate(new Update(c.updated(), before));
          });
      Stages.run(
          "runtime update",
          container.handler(),
          () -> handlers.get(container.handler()).update(id, resources));
      // After the runtime: runc passes over huge pages without a word.
      limits.write(container.cgroup(), wanted);
      Map<String, String> now = limits.read(container.cgroup(), wanted);
      if (tellSystemd(container, now)) {
        limits.restore(container.cgroup(), now);
      }
      limits.adjustOomScores(container.cgroup(), request.oomScoreAdj(), host.lowestOomScoreAdj());
      writeSpec(container, resources);
      store.update(id, c -> c.withUpdate(new Update(wanted, Map.of())));
      rollback.commit();
    } catch (UncheckedIOException | IllegalStateException e) {
      throw new ContainerException(
          Reason.RUNTIME_FAILED,
          "update container " + id + ": " + e.getMessage() + "; " + afterwards(id),
          e);
    } catch (ContainerException e) {
      throw e.reason() == Reason.RUNTIME_FAILED
          ? new ContainerException(e.reason(), e.getMessage() + "; " + afterwards(id), e)
          : e;
    }
  }

  /** True when the files have to be written again, as systemd has written them. */
  private boolean tellSystemd(Container container, Map<String, String> contents)
      throws InterruptedException {
    return host.cgroupV2() && ScopeLimits.tell(container.cgroup(), contents);
  }

  /** To be asked when the undo has run, as it has before any catch. */
  private String afterwards(ContainerId id) {
    boolean undone =
        store.byId(id).map(c -> c.update() == null || c.update().before().isEmpty()).orElse(true);
    return undone
        ? "the old limits are in force"
        : "some new limits may be in force, and the old ones are being put back: see berth debts";
  }

  private static void requireLive(Container container) {
    if (container.state() != ContainerState.CREATED
        && container.state() != ContainerState.RUNNING) {
      throw new ContainerException(
          Reason.WRONG_STATE,
          "update container "
              + container.id()
              + ": it is "
              + container.state()
              + "; only a created or running container has limits to change");
    }
  }

  /**
   * Below what can't be given back, cgroup v2 would kill the container and v1 refuses without
   * figures. The kubelet keeps a refused resize and tries again.
   */
  private void requireMemory(Container container, long limit) {
    OptionalLong held = limits.memoryHeld(container.cgroup());
    if (limit > 0 && held.isPresent() && held.getAsLong() > limit) {
      throw new ContainerException(
          Reason.WRONG_STATE,
          "update container "
              + container.id()
              + ": a memory limit of "
              + limit
              + " bytes is below the "
              + held.getAsLong()
              + " bytes that it uses and that can't be reclaimed; wait until it uses less, or restart"
              + " it with the new limit");
    }
  }

  private RuntimeSpec.Resources spec(Container container, LinuxResources wanted) {
    return new ContainerResources(
            host,
            why ->
                new ContainerException(
                    Reason.INVALID, "update container " + container.id() + ": " + why))
        .limits(wanted);
  }

  /** The devices in config.json stay; for the rest it shows what is in force. */
  private void writeSpec(Container container, RuntimeSpec.Resources resources) {
    Path file = layout.spec(container.id());
    try {
      JsonNode spec = Json.MAPPER.readTree(Files.readAllBytes(file));
      if (spec.path("linux").path("resources") instanceof ObjectNode shown) {
        shown.setAll((ObjectNode) Json.MAPPER.valueToTree(resources));
        AtomicFile.write(file, Json.MAPPER.writeValueAsBytes(spec));
      }
    } catch (IOException e) {
      throw new UncheckedIOException("rewrite " + file + ": " + e.getMessage(), e);
    }
  }

  /** Puts back what an update that did not come through may have changed. */
  void undo(ContainerId id) throws InterruptedException {
    Container container = store.byId(id).orElse(null);
    if (container == null || container.update() == null || container.update().before().isEmpty()) {
      return;
    }
    if (container.state().live()) {
      boolean _ = tellSystemd(container, container.update().before());
      limits.restore(container.cgroup(), container.update().before());
      LinuxResources inForce = container.resources();
      if (inForce != null) {
        writeSpec(container, spec(container, inForce));
      }
    }
    store.update(id, c -> c.withUpdate(new Update(c.updated(), Map.of())));
  }

  /** Zero and empty leave the old value, as do map keys that aren't named. */
  static LinuxResources merge(@Nullable LinuxResources old, LinuxResources request) {
    if (old == null) {
      return request;
    }
    long swap = either(request.memorySwapLimit(), old.memorySwapLimit());
    if (request.memorySwapLimit() == 0
        && request.memoryLimit() != 0
        && old.memorySwapLimit() == old.memoryLimit()) {
      swap = request.memoryLimit(); // there was no swap beyond the limit, and stays none
    }
    return new LinuxResources(
        either(request.cpuPeriod(), old.cpuPeriod()),
        either(request.cpuQuota(), old.cpuQuota()),
        either(request.cpuShares(), old.cpuShares()),
        either(request.memoryLimit(), old.memoryLimit()),
        swap,
        either(request.oomScoreAdj(), old.oomScoreAdj()),
        request.cpusetCpus().isEmpty() ? old.cpusetCpus() : request.cpusetCpus(),
        request.cpusetMems().isEmpty() ? old.cpusetMems() : request.cpusetMems(),
        both(old.hugepageLimits(), request.hugepageLimits()),
        both(old.unified(), request.unified()));
  }

  private static long either(long wanted, long old) {
    return wanted == 0 ? old : wanted;
  }

  private static <V> Map<String, V> both(Map<String, V> old, Map<String, V> wanted) {
    Map<String, V> merged = new TreeMap<>(old);
    merged.putAll(wanted);
    return merged;
  }
}
