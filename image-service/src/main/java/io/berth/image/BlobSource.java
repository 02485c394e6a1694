package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.oci.Descriptor;
import java.io.InputStream;

/** Where an image's layers come from: a registry's hosts, or an archive. */
interface BlobSource {

  /** Where blobs come from, for people. */
  String name();

  /** How many places can be tried for each blob, at least one. */
  int attempts();

  /**
   * Opens a blob for one reading, as stored: possibly compressed, not verified.
   *
   * @param attempt from 0
   * @throws ImageException if that place doesn't have it
   */
  @MustBeClosed
  InputStream open(Descriptor blob, int attempt) throws InterruptedException;
}
