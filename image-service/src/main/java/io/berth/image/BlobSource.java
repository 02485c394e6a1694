package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.oci.Descriptor;
import java.io.InputStream;
import java.util.concurrent.Semaphore;

/** Where an image's layers come from: a registry's hosts, or an archive. */
interface BlobSource {

  /** Where blobs come from, for people. */
  String name();

  /**
   * How often a blob may be opened to find its right content, at least once. Known for sure only
   * after the first time.
   */
  int attempts(Descriptor blob);

  /**
   * Opens a blob for one reading, as stored: possibly compressed, not verified. Reading throws
   * ImageException when no place has it, or none delivers all of it.
   *
   * @param attempt from 0; the next one when the content was wrong
   * @param progress told of what comes
   */
  @MustBeClosed
  InputStream open(Descriptor blob, int attempt, LayerProgress progress)
      throws InterruptedException;

  /** How many of its blobs may be read at once, for all who read from this place. */
  Semaphore places();

  /**
   * Gives up what was kept for another reading: the layer is on disk, the content is wrong, or the
   * room is needed.
   */
  void forget(Descriptor blob);
}
