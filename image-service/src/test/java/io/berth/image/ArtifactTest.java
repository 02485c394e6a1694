package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.image.ImageException.Reason;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageManifest;
import io.berth.oci.Json;
import io.berth.oci.MediaTypes;
import io.berth.snapshot.Pace;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What registries hold besides images. */
@Tag("root")
@Timeout(120)
class ArtifactTest {
  private static final String TYPE = "application/vnd.berth.test.model";
  private static final String EMPTY = "application/vnd.oci.empty.v1+json";

  private final List<Descriptor> layers = new ArrayList<>();
  private ImageHouse house;
  private ScriptedRegistry registry;

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse();
    registry = new ScriptedRegistry();
  }

  @AfterEach
  void close() {
    registry.close();
    house.close();
    assertThat(house.debts).isEmpty();
  }

  private void layer(String mediaType, byte[] blob, @Nullable String title) {
    Digest digest = Digest.sha256(blob);
    registry.putBlob("ml/model", digest, blob);
    layers.add(
        new Descriptor(
            mediaType,
            digest,
            blob.length,
            null,
            null,
            title == null ? null : Map.of(ArtifactLayer.TITLE, title),
            null));
  }

  private String push() {
    byte[] config = "{}".getBytes(UTF_8);
    registry.putBlob("ml/model", Digest.sha256(config), config);
    byte[] manifest =
        Json.write(
            new ImageManifest(
                2,
                MediaTypes.OCI_MANIFEST,
                TYPE,
                Descriptor.of(EMPTY, Digest.sha256(config), config.length),
                layers,
                null));
    Digest _ = registry.putManifest("ml/model", "v1", MediaTypes.OCI_MANIFEST, manifest);
    return registry.address() + "/ml/model:v1";
  }

  @Test
  void filesAndTarsBecomeLayersAndOutliveARestart() throws Exception {
    layer("application/octet-stream", "weights".repeat(300).getBytes(UTF_8), "model.bin");
    layer("text/plain", "nested".getBytes(UTF_8), "docs/größe.md");
    layer(
        MediaTypes.OCI_LAYER_GZIP,
        TestImage.gzip(TestImage.tar("tree/a", "from a tar")),
        "tree.tar.gz");
    layer("application/json", "{}".getBytes(UTF_8), null);
    Image artifact = house.pull(push());

    assertThat(artifact.artifactType()).isEqualTo(TYPE);
    assertThat(artifact.layers()).hasSize(3);
    Path model = house.file(artifact, 0, "model.bin");
    assertThat(model).hasContent("weights".repeat(300));
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(model)))
        .isEqualTo("rw-r--r--");
    assertThat(house.file(artifact, 1, "docs/größe.md")).hasContent("nested");
    assertThat(house.file(artifact, 2, "tree/a")).hasContent("from a tar");
    assertThat(artifact.repoDigests())
        .containsExactly(registry.address() + "/ml/model@" + artifact.id());

    var restarted = new ImageStore(house.root, house.snapshotter, List.of(), Clock.systemUTC());
    assertThat(restarted.find(artifact.id().toString())).contains(artifact);
    assertThat(house.pull(registry.address() + "/ml/model:v1")).isEqualTo(artifact);
  }

  @Test
  void twoArtifactsWithTheSameConfigAreTwo() throws Exception {
    layer("text/plain", "one".getBytes(UTF_8), "one");
    Image one = house.pull(push());
    layers.clear();
    layer("text/plain", "one".getBytes(UTF_8), "two");
    Image two = house.pull(push());
    assertThat(two.id()).isNotEqualTo(one.id());
    assertThat(house.file(two, 0, "two")).hasContent("one");
    assertThat(house.file(one, 0, "one")).hasContent("one");
  }

  @Test
  void aDamagedFileIsFetchedAnew() throws Exception {
    layer("application/octet-stream", "weights".getBytes(UTF_8), "model.bin");
    Image artifact = house.pull(push());
    Files.writeString(house.file(artifact, 0, "model.bin"), "Weights");
    var verifier =
        new StoreVerifier(house.store, house.snapshotter, house.registries(), house.layers);
    verifier.verify(
        verifier.allLayers(),
        _ -> true,
        true,
        Pace.unlimited(),
        checked -> assertThat(checked.sound()).isTrue());
    assertThat(house.file(artifact, 0, "model.bin")).hasContent("weights");
  }

  @Test
  void contentThatIsNotWhatTheManifestSaysIsRefused() throws Exception {
    layer("application/octet-stream", "weights".getBytes(UTF_8), "model.bin");
    String name = push();
    registry.putBlob("ml/model", layers.getFirst().digest(), "Weights".getBytes(UTF_8));
    assertThat(refusal(name).reason()).isEqualTo(Reason.CORRUPT);
    house.awaitNothingLeft();
  }

  @ParameterizedTest
  @ValueSource(strings = {"/etc/passwd", "../up", "a/../../b", "a//b", "a/", ".", ".wh.a", "a\0b"})
  void namesThatLeadElsewhereAreRefused(String title) throws Exception {
    layer("text/plain", "x".getBytes(UTF_8), title);
    ImageException refused = refusal(push());
    assertThat(refused).hasMessageContaining("no name within a folder");
    assertThat(refused.reason()).isEqualTo(Reason.CORRUPT);
    house.awaitNothingLeft();
  }

  @Test
  void anArtifactWithoutAnyFileIsRefusedByItsType() throws Exception {
    layer("application/json", "{}".getBytes(UTF_8), null);
    ImageException refused = refusal(push());
    assertThat(refused).hasMessageContaining(TYPE).hasMessageContaining(ArtifactLayer.TITLE);
    assertThat(refused.reason()).isEqualTo(Reason.UNSUPPORTED);
  }

  private ImageException refusal(String name) {
    ImageException refused = catchThrowableOfType(ImageException.class, () -> house.pull(name));
    assertThat(refused).isNotNull();
    return refused;
  }
}
