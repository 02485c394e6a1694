package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.image.ImageException.Reason;
import io.berth.oci.Digest;
import java.io.ByteArrayOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Signatures by gpg, in a store beside a registry. */
@Tag("root")
@Timeout(300)
class OpenPgpTrustTest {
  private static final TestImage IMAGE = new TestImage().gzipLayer(TestImage.tar("a", "signed"));
  private static final Digest MANIFEST = IMAGE.manifest().digest();

  private ImageHouse house;
  private ScriptedRegistry registry;
  private Gpg gpg;
  private Path store;

  @BeforeEach
  void open() throws Exception {
    house = new ImageHouse();
    registry = new ScriptedRegistry();
    gpg = new Gpg();
    store = house.root.resolve("signatures");
    registry.add("team/app", "v1", IMAGE);
    stores("default-docker:\n  lookaside: file://" + store + "\n");
  }

  @AfterEach
  void close() {
    gpg.close();
    registry.close();
    house.close();
    assertThat(house.debts).isEmpty();
  }

  private String name() {
    return registry.address() + "/team/app";
  }

  private void stores(String yaml) throws Exception {
    Path folder = Files.createDirectories(house.root.resolve("registries.d"));
    Files.writeString(folder.resolve("test.yaml"), yaml);
  }

  /** The team's images must be signed by a key of the file. */
  private void policy(byte[] keys) throws Exception {
    policy(keys, "");
  }

  private void policy(byte[] keys, String identity) throws Exception {
    Path file = Files.write(house.root.resolve("team.gpg"), keys);
    Files.writeString(
        house.root.resolve("policy.json"),
        """
        {"default": [{"type": "reject"}], "transports": {"docker": {
          "%s/team": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "%s"%s}]}}}
        """
            .formatted(registry.address(), file, identity));
  }

  private static byte[] claim(String reference, Digest manifest) {
    return """
    {"critical": {"type": "atomic container signature",
                  "image": {"docker-manifest-digest": "%s"},
                  "identity": {"docker-reference": "%s"}},
     "optional": {"creator": "a test", "timestamp": 1458239713}}
    """
        .formatted(manifest, reference)
        .getBytes(UTF_8);
  }

  private byte[] claim() {
    return claim(name() + ":v1", MANIFEST);
  }

  private void lay(int number, byte[] message) throws Exception {
    Path folder = store.resolve("team/app@sha256=" + MANIFEST.hex());
    Files.createDirectories(folder);
    Files.write(folder.resolve("signature-" + number), message);
  }

  private ImageException refusal() {
    ImageException refused =
        catchThrowableOfType(ImageException.class, () -> house.pull(name() + ":v1"));
    assertThat(refused).isNotNull();
    assertThat(refused.reason()).as(refused.getMessage()).isEqualTo(Reason.SIGNATURE);
    assertThat(refused)
        .hasMessageStartingWith("SignatureValidationFailed: ")
        .hasMessageContaining("scope \"" + registry.address() + "/team\"");
    assertThat(house.store.list()).isEmpty();
    return refused;
  }

  @ParameterizedTest
  @ValueSource(strings = {"ed25519", "rsa2048", "nistp256", "dsa2048"})
  void anImageSignedByAKeyIsPulledAndRunsWithoutTheStore(String algorithm) throws Exception {
    String key = gpg.key("team", algorithm, "sign");
    policy(gpg.export(key));
    lay(1, gpg.sign(key, claim()));

    Image pulled = house.pull(name() + ":v1");
    registry.close();
    stores("default-docker:\n  lookaside: file:///nowhere\n");

    assertThat(pulled.signatures()).hasSize(1);
    var restarted = new ImageStore(house.root, house.snapshotter, List.of(), Clock.systemUTC());
    Image read = restarted.find(name() + ":v1").orElseThrow();
    assertThat(read.signatures()).isEqualTo(pulled.signatures());
    house.trust.requireAtCreate(read, List.of(read.id().toString()), "shop");

    policy(gpg.export(gpg.key("other", "ed25519", "sign")));
    assertThatThrownBy(() -> house.trust.requireAtCreate(read, List.of(), "shop"))
        .hasMessageStartingWith("SignatureValidationFailed: ")
        .hasMessageContaining("no key of the policy made it");
  }

  @Test
  void aSubkeyBoundToAKeySigns() throws Exception {
    String key = gpg.key("team", "ed25519", "cert");
    gpg.addSubkey(key, "sign");
    policy(gpg.export(key));
    lay(1, gpg.sign(key, claim()));
    assertThat(house.pull(name() + ":v1").id()).isEqualTo(IMAGE.id());
  }

  @Test
  void aSubkeyThatWasPutIntoTheFileBySomebodyElseDoesNot() throws Exception {
    String key = gpg.key("team", "ed25519", "cert");
    String other = gpg.key("other", "ed25519", "cert");
    gpg.addSubkey(other, "sign");
    byte[] subkey = gpg.export(other);
    // Of the other key only what follows its user id: the subkey with its binding.
    byte[] stolen = Arrays.copyOfRange(subkey, subkeyAt(subkey), subkey.length);
    policy(joined(gpg.export(key), stolen));
    lay(1, gpg.sign(other, claim()));
    assertThat(refusal())
        .hasMessageMatching("(?s).*(isn't bound to its key|no key of the policy).*");
  }

  /** Packets of old and new format with lengths of one or two bytes (RFC 4880, 4.2). */
  private static int subkeyAt(byte[] ring) {
    int at = 0;
    while (at < ring.length) {
      int tag = (ring[at] & 0x40) != 0 ? ring[at] & 0x3f : (ring[at] >> 2) & 0x0f;
      if (tag == 14) {
        return at;
      }
      int lengthBytes = 1 << (ring[at] & 3);
      int length = 0;
      for (int i = 1; i <= lengthBytes; i++) {
        length = length << 8 | (ring[at + i] & 0xff);
      }
      at += 1 + lengthBytes + length;
    }
    throw new AssertionError("there is no subkey");
  }

  @ParameterizedTest
  @ValueSource(strings = {"keyPaths", "keyData", "armoured"})
  void keysComeFromSeveralFilesOrThePolicyItself(String form) throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    String other = gpg.key("other", "ed25519", "sign");
    Path first = Files.write(house.root.resolve("a.gpg"), gpg.export(other));
    Path second = Files.write(house.root.resolve("b.gpg"), gpg.export(key));
    if (form.equals("armoured")) { // two blocks in one file, as cat makes it
      Files.write(second, joined(gpg.exportArmoured(other), gpg.exportArmoured(key)));
    }
    String keys =
        form.equals("keyData")
            ? "\"keyData\": \"" + Base64.getEncoder().encodeToString(gpg.export(other, key)) + "\""
            : "\"keyPaths\": [\"" + first + "\", \"" + second + "\"]";
    Files.writeString(
        house.root.resolve("policy.json"),
        "{\"default\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\", " + keys + "}]}");
    lay(1, gpg.sign(key, claim()));
    assertThat(house.pull(name() + ":v1").id()).isEqualTo(IMAGE.id());
  }

  private static byte[] joined(byte[] one, byte[] other) {
    var both = new ByteArrayOutputStream();
    both.writeBytes(one);
    both.writeBytes(other);
    return both.toByteArray();
  }

  @Test
  void oneGoodSignatureAmongOthersIsEnough() throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    policy(gpg.export(key));
    lay(1, gpg.sign(gpg.key("other", "ed25519", "sign"), claim()));
    lay(2, "no signature at all".getBytes(UTF_8));
    lay(3, gpg.sign(key, claim()));
    assertThat(house.pull(name() + ":v1").signatures()).hasSize(3);
  }

  @Test
  void anUnsignedImageIsRefusedAndThePlaceWhereSignaturesShouldBeNamed() throws Exception {
    policy(gpg.export(gpg.key("team", "ed25519", "sign")));
    assertThat(refusal())
        .hasMessageContaining("no OpenPGP signature of it was found")
        .hasMessageContaining("file://" + store)
        .hasMessageContaining("test.yaml")
        .hasMessageContaining("team.gpg");
  }

  @Test
  void aSignatureByAnotherKeyIsRefused() throws Exception {
    policy(gpg.export(gpg.key("team", "ed25519", "sign")));
    String other = gpg.key("other", "ed25519", "sign");
    lay(1, gpg.sign(other, claim()));
    assertThat(refusal())
        .hasMessageContaining("no key of the policy made it, but " + other.substring(24));
  }

  @Test
  void aSignatureOfAnotherManifestIsRefused() throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    policy(gpg.export(key));
    lay(1, gpg.sign(key, claim(name() + ":v1", Digest.sha256("else".getBytes(UTF_8)))));
    assertThat(refusal()).hasMessageContaining("it was made for another manifest");
  }

  @Test
  void aSignatureForAnotherNameIsRefused() throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    policy(gpg.export(key));
    lay(1, gpg.sign(key, claim(name() + ":v2", MANIFEST)));
    assertThat(refusal())
        .hasMessageContaining("it was made for \"" + name() + ":v2\", the rule wants the tag");
    policy(gpg.export(key), ", \"signedIdentity\": {\"type\": \"matchRepository\"}");
    assertThat(house.pull(name() + ":v1").id()).isEqualTo(IMAGE.id());
  }

  @Test
  void aKeyThatHasExpiredSignsNoMore() throws Exception {
    String key = gpg.expiredKey("team");
    policy(gpg.export(key));
    lay(1, gpg.sign(key, claim(), "--faked-system-time", Gpg.LONG_AGO));
    assertThat(refusal()).hasMessageContaining("the key has expired, at 2021-03-01T12:00:00Z");
  }

  @Test
  void aKeyThatWasRevokedSignsNoMore() throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    lay(1, gpg.sign(key, claim()));
    gpg.revoke(key);
    policy(gpg.export(key));
    assertThat(refusal()).hasMessageContaining("the key has been revoked");
  }

  @Test
  void aSignatureThatHasExpiredIsRefused() throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    policy(gpg.export(key));
    lay(1, gpg.sign(key, claim(), "--default-sig-expire", "seconds=1"));
    long end = System.nanoTime() + 30_000_000_000L;
    while (System.nanoTime() < end && accepted()) {
      Thread.onSpinWait();
    }
    assertThat(refusal()).hasMessageContaining("it has expired");
  }

  private boolean accepted() throws Exception {
    try {
      Image image = house.pull(name() + ":v1");
      house.store.remove(image.id().toString());
      return true;
    } catch (ImageException refused) {
      return false;
    }
  }

  @Test
  void aHashThatIsNoLongerSafeIsRefused() throws Exception {
    String key = gpg.key("team", "rsa2048", "sign");
    policy(gpg.export(key));
    lay(1, gpg.sign(key, claim(), "--digest-algo", "SHA1"));
    assertThat(refusal()).hasMessageContaining("its hash algorithm isn't safe any more");
  }

  @Test
  void aMessageThatIsCutOffOrChangedAnywhereIsRefused() throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    policy(gpg.export(key));
    byte[] message = gpg.sign(key, claim(), "--compress-algo", "none");
    TrustPolicy.Rule rule = house.trust.rule(ImageHouse.reference(name() + ":v1"), "");
    var asked = ImageHouse.reference(name() + ":v1");
    assertThat(ImageTrust.judge(rule, asked, signature(message)).accepted()).isTrue();
    for (int length = 0; length < message.length; length++) {
      byte[] cut = Arrays.copyOf(message, length);
      assertThat(ImageTrust.judge(rule, asked, signature(cut)).accepted())
          .as("%d", length)
          .isFalse();
    }
    byte[] text = "atomic container".getBytes(UTF_8);
    int at = new String(message, java.nio.charset.StandardCharsets.ISO_8859_1).indexOf("atomic");
    assertThat(at).isPositive();
    byte[] changed = message.clone();
    changed[at + text.length] ^= 1;
    assertThat(ImageTrust.judge(rule, asked, signature(changed)).unmet())
        .first()
        .asString()
        .contains("it is forged or damaged");
  }

  private static List<ImageSignature> signature(byte[] message) {
    return List.of(ImageSignature.openPgp(MANIFEST, message));
  }

  @Test
  void nothingMayFollowASignatureAndNoneMayBeHuge() throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    policy(gpg.export(key));
    byte[] message = gpg.sign(key, claim(), "--compress-algo", "none");
    lay(1, joined(message, message));
    assertThat(refusal()).hasMessageContaining("something follows its signature");
    lay(1, new byte[1 << 20]);
    assertThat(refusal()).hasMessageContaining("it is larger than 64 KiB");
    // Few bytes that become many.
    lay(1, gpg.sign(key, new byte[8 << 20], "--compress-algo", "zlib", "-z", "9"));
    assertThat(refusal()).hasMessageContaining("its text is larger than 64 KiB");
  }

  @Test
  void signaturesAreFetchedOverHttpToo() throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    policy(gpg.export(key));
    byte[] message = gpg.sign(key, claim());
    stores(
        """
        default-docker: {lookaside: "file:///nowhere"}
        docker:
          %s/team: {sigstore: "http://%s/store/"}
          %s/team/app/deeper: {lookaside: "file:///elsewhere"}
        """
            .formatted(registry.address(), registry.address(), registry.address()));
    String path = "/store/team/app@sha256=" + MANIFEST.hex() + "/signature-1";
    registry.script =
        exchange -> {
          if (!exchange.getRequestURI().getPath().equals(path)) {
            return false;
          }
          exchange.sendResponseHeaders(200, message.length);
          exchange.getResponseBody().write(message);
          exchange.close();
          return true;
        };
    assertThat(house.pull(name() + ":v1").signatures()).hasSize(1);
    assertThat(registry.lines()).contains("GET " + path, "GET " + path.replace("-1", "-2"));
  }

  @Test
  void aStoreThatFailsIsNoStoreWithoutSignatures() throws Exception {
    policy(gpg.export(gpg.key("team", "ed25519", "sign")));
    stores("default-docker: {lookaside: \"http://" + registry.address() + "/store\"}");
    registry.script =
        exchange ->
            exchange.getRequestURI().getPath().startsWith("/store")
                && ScriptedRegistry.answer(exchange, 403, "");
    assertThatThrownBy(() -> house.pull(name() + ":v1"))
        .isInstanceOfSatisfying(
            ImageException.class,
            e -> assertThat(e.reason()).isEqualTo(Reason.REGISTRY_UNAVAILABLE))
        .hasMessageContaining("HTTP 403")
        .hasMessageContaining("test.yaml");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "default-docker: {lookaside: nowhere}|\"nowhere\" is no place for signatures",
        "default-docker: {lookaside: \"ftp://x/\"}|no place for signatures",
        "docker: {lookaside: [|test.yaml:1",
      })
  void aMistakeInTheListOfStoresIsAnError(String yaml, String words) throws Exception {
    policy(gpg.export(gpg.key("team", "ed25519", "sign")));
    stores(yaml);
    assertThatThrownBy(() -> house.pull(name() + ":v1"))
        .isInstanceOfSatisfying(
            ImageException.class, e -> assertThat(e.reason()).isEqualTo(Reason.CONFIGURATION))
        .hasMessageContaining(words);
  }

  @Test
  void aKeyFileWithoutAKeyIsAnError() throws Exception {
    String key = gpg.key("team", "ed25519", "sign");
    policy("nothing".getBytes(UTF_8));
    lay(1, gpg.sign(key, claim()));
    assertThatThrownBy(() -> house.pull(name() + ":v1"))
        .isInstanceOfSatisfying(
            ImageException.class, e -> assertThat(e.reason()).isEqualTo(Reason.CONFIGURATION))
        .hasMessageContaining("team.gpg can't be used");
  }
}
