package io.berth.cni;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What DEL and CHECK need of an earlier ADD, where and how other CNI runtimes keep it: {@code
 * results/<network>-<id>-<interface>}, kind cniCacheV1. An entry is written before the first plugin
 * runs, without a result, and again after each: whatever happens in between, DEL finds the
 * configuration that ADD used, and the addresses by which some plugins find their rules again.
 *
 * <p>Written by rename, so an entry is whole or absent when the daemon is killed, but without
 * fsync, which would cost every pod a wait for the disk. After a power failure entries may be
 * missing or empty: DEL then runs with the present configuration and no prevResult, which the
 * specification lets plugins handle.
 */
final class CniCache {
  private static final Logger log = LoggerFactory.getLogger(CniCache.class);
  private static final String KIND = "cniCacheV1";
  private static final String INCOMPLETE = "incomplete";

  private final Path results;

  /**
   * One attachment.
   *
   * @param network the configuration ADD used
   * @param result null when no plugin has completed
   * @param complete false while plugins of ADD are still to run, or when one has failed
   */
  record Entry(
      Network network,
      String sandboxId,
      String ifName,
      @Nullable String netns,
      Map<String, String> cniArgs,
      CapabilityArgs capabilities,
      @Nullable ObjectNode result,
      boolean complete) {

    Entry withResult(ObjectNode newResult, boolean nowComplete) {
      return new Entry(
          network, sandboxId, ifName, netns, cniArgs, capabilities, newResult, nowComplete);
    }
  }

  CniCache(Path cacheDir) {
    this.results = cacheDir.resolve("results");
  }

  /**
   * @throws CniException CACHE_FAILED
   */
  void write(Entry entry) {
    Path file = file(entry);
    Path temporary = temporary(file);
    try {
      Files.createDirectories(
          results,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
      try {
        Files.deleteIfExists(temporary);
        Files.createFile(
            temporary,
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        Files.write(temporary, CniJson.bytes(toJson(entry)));
        Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
      } finally {
        Files.deleteIfExists(temporary);
      }
    } catch (IOException e) {
      throw new CniException(
          CniException.Reason.CACHE_FAILED,
          "keep the cni result of sandbox " + entry.sandboxId() + ": " + e,
          e);
    }
  }

  /** Removes the entry; one that is gone is fine. */
  void delete(Entry entry) {
    Path file = file(entry);
    try {
      Files.deleteIfExists(temporary(file));
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new CniException(
          CniException.Reason.CACHE_FAILED,
          "remove the cni result of sandbox " + entry.sandboxId() + ": " + e,
          e);
    }
  }

  /** The attachments of a sandbox under any network: the configured one may have changed since. */
  List<Entry> ofSandbox(String sandboxId, String ifName) {
    return read("*-" + sandboxId + "-" + ifName).stream()
        .filter(entry -> entry.sandboxId().equals(sandboxId) && entry.ifName().equals(ifName))
        .toList();
  }

  List<Entry> ofNetwork(String network) {
    return read(network + "-*").stream()
        .filter(entry -> entry.network().name().equals(network))
        .toList();
  }

  private List<Entry> read(String glob) {
    List<Entry> entries = new ArrayList<>();
    try (DirectoryStream<Path> files = Files.newDirectoryStream(results, glob)) {
      for (Path file : files) {
        entry(file).ifPresent(entries::add);
      }
    } catch (NoSuchFileException e) {
      return List.of();
    } catch (IOException e) {
      throw new CniException(
          CniException.Reason.CACHE_FAILED, "read cni results in " + results + ": " + e, e);
    }
    return entries;
  }

  /**
   * A file that can't be understood counts as absent, so that it never keeps a pod from being
   * deleted.
   */
  private static Optional<Entry> entry(Path file) throws IOException {
    try {
      return Optional.of(fromJson(CniJson.parse(Files.readAllBytes(file))));
    } catch (NoSuchFileException e) {
      return Optional.empty();
    } catch (IllegalArgumentException e) {
      log.warn("cni result {} is passed over: {}", file, e.getMessage());
      return Optional.empty();
    }
  }

  private Path file(Entry entry) {
    return results.resolve(entry.network().name() + "-" + entry.sandboxId() + "-" + entry.ifName());
  }

  private static Path temporary(Path file) {
    return file.resolveSibling("." + file.getFileName() + ".tmp");
  }

  private static ObjectNode toJson(Entry entry) {
    ObjectNode json = CniJson.newObject();
    json.put("kind", KIND);
    json.put("containerId", entry.sandboxId());
    // Bytes: JSON has them in base64, as Go's encoder writes them.
    json.put("config", CniJson.bytes(entry.network().config()));
    json.put("ifName", entry.ifName());
    json.put("networkName", entry.network().name());
    if (entry.netns() != null) {
      json.put("netns", entry.netns());
    }
    ArrayNode args = json.putArray("cniArgs");
    entry.cniArgs().forEach((key, value) -> args.addArray().add(key).add(value));
    if (!entry.capabilities().isEmpty()) {
      json.set("capabilityArgs", entry.capabilities().toJson());
    }
    if (entry.result() != null) {
      json.set("result", entry.result());
    }
    if (!entry.complete()) {
      json.put(INCOMPLETE, true); // ours; others pass over keys that they don't know
    }
    return json;
  }

  private static Entry fromJson(ObjectNode json) {
    if (!json.path("kind").asText("").equals(KIND)) {
      throw new IllegalArgumentException("its kind is not " + KIND);
    }
    byte[] config;
    try {
      config = json.path("config").binaryValue();
    } catch (IOException e) {
      throw new IllegalArgumentException("its config is not base64", e);
    }
    if (config == null) {
      throw new IllegalArgumentException("it has no config");
    }
    Map<String, String> args = new LinkedHashMap<>();
    for (JsonNode pair : json.path("cniArgs")) {
      args.put(pair.path(0).asText(""), pair.path(1).asText(""));
    }
    return new Entry(
        Network.of(CniJson.parse(config)),
        json.path("containerId").asText(""),
        json.path("ifName").asText(""),
        json.has("netns") ? json.get("netns").asText() : null,
        args,
        json.get("capabilityArgs") instanceof ObjectNode capabilities
            ? CapabilityArgs.fromJson(capabilities)
            : CapabilityArgs.none(),
        json.get("result") instanceof ObjectNode result ? result : null,
        !json.path(INCOMPLETE).asBoolean());
  }
}
