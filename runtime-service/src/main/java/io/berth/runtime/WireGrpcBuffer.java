package io.berth.runtime;

import com.google.protobuf.ByteString;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Protobuf's wire format, written by hand where messages would cost more than what they say. */
final class WireGrpcBuffer {
  private static final int LENGTH_DELIMITED = 2;
  private static final int VARINT = 0;

  private byte[] bytes;
  private int length;

  WireGrpcBuffer(int capacity) {
    bytes = new byte[capacity];
  }

  int length() {
    return length;
  }

  void clear() {
    length = 0;
  }

  ByteString toByteString() {
    return ByteString.copyFrom(bytes, 0, length);
  }

  byte[] toByteArray() {
    return Arrays.copyOf(bytes, length);
  }

  void raw(byte[] some) {
    room(some.length);
    System.arraycopy(some, 0, bytes, length, some.length);
    length += some.length;
  }

  /** What comes next is a field of so many bytes. */
  void head(int field, int size) {
    varint((long) field << 3 | LENGTH_DELIMITED);
    varint(size);
  }

  void message(int field, WireGrpcBuffer message) {
    head(field, message.length);
    room(message.length);
    System.arraycopy(message.bytes, 0, bytes, length, message.length);
    length += message.length;
  }

  void string(int field, String text) {
    byte[] encoded = text.getBytes(StandardCharsets.UTF_8);
    head(field, encoded.length);
    raw(encoded);
  }

  void number(int field, long value) {
    varint((long) field << 3 | VARINT);
    varint(value);
  }

  private void varint(long value) {
    room(10);
    long rest = value;
    while ((rest & ~0x7FL) != 0) {
      bytes[length++] = (byte) (rest | 0x80);
      rest >>>= 7;
    }
    bytes[length++] = (byte) rest;
  }

  private void room(int more) {
    if (bytes.length - length < more) {
      bytes = Arrays.copyOf(bytes, Math.max(bytes.length * 2, length + more));
    }
  }
}
