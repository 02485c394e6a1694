package io.berth.runtime;

import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.function.Function;
import java.util.function.ToIntFunction;
import java.util.stream.Stream;

/**
 * Sends a list in parts well below the 16 MiB that clients take in one message. Counted in bytes,
 * as the annotations of one pod may have 256 KiB. Each part has an item at least, and an empty list
 * has no part; the daemon's interceptor holds it back while the client doesn't read.
 */
final class GrpcParts {
  private static final int PART_BYTES = 1 << 20;

  private GrpcParts() {}

  /**
   * @param bytes what an item takes
   */
  static <I, M> void send(
      Stream<I> items,
      ToIntFunction<I> bytes,
      Function<List<I>, M> message,
      StreamObserver<M> observer) {
    List<I> part = new ArrayList<>();
    int partBytes = 0;
    for (Iterator<I> all = items.iterator(); all.hasNext(); ) {
      I item = all.next();
      int size = bytes.applyAsInt(item);
      if (!part.isEmpty() && partBytes + size > PART_BYTES) {
        observer.onNext(message.apply(part));
        part = new ArrayList<>();
        partBytes = 0;
      }
      part.add(item);
      partBytes += size;
    }
    if (!part.isEmpty()) {
      observer.onNext(message.apply(part));
    }
    observer.onCompleted();
  }
}
