package io.berth.snapshot;

import io.berth.oci.ChainId;
import java.nio.file.Path;
import java.util.UUID;

/**
 * Where everything lies below the root folder, which is one file system, because things are moved
 * about by rename.
 *
 * <pre>
 * layers/HEX/{fs,layer.json,manifest,archive} a committed layer: the rename to this name is the commit
 * layers/HEX/health.json              how the tree differs from the manifest, if it was found to
 * layers/.staging/ID/{fs,...}         a draft; ID/parent is where the layers below are mounted during its commit
 * .retired/HEX-ID/{fs,...}            a damaged layer whose place a new one has taken, kept while it is mounted
 * snapshots/KEY/{snapshot.json,snapshot.copy.json,upper,work}
 * snapshots/KEY/volumes/NAME          folders that go with the snapshot
 * .trash/ID                           being deleted
 * .empty/probe                       for a moment, to try what the kernel can do
 * .empty/{0,1}                        lower folders that overlayfs asks for when a stack is too short
 * </pre>
 *
 * Mode 0700 at the top: what images contain, setuid programs above all, is not reachable past it.
 */
record SnapshotLayout(Path root) {
  static final String LAYER_RECORD = "layer.json";
  static final String MANIFEST = "manifest";
  static final String ARCHIVE = "archive";
  static final String HEALTH = "health.json";
  static final String SNAPSHOT_RECORD = "snapshot.json";
  static final String SNAPSHOT_COPY = "snapshot.copy.json";

  Path layers() {
    return root.resolve("layers");
  }

  Path layer(ChainId id) {
    return layers().resolve(id.hex());
  }

  static Path tree(Path layerOrDraft) {
    return layerOrDraft.resolve("fs");
  }

  Path staging() {
    return layers().resolve(".staging");
  }

  Path retired() {
    return root.resolve(".retired");
  }

  Path newRetired(ChainId id) {
    return retired().resolve(id.hex() + "-" + UUID.randomUUID());
  }

  Path newDraft() {
    return staging().resolve(UUID.randomUUID().toString());
  }

  static Path parentMount(Path draft) {
    return draft.resolve("parent");
  }

  Path snapshots() {
    return root.resolve("snapshots");
  }

  Path snapshot(String key) {
    return snapshots().resolve(key);
  }

  static Path upper(Path snapshot) {
    return snapshot.resolve("upper");
  }

  static Path work(Path snapshot) {
    return snapshot.resolve("work");
  }

  static Path volumes(Path snapshot) {
    return snapshot.resolve("volumes");
  }

  Path trash() {
    return root.resolve(".trash");
  }

  Path newTrash() {
    return trash().resolve(UUID.randomUUID().toString());
  }

  /** Where the snapshotter tries what the kernel can do. */
  Path probe() {
    return root.resolve(".empty").resolve("probe");
  }

  Path empty(int number) {
    return root.resolve(".empty").resolve(Integer.toString(number));
  }
}
