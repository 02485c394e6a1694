package io.berth.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.EnumDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.Descriptors.MethodDescriptor;
import com.google.protobuf.Descriptors.ServiceDescriptor;
import io.berth.cri.v1.CriProto;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Our hand-written protocol against the published Go module: each side prints one line for each
 * service, method, message, field and enum value ({@code src/test/go/cridesc} documents the form).
 */
class CriProtocolTest {

  @Test
  void everyServiceMessageFieldAndEnumValueIsThatOfThePublishedProtocol() throws Exception {
    SortedSet<String> published = publishedProtocol();
    SortedSet<String> ours = describe(CriProto.getDescriptor());

    assertThat(published).as("what cridesc prints").contains("package runtime.v1");
    assertThat(differences(published, ours)).as("- published, + ours").isEmpty();
  }

  private static SortedSet<String> publishedProtocol() throws Exception {
    Process cridesc =
        new ProcessBuilder(TestTools.built("cridesc").toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    String output = new String(cridesc.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(cridesc.waitFor()).as("exit code of cridesc").isZero();
    return new TreeSet<>(output.lines().toList());
  }

  private static List<String> differences(SortedSet<String> published, SortedSet<String> ours) {
    return Stream.concat(
            published.stream().filter(line -> !ours.contains(line)).map(line -> "- " + line),
            ours.stream().filter(line -> !published.contains(line)).map(line -> "+ " + line))
        .toList();
  }

  private static SortedSet<String> describe(FileDescriptor file) {
    var lines = new TreeSet<String>();
    lines.add("package " + file.getPackage());
    file.getServices().forEach(service -> describe(service, lines));
    file.getMessageTypes().forEach(message -> describe(message, lines));
    file.getEnumTypes().forEach(type -> describe(type, lines));
    return lines;
  }

  private static void describe(ServiceDescriptor service, SortedSet<String> lines) {
    lines.add("service " + service.getFullName());
    for (MethodDescriptor method : service.getMethods()) {
      lines.add(
          "method "
              + method.getFullName()
              + (method.isClientStreaming() ? " stream " : " ")
              + method.getInputType().getFullName()
              + (method.isServerStreaming() ? " stream " : " ")
              + method.getOutputType().getFullName());
    }
  }

  private static void describe(Descriptor message, SortedSet<String> lines) {
    if (message.getOptions().getMapEntry()) {
      return; // told with the field
    }
    lines.add("message " + message.getFullName());
    for (FieldDescriptor field : message.getFields()) {
      boolean isMessage = field.getJavaType() == FieldDescriptor.JavaType.MESSAGE;
      lines.add(
          "field "
              + field.getFullName()
              + " "
              + field.getNumber()
              + " "
              + kind(field)
              + " json="
              + field.getJsonName()
              + (field.getOptions().getDeprecated() ? " deprecated" : "")
              + (field.getOptions().getDebugRedact() ? " debug_redact" : "")
              + (field.getContainingOneof() != null ? " oneof" : "")
              + (field.hasPresence() && !isMessage ? " presence" : ""));
    }
    message.getNestedTypes().forEach(nested -> describe(nested, lines));
    message.getEnumTypes().forEach(type -> describe(type, lines));
  }

  private static void describe(EnumDescriptor type, SortedSet<String> lines) {
    type.getValues()
        .forEach(value ->
            lines.add(
                "enum " + type.getFullName() + " " + value.getName() + " = " + value.getNumber()));
  }

  private static String kind(FieldDescriptor field) {
    if (field.isMapField()) {
      Descriptor entry = field.getMessageType();
      return "map<"
          + typeName(entry.findFieldByName("key"))
          + ","
          + typeName(entry.findFieldByName("value"))
          + ">";
    }
    return (field.isRepeated() ? "repeated " : "optional ") + typeName(field);
  }

  private static String typeName(FieldDescriptor field) {
    return switch (field.getJavaType()) {
      case MESSAGE -> field.getMessageType().getFullName();
      case ENUM -> field.getEnumType().getFullName();
      case INT, LONG, FLOAT, DOUBLE, BOOLEAN, STRING, BYTE_STRING ->
          field.getType().name().toLowerCase(Locale.ROOT);
    };
  }
}
