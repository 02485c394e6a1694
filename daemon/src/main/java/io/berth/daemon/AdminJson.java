package io.berth.daemon;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.MapEntry;
import com.google.protobuf.Message;
import java.util.List;

/// Answers of the administration protocol as JSON for `jq`: field names as in the protocol, every
/// field present. Covers the types that protocol uses.
final class AdminJson {
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;

  private AdminJson() {}

  static String array(List<? extends Message> messages) {
    ArrayNode array = JSON.arrayNode();
    messages.forEach(message -> array.add(object(message)));
    return array.toPrettyString();
  }

  static String text(Message message) {
    return object(message).toPrettyString();
  }

  /// On one line.
  static String line(Message message) {
    return object(message).toString();
  }

  static ObjectNode object(Message message) {
    ObjectNode object = JSON.objectNode();
    for (FieldDescriptor field : message.getDescriptorForType().getFields()) {
      Object value = message.getField(field);
      if (field.isMapField()) {
        ObjectNode map = object.putObject(field.getName());
        for (Object entry : (List<?>) value) {
          var pair = (MapEntry<?, ?>) entry;
          map.put(String.valueOf(pair.getKey()), String.valueOf(pair.getValue()));
        }
      } else if (field.isRepeated()) {
        ArrayNode array = object.putArray(field.getName());
        ((List<?>) value).forEach(element -> array.add(scalar(element)));
      } else {
        object.set(field.getName(), scalar(value));
      }
    }
    return object;
  }

  private static JsonNode scalar(Object value) {
    return switch (value) {
      case Message message -> object(message);
      case Long number -> JSON.numberNode(number);
      case Integer number -> JSON.numberNode(number);
      case Boolean flag -> JSON.booleanNode(flag);
      default -> JSON.textNode(value.toString());
    };
  }
}
