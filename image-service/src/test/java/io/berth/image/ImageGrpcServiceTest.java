package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.cri.v1.ImageFilter;
import io.berth.cri.v1.ImageFsInfoRequest;
import io.berth.cri.v1.ImageFsInfoResponse;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ImageStatusRequest;
import io.berth.cri.v1.ImageStatusResponse;
import io.berth.cri.v1.ListImagesRequest;
import io.berth.cri.v1.ListImagesResponse;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.RemoveImageRequest;
import io.berth.cri.v1.StreamImagesRequest;
import io.berth.cri.v1.StreamImagesResponse;
import io.berth.image.ImageException.Reason;
import io.grpc.stub.StreamObserver;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ImageGrpcServiceTest {
  private ImageHouse house;
  private ImageGrpcService service;

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse();
    service = new ImageGrpcService(house.store, house.puller, Clock.systemUTC());
  }

  @AfterEach
  void close() {
    house.close();
  }

  /** The answers of a finished call. */
  private static <Q, A> List<A> call(BiConsumer<Q, StreamObserver<A>> method, Q request) {
    List<A> answers = new ArrayList<>();
    boolean[] completed = new boolean[1];
    method.accept(
        request,
        new StreamObserver<>() {
          @Override
          public void onNext(A answer) {
            answers.add(answer);
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
    return answers;
  }

  private Image put(String user, String tag) {
    return put(user, tag, "kept");
  }

  private Image put(String user, String tag, String note) {
    TestImage image = new TestImage().user(user);
    return house.store.put(
        ImageParts.of(image.blob(image.id()), List.of())
            .record(List.of(tag), List.of(), Map.of("note", note), List.of()));
  }

  private static ImageSpec spec(String image) {
    return ImageSpec.newBuilder().setImage(image).build();
  }

  private ImageStatusResponse status(String image, boolean verbose) {
    return call(
            service::imageStatus,
            ImageStatusRequest.newBuilder().setImage(spec(image)).setVerbose(verbose).build())
        .getFirst();
  }

  @Test
  void statusIsTheSameByEveryNameAndAMissIsNoError() {
    Image image = put("", "x.io/a:1");

    ImageStatusResponse byTag = status("x.io/a:1", false);

    assertThat(status(image.id().toString(), false)).isEqualTo(byTag);
    assertThat(byTag.getImage().getId()).isEqualTo(image.id().toString());
    assertThat(byTag.getImage().getSize()).isEqualTo(house.store.list().getFirst().size());
    assertThat(byTag.getImage().getSpec().getAnnotationsMap()).containsEntry("note", "kept");
    assertThat(byTag.getInfoMap()).isEmpty();
    assertThat(status("x.io/a:2", true).hasImage()).isFalse();
  }

  @Test
  void userIsEitherANumberOrAName() {
    put("1002", "x.io/uid:1");
    put("0:0", "x.io/root:1");
    put("www-data:100", "x.io/name:1");
    put("", "x.io/none:1");

    assertThat(status("x.io/uid:1", false).getImage().getUid().getValue()).isEqualTo(1002);
    assertThat(status("x.io/uid:1", false).getImage().getUsername()).isEmpty();
    assertThat(status("x.io/root:1", false).getImage().hasUid()).isTrue();
    assertThat(status("x.io/name:1", false).getImage().hasUid()).isFalse();
    assertThat(status("x.io/name:1", false).getImage().getUsername()).isEqualTo("www-data");
    assertThat(status("x.io/none:1", false).getImage().hasUid()).isFalse();
  }

  @Test
  void verboseStatusHoldsTheConfigAsJson() {
    put("1", "x.io/a:1");

    assertThat(status("x.io/a:1", true).getInfoMap().get("info"))
        .startsWith("{")
        .contains("\"chainID\":\"\"", "\"imageSpec\":{", "\"diff_ids\":[]");
  }

  @Test
  void listAndStreamShowTheSameImages() {
    String note = "x".repeat(100 << 10); // annotations are what makes images large in lists
    for (int i = 0; i < 15; i++) {
      put("" + i, "x.io/a:" + i, note);
    }

    List<ListImagesResponse> listed =
        call(service::listImages, ListImagesRequest.getDefaultInstance());
    List<StreamImagesResponse> streamed =
        call(service::streamImages, StreamImagesRequest.getDefaultInstance());

    assertThat(listed.getFirst().getImagesList()).hasSize(15);
    assertThat(streamed).hasSize(2);
    assertThat(streamed.stream().flatMap(part -> part.getImagesList().stream()).toList())
        .isEqualTo(listed.getFirst().getImagesList());
    ImageFilter filter = ImageFilter.newBuilder().setImage(spec("x.io/a:7")).build();
    assertThat(
            call(service::listImages, ListImagesRequest.newBuilder().setFilter(filter).build())
                .getFirst()
                .getImagesList())
        .singleElement()
        .satisfies(image -> assertThat(image.getRepoTagsList()).containsExactly("x.io/a:7"));
  }

  @Test
  void emptyStoreStreamsNoMessageButTellsItsFileSystem() {
    assertThat(call(service::streamImages, StreamImagesRequest.getDefaultInstance())).isEmpty();

    ImageFsInfoResponse info =
        call(service::imageFsInfo, ImageFsInfoRequest.getDefaultInstance()).getFirst();

    assertThat(info.getImageFilesystems(0).getFsId().getMountpoint())
        .isEqualTo(house.root.toString());
    assertThat(info.getImageFilesystems(0).hasUsedBytes()).isTrue();
    assertThat(info.getImageFilesystems(0).getTimestamp()).isPositive();
    assertThat(info.getContainerFilesystemsList()).isEqualTo(info.getImageFilesystemsList());
  }

  @Test
  void removingTwiceIsFineAndNamelessRequestsAreRefused() {
    put("1", "x.io/a:1");
    RemoveImageRequest remove = RemoveImageRequest.newBuilder().setImage(spec("x.io/a:1")).build();

    assertThat(call(service::removeImage, remove)).hasSize(1);
    assertThat(call(service::removeImage, remove)).hasSize(1);

    assertThat(house.store.list()).isEmpty();
    assertThatThrownBy(() -> call(service::removeImage, RemoveImageRequest.getDefaultInstance()))
        .isInstanceOf(ImageException.class)
        .extracting(e -> ((ImageException) e).reason())
        .isEqualTo(Reason.INVALID);
  }

  @Test
  void interruptedPullIsACancellation() {
    Thread.currentThread().interrupt();
    try {
      assertThatThrownBy(() ->
              call(
                  service::pullImage,
                  PullImageRequest.newBuilder().setImage(spec("127.0.0.1:1/a:1")).build()))
          .isInstanceOf(CancellationException.class);
    } finally {
      assertThat(Thread.interrupted()).isTrue();
    }
  }
}
