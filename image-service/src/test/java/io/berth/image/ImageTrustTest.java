package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.image.ImageException.Reason;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageIndex;
import io.berth.oci.ImageManifest;
import io.berth.oci.Json;
import io.berth.oci.MediaTypes;
import io.berth.oci.Platform;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Signature;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Signatures made here, as cosign makes them, beside images in a registry. */
@Tag("root")
@Timeout(60)
class ImageTrustTest {
  private static final String PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json";
  private static final TestImage IMAGE = new TestImage().gzipLayer(TestImage.tar("a", "signed"));

  private ImageHouse house;
  private ScriptedRegistry registry;
  private KeyPair key;

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse();
    registry = new ScriptedRegistry();
    key = keyPair("EC");
  }

  @AfterEach
  void close() {
    registry.close();
    house.close();
    assertThat(house.debts).isEmpty();
  }

  private static KeyPair keyPair(String algorithm) throws GeneralSecurityException {
    var generator = KeyPairGenerator.getInstance(algorithm);
    if (algorithm.equals("EC")) {
      generator.initialize(256);
    }
    return generator.generateKeyPair();
  }

  private Path keyFile() throws Exception {
    String pem =
        "-----BEGIN PUBLIC KEY-----\n"
            + Base64.getMimeEncoder().encodeToString(key.getPublic().getEncoded())
            + "\n-----END PUBLIC KEY-----\n";
    return Files.writeString(house.root.resolve("cosign.pub"), pem);
  }

  private String name() {
    return registry.address() + "/team/app";
  }

  private void policy(String docker) throws Exception {
    Files.writeString(
        house.root.resolve("policy.json"),
        "{\"default\": [{\"type\": \"reject\"}], \"transports\": {\"docker\": {" + docker + "}}}");
  }

  /** The team's images must be signed by the key. */
  private void policyOfKey() throws Exception {
    policy(
        """
        "%s/team": [{"type": "sigstoreSigned", "keyPath": "%s",
                     "signedIdentity": {"type": "matchRepository"}}]
        """
            .formatted(registry.address(), keyFile()));
  }

  private static String payload(String name, Digest manifest) {
    return """
    {"critical": {"identity": {"docker-reference": "%s"},
                  "image": {"docker-manifest-digest": "%s"},
                  "type": "cosign container image signature"}, "optional": null}
    """
        .formatted(name, manifest);
  }

  private byte[] sign(byte[] payload) throws GeneralSecurityException {
    Signature signer =
        Signature.getInstance(
            switch (key.getPrivate().getAlgorithm()) {
              case "EC" -> "SHA256withECDSA";
              case "RSA" -> "SHA256withRSA";
              default -> "Ed25519";
            });
    signer.initSign(key.getPrivate());
    signer.update(payload);
    return signer.sign();
  }

  /** The manifest that holds a signature; its blobs are in the registry. */
  private byte[] holder(String payload) throws GeneralSecurityException {
    byte[] bytes = payload.getBytes(UTF_8);
    byte[] config = "{}".getBytes(UTF_8);
    Digest digest = Digest.sha256(bytes);
    registry.putBlob("team/app", digest, bytes);
    registry.putBlob("team/app", Digest.sha256(config), config);
    var layer =
        new Descriptor(
            PAYLOAD,
            digest,
            bytes.length,
            null,
            null,
            Map.of(
                "dev.cosignproject.cosign/signature",
                Base64.getEncoder().encodeToString(sign(bytes))),
            null);
    return Json.write(
        new ImageManifest(
            2,
            MediaTypes.OCI_MANIFEST,
            null,
            Descriptor.of(MediaTypes.OCI_CONFIG, Digest.sha256(config), config.length),
            List.of(layer),
            null));
  }

  private void pushSignature(Digest manifest, String payload) throws Exception {
    registry.putManifest(
        "team/app", "sha256-" + manifest.hex() + ".sig", MediaTypes.OCI_MANIFEST, holder(payload));
  }

  private ImageException refusal(String image) {
    ImageException refused = catchThrowableOfType(ImageException.class, () -> house.pull(image));
    assertThat(refused).isNotNull();
    assertThat(refused.reason()).isEqualTo(Reason.SIGNATURE);
    assertThat(refused).hasMessageStartingWith("SignatureValidationFailed: ");
    assertThat(house.store.list()).isEmpty();
    return refused;
  }

  @Test
  void withoutAPolicyNobodyIsAskedForSignatures() throws Exception {
    registry.add("team/app", "v1", IMAGE);
    house.pull(name() + ":v1");
    assertThat(registry.lines()).noneMatch(line -> line.contains(".sig")).hasSize(4);
  }

  @ParameterizedTest
  @ValueSource(strings = {"EC", "RSA", "Ed25519"})
  void anImageSignedByTheKeyIsPulledAndRunsWithoutTheRegistry(String algorithm) throws Exception {
    key = keyPair(algorithm);
    policyOfKey();
    registry.add("team/app", "v1", IMAGE);
    pushSignature(IMAGE.manifest().digest(), payload(name(), IMAGE.manifest().digest()));

    Image pulled = house.pull(name() + ":v1");
    registry.close();

    assertThat(pulled.signatures()).hasSize(1);
    var restarted =
        new ImageStore(house.root, house.snapshotter, List.of(), java.time.Clock.systemUTC());
    Image read = restarted.find(name() + ":v1").orElseThrow();
    assertThat(read.signatures()).isEqualTo(pulled.signatures());
    house.trust.requireAtCreate(read, List.of(read.id().toString()), "shop");
  }

  @Test
  void aSignatureAmongTheReferrersCounts() throws Exception {
    policyOfKey();
    registry.add("team/app", "v1", IMAGE);
    Digest manifest = IMAGE.manifest().digest();
    byte[] holder = holder(payload(name(), manifest));
    Digest signature = registry.putManifest("team/app", "unused", MediaTypes.OCI_MANIFEST, holder);
    byte[] list =
        Json.write(
            new ImageIndex(
                2,
                MediaTypes.OCI_INDEX,
                List.of(
                    new Descriptor(
                        MediaTypes.OCI_MANIFEST,
                        signature,
                        holder.length,
                        "application/vnd.dev.cosign.artifact.sig.v1+json",
                        null,
                        null,
                        null)),
                null));
    registry.script =
        exchange ->
            exchange.getRequestURI().getPath().endsWith("/referrers/" + manifest)
                && ScriptedRegistry.answer(exchange, 200, new String(list, UTF_8));

    assertThat(house.pull(name() + ":v1").signatures()).hasSize(1);
  }

  @Test
  void theSignatureOfAnIndexVouchesForTheManifestInIt() throws Exception {
    policyOfKey();
    registry.add("team/app", "unused", IMAGE);
    byte[] index =
        TestImage.index(TestImage.entry(IMAGE.manifest(), Platform.linux("amd64", "v1")));
    Digest digest = registry.putManifest("team/app", "v1", MediaTypes.OCI_INDEX, index);
    pushSignature(digest, payload(name(), digest));

    assertThat(house.pull(name() + ":v1").id()).isEqualTo(IMAGE.id());
  }

  @Test
  void anUnsignedImageIsRefusedAndTheRuleCited() throws Exception {
    policyOfKey();
    registry.add("team/app", "v1", IMAGE);
    assertThat(refusal(name() + ":v1"))
        .hasMessageContaining(house.root.resolve("policy.json").toString())
        .hasMessageContaining("scope \"" + registry.address() + "/team\"")
        .hasMessageContaining("cosign.pub")
        .hasMessageContaining("no sigstore signature was found");
  }

  @Test
  void aSignatureByAnotherKeyIsRefused() throws Exception {
    policyOfKey();
    key = keyPair("EC");
    registry.add("team/app", "v1", IMAGE);
    pushSignature(IMAGE.manifest().digest(), payload(name(), IMAGE.manifest().digest()));
    assertThat(refusal(name() + ":v1")).hasMessageContaining("no key of the policy made it");
  }

  @Test
  void aSignatureOfAnotherImageIsRefused() throws Exception {
    policyOfKey();
    registry.add("team/app", "v1", IMAGE);
    Digest other = Digest.sha256(new byte[] {1});
    pushSignature(IMAGE.manifest().digest(), payload(name(), other));
    assertThat(refusal(name() + ":v1")).hasMessageContaining("another manifest, " + other);
  }

  @Test
  void aSignatureForAnotherRepositoryIsRefused() throws Exception {
    policyOfKey();
    registry.add("team/app", "v1", IMAGE);
    pushSignature(
        IMAGE.manifest().digest(), payload("quay.io/else/app", IMAGE.manifest().digest()));
    assertThat(refusal(name() + ":v1"))
        .hasMessageContaining("it was made for \"quay.io/else/app\"");
  }

  @Test
  void aPayloadThatCouldBeReadInTwoWaysIsRefused() throws Exception {
    policyOfKey();
    registry.add("team/app", "v1", IMAGE);
    String twice =
        payload(name(), IMAGE.manifest().digest())
            .replace("\"optional\": null", "\"critical\": {}, \"optional\": null");
    pushSignature(IMAGE.manifest().digest(), twice);
    assertThat(refusal(name() + ":v1")).hasMessageContaining("not JSON");
  }

  @Test
  void whatIsRejectedIsNotEvenAskedFor() throws Exception {
    policy("");
    registry.add("team/app", "v1", IMAGE);
    assertThat(refusal(name() + ":v1")).hasMessageContaining("scope \"default\"");
    assertThat(registry.requests).isEmpty();
  }

  @Test
  void anImageThatIsHereUnsignedIsRefusedOnceThePolicyIsThereAndAcceptedOnceItIsSigned()
      throws Exception {
    registry.add("team/app", "v1", IMAGE);
    Image here = house.pull(name() + ":v1");
    house.trust.requireAtCreate(here, List.of(name() + ":v1"), "shop");

    policyOfKey();
    assertThatThrownBy(() -> house.trust.requireAtCreate(here, List.of(name() + ":v1"), "shop"))
        .isInstanceOf(ImageException.class)
        .hasMessageStartingWith("SignatureValidationFailed: image " + name() + ":v1");
    assertThatThrownBy(() -> house.pull(name() + ":v1"))
        .hasMessageStartingWith("SignatureValidationFailed: ");

    pushSignature(IMAGE.manifest().digest(), payload(name(), IMAGE.manifest().digest()));
    Image signed = house.pull(name() + ":v1");
    assertThatCode(() -> house.trust.requireAtCreate(signed, List.of(), "shop"))
        .doesNotThrowAnyException();
  }

  @Test
  void anImportedImageIsJudgedWhenItIsUsed() throws Exception {
    policyOfKey();
    Path layout = IMAGE.writeLayout(house.root.resolve("layout"), name() + ":v1");
    Path archive = house.root.resolve("image.tar");
    assertThat(
            new ProcessBuilder("tar", "-C", layout.toString(), "-cf", archive.toString(), ".")
                .start()
                .waitFor())
        .isZero();
    List<Image> imported;
    try (var in = Files.newInputStream(archive)) {
      imported = house.importer.importArchive(in, "");
    }
    assertThatThrownBy(() -> house.trust.requireAtCreate(imported.getFirst(), List.of(), "shop"))
        .hasMessageStartingWith("SignatureValidationFailed: ");
  }

  @Test
  void aNamespaceMayHaveAPolicyOfItsOwn() throws Exception {
    policy("");
    Files.createDirectories(house.root.resolve("policies"));
    Files.writeString(
        house.root.resolve("policies/lab.json"),
        "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}");
    registry.add("team/app", "v1", IMAGE);
    var request = new PullRequest(name() + ":v1", RegistryCredentials.NONE, "", "lab", Map.of());

    Image pulled = house.puller.pull(request);

    house.trust.requireAtCreate(pulled, List.of(), "lab");
    assertThatThrownBy(() -> house.trust.requireAtCreate(pulled, List.of(), "shop"))
        .hasMessageStartingWith("SignatureValidationFailed: ");
    assertThatThrownBy(() -> house.trust.requireAtCreate(pulled, List.of(), "../policies/lab"))
        .hasMessageStartingWith("SignatureValidationFailed: ");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "quay.io/team/app:1|quay.io/team/app:1",
        "quay.io/team/app:2|quay.io/team/app",
        "quay.io/team/other:1|quay.io/team",
        "quay.io/else/app:1|quay.io",
        "reg.example.com/app:1|*.example.com",
        "a.reg.example.com/app:1|*.example.com",
        "ghcr.io/x/y:1|docker",
      })
  void theNarrowestScopeCounts(String image, String scope) {
    String accept = "[{\"type\": \"insecureAcceptAnything\"}]";
    var policy =
        TrustPolicy.parse(
            """
            {"default": [{"type": "reject"}], "transports": {"docker": {
              "quay.io/team/app:1": A, "quay.io/team/app": A, "quay.io/team": A, "quay.io": A,
              "*.example.com": A, "": A}}}
            """
                .replace("A", accept)
                .getBytes(UTF_8),
            Path.of("policy.json"));
    assertThat(policy.rule(ImageHouse.reference(image)).scope()).isEqualTo(scope);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{}|\"default\" is missing",
        "{\"default\": []}|no list of requirements",
        "{\"default\": [{\"type\": \"signedBy\"}]}|lacks the text keyType",
        "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"X509Certificates\"}]}|keyType"
            + " \"X509Certificates\", which can't be checked",
        "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\"}]}|one of keyPath",
        "{\"default\": [{\"type\": \"signedWith\"}]}|\"signedWith\", which can't be checked",
        "{\"default\": [{\"type\": \"sigstoreSigned\"}]}|one of keyPath",
        "{\"default\": [{\"type\": \"sigstoreSigned\", \"keyPath\": \"/k\", \"rekorPublicKeyPath\":"
            + " \"/r\"}]}|\"rekorPublicKeyPath\", which can't be checked",
        "{\"default\": [{\"type\": \"reject\"}], \"default\": [{\"type\":"
            + " \"insecureAcceptAnything\"}]}|Duplicate field",
        "{\"default\": [|policy.json:1",
      })
  void aPolicyThatCannotBeAppliedWholeIsAnError(String text, String words) throws Exception {
    Files.writeString(house.root.resolve("policy.json"), text);
    assertThatThrownBy(() -> house.pull(name() + ":v1"))
        .isInstanceOfSatisfying(
            ImageException.class, e -> assertThat(e.reason()).isEqualTo(Reason.CONFIGURATION))
        .hasMessageContaining("policy.json")
        .hasMessageContaining(words);
  }

  @ParameterizedTest
  @CsvSource({
    "quay.io/a/app:1, quay.io/a/app:1, true, true",
    "quay.io/a/app, quay.io/a/app:1, false, true",
    "quay.io/a/app:latest, quay.io/a/app:latest, true, true",
    "quay.io/a/app:2, quay.io/a/app:1, false, true",
    "quay.io/b/app:1, quay.io/a/app:1, false, false",
  })
  void identitiesMatchAsTheFormatSays(
      String claimed, String asked, boolean exactly, boolean repository) {
    var name = ImageHouse.reference(asked);
    assertThat(new SignedIdentity.Exact().accepts(claimed, name)).isEqualTo(exactly);
    assertThat(new SignedIdentity.RepositoryOfDigestOrExact().accepts(claimed, name))
        .isEqualTo(exactly);
    assertThat(new SignedIdentity.SameRepository().accepts(claimed, name)).isEqualTo(repository);
  }

  @Test
  void aMirrorsNameIsRemapped() {
    var remapped = new SignedIdentity.Remapped("mirror.example/quay", "quay.io");
    var asked = ImageHouse.reference("mirror.example/quay/a/app:1");
    assertThat(remapped.accepts("quay.io/a/app:1", asked)).isTrue();
    assertThat(remapped.accepts("quay.io/b/app:1", asked)).isFalse();
  }
}
