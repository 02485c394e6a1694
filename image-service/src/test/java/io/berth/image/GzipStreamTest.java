package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.berth.linux.GzipInflater;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.Random;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.DeflaterOutputStream;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The JDK's GZIPInputStream is the measure. */
class GzipStreamTest {

  private static byte[] gzip(byte[] plain) throws IOException {
    var out = new ByteArrayOutputStream();
    try (var gzip = new GZIPOutputStream(out)) {
      gzip.write(plain);
    }
    return out.toByteArray();
  }

  private static byte[] join(byte[]... parts) {
    var all = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      all.writeBytes(part);
    }
    return all.toByteArray();
  }

  private static byte[] inflate(byte[] archive) throws IOException {
    assumeTrue(GzipInflater.isAvailable());
    try (var in = new GzipStream(new ByteArrayInputStream(archive))) {
      return in.readAllBytes();
    }
  }

  /** Text and noise in turns, so that there are blocks of all kinds. */
  private static byte[] content(long seed, int size) {
    var random = new Random(seed);
    byte[] bytes = new byte[size];
    random.nextBytes(bytes);
    for (int at = 0; at < size; at += 20_000) {
      if (random.nextBoolean()) {
        Arrays.fill(bytes, at, Math.min(size, at + random.nextInt(20_000)), (byte) at);
      }
    }
    return bytes;
  }

  /** Where only what the build needs is installed the others are left out. */
  @Test
  @Tag("root")
  void theLibraryIsThereSoThatItIsTested() {
    assertThat(GzipInflater.isAvailable()).isTrue();
  }

  @Property(tries = 40)
  void givesWhatTheJdkGives(@ForAll long seed, @ForAll @IntRange(max = 700_000) int size)
      throws IOException {
    byte[] archive = gzip(content(seed, size));

    byte[] expected = new GZIPInputStream(new ByteArrayInputStream(archive)).readAllBytes();
    assertThat(Arrays.equals(inflate(archive), expected)).isTrue();
  }

  @Property(tries = 300)
  void spoiltContentIsRefusedOrRightButNeverSomethingElse(
      @ForAll long seed, @ForAll @IntRange(max = 30_000) int size) throws IOException {
    byte[] plain = content(seed, size);
    byte[] archive = gzip(plain);
    var random = new Random(seed);
    byte[] bad = Arrays.copyOf(archive, archive.length - random.nextInt(2));
    bad[random.nextInt(bad.length)] ^= (byte) (1 << random.nextInt(8));

    try {
      assertThat(inflate(bad)).isEqualTo(plain); // a flag or a time in the header
    } catch (IOException refused) {
      assertThat(refused.getMessage()).isNotBlank();
    }
  }

  @Test
  void allMembersAreReadWhateverComesInOneRead() throws IOException {
    byte[] archive =
        join(gzip("one,".getBytes(UTF_8)), gzip(new byte[0]), gzip("two".getBytes(UTF_8)));

    assertThat(inflate(archive)).asString(UTF_8).isEqualTo("one,two");
    var drop =
        new FilterInputStream(new ByteArrayInputStream(archive)) {
          @Override
          public int read(byte[] buffer, int offset, int length) throws IOException {
            return super.read(buffer, offset, Math.min(length, 1));
          }
        };
    try (InputStream in = new GzipStream(drop)) {
      assertThat(in.readAllBytes()).asString(UTF_8).isEqualTo("one,two");
    }
  }

  @Test
  void headersWithANameACommentExtraBytesAndAChecksumAreUnderstood() throws IOException {
    var header = new ByteArrayOutputStream();
    header.writeBytes(new byte[] {0x1f, (byte) 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3, 3, 0, 1, 2, 3});
    header.writeBytes("name\0a comment\0".getBytes(UTF_8));
    var crc = new CRC32();
    crc.update(header.toByteArray());
    header.write((int) crc.getValue());
    header.write((int) crc.getValue() >> 8);
    byte[] plain = "content".getBytes(UTF_8);
    var raw = new ByteArrayOutputStream();
    try (var deflate =
        new DeflaterOutputStream(raw, new Deflater(Deflater.DEFAULT_COMPRESSION, true))) {
      deflate.write(plain);
    }
    byte[] good = gzip(plain);
    byte[] trailer = Arrays.copyOfRange(good, good.length - 8, good.length);

    assertThat(inflate(join(header.toByteArray(), raw.toByteArray(), trailer))).isEqualTo(plain);
  }

  @Test
  void whatFollowsAndIsNoMemberIsLeftOut() throws IOException {
    byte[] archive = gzip("one".getBytes(UTF_8));

    assertThat(inflate(join(archive, new byte[100_000]))).asString(UTF_8).isEqualTo("one");
    assertThat(inflate(join(archive, new byte[] {0x1f}))).asString(UTF_8).isEqualTo("one");
  }

  @Test
  void anEarlyEndAWrongChecksumAndAWrongMethodAreErrors() throws IOException {
    assumeTrue(GzipInflater.isAvailable());
    byte[] archive = gzip(content(1, 100_000));
    byte[] wrong = archive.clone();
    wrong[wrong.length - 6] ^= 1;
    byte[] method = archive.clone();
    method[2] = 7;

    for (int length : new int[] {2, 9, 15, archive.length / 2, archive.length - 1}) {
      assertThatThrownBy(() -> inflate(Arrays.copyOf(archive, length)))
          .as("%s bytes of it", length)
          .isInstanceOf(EOFException.class);
    }
    assertThatThrownBy(() -> inflate(join(archive, Arrays.copyOf(archive, 50))))
        .isInstanceOf(EOFException.class);
    assertThatThrownBy(() -> inflate(wrong)).hasMessageContaining("checksum");
    assertThatThrownBy(() -> inflate(method)).hasMessageContaining("method");
  }
}
