package io.berth.snapshot;

import io.berth.linux.ErrnoException;
import io.berth.linux.FileLabels;
import io.berth.oci.ChainId;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The SELinux label that layers have on disk. A root file system is mounted with a label of its
 * own, but once a program is mapped, the kernel looks at the file of the layer beneath.
 *
 * <p>New layers inherit it from the folder in which they are made. One from before, or one that was
 * relabelled with the machine, gets it when it's wanted next: a start mustn't wait for all of them.
 */
final class LayerLabels {
  private static final Logger log = LoggerFactory.getLogger(LayerLabels.class);

  private final @Nullable String label;
  private final Set<ChainId> others = ConcurrentHashMap.newKeySet();
  private final ReentrantLock labelling = new ReentrantLock();

  /**
   * @param label absent: layers have none of their own
   */
  LayerLabels(@Nullable String label) {
    this.label = label;
  }

  /** For what will be made in a folder. */
  void inherit(Path folder) {
    if (label != null) {
      try {
        FileLabels.set(folder, label);
      } catch (ErrnoException e) {
        warn(folder, label, e);
      }
    }
  }

  /** A layer that was found on disk. */
  void found(ChainId id, Path folder) {
    if (label != null && !FileLabels.is(folder, label)) {
      others.add(id);
    }
  }

  /** Returns when these can be used. Takes seconds for some 40,000 files, once. */
  void ready(List<ChainId> ids, SnapshotLayout layout) {
    if (label == null || others.isEmpty()) {
      return;
    }
    for (ChainId id : ids) {
      if (others.contains(id)) {
        Path folder = layout.layer(id);
        OffCarrier.finish("label " + id.digest().abbreviated(), () -> label(id, folder, label));
      }
    }
  }

  private void label(ChainId id, Path folder, String label) {
    labelling.lock();
    try {
      if (others.contains(id) && !FileLabels.is(folder, label)) {
        FileLabels.setAll(SnapshotLayout.tree(folder), label);
        // Last, as it says that all of the tree has it.
        FileLabels.set(folder, label);
        log.info("layer {} has the SELinux label {} now", id, label);
      }
      others.remove(id);
    } catch (ErrnoException e) {
      warn(folder, label, e); // tried again; where SELinux isn't enforced it works all the same
    } finally {
      labelling.unlock();
    }
  }

  private static void warn(Path folder, String label, ErrnoException cause) {
    log.warn(
        "{} can't be given the SELinux label {}, without which confined containers can't run what"
            + " is in it: {}; allow it in the policy, or run chcon -R {} {}",
        folder,
        label,
        cause.getMessage(),
        label,
        folder);
  }
}
