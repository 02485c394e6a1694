package io.berth.bench;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import io.grpc.stub.ClientCalls;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.concurrent.TimeUnit;

/**
 * Calls whose answers are taken as bytes. Making thousands of messages of one takes this client
 * about as long as the daemon needs for all of it, and says nothing about the daemon.
 */
final class UnreadAnswer {
  private static final long PATIENCE_SECONDS = 60;

  private UnreadAnswer() {}

  /**
   * @return its size in bytes
   */
  static <Q> int of(Channel channel, MethodDescriptor<Q, ?> method, Q request) {
    MethodDescriptor<Q, byte[]> unread =
        method.toBuilder(method.getRequestMarshaller(), new Bytes()).build();
    return ClientCalls.blockingUnaryCall(
            channel,
            unread,
            CallOptions.DEFAULT.withDeadlineAfter(PATIENCE_SECONDS, TimeUnit.SECONDS),
            request)
        .length;
  }

  private static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
    @Override
    public InputStream stream(byte[] bytes) {
      return new ByteArrayInputStream(bytes);
    }

    @Override
    public byte[] parse(InputStream stream) {
      try {
        return stream.readAllBytes();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }
}
