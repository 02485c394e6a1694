package io.berth.runtime;

import com.google.protobuf.ByteString;
import com.google.protobuf.MessageLite;
import java.util.Collection;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * Records as the wire has them, encoded once and kept as long as they are the same. A kubelet lists
 * everything each second, and hardly anything has changed since. Safe for use by many threads.
 *
 * @param <T> an immutable record
 */
final class EncodedGrpcItems<T> {
  /** Some 1 KiB each; beyond it each list is encoded anew. */
  private static final int MOST = 1000;

  /** Removed records that may be kept before they are looked for. */
  private static final int SLACK = 32;

  private record Encoded<T>(T item, ByteString bytes) {}

  private final Function<T, String> id;
  private final Function<T, ? extends MessageLite> message;
  private final ConcurrentMap<String, Encoded<T>> kept = new ConcurrentHashMap<>();

  EncodedGrpcItems(Function<T, String> id, Function<T, ? extends MessageLite> message) {
    this.id = id;
    this.message = message;
  }

  ByteString of(T item) {
    String key = id.apply(item);
    Encoded<T> last = kept.get(key);
    if (last != null && last.item.equals(item)) {
      return last.bytes;
    }
    ByteString bytes = message.apply(item).toByteString();
    if (last != null || kept.size() < MOST) {
      kept.put(key, new Encoded<>(item, bytes));
    }
    return bytes;
  }

  /**
   * Lets go of records that are no longer there.
   *
   * @param all that are
   */
  void forgetOthers(Collection<T> all) {
    if (kept.size() > all.size() + SLACK) {
      kept.keySet().retainAll(all.stream().map(id).collect(Collectors.toSet()));
    }
  }
}
