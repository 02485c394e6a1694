package io.berth.cni;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.cni.PluginProcess.Command;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The pod network, as CNI plugins provide it. The network is the first valid file in the
 * configuration folder and follows that folder while pods come and go.
 *
 * <p>A sandbox's life:
 *
 * <ol>
 *   <li>make and pin its network namespace, and record durably that {@link #add} is about to be
 *       called;
 *   <li>{@link #add} runs the plugins and returns the addresses;
 *   <li>{@link #check} at will;
 *   <li>{@link #delete} runs them in reverse. It is also due when add failed or was interrupted,
 *       when the daemon died in between, and when the namespace is gone; it may be called again
 *       until it succeeds, and afterwards.
 * </ol>
 *
 * <p>Operations of one sandbox run one after the other, those of different sandboxes together. An
 * interrupt of the calling thread kills the plugin that runs for it, with all it started.
 */
public final class CniNetworks implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(CniNetworks.class);

  /** How long a plugin may go on when its caller is gone. */
  private static final Duration LEFT_BEHIND_LIMIT = Duration.ofSeconds(5);

  private final CniSettings settings;
  private final PluginProcess plugins;
  private final CniCache cache;
  private final NetworkFollower follower;
  private final AttachmentLocks locks = new AttachmentLocks();

  /** Loads the network and begins to follow its folder; that there is none yet is no error. */
  public CniNetworks(CniSettings settings) {
    this.settings = settings;
    this.plugins = new PluginProcess(settings);
    this.cache = new CniCache(settings.cacheDir());
    this.follower = new NetworkFollower(settings, plugins);
    follower.start();
  }

  /** Whether pods can be connected. Answered from memory: no process, no file, no lock. */
  public NetworkStatus status() {
    return follower.status();
  }

  /**
   * Connects a sandbox: ADD of each plugin in order.
   *
   * @return with at least one address on the pod's interface
   * @throws CniException NETWORK_NOT_READY (nothing was done), PLUGIN_FAILED, TRY_AGAIN, BAD_RESULT
   *     or CACHE_FAILED
   * @throws InterruptedException when the caller was interrupted; the running plugin has been
   *     killed
   */
  public CniResult add(Attachment attachment) throws InterruptedException {
    Path netns = attachment.netns();
    if (netns == null) {
      throw new CniException(
          CniException.Reason.INVALID_ARGUMENT,
          "cni add of sandbox " + attachment.sandboxId() + ": it has no network namespace",
          null);
    }
    Network network = usable(attachment);
    return locks.forSandbox(
        attachment.sandboxId(),
        () ->
            locks.inNetwork(
                network.name(), () -> add(entry(attachment, network, netns.toString()), network)));
  }

  private CniResult add(CniCache.Entry entry, Network network) throws InterruptedException {
    String operation = "cni add of sandbox " + entry.sandboxId() + " to network " + network.name();
    cache.write(entry);
    ObjectNode prevResult = null;
    CniResult result = null;
    Network.Plugin last = network.plugins().getLast();
    for (Network.Plugin plugin : network.plugins()) {
      byte[] answer =
          plugins.run(
              new PluginProcess.Call(
                  operation,
                  Command.ADD,
                  plugin.type(),
                  variables(entry),
                  network.request(plugin, entry.capabilities(), prevResult)),
              null);
      try {
        result =
            CniResult.parse(
                network.name(), entry.ifName(), CniJson.parse(answer), network.version());
      } catch (IllegalArgumentException e) {
        throw CniException.badResult(
            operation, plugin.type(), "gave a result that can't be used: " + e.getMessage());
      }
      prevResult = result.asVersion(network.version());
      cache.write(entry.withResult(prevResult, false));
    }
    if (result == null || result.addresses().isEmpty()) {
      throw CniException.badResult(operation, last.type(), "gave no address on " + entry.ifName());
    }
    cache.write(entry.withResult(result.asVersion(network.version()), true));
    return result;
  }

  /**
   * Disconnects a sandbox: DEL of each plugin in reverse, with the configuration and the result of
   * its ADD; without either, with the present configuration. Succeeds when there is nothing to
   * disconnect. Its own deadline bounds it besides the caller's interruption.
   *
   * @param attachment its netns may be null or gone
   * @throws CniException PLUGIN_FAILED, TIMED_OUT, NETWORK_NOT_READY (a plugin isn't installed) or
   *     CACHE_FAILED: to be tried again later
   */
  public void delete(Attachment attachment) throws InterruptedException {
    locks.forSandbox(
        attachment.sandboxId(),
        () -> {
          Failures failures = new Failures();
          for (CniCache.Entry entry : attached(attachment)) {
            failures.collect(() ->
                locks.<@Nullable Void>inNetwork(
                    entry.network().name(),
                    () -> {
                      delete(entry, namespace(attachment.netns()));
                      return null;
                    }));
          }
          failures.throwFirst();
          return null;
        });
  }

  /** The network lock is held. */
  private void delete(CniCache.Entry entry, String netns) throws InterruptedException {
    if (!entry.complete()) {
      // A daemon that was killed has left its ADD running; an address taken after DEL would be
      // lost.
      plugins.awaitLeftBehind(entry.sandboxId(), LEFT_BEHIND_LIMIT);
    }
    Network network = entry.network();
    String operation =
        "cni del of sandbox " + entry.sandboxId() + " from network " + network.name();
    Map<String, String> variables = variables(entry);
    variables.put("CNI_NETNS", netns);
    ObjectNode prevResult = network.version().atLeast(CniVersion.V0_4_0) ? prevResult(entry) : null;
    long deadline = System.nanoTime() + settings.deleteTimeout().toNanos();
    for (Network.Plugin plugin : network.plugins().reversed()) {
      Duration left = Duration.ofNanos(Math.max(1, deadline - System.nanoTime()));
      try {
        byte[] _ =
            plugins.run(
                new PluginProcess.Call(
                    operation,
                    Command.DEL,
                    plugin.type(),
                    variables,
                    network.request(plugin, entry.capabilities(), prevResult)),
                left);
      } catch (CniException e) {
        if (e.code().orElse(0) != PluginError.UNKNOWN_CONTAINER) {
          throw e;
        }
      }
    }
    cache.delete(entry);
  }

  /**
   * Asks the plugins whether the sandbox is still connected as its ADD left it. Networks before
   * 0.4.0 and those with {@code disableCheck} are not asked.
   *
   * @throws CniException PLUGIN_FAILED with what is wrong; NOT_ATTACHED when no ADD completed
   */
  public void check(Attachment attachment) throws InterruptedException {
    locks.forSandbox(
        attachment.sandboxId(),
        () -> {
          List<CniCache.Entry> entries = cache.ofSandbox(attachment.sandboxId(), settings.ifName());
          if (entries.stream().noneMatch(CniCache.Entry::complete)) {
            throw new CniException(
                CniException.Reason.NOT_ATTACHED,
                "cni check of sandbox "
                    + attachment.sandboxId()
                    + ": it is not attached to a network",
                null);
          }
          for (CniCache.Entry entry : entries) {
            locks.<@Nullable Void>inNetwork(
                entry.network().name(),
                () -> {
                  check(entry);
                  return null;
                });
          }
          return null;
        });
  }

  private void check(CniCache.Entry entry) throws InterruptedException {
    Network network = entry.network();
    ObjectNode prevResult = prevResult(entry);
    if (prevResult == null
        || network.disableCheck()
        || !network.version().atLeast(CniVersion.V0_4_0)) {
      return;
    }
    for (Network.Plugin plugin : network.plugins()) {
      byte[] _ =
          plugins.run(
              new PluginProcess.Call(
                  "cni check of sandbox " + entry.sandboxId() + " in network " + network.name(),
                  Command.CHECK,
                  plugin.type(),
                  variables(entry),
                  network.request(plugin, entry.capabilities(), prevResult)),
              null);
    }
  }

  /**
   * Frees what the network still keeps for attachments that no longer exist: DEL for those in the
   * cache, then GC for what only the plugins know (from version 1.1.0). Waits until no ADD or DEL
   * runs in the network, which then wait for it. Goes on past errors. A network with {@code
   * disableGC} is left alone.
   *
   * @param valid all attachments of this node in the network, those whose add is yet to come
   *     included; called when nothing else runs, so that a sandbox added a moment ago can't be
   *     missing
   * @throws CniException the first failure, the others suppressed onto it; TIMED_OUT when the
   *     network was never idle
   */
  public void garbageCollect(Supplier<Set<ValidAttachment>> valid) throws InterruptedException {
    Network network = follower.network();
    if (network == null || network.disableGc()) {
      return;
    }
    boolean collected =
        locks.aloneInNetwork(
            network.name(),
            settings.deleteTimeout(),
            () -> {
              collect(network, valid.get());
              return null;
            });
    if (!collected) {
      throw new CniException(
          CniException.Reason.TIMED_OUT,
          "cni gc of network "
              + network.name()
              + ": pods came and went for "
              + settings.deleteTimeout().toSeconds()
              + " s without a pause",
          null);
    }
  }

  private void collect(Network network, Set<ValidAttachment> valid) throws InterruptedException {
    Failures failures = new Failures();
    for (CniCache.Entry entry : cache.ofNetwork(network.name())) {
      if (!valid.contains(new ValidAttachment(entry.sandboxId(), entry.ifName()))) {
        String netns = entry.netns();
        failures.collect(() -> delete(entry, namespace(netns == null ? null : Path.of(netns))));
      }
    }
    if (network.version().atLeast(CniVersion.V1_1_0)) {
      ArrayNode attachments = CniJson.newObject().arrayNode();
      valid.forEach(attachment ->
          attachments
              .addObject()
              .put("containerID", attachment.sandboxId())
              .put("ifname", attachment.ifName()));
      for (Network.Plugin plugin : network.plugins()) {
        ObjectNode request = network.request(plugin);
        request.set("cni.dev/valid-attachments", attachments);
        // Plugins built with the first libraries for 1.1.0 read this key; seeing none valid they
        // would free everything.
        request.set("cni.dev/attachments", attachments);
        failures.collect(() -> {
          byte[] _ =
              plugins.run(
                  new PluginProcess.Call(
                      "cni gc of network " + network.name(),
                      Command.GC,
                      plugin.type(),
                      Map.of(),
                      request),
                  settings.deleteTimeout());
        });
      }
    }
    failures.throwFirst();
  }

  /** Ends following the folder. Operations under way go on; their callers end them. */
  @Override
  public void close() {
    follower.close();
  }

  /**
   * The network, when all its plugins are there: else ADD would stop half-way for a reason known
   * beforehand.
   */
  private Network usable(Attachment attachment) {
    String operation = "cni add of sandbox " + attachment.sandboxId() + ": ";
    Network network = follower.network();
    if (network == null) {
      throw new CniException(
          CniException.Reason.NETWORK_NOT_READY, operation + follower.status().message(), null);
    }
    for (Network.Plugin plugin : network.plugins()) {
      if (plugins.find(plugin.type()).isEmpty()) {
        throw new CniException(
            CniException.Reason.NETWORK_NOT_READY,
            operation + plugins.missing(plugin.type()),
            null);
      }
    }
    return network;
  }

  private List<CniCache.Entry> attached(Attachment attachment) {
    List<CniCache.Entry> entries = cache.ofSandbox(attachment.sandboxId(), settings.ifName());
    if (!entries.isEmpty()) {
      return entries;
    }
    Network network = follower.network();
    if (network == null) {
      // add() caches before it runs anything and needs a network to do so: without either nothing
      // was attached.
      log.info("sandbox {} has no network to be removed from", attachment.sandboxId());
      return List.of();
    }
    return List.of(entry(attachment, network, null));
  }

  private CniCache.Entry entry(Attachment attachment, Network network, @Nullable String netns) {
    return new CniCache.Entry(
        network,
        attachment.sandboxId(),
        settings.ifName(),
        netns,
        attachment.cniArgs(),
        attachment.capabilities(),
        null,
        false);
  }

  private static Map<String, String> variables(CniCache.Entry entry) {
    Map<String, String> variables = new HashMap<>();
    variables.put("CNI_CONTAINERID", entry.sandboxId());
    variables.put("CNI_IFNAME", entry.ifName());
    variables.put("CNI_NETNS", entry.netns() == null ? "" : entry.netns());
    variables.put(
        "CNI_ARGS",
        entry.cniArgs().entrySet().stream()
            .map(arg -> arg.getKey() + "=" + arg.getValue())
            .collect(Collectors.joining(";")));
    return variables;
  }

  private static @Nullable ObjectNode prevResult(CniCache.Entry entry) {
    ObjectNode result = entry.result();
    if (result == null) {
      return null;
    }
    CniVersion version = entry.network().version();
    try {
      return CniResult.parse(entry.network().name(), entry.ifName(), result, version)
          .asVersion(version);
    } catch (IllegalArgumentException e) {
      // Plugins do without it (section 2, DEL); better that than a pod that can't be deleted.
      return null;
    }
  }

  /**
   * The path for DEL; empty when no namespace is there any more, not even if the file it was pinned
   * to is left.
   */
  private static String namespace(@Nullable Path netns) {
    if (netns == null) {
      return "";
    }
    try {
      Path folder = netns.toAbsolutePath().getParent();
      // A pinned namespace is a file of another file system, nsfs, mounted on the one in the
      // folder.
      boolean pinned =
          folder != null
              && !Files.getAttribute(netns, "unix:dev")
                  .equals(Files.getAttribute(folder, "unix:dev"));
      return pinned ? netns.toString() : "";
    } catch (IOException e) {
      return "";
    }
  }

  /** Goes on past failures and reports them together in the end. */
  private static final class Failures {
    private final List<CniException> failures = new ArrayList<>();

    interface Step {
      void run() throws InterruptedException;
    }

    void collect(Step step) throws InterruptedException {
      try {
        step.run();
      } catch (CniException e) {
        failures.add(e);
      }
    }

    void throwFirst() {
      if (!failures.isEmpty()) {
        CniException first = failures.getFirst();
        failures.stream().skip(1).forEach(first::addSuppressed);
        throw first;
      }
    }
  }
}
