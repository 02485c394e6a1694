package io.berth.image;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.berth.cri.v1.AuthConfig;
import io.berth.cri.v1.FilesystemIdentifier;
import io.berth.cri.v1.FilesystemUsage;
import io.berth.cri.v1.ImageFilter;
import io.berth.cri.v1.ImageFsInfoRequest;
import io.berth.cri.v1.ImageFsInfoResponse;
import io.berth.cri.v1.ImageServiceGrpc;
import io.berth.cri.v1.ImageSpec;
import io.berth.cri.v1.ImageStatusRequest;
import io.berth.cri.v1.ImageStatusResponse;
import io.berth.cri.v1.Int64Value;
import io.berth.cri.v1.ListImagesRequest;
import io.berth.cri.v1.ListImagesResponse;
import io.berth.cri.v1.PullImageRequest;
import io.berth.cri.v1.PullImageResponse;
import io.berth.cri.v1.RemoveImageRequest;
import io.berth.cri.v1.RemoveImageResponse;
import io.berth.cri.v1.StreamImagesRequest;
import io.berth.cri.v1.StreamImagesResponse;
import io.berth.cri.v1.UInt64Value;
import io.berth.image.ImageException.Reason;
import io.berth.oci.Json;
import io.grpc.stub.StreamObserver;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.TimeUnit;

/** CRI's ImageService in terms of the store and the puller. Failures are thrown, for the caller. */
public final class ImageGrpcService extends ImageServiceGrpc.ImageServiceImplBase {
  /** Keeps a message of the stream far below any limit, whatever annotations the images have. */
  private static final int PART_BYTES = 1 << 20;

  private final ImageStore store;
  private final ImagePuller puller;
  private final Clock clock;

  public ImageGrpcService(ImageStore store, ImagePuller puller, Clock clock) {
    this.store = store;
    this.puller = puller;
    this.clock = clock;
  }

  @Override
  public void listImages(ListImagesRequest request, StreamObserver<ListImagesResponse> answers) {
    ListImagesResponse.Builder answer = ListImagesResponse.newBuilder();
    filtered(request.getFilter()).forEach(image -> answer.addImages(message(image)));
    answer(answers, answer.build());
  }

  @Override
  public void streamImages(
      StreamImagesRequest request, StreamObserver<StreamImagesResponse> answers) {
    StreamImagesResponse.Builder part = StreamImagesResponse.newBuilder();
    int bytes = 0;
    for (Image image : filtered(request.getFilter())) {
      io.berth.cri.v1.Image message = message(image);
      if (bytes > 0 && bytes + message.getSerializedSize() > PART_BYTES) {
        answers.onNext(part.build());
        part.clear();
        bytes = 0;
      }
      part.addImages(message);
      bytes += message.getSerializedSize();
    }
    if (bytes > 0) {
      answers.onNext(part.build());
    }
    answers.onCompleted();
  }

  private List<Image> filtered(ImageFilter filter) {
    String wanted = filter.getImage().getImage();
    return wanted.isEmpty() ? store.list() : store.matching(wanted);
  }

  /** A miss is no error here. */
  @Override
  public void imageStatus(ImageStatusRequest request, StreamObserver<ImageStatusResponse> answers) {
    ImageStatusResponse.Builder answer = ImageStatusResponse.newBuilder();
    store
        .find(name(request.getImage(), "image status"))
        .ifPresent(image -> {
          answer.setImage(message(image));
          if (request.getVerbose()) {
            answer.putAllInfo(info(image));
          }
        });
    answer(answers, answer.build());
  }

  @Override
  public void pullImage(PullImageRequest request, StreamObserver<PullImageResponse> answers) {
    ImageSpec spec = request.getImage();
    AuthConfig auth = request.getAuth();
    PullRequest pull =
        new PullRequest(
            name(spec, "pull image"),
            RegistryCredentials.of(
                auth.getUsername(),
                auth.getPassword(),
                auth.getAuth(),
                auth.getServerAddress(),
                auth.getIdentityToken(),
                auth.getRegistryToken()),
            spec.getRuntimeHandler(),
            request.getSandboxConfig().getMetadata().getNamespace(),
            spec.getAnnotationsMap());
    Image image;
    try {
      image = puller.pull(pull);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("pull " + pull.image() + " was cancelled");
    }
    answer(answers, PullImageResponse.newBuilder().setImageRef(image.id().toString()).build());
  }

  @Override
  public void removeImage(RemoveImageRequest request, StreamObserver<RemoveImageResponse> answers) {
    store.remove(name(request.getImage(), "remove image"));
    answer(answers, RemoveImageResponse.getDefaultInstance());
  }

  /** Containers write to the same file system, so both lists say the same. */
  @Override
  public void imageFsInfo(ImageFsInfoRequest request, StreamObserver<ImageFsInfoResponse> answers) {
    ImageStore.FileSystemUse use = store.use();
    FilesystemUsage usage =
        FilesystemUsage.newBuilder()
            .setTimestamp(TimeUnit.MILLISECONDS.toNanos(clock.millis()))
            .setFsId(FilesystemIdentifier.newBuilder().setMountpoint(use.mountpoint().toString()))
            .setUsedBytes(UInt64Value.newBuilder().setValue(use.bytes()))
            .setInodesUsed(UInt64Value.newBuilder().setValue(use.inodes()))
            .build();
    answer(
        answers,
        ImageFsInfoResponse.newBuilder()
            .addImageFilesystems(usage)
            .addContainerFilesystems(usage)
            .build());
  }

  private static String name(ImageSpec spec, String operation) {
    if (spec.getImage().isEmpty()) {
      throw new ImageException(
          Reason.INVALID, operation + ": the request names no image (image.image is empty)");
    }
    return spec.getImage();
  }

  private static io.berth.cri.v1.Image message(Image image) {
    io.berth.cri.v1.Image.Builder message =
        io.berth.cri.v1.Image.newBuilder()
            .setId(image.id().toString())
            .addAllRepoTags(image.repoTags())
            .addAllRepoDigests(image.repoDigests())
            .setSize(image.size())
            .setSpec(
                ImageSpec.newBuilder()
                    .setImage(image.id().toString())
                    .putAllAnnotations(image.annotations()))
            .setPinned(image.pinned());
    // Either uid or user name, by the part of the image's User before the group.
    String user = image.config().config().user();
    int colon = user.indexOf(':');
    String name = colon < 0 ? user : user.substring(0, colon);
    try {
      message.setUid(Int64Value.newBuilder().setValue(Long.parseUnsignedLong(name)));
    } catch (NumberFormatException e) {
      message.setUsername(name);
    }
    return message.build();
  }

  private static Map<String, String> info(Image image) {
    ObjectNode info = Json.MAPPER.createObjectNode();
    info.put("chainID", image.layers().isEmpty() ? "" : image.layers().getLast().toString());
    info.set(
        "imageSpec",
        Json.read(
            image.configText().getBytes(StandardCharsets.UTF_8), ObjectNode.class, "image config"));
    return Map.of("info", info.toString());
  }

  private static <T> void answer(StreamObserver<T> answers, T answer) {
    answers.onNext(answer);
    answers.onCompleted();
  }
}
