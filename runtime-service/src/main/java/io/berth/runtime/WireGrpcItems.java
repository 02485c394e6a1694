package io.berth.runtime;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnknownFieldSet;
import java.util.List;

/**
 * Items of an answer that are encoded already. They stand in it as an unknown field with the number
 * of the list, which is the same on the wire, and needn't be made into messages for that.
 */
final class WireGrpcItems {
  private WireGrpcItems() {}

  /**
   * @param number of the repeated field
   */
  static UnknownFieldSet field(int number, List<ByteString> items) {
    if (items.isEmpty()) {
      return UnknownFieldSet.getDefaultInstance();
    }
    UnknownFieldSet.Field.Builder field = UnknownFieldSet.Field.newBuilder();
    items.forEach(field::addLengthDelimited);
    return UnknownFieldSet.newBuilder().addField(number, field.build()).build();
  }
}
