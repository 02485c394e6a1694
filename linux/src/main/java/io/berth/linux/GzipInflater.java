package io.berth.linux;

import com.google.errorprone.annotations.MustBeClosed;
import com.sun.jna.Library;
import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.Map;
import java.util.zip.GZIPOutputStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One gzip member after the other (RFC 1952), header, content and checksum, inflated by ISA-L
 * (libisal, igzip_lib.h) where the machine has it: in less than half the time that the JDK's takes.
 * Not for use by two threads at once.
 */
public final class GzipInflater implements AutoCloseable {
  private static final Logger log = LoggerFactory.getLogger(GzipInflater.class);

  // struct inflate_state of libisal.so.2, whose size is 87368; the rest is room for later versions.
  private static final int STATE = 160 << 10;
  private static final int NEXT_OUT = 0;
  private static final int AVAILABLE_OUT = 8;
  private static final int NEXT_IN = 16;
  private static final int AVAILABLE_IN = 32;
  private static final int BLOCK_STATE = 21160;
  private static final int CRC_FLAG = 21172;

  private static final int BLOCK_FINISH = 5;
  private static final int GZIP = 1;

  private static final int INPUT = 64 << 10;
  private static final int OUTPUT = 128 << 10;

  private final Memory state = new Memory(STATE);
  private final Memory input = new Memory(INPUT);
  private final Memory output = new Memory(OUTPUT);

  private GzipInflater() {
    state.clear();
    Isal.isal_inflate_init(state);
    begin();
  }

  private static final class Isal {
    private Isal() {}

    static native void isal_inflate_init(Pointer state);

    static native void isal_inflate_reset(Pointer state);

    static native int isal_inflate(Pointer state);
  }

  /** Tried when first asked for, and not trusted before it has done what it should. */
  private static final class Trial {
    static final boolean PASSED = load() && passed();

    private Trial() {}

    private static boolean load() {
      try {
        NativeLibrary library =
            NativeLibrary.getInstance(
                "libisal.so.2", Map.of(Library.OPTION_OPEN_FLAGS, 2 /* RTLD_NOW */));
        Native.register(Isal.class, library);
        return true;
      } catch (UnsatisfiedLinkError e) {
        log.info(
            "libisal.so.2 can't be loaded, layers are inflated by the JDK: {}", e.getMessage());
        return false;
      }
    }

    /** Offsets that aren't those of this library would show here. */
    private static boolean passed() {
      byte[] plain = new byte[OUTPUT + 5];
      for (int i = 0; i < plain.length; i++) {
        plain[i] = (byte) ((i * i) >> 8);
      }
      var archive = new ByteArrayOutputStream();
      byte[] inflated = new byte[plain.length];
      try (GzipInflater inflater = new GzipInflater()) {
        try (var gzip = new GZIPOutputStream(archive)) {
          gzip.write(plain);
        }
        byte[] content = archive.toByteArray();
        int filled = 0;
        for (int at = 0; at < content.length; at += INPUT) {
          inflater.give(content, at, Math.min(INPUT, content.length - at));
          for (int n = 1; n > 0 && filled < plain.length; filled += n) {
            n = inflater.inflate(inflated, filled, plain.length - filled);
          }
        }
        int _ = inflater.inflate(new byte[1], 0, 1);
        if (inflater.finished() && Arrays.equals(plain, inflated)) {
          return true;
        }
      } catch (IOException e) {
        // Said below.
      }
      log.warn("libisal.so.2 isn't what it should be, layers are inflated by the JDK");
      return false;
    }
  }

  /** Whether the machine has the library. */
  public static boolean isAvailable() {
    return Trial.PASSED;
  }

  /**
   * @throws IllegalStateException where the machine hasn't the library
   */
  @MustBeClosed
  public static GzipInflater open() {
    if (!isAvailable()) {
      throw new IllegalStateException("libisal.so.2 isn't there");
    }
    return new GzipInflater();
  }

  /** Expects a member's header next, as at the beginning. */
  public void nextMember() {
    Isal.isal_inflate_reset(state);
    begin();
  }

  private void begin() {
    state.setInt(CRC_FLAG, GZIP);
    state.setInt(AVAILABLE_IN, 0);
  }

  /** Most bytes that {@link #give} takes. */
  public static int inputSize() {
    return INPUT;
  }

  /** Compressed content, when all that was given before has been used. */
  public void give(byte[] bytes, int offset, int length) {
    input.write(0, bytes, offset, length);
    state.setPointer(NEXT_IN, input);
    state.setInt(AVAILABLE_IN, length);
  }

  /** How many of the bytes given haven't been used; behind a member's end they are the next's. */
  public int unused() {
    return state.getInt(AVAILABLE_IN);
  }

  /** The member has ended, its checksum is right, and all of it was given out. */
  public boolean finished() {
    return state.getInt(BLOCK_STATE) == BLOCK_FINISH;
  }

  /**
   * The next plain bytes.
   *
   * @return how many; 0 when more has to be given, or the member has ended
   * @throws IOException if it is no gzip, or its checksum is wrong
   */
  public int inflate(byte[] plain, int offset, int length) throws IOException {
    if (finished()) {
      return 0;
    }
    int room = Math.min(length, OUTPUT);
    state.setPointer(NEXT_OUT, output);
    state.setInt(AVAILABLE_OUT, room);
    int result = Isal.isal_inflate(state);
    if (result < 0) {
      throw new IOException(
          switch (result) {
            case -4 -> "not in gzip format";
            case -5 -> "compressed with a method that gzip doesn't have";
            case -6 -> "the checksum of a gzip member is wrong";
            default -> "invalid deflate data (" + result + ")";
          });
    }
    int made = room - state.getInt(AVAILABLE_OUT);
    output.read(0, plain, offset, made);
    return made;
  }

  @Override
  public void close() {
    state.close();
    input.close();
    output.close();
  }
}
