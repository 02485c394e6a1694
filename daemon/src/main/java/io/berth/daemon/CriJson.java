package io.berth.daemon;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.MapEntry;
import com.google.protobuf.Message;
import io.berth.cri.v1.UInt64Value;
import java.util.List;

/// Answers of the CRI as JSON: names in camel case as crictl prints them, numbers as numbers, and
/// what a runtime left out is left out. Values of `info` that are JSON themselves become part of
/// it.
final class CriJson {
  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;
  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  private CriJson() {}

  static String text(Message message) {
    return object(message).toPrettyString();
  }

  static String line(Message message) {
    return object(message).toString();
  }

  static ObjectNode object(Message message) {
    ObjectNode object = JSON.objectNode();
    for (FieldDescriptor field : message.getDescriptorForType().getFields()) {
      Object value = message.getField(field);
      String name = field.getJsonName();
      if (field.isMapField()) {
        ObjectNode map = object.putObject(name);
        for (Object entry : (List<?>) value) {
          var pair = (MapEntry<?, ?>) entry;
          String text = String.valueOf(pair.getValue());
          map.set(
              String.valueOf(pair.getKey()),
              field.getName().equals("info") ? parsed(text) : JSON.textNode(text));
        }
      } else if (field.isRepeated()) {
        var array = object.putArray(name);
        ((List<?>) value).forEach(element -> array.add(node(element)));
      } else if (!field.hasPresence() || message.hasField(field)) {
        object.set(name, node(value));
      }
    }
    return object;
  }

  private static JsonNode node(Object value) {
    return switch (value) {
      case UInt64Value number -> JSON.numberNode(number.getValue());
      case Message message -> object(message);
      case Long number -> JSON.numberNode(number);
      case Integer number -> JSON.numberNode(number);
      case Double number -> JSON.numberNode(number);
      case Boolean flag -> JSON.booleanNode(flag);
      case ByteString bytes -> JSON.binaryNode(bytes.toByteArray());
      default -> JSON.textNode(value.toString());
    };
  }

  private static JsonNode parsed(String text) {
    if (text.startsWith("{") || text.startsWith("[")) {
      try {
        return MAPPER.readTree(text);
      } catch (JsonProcessingException plainText) {
        return JSON.textNode(text);
      }
    }
    return JSON.textNode(text);
  }

  /// An indented outline for people: a line for each value, without empty ones.
  static String outline(String json) throws JsonProcessingException {
    var text = new StringBuilder();
    outline(text, MAPPER.readTree(json), 0);
    return text.toString();
  }

  private static void outline(StringBuilder text, JsonNode node, int depth) {
    String indent = "  ".repeat(depth);
    for (var property : node.properties()) {
      JsonNode value = property.getValue();
      if ((value.isContainerNode() && value.isEmpty())
          || (value.isTextual() && value.asText().isEmpty())) {
        continue;
      }
      text.append(indent).append(property.getKey()).append(':');
      if (value.isValueNode()) {
        text.append(' ').append(value.asText()).append('\n');
      } else if (value.isObject()) {
        text.append('\n');
        outline(text, value, depth + 1);
      } else {
        text.append('\n');
        for (JsonNode element : value) {
          if (element.isValueNode()) {
            text.append(indent).append("  - ").append(element.asText()).append('\n');
          } else {
            int start = text.length();
            outline(text, element, depth + 2);
            if (text.length() > start) {
              text.setCharAt(start + indent.length() + 2, '-');
            }
          }
        }
      }
    }
  }
}
