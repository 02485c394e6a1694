package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.protobuf.ByteString;
import com.google.protobuf.Descriptors.EnumDescriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import io.berth.cri.v1.ContainerMetadata;
import io.berth.cri.v1.ContainerStatus;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.KeyValue;
import io.berth.cri.v1.LinuxContainerConfig;
import io.berth.cri.v1.LinuxContainerSecurityContext;
import io.berth.cri.v1.LinuxPodSandboxConfig;
import io.berth.cri.v1.LinuxSandboxSecurityContext;
import io.berth.cri.v1.Mount;
import io.berth.cri.v1.PodSandboxConfig;
import io.berth.cri.v1.PodSandboxMetadata;
import io.berth.linux.CgroupDriver;
import io.berth.runtime.ContainerException.Reason;
import io.berth.sandbox.PodCgroup;
import io.berth.sandbox.Sandbox;
import io.berth.sandbox.SandboxState;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/**
 * No field of CRI's configurations may be dropped in silence: each one, set alone, changes what
 * this module understands, or is refused. The fields come from the descriptors, so that a new one
 * in the .proto fails here until it is decided upon.
 */
class GrpcRequestsTest {
  /** Without a meaning here, and why. */
  private static final Set<String> WITHOUT_MEANING =
      Set.of(
          // The image has been pulled; these belong to the pull, and the name decides.
          "image.annotations",
          "image.runtime_handler",
          "image.image_ref",
          "mounts.image.annotations",
          "mounts.image.user_specified_image",
          "mounts.image.runtime_handler",
          "mounts.image.image_ref");

  /** Their successors, when present, win; tested without these. */
  private static final Set<String> SUCCESSORS = Set.of("seccomp", "apparmor");

  @Test
  void everyFieldOfASandboxIsUnderstoodOrRefused() {
    assertThat(dropped(PodSandboxConfig.getDefaultInstance(), GrpcRequestsTest::sandbox)).isEmpty();
  }

  @Test
  void everyFieldOfAContainerIsUnderstoodOrRefused() {
    Set<String> dropped =
        dropped(io.berth.cri.v1.ContainerConfig.getDefaultInstance(), GrpcRequestsTest::container);
    assertThat(dropped).containsExactlyInAnyOrderElementsOf(WITHOUT_MEANING);
  }

  private static Object sandbox(Message message) {
    return GrpcRequests.sandbox((PodSandboxConfig) message);
  }

  private static Object container(Message message) {
    return GrpcRequests.container((io.berth.cri.v1.ContainerConfig) message);
  }

  /** The paths of fields that, set, change nothing. */
  private static Set<String> dropped(Message empty, Function<Message, Object> understand) {
    Set<String> dropped = new TreeSet<>();
    for (List<FieldDescriptor> path : leaves(empty, new ArrayList<>(), new ArrayList<>())) {
      boolean deprecated = path.getLast().getOptions().getDeprecated();
      Message base = present(empty.newBuilderForType(), !deprecated).build();
      Message changed = with(base.toBuilder(), path, 0).build();
      assertThat(changed).as("the test's own change of %s", name(path)).isNotEqualTo(base);
      try {
        if (understand.apply(changed).equals(understand.apply(base))) {
          dropped.add(name(path));
        }
      } catch (ContainerException e) {
        assertThat(e.reason()).as(name(path)).isEqualTo(Reason.INVALID);
      }
    }
    return dropped;
  }

  private static String name(List<FieldDescriptor> path) {
    return String.join(".", path.stream().map(FieldDescriptor::getName).toList());
  }

  private static boolean isWindows(FieldDescriptor field) {
    return field.getName().equals("windows");
  }

  private static boolean isBranch(FieldDescriptor field) {
    return field.getJavaType() == FieldDescriptor.JavaType.MESSAGE
        && !field.isMapField()
        && !isWindows(field);
  }

  private static List<List<FieldDescriptor>> leaves(
      Message empty, List<FieldDescriptor> path, List<List<FieldDescriptor>> found) {
    for (FieldDescriptor field : empty.getDescriptorForType().getFields()) {
      List<FieldDescriptor> here = new ArrayList<>(path);
      here.add(field);
      if (isBranch(field)) {
        leaves(empty.newBuilderForType().newBuilderForField(field).build(), here, found);
      } else {
        found.add(here);
      }
    }
    return found;
  }

  /**
   * Every message and one element of every list are there, with nothing in them but what must be.
   */
  private static Message.Builder present(Message.Builder builder, boolean successors) {
    for (FieldDescriptor field : builder.getDescriptorForType().getFields()) {
      if (isBranch(field) && (successors || !SUCCESSORS.contains(field.getName()))) {
        Message child = present(builder.newBuilderForField(field), successors).build();
        if (field.isRepeated()) {
          builder.addRepeatedField(field, child);
        } else {
          builder.setField(field, child);
        }
      }
    }
    return switch (builder) {
      case ContainerMetadata.Builder metadata -> metadata.setName("name");
      case ImageSpec.Builder image -> image.setImage("image");
      default -> builder;
    };
  }

  private static Message.Builder with(
      Message.Builder builder, List<FieldDescriptor> path, int depth) {
    FieldDescriptor field = path.get(depth);
    if (depth < path.size() - 1) {
      if (field.isRepeated()) {
        Message child = (Message) builder.getRepeatedField(field, 0);
        return builder.setRepeatedField(field, 0, with(child.toBuilder(), path, depth + 1).build());
      }
      Message child = (Message) builder.getField(field);
      return builder.setField(field, with(child.toBuilder(), path, depth + 1).build());
    }
    if (field.isMapField()) {
      Message.Builder entry = builder.newBuilderForField(field);
      entry.setField(entry.getDescriptorForType().findFieldByName("key"), "key");
      entry.setField(entry.getDescriptorForType().findFieldByName("value"), "value");
      return builder.addRepeatedField(field, entry.build());
    }
    Object value =
        switch (field.getJavaType()) {
          case INT -> 7;
          case LONG -> 7L;
          case BOOLEAN -> true;
          case STRING -> "changed";
          case BYTE_STRING -> ByteString.copyFromUtf8("changed");
          case ENUM -> other(field.getEnumType(), builder.getField(field));
          case MESSAGE -> builder.newBuilderForField(field).build(); // Windows
          case FLOAT, DOUBLE -> throw new AssertionError("CRI has none in a configuration");
        };
    return field.isRepeated()
        ? builder.addRepeatedField(field, value)
        : builder.setField(field, value);
  }

  private static Object other(EnumDescriptor type, Object now) {
    return type.getValues().stream().filter(v -> !v.equals(now)).findFirst().orElseThrow();
  }

  @Test
  void resourcesMountsAndNamespacesComeBackAsTheyWereSent() {
    Message sent = filled(io.berth.cri.v1.ContainerConfig.getDefaultInstance());
    var config = (io.berth.cri.v1.ContainerConfig) sent;
    ContainerStatus status =
        GrpcAnswers.containerStatus(
            Containers.of(
                Containers.id("aa"), GrpcRequests.container(config), ContainerState.CREATED));
    assertThat(status.getResources().getLinux()).isEqualTo(config.getLinux().getResources());
    assertThat(status.getMetadata()).isEqualTo(config.getMetadata());
    assertThat(status.getLabelsMap()).isEqualTo(config.getLabelsMap());
    assertThat(status.getAnnotationsMap()).isEqualTo(config.getAnnotationsMap());
    assertThat(status.getImage().getUserSpecifiedImage())
        .isEqualTo(config.getImage().getUserSpecifiedImage());
    assertThat(status.getMountsList())
        .containsExactlyElementsOf(
            config.getMountsList().stream()
                .map(m ->
                    m.toBuilder()
                        .setImage(ImageSpec.newBuilder().setImage(m.getImage().getImage()).build())
                        .build())
                .toList());

    var pod = (PodSandboxConfig) filled(PodSandboxConfig.getDefaultInstance());
    Sandbox sandbox =
        new Sandbox(
            Containers.POD,
            GrpcRequests.sandbox(pod),
            "handler",
            SandboxState.READY,
            5,
            "boot",
            "host",
            new PodCgroup(CgroupDriver.CGROUPFS, "/pod", null),
            List.of("10.0.0.1", "fd00::1"),
            null,
            null);
    var answer = GrpcAnswers.sandboxStatus(sandbox);
    assertThat(answer.getMetadata()).isEqualTo(pod.getMetadata());
    assertThat(answer.getLinux().getNamespaces().getOptions())
        .isEqualTo(pod.getLinux().getSecurityContext().getNamespaceOptions());
    assertThat(answer.getLabelsMap()).isEqualTo(pod.getLabelsMap());
    assertThat(answer.getNetwork().getIp()).isEqualTo("10.0.0.1");
    assertThat(answer.getNetwork().getAdditionalIps(0).getIp()).isEqualTo("fd00::1");
    assertThat(GrpcAnswers.sandbox(sandbox).getAnnotationsMap()).isEqualTo(pod.getAnnotationsMap());
  }

  /** Every field of the Linux kind at once. */
  private static Message filled(Message empty) {
    Message message = present(empty.newBuilderForType(), true).build();
    for (List<FieldDescriptor> path : leaves(empty, new ArrayList<>(), new ArrayList<>())) {
      if (!isWindows(path.getLast())) {
        message = with(message.toBuilder(), path, 0).build();
      }
    }
    return message;
  }

  private static io.berth.cri.v1.ContainerConfig.Builder minimal() {
    return io.berth.cri.v1.ContainerConfig.newBuilder()
        .setMetadata(ContainerMetadata.newBuilder().setName("web"))
        .setImage(ImageSpec.newBuilder().setImage("image"));
  }

  @Test
  void minimalContainerHasNothingSetByItself() {
    ContainerConfig config = GrpcRequests.container(minimal().build());
    assertThat(config.resources()).isNull();
    assertThat(config.stopSignal()).isEmpty();
    assertThat(config.security().runAsUser()).isNull();
    assertThat(config.security().seccomp()).isNull();
    assertThat(config.security().apparmor()).isNull();
    assertThat(config.security().selinux()).isNull();
  }

  @Test
  void userZeroIsNotTheSameAsNoUser() {
    LinuxContainerSecurityContext root =
        LinuxContainerSecurityContext.newBuilder()
            .setRunAsUser(io.berth.cri.v1.Int64Value.getDefaultInstance())
            .build();
    ContainerConfig config =
        GrpcRequests.container(
            minimal().setLinux(LinuxContainerConfig.newBuilder().setSecurityContext(root)).build());
    assertThat(config.security().runAsUser()).isZero();
  }

  private static void assertInvalid(Runnable call, String message) {
    assertThatThrownBy(call::run)
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.INVALID))
        .hasMessageContaining(message);
  }

  @Test
  void whatMustBeThereIsNamedWhenItIsMissing() {
    assertInvalid(
        () -> GrpcRequests.sandbox(PodSandboxConfig.getDefaultInstance()),
        "set name, namespace and uid");
    assertInvalid(
        () -> GrpcRequests.container(minimal().clearMetadata().build()),
        "its metadata is missing; set its name");
    assertInvalid(
        () -> GrpcRequests.container(minimal().clearImage().build()),
        "create container web: it names no image; set image.image");
  }

  @Test
  void groupWithoutUserIsRefusedForASandbox() {
    var security =
        LinuxSandboxSecurityContext.newBuilder()
            .setRunAsGroup(io.berth.cri.v1.Int64Value.newBuilder().setValue(5));
    assertInvalid(
        () ->
            GrpcRequests.sandbox(
                PodSandboxConfig.newBuilder()
                    .setMetadata(PodSandboxMetadata.getDefaultInstance())
                    .setLinux(LinuxPodSandboxConfig.newBuilder().setSecurityContext(security))
                    .build()),
        "run_as_group is set without run_as_user");
  }

  @Test
  void numbersThatCriDoesntKnowAreRefused() {
    assertInvalid(
        () -> GrpcRequests.container(minimal().setStopSignalValue(99).build()),
        "read a stop signal: it is none that CRI v1 knows");
    assertInvalid(
        () ->
            GrpcRequests.container(
                minimal()
                    .addMounts(Mount.newBuilder().setContainerPath("/x").setPropagationValue(9))
                    .build()),
        "the propagation of mount /x is none that CRI v1 knows");
  }

  @Test
  void bytesThatAreNoTextAreRefusedNotChanged() {
    assertThatThrownBy(() ->
            GrpcRequests.container(
                minimal()
                    .addEnvs(
                        KeyValue.newBuilder()
                            .setKey("RAW")
                            .setValue(ByteString.copyFrom(new byte[] {(byte) 0xff})))
                    .build()))
        .isInstanceOfSatisfying(
            ContainerException.class, e -> assertThat(e.reason()).isEqualTo(Reason.UNSUPPORTED))
        .hasMessageContaining("environment variable RAW isn't UTF-8");
  }
}
