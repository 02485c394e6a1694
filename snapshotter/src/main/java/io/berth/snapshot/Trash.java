package io.berth.snapshot;

import io.berth.linux.Debt;
import io.berth.linux.Debts;
import io.berth.linux.FileTree;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/**
 * Deletes trees by first renaming them out of sight, so that a half-deleted layer or snapshot never
 * looks like one. Works on a full disk: when even the rename needs a block, the tree is deleted
 * where it is.
 */
final class Trash {
  private final SnapshotLayout layout;
  private final Debts debts;

  Trash(SnapshotLayout layout, Debts debts) {
    this.layout = layout;
    this.debts = debts;
  }

  /**
   * Takes a tree out of sight; what it is called from now on. A tree that doesn't exist is fine.
   */
  Path takeAway(Path tree) {
    Path to = layout.newTrash();
    try {
      Files.move(tree, to, StandardCopyOption.ATOMIC_MOVE);
      return to;
    } catch (NoSuchFileException e) {
      return to;
    } catch (IOException e) {
      return tree;
    }
  }

  /** Deletes what was taken away; what can't be deleted now is owed. */
  void delete(Path tree) {
    try {
      OffCarrier.finish("delete " + tree.getFileName(), () -> FileTree.delete(tree));
    } catch (RuntimeException e) {
      debts.owe(new Debt(OverlaySnapshotter.DELETE_TREE, tree.toString()), e);
    }
  }

  /** Deletes everything that an earlier process left. */
  void empty() throws IOException {
    try (DirectoryStream<Path> trees = Files.newDirectoryStream(layout.trash())) {
      for (Path tree : trees) {
        delete(tree);
      }
    }
  }
}
