package io.berth.runtime;

import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.MessageLite;
import io.berth.cri.v1.StreamContainersResponse;
import io.berth.linux.RecordFolder;
import io.grpc.stub.StreamObserver;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GrpcPartsTest {
  private static final int CLIENT_LIMIT = 16 << 20;

  @TempDir Path folder;

  private static List<StreamContainersResponse> send(Stream<io.berth.cri.v1.Container> containers) {
    List<StreamContainersResponse> messages = new ArrayList<>();
    boolean[] completed = new boolean[1];
    GrpcParts.send(
        containers,
        MessageLite::getSerializedSize,
        part -> StreamContainersResponse.newBuilder().addAllContainers(part).build(),
        new StreamObserver<>() {
          @Override
          public void onNext(StreamContainersResponse message) {
            messages.add(message);
          }

          @Override
          public void onError(Throwable failure) {
            throw new AssertionError(failure);
          }

          @Override
          public void onCompleted() {
            completed[0] = true;
          }
        });
    assertThat(completed[0]).isTrue();
    return messages;
  }

  @Test
  void twentyThousandExitedContainersOfAnEarlierRunAreListedInSmallMessages() {
    int count = 20_000;
    var records = new RecordFolder<>(folder, Container.class, 1);
    for (int i = 0; i < count; i++) {
      ContainerId id = Containers.id(Integer.toHexString(0x100000 + i));
      records.writeUnsynced(
          id.value(),
          Containers.of(id, "many" + i, ContainerState.CREATED)
              .exited(new Container.Exit(1, "Error", "", 9)));
    }

    ContainerStore store = new ContainerStore(folder);
    List<StreamContainersResponse> parts = send(store.list().stream().map(GrpcAnswers::container));

    assertThat(parts).hasSizeGreaterThan(1).allMatch(p -> p.getSerializedSize() < 2 << 20);
    assertThat(parts.stream().flatMap(p -> p.getContainersList().stream()).map(c -> c.getId()))
        .hasSize(count)
        .doesNotHaveDuplicates();
  }

  @Test
  void largeAnnotationsMakeSmallParts() {
    io.berth.cri.v1.Container large =
        io.berth.cri.v1.Container.newBuilder()
            .putAnnotations("note", "x".repeat(256 << 10))
            .build();
    List<StreamContainersResponse> parts = send(Stream.generate(() -> large).limit(100));
    assertThat(parts).allMatch(part -> part.getSerializedSize() < CLIENT_LIMIT / 8);
    assertThat(parts.stream().mapToInt(StreamContainersResponse::getContainersCount).sum())
        .isEqualTo(100);
  }

  @Test
  void whatIsLargerThanAPartGoesAlone() {
    io.berth.cri.v1.Container huge =
        io.berth.cri.v1.Container.newBuilder().putAnnotations("note", "x".repeat(3 << 20)).build();
    assertThat(send(Stream.of(huge, huge)))
        .hasSize(2)
        .allMatch(part -> part.getContainersCount() == 1);
  }

  @Test
  void anEmptyListHasNoMessage() {
    assertThat(send(Stream.empty())).isEmpty();
  }
}
