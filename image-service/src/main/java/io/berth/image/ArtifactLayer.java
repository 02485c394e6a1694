package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.MediaTypes;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.nio.charset.StandardCharsets;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.jspecify.annotations.Nullable;

/**
 * A layer of an OCI artifact, which isn't made for running: a tar is unpacked, anything else is one
 * file under the name that its annotation {@code org.opencontainers.image.title} gives it.
 *
 * <p>No config tells digests of what is unpacked. What a layer becomes is fixed by its blob and
 * that name, so a digest of those two stands for the diff ID, and the blob's digest alone is what
 * verifies the content.
 */
final class ArtifactLayer {
  static final String TITLE = "org.opencontainers.image.title";
  private static final int BLOCK = 512;

  private ArtifactLayer() {}

  /**
   * Whether it can be mounted: a tar, or a file with a name.
   *
   * @throws ImageException CORRUPT for a name that leads elsewhere
   */
  static boolean isMountable(Descriptor blob) {
    String title = blob.annotation(TITLE);
    if (MediaTypes.isLayer(blob.mediaType())) {
      return true;
    }
    if (title == null || title.isEmpty()) {
      return false;
    }
    boolean inside =
        title.indexOf('\0') < 0
            && List.of(title.split("/", -1)).stream()
                .noneMatch(part ->
                    part.isEmpty()
                        || part.equals(".")
                        || part.equals("..")
                        || part.startsWith(".wh."));
    if (!inside) {
      throw new ImageException(
          Reason.CORRUPT,
          "layer "
              + blob.digest()
              + " of the artifact is a file called \""
              + title.replaceAll("\\p{Cntrl}", "?")
              + "\", which is no name within a folder");
    }
    return true;
  }

  /** What stands for the diff ID. */
  static Digest diffId(Descriptor blob) {
    String name = file(blob).orElse("");
    return Digest.sha256(
        ("artifact layer\n" + blob.digest() + "\n" + name).getBytes(StandardCharsets.UTF_8));
  }

  /** Whether a layer was recorded as an artifact's. */
  static boolean is(Digest diffId, Descriptor blob) {
    return diffId.equals(diffId(blob));
  }

  private static Optional<String> file(Descriptor blob) {
    @Nullable String title = blob.annotation(TITLE);
    return MediaTypes.isLayer(blob.mediaType()) ? Optional.empty() : Optional.ofNullable(title);
  }

  /**
   * The layer as a tar, for the same unpacking with the same limits as any.
   *
   * @param stored the blob, which is read to its end
   */
  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // handed on to the caller
  static InputStream tar(InputStream stored, Descriptor blob, String what) throws IOException {
    Optional<String> name = file(blob);
    if (name.isEmpty()) {
      return Compression.open(stored, what);
    }
    int padding = (int) (-blob.size() & (BLOCK - 1));
    return new SequenceInputStream(
        Collections.enumeration(
            List.of(
                new ByteArrayInputStream(header(name.get(), blob.size())),
                stored,
                new ByteArrayInputStream(new byte[padding + 2 * BLOCK]))));
  }

  private static byte[] header(String name, long size) throws IOException {
    var bytes = new ByteArrayOutputStream();
    var tar = new TarArchiveOutputStream(bytes, BLOCK, "UTF-8");
    tar.setLongFileMode(TarArchiveOutputStream.LONGFILE_POSIX);
    tar.setBigNumberMode(TarArchiveOutputStream.BIGNUMBER_POSIX);
    tar.setAddPaxHeadersForNonAsciiNames(true);
    var entry = new TarArchiveEntry(name);
    entry.setSize(size);
    entry.setMode(0100644);
    entry.setModTime(0);
    tar.putArchiveEntry(entry);
    tar.flush();
    return bytes.toByteArray();
  }
}
