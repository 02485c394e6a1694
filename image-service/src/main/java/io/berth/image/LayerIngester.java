package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.linux.ErrnoException;
import io.berth.linux.SharedOperations;
import io.berth.linux.Stages;
import io.berth.oci.ChainId;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.snapshot.Layer;
import io.berth.snapshot.LayerDraft;
import io.berth.snapshot.SnapshotException;
import io.berth.snapshot.Snapshotter;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Turns blobs into committed layers: each chain ID once, however many images want it at the same
 * time. Transfer, both digests, decompression and unpacking of a layer happen in one pass, of all
 * but small layers on three threads:
 *
 * <pre>
 * source → blob digest  ⇒  decompress  ⇒  diff ID → unpack into a draft → commit on the parent
 * </pre>
 */
public final class LayerIngester {
  private static final Logger log = LoggerFactory.getLogger(LayerIngester.class);
  private static final int BLOB_CHUNK = 64 << 10;
  private static final int PLAIN_CHUNK = 128 << 10;
  private static final int CHUNKS = 4;

  /**
   * Blobs up to this many bytes are fetched whole and worked on by one thread: handing them from
   * thread to thread would take longer than the work.
   */
  private static final int IN_LINE = 256 << 10;

  private final Snapshotter snapshotter;
  private final LayerUnpacker unpacker;
  private final Semaphore transfers;
  private final PullBoard board;
  private final ChunkPool chunks = new ChunkPool();
  private final SharedOperations<ChainId, Layer> operations =
      new SharedOperations<>("layer", Duration.ZERO);
  private final AtomicLong holds = new AtomicLong();
  private final LongAdder fetched = new LongAdder();
  private final LongAdder reused = new LongAdder();

  /**
   * @param parallelLayers how many layers are transferred at once, for the whole daemon
   */
  public LayerIngester(
      Snapshotter snapshotter, LayerUnpacker unpacker, int parallelLayers, PullBoard board) {
    this.snapshotter = snapshotter;
    this.unpacker = unpacker;
    this.transfers = new Semaphore(parallelLayers, true);
    this.board = board;
  }

  /** How many layers have been fetched so far. */
  public long fetched() {
    return fetched.sum();
  }

  /** How many layers pulls and imports have found here already. */
  public long reused() {
    return reused.sum();
  }

  /** One layer of an image: what it is called when unpacked, and the blob that holds it. */
  private record Wanted(List<ChainId> chain, int index, Digest diffId, Descriptor blob) {
    ChainId chainId() {
      return chain.get(index);
    }

    boolean isArtifact() {
      return ArtifactLayer.is(diffId, blob);
    }
  }

  /**
   * Makes all layers of an image present; the caller holds them already. Those that are there
   * aren't fetched.
   *
   * @param diffIds bottom first
   * @param blobs likewise, as many
   * @throws ImageException CORRUPT, UNSUPPORTED, DISK, or why the source failed; what was committed
   *     before is left to the caller's hold
   */
  void ingest(List<Digest> diffIds, List<Descriptor> blobs, BlobSource source)
      throws InterruptedException {
    List<ChainId> chain = ChainId.of(diffIds);
    List<Wanted> stack = new ArrayList<>();
    for (int i = 0; i < chain.size(); i++) {
      stack.add(new Wanted(chain, i, diffIds.get(i), blobs.get(i)));
    }
    try (Fork fork = new Fork("layers")) {
      for (Wanted wanted : stack) {
        if (!snapshotter.isSound(wanted.chainId())) {
          fork.start(
              Stages.inherit(() ->
                  Stages.time(
                      "layer",
                      wanted.blob().digest().abbreviated(),
                      () -> ingest(stack, wanted.index(), source))));
        } else {
          reused.increment();
        }
      }
      fork.join();
    }
  }

  /**
   * Joins whoever brings this layer already, but doesn't inherit the failure of another's source.
   */
  private Layer ingest(List<Wanted> stack, int index, BlobSource source)
      throws InterruptedException {
    ChainId chainId = stack.get(index).chainId();
    while (true) {
      boolean[] mine = new boolean[1];
      try {
        return operations.join(
            chainId,
            () -> {
              mine[0] = true;
              return bring(stack, index, source);
            });
      } catch (ImageException e) {
        if (mine[0]) {
          throw e;
        }
      }
    }
  }

  private Layer bring(List<Wanted> stack, int index, BlobSource source)
      throws InterruptedException {
    Wanted wanted = stack.get(index);
    // The callers may have gone when the commit comes: then the layer stays for the grace period.
    String owner = "layer:" + holds.incrementAndGet();
    LayerProgress progress = board.layer(wanted.chainId(), wanted.blob());
    snapshotter.hold(owner, wanted.chain().subList(0, index + 1));
    try {
      var present = snapshotter.layer(wanted.chainId());
      if (present.isPresent() && snapshotter.isSound(wanted.chainId())) {
        return present.get();
      }
      ChainId parent = index == 0 ? null : wanted.chain().get(index - 1);
      for (int attempt = 0; ; attempt++) {
        try (LayerDraft draft = snapshotter.draft(wanted.chainId(), parent, wanted.diffId())) {
          try {
            fill(draft, wanted, source, attempt, progress);
          } catch (ImageException e) {
            boolean wrong = e.reason() == Reason.CORRUPT || e.reason() == Reason.UNSUPPORTED;
            if (wrong || e.reason() == Reason.DISK) {
              source.forget(wanted.blob());
            }
            if (!wrong || attempt + 1 >= source.attempts(wanted.blob())) {
              throw e;
            }
            log.warn("{}; fetching it anew", e.getMessage());
            continue;
          }
          if (parent != null && !snapshotter.isSound(parent)) {
            ingest(stack, index - 1, source);
          }
          Layer layer = draft.commit();
          source.forget(wanted.blob());
          progress.done();
          return layer;
        }
      }
    } catch (SnapshotException | UncheckedIOException | ErrnoException e) {
      source.forget(wanted.blob());
      throw new ImageException(
          Reason.DISK,
          "layer " + wanted.blob().digest() + " can't be stored: " + e.getMessage(),
          e);
    } finally {
      snapshotter.releaseLater(owner);
    }
  }

  /**
   * Holds a place of the source and then one of the daemon, in this order: who waits for a busy
   * registry keeps no place from the others. None is held while waiting for another layer.
   */
  private void fill(
      LayerDraft draft, Wanted wanted, BlobSource source, int attempt, LayerProgress progress)
      throws InterruptedException {
    progress.waiting();
    Semaphore places = source.places();
    places.acquire();
    try {
      transfers.acquire();
      try {
        Object _ =
            Fork.onPlatformThread(
                "unpack " + wanted.blob().digest().abbreviated(),
                Stages.inherit(() ->
                    Stages.time("unpack", () -> unpack(draft, wanted, source, attempt, progress))));
      } finally {
        transfers.release();
      }
    } finally {
      places.release();
    }
  }

  private Descriptor unpack(
      LayerDraft draft, Wanted wanted, BlobSource source, int attempt, LayerProgress progress)
      throws InterruptedException {
    Descriptor blob = wanted.blob();
    String what = "layer " + blob.digest();
    try {
      if (blob.size() <= IN_LINE) {
        byte[] stored = fetch(what, blob, source, attempt, progress);
        try (InputStream plain = plain(wanted, what, new ByteArrayInputStream(stored))) {
          unpack(draft, wanted, what, plain);
        }
      } else {
        unpackInStages(draft, wanted, what, source, attempt, progress);
      }
      fetched.increment();
      progress.storing();
      return blob;
    } catch (IOException e) {
      if (Thread.interrupted()) {
        throw new InterruptedException("unpacking " + what + " was interrupted");
      }
      throw new ImageException(
          Reason.CORRUPT, what + " can't be decompressed: " + e.getMessage(), e);
    }
  }

  /** A small blob whole, its digest compared. */
  private static byte[] fetch(
      String what, Descriptor blob, BlobSource source, int attempt, LayerProgress progress)
      throws IOException, InterruptedException {
    Stages.Meter waiting = Stages.meter("fetch", source.name());
    waiting.enter();
    try (InputStream in =
        new VerifyingStream(
            source.open(blob, attempt, progress), what, blob.digest(), blob.size())) {
      byte[] content = in.readNBytes((int) blob.size());
      drain(in); // the digest is compared at the end alone
      return content;
    } finally {
      waiting.leave();
    }
  }

  private void unpackInStages(
      LayerDraft draft,
      Wanted wanted,
      String what,
      BlobSource source,
      int attempt,
      LayerProgress progress)
      throws IOException, InterruptedException {
    Descriptor blob = wanted.blob();
    String shortName = blob.digest().abbreviated();
    try (Readahead stored =
            new Readahead(
                "fetch " + shortName,
                () ->
                    new VerifyingStream(
                        source.open(blob, attempt, progress), what, blob.digest(), blob.size()),
                chunks,
                BLOB_CHUNK,
                CHUNKS,
                Stages.meter("fetch", source.name()));
        Readahead plain =
            new Readahead(
                "inflate " + shortName,
                () -> plain(wanted, what, stored),
                chunks,
                PLAIN_CHUNK,
                CHUNKS)) {
      unpack(draft, wanted, what, plain);
    }
  }

  @MustBeClosed
  private static InputStream plain(Wanted wanted, String what, InputStream stored)
      throws IOException {
    return wanted.isArtifact()
        ? ArtifactLayer.tar(stored, wanted.blob(), what)
        : Compression.open(stored, what);
  }

  private void unpack(LayerDraft draft, Wanted wanted, String what, InputStream plain)
      throws IOException, InterruptedException {
    try (InputStream tar =
        wanted.isArtifact()
            ? plain
            : new VerifyingStream(plain, what + " unpacked", wanted.diffId())) {
      unpacker.unpack(tar, draft);
      drain(tar); // the digests cover what follows the archive's end, too
    }
  }

  private static void drain(InputStream in) throws IOException {
    if (in.read() < 0) {
      return;
    }
    byte[] scratch = new byte[64 << 10];
    while (in.read(scratch, 0, scratch.length) >= 0) {
      // Only the digests are wanted.
    }
  }
}
