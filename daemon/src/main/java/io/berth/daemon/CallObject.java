package io.berth.daemon;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import java.util.List;
import org.jspecify.annotations.Nullable;

/// What a request is about, for log lines: an id, a pod as `namespace/name`, or an image. Reads a
/// few named fields only, so that credentials and environment values cannot end up in the log.
final class CallObject {
  private CallObject() {}

  /// Empty when the request names nothing.
  static String of(Object request) {
    if (!(request instanceof Message message)) {
      return "";
    }
    String container = text(message, "container_id");
    if (!container.isEmpty()) {
      return container;
    }
    String sandbox = text(message, "pod_sandbox_id");
    String metadata = metadata(message);
    if (!sandbox.isEmpty()) {
      return metadata.isEmpty() ? sandbox : sandbox + "/" + metadata;
    }
    return metadata.isEmpty() ? image(message) : metadata;
  }

  /// The pod and container that a request names, as far as they are known now.
  static Subject subject(Object request, Subject.Directory directory) {
    if (!(request instanceof Message message)) {
      return Subject.NONE;
    }
    String container = text(message, "container_id");
    if (!container.isEmpty()) {
      return directory.container(container).orElse(Subject.NONE);
    }
    Message metadata = message(message(message, "config"), "metadata");
    String sandbox = text(message, "pod_sandbox_id");
    if (!sandbox.isEmpty()) {
      return directory.sandbox(sandbox).orElse(Subject.NONE).withContainer(text(metadata, "name"));
    }
    // The kubelet says for which pod it pulls.
    Message pod =
        metadata == null ? message(message(message, "sandbox_config"), "metadata") : metadata;
    String namespace = text(pod, "namespace");
    return namespace.isEmpty()
        ? Subject.NONE
        : new Subject("", namespace + "/" + text(pod, "name"), text(pod, "uid"), "");
  }

  /// What the answer adds to what is known: the ids that a call has made.
  static Subject made(Object answer, Subject asked) {
    if (answer instanceof Message message) {
      String sandbox = text(message, "pod_sandbox_id");
      return sandbox.isEmpty() ? asked : asked.withPodId(sandbox);
    }
    return asked;
  }

  private static String metadata(Message request) {
    Message metadata = message(message(request, "config"), "metadata");
    String namespace = text(metadata, "namespace");
    String name = text(metadata, "name");
    return namespace.isEmpty() ? name : namespace + "/" + name;
  }

  private static String image(Message request) {
    String name = text(request, "image");
    if (name.isEmpty()) {
      name = text(message(request, "image"), "image");
    }
    return name.isEmpty() ? String.join(", ", texts(request, "images")) : name;
  }

  private static @Nullable Message message(@Nullable Message parent, String field) {
    FieldDescriptor descriptor = field(parent, field);
    return parent != null
            && descriptor != null
            && descriptor.getJavaType() == FieldDescriptor.JavaType.MESSAGE
            && !descriptor.isRepeated()
            && parent.hasField(descriptor)
        ? (Message) parent.getField(descriptor)
        : null;
  }

  private static String text(@Nullable Message parent, String field) {
    FieldDescriptor descriptor = field(parent, field);
    return parent != null
            && descriptor != null
            && descriptor.getJavaType() == FieldDescriptor.JavaType.STRING
            && !descriptor.isRepeated()
        ? (String) parent.getField(descriptor)
        : "";
  }

  private static List<String> texts(Message parent, String field) {
    FieldDescriptor descriptor = field(parent, field);
    return descriptor != null
            && descriptor.getJavaType() == FieldDescriptor.JavaType.STRING
            && descriptor.isRepeated()
        ? ((List<?>) parent.getField(descriptor)).stream().map(String::valueOf).toList()
        : List.of();
  }

  private static @Nullable FieldDescriptor field(@Nullable Message parent, String field) {
    return parent == null ? null : parent.getDescriptorForType().findFieldByName(field);
  }
}
