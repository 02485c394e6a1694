package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/**
 * Whatever stands in a policy it is understood or refused, and whatever was signed vouches for
 * nothing but what it names.
 */
class TrustFuzzTest {
  private static final Digest MANIFEST = Digest.parse("sha256:" + "0a".repeat(32));
  private static final ImageReference NAME = ImageReference.parse("quay.io/team/app:v1");

  private static final List<String> POLICY =
      List.of(
          "{\"default\": [{\"type\": \"reject\"}]",
          "{\"default\": [{\"type\": \"insecureAcceptAnything\"}],",
          "\"transports\": {\"docker\": {\"quay.io\": [",
          "\"*.example\": [{\"type\": \"signedBy\", \"keyType\": \"GPGKeys\",",
          "{\"type\": \"sigstoreSigned\", \"keyPath\": \"/nowhere/key.pub\"",
          "\"keyData\": \"bm8ga2V5\"",
          ", \"signedIdentity\": {\"type\": \"matchExact\"}",
          ", \"signedIdentity\": {\"type\": \"remapIdentity\", \"prefix\": \"a\"}",
          ", \"signedIdentity\": {\"type\": \"exactReference\", \"dockerReference\": \"x\"}",
          "}",
          "]",
          ",",
          "null",
          "5");
  private static final List<String> CLAIM =
      List.of(
          "{\"critical\": {",
          "\"type\": \"cosign container image signature\",",
          "\"image\": {\"docker-manifest-digest\": \"" + MANIFEST + "\"},",
          "\"image\": {\"docker-manifest-digest\": \"sha256:" + "0b".repeat(32) + "\"},",
          "\"identity\": {\"docker-reference\": \"quay.io/team/app:v1\"}",
          "\"identity\": {\"docker-reference\": \"quay.io/other/app:v1\"}",
          "}}",
          "}",
          ", \"optional\": null",
          "[[[[",
          "\"critical\": 5");

  @Provide
  Arbitrary<String> policy() {
    return SpoiltText.of(POLICY);
  }

  @Provide
  Arbitrary<String> claim() {
    return SpoiltText.of(CLAIM);
  }

  @Property
  void policies(@ForAll("policy") String text) throws Exception {
    SpoiltText.answered(
        () -> TrustPolicy.parse(text.getBytes(UTF_8), Path.of("/policy.json")).rule(NAME));
  }

  @Property
  void claims(@ForAll("claim") String text) {
    Optional<String> objection =
        SignedClaim.objection(
            text.getBytes(UTF_8), SignedClaim.SIGSTORE, MANIFEST, new SignedIdentity.Exact(), NAME);

    if (objection.isEmpty()) {
      assertThat(text).contains(SignedClaim.SIGSTORE, MANIFEST.toString(), NAME.toString());
    } else {
      assertThat(objection.get()).isNotBlank();
    }
  }

  @Property
  void openPgpMessages(@ForAll byte[] message) {
    String why = "";
    try {
      byte[] _ = OpenPgpMessage.verified(message, OpenPgpKeys.of(List.of()), Instant.EPOCH);
    } catch (OpenPgpMessage.Unverified refused) {
      why = refused.why();
    }
    assertThat(why).isNotBlank();
  }
}
