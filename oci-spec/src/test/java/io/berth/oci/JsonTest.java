package io.berth.oci;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.math.BigInteger;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class JsonTest {

  private static final String DIGEST =
      "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

  @Test
  void manifestIsReadWithUnknownFieldsIgnored() {
    ImageManifest manifest =
        Json.read(
            """
            {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
             "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                        "digest": "%s", "size": 3, "novelty": {}},
             "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd",
                         "digest": "%s", "size": 4}]}
            """
                .formatted(DIGEST, DIGEST)
                .getBytes(UTF_8),
            ImageManifest.class,
            "image manifest");

    assertThat(manifest.config().size()).isEqualTo(3);
    assertThat(manifest.layers()).extracting(Descriptor::digest).containsOnly(Digest.parse(DIGEST));
    assertThat(manifest.layers()).allMatch(layer -> MediaTypes.isLayer(layer.mediaType()));
  }

  @Test
  void configWithoutExecutionDefaultsReadsAsEmptyOnes() {
    ImageConfig config =
        Json.read(
            "{\"os\":\"linux\",\"config\":{\"Entrypoint\":\"/bin/sh\",\"Volumes\":{\"/a\":{}}}}"
                .getBytes(UTF_8),
            ImageConfig.class,
            "image config");

    assertThat(config.config().entrypoint()).containsExactly("/bin/sh");
    assertThat(config.config().volumes()).containsOnlyKeys("/a");
    assertThat(config.config().env()).isEmpty();
    assertThat(config.rootfs().diffIds()).isEmpty();
    assertThat(Json.read("{\"config\":null}".getBytes(UTF_8), ImageConfig.class, "config").config())
        .isEqualTo(ImageConfig.Execution.NONE);
  }

  @Test
  void imageConfigSurvivesWritingAndReading() {
    ImageConfig config =
        Json.read(
            ("{\"created\":\"2026-01-01T00:00:00Z\",\"config\":{\"User\":\"0\",\"Env\":[\"A=b\"]},"
                    + "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\""
                    + DIGEST
                    + "\"]},\"history\":[{\"created_by\":\"x\",\"empty_layer\":true}]}")
                .getBytes(UTF_8),
            ImageConfig.class,
            "image config");

    assertThat(Json.read(Json.write(config), ImageConfig.class, "image config")).isEqualTo(config);
  }

  @Test
  void errorsNameTheDocumentAndThePlaceButNotTheContent() {
    assertThatThrownBy(() ->
            Json.read("{\n \"secret\": tru".getBytes(UTF_8), ImageConfig.class, "image config"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageStartingWith("image config is malformed: ")
        .hasMessageContaining("line 2");
    assertThatThrownBy(() -> Json.read("null".getBytes(UTF_8), ImageConfig.class, "image config"))
        .hasMessageContaining("null");
    assertThatThrownBy(
            () -> Json.read("{\"config\":{}}".getBytes(UTF_8), ImageManifest.class, "manifest"))
        .hasMessageContaining("digest");
  }

  @Test
  void runtimeSpecUsesTheSpecificationsFieldNamesAndLeavesNullOut() {
    RuntimeSpec spec =
        new RuntimeSpec(
            RuntimeSpec.VERSION,
            null,
            new RuntimeSpec.Root("rootfs", true),
            null,
            List.of(
                new RuntimeSpec.Mount(
                    "/data",
                    "bind",
                    "/src",
                    List.of("rbind"),
                    List.of(new RuntimeSpec.IdMapping(0, 100000, 65536)),
                    null)),
            null,
            Map.of("a", "b"),
            new RuntimeSpec.Linux(
                null,
                null,
                null,
                new RuntimeSpec.Resources(
                    null,
                    new RuntimeSpec.Memory(64L, null, -1L, null, true, null, null),
                    null,
                    null,
                    new RuntimeSpec.BlockIo(
                        10,
                        null,
                        null,
                        null,
                        null,
                        List.of(new RuntimeSpec.ThrottleDevice(8, 0, 5)),
                        null),
                    null,
                    null),
                null,
                List.of(new RuntimeSpec.Namespace("network", "/run/ns")),
                null,
                new Seccomp(
                    "SCMP_ACT_ERRNO",
                    38,
                    null,
                    null,
                    null,
                    null,
                    List.of(
                        new Seccomp.Rule(
                            List.of("personality"),
                            "SCMP_ACT_ALLOW",
                            null,
                            List.of(
                                new Seccomp.Argument(
                                    0,
                                    BigInteger.TWO.pow(64).subtract(BigInteger.ONE),
                                    null,
                                    "SCMP_CMP_EQ"))))),
                null,
                List.of(),
                null,
                null));

    assertThat(new String(Json.write(spec), UTF_8))
        .isEqualTo(
            "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"rootfs\",\"readonly\":true},"
                + "\"mounts\":[{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"/src\","
                + "\"options\":[\"rbind\"],"
                + "\"uidMappings\":[{\"containerID\":0,\"hostID\":100000,\"size\":65536}]}],"
                + "\"annotations\":{\"a\":\"b\"},\"linux\":{\"resources\":{"
                + "\"memory\":{\"limit\":64,\"swap\":-1,\"disableOOMKiller\":true},"
                + "\"blockIO\":{\"weight\":10,\"throttleReadIOPSDevice\":"
                + "[{\"major\":8,\"minor\":0,\"rate\":5}]}},"
                + "\"namespaces\":[{\"type\":\"network\",\"path\":\"/run/ns\"}],"
                + "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,"
                + "\"syscalls\":[{\"names\":[\"personality\"],\"action\":\"SCMP_ACT_ALLOW\","
                + "\"args\":[{\"index\":0,\"value\":18446744073709551615,"
                + "\"op\":\"SCMP_CMP_EQ\"}]}]},\"maskedPaths\":[]}}");
    assertThat(Json.read(Json.write(spec), RuntimeSpec.class, "config.json")).isEqualTo(spec);
  }
}
