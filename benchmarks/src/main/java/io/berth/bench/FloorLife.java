package io.berth.bench;

import io.berth.linux.Debt;
import io.berth.linux.FileTree;
import io.berth.linux.Namespaces;
import io.berth.linux.ProcessRef;
import io.berth.linux.Rollback;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The least that the same pod costs: CNI plugins and OCI runtime executed directly, with everything
 * that can be prepared (network namespace, bundle, root file system) prepared outside the measured
 * time.
 */
final class FloorLife implements Life {
  static final String ADD = "CNI ADD";
  static final String CREATE = "create";
  static final String START = "start";
  static final String EXEC = "exec";
  static final String KILL = "kill";
  static final String DELETE = "delete";
  static final String DEL = "CNI DEL";

  private final OciFloor containers;
  private final @Nullable CniChain network;
  private final Path folder;

  /**
   * @param network none is the host's network
   * @param folder where network namespaces are pinned
   */
  FloorLife(OciFloor containers, @Nullable CniChain network, Path folder) {
    this.containers = containers;
    this.network = network;
    this.folder = folder;
  }

  @Override
  public StepTimes live(String name) throws IOException, InterruptedException {
    var times = new StepTimes();
    try (var rollback = new Rollback("live as " + name, Leftovers.REPORTED)) {
      if (network == null) {
        container(name, null, times, rollback);
      } else {
        Path pins = Files.createDirectories(folder.resolve(name));
        Path netns = pins.resolve(Namespaces.Kind.NET.file());
        rollback.add(new Debt("remove-netns", netns.toString(), Map.of()), () -> drop(pins));
        Namespaces.create(Set.of(Namespaces.Kind.NET), pins, Namespaces::raiseLoopback);
        rollback.add(
            new Debt("cni-del", name, Map.of()),
            () -> network.delete(new CniChain.Attached(name, netns, null)));
        CniChain.Attached attached = times.time(ADD, () -> network.add(name, netns));
        container(name, netns, times, rollback);
        times.run(DEL, () -> network.delete(attached));
        drop(pins);
      }
      rollback.commit();
    }
    return times;
  }

  private void container(String id, @Nullable Path netns, StepTimes times, Rollback rollback)
      throws IOException, InterruptedException {
    containers.bundle(id, netns);
    rollback.add(new Debt("delete-container", id, Map.of()), () -> containers.discard(id));
    ProcessRef process = times.time(CREATE, () -> containers.create(id));
    times.run(START, () -> containers.start(id));
    times.run(EXEC, () -> containers.exec(id, List.of("true")));
    times.run(KILL, () -> containers.kill(id, process));
    times.run(DELETE, () -> containers.delete(id));
  }

  private static void drop(Path pins) {
    Namespaces.unpin(pins.resolve(Namespaces.Kind.NET.file()));
    FileTree.delete(pins);
  }
}
