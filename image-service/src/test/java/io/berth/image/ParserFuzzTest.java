package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.FileTree;
import io.berth.oci.Descriptor;
import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import io.berth.oci.MediaTypes;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpHeaders;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/**
 * Whatever strangers and administrators write, it is understood or refused in the module's own
 * words: nothing else is thrown, and nothing takes long. What is tried is cut from texts of the
 * real kind, put together anew and spoilt.
 */
class ParserFuzzTest {
  private static final String DIGEST = "sha256:" + "0a".repeat(32);

  private static final List<String> HOSTS =
      List.of(
          "server = \"https://a.example\"\n",
          "[host.\"https://m.example/x\"]\n",
          "  capabilities = [\"pull\", \"resolve\"]\n",
          "  ca = \"ca.pem\"\n",
          "  client = [[\"a\", \"b\"], \"c\"]\n",
          "  dial_timeout = \"5s\"\n",
          "  [host.\"https://m.example/x\".header]\n    x-a = [\"1\", \"2\"]\n",
          "skip_verify = true\n",
          "host = 5\n",
          "# comment\n");
  private static final List<String> AUTH =
      List.of(
          "{\"auths\": {",
          "\"quay.io\": {\"auth\": \"YTpi\"},",
          "\"quay.io/team\": {\"username\": \"a\", \"password\": \"b\"}",
          "\"https://index.docker.io/v1/\": {\"identitytoken\": \"t\"}",
          "}, \"credsStore\": \"absent\",",
          "\"credHelpers\": {\"quay.io\": \"absent\"}",
          "}",
          "null",
          "[[[[",
          "\"auth\": 5");
  private static final List<String> CHALLENGE =
      List.of(
          "Bearer ",
          "realm=\"https://a.example/t\"",
          ",service=s",
          " , scope=\"repository:a/b:pull,push\"",
          "Basic realm=x",
          "\"\\\"",
          "\\\\",
          "=",
          "Negotiate abc==");
  private static final List<String> MANIFEST =
      List.of(
          "{\"schemaVersion\": 2,",
          "\"mediaType\": \"" + MediaTypes.OCI_MANIFEST + "\",",
          "\"mediaType\": \"" + MediaTypes.OCI_INDEX + "\",",
          "\"config\": {\"mediaType\": \"" + MediaTypes.OCI_CONFIG + "\",",
          "\"digest\": \"" + DIGEST + "\", \"size\": 5}",
          ", \"layers\": [{\"digest\": \"" + DIGEST + "\", \"size\": -1}]",
          ", \"layers\": null",
          ", \"manifests\": [{\"platform\": {\"os\": \"linux\"}}]",
          "}",
          "1e999",
          "\"size\": 99999999999999999999");
  private static final List<String> CONFIG =
      List.of(
          "{\"architecture\": \"amd64\", \"os\": \"linux\",",
          "\"config\": {\"User\": \"1000:50\", \"Env\": [\"A=b\", null],",
          "\"Volumes\": {\"/v\": {}}, \"Cmd\": [\"a\"]},",
          "\"rootfs\": {\"type\": \"layers\", \"diff_ids\": [\"" + DIGEST + "\"]}",
          "\"history\": [{\"empty_layer\": true}]",
          "\"created\": \"yesterday\"",
          "}",
          "null",
          ",");
  private static final List<String> REFERENCE =
      List.of(
          "a.example",
          ":5000",
          "/",
          "team/app",
          ":v1",
          "@" + DIGEST,
          "[::1]",
          "UPPER",
          "..",
          "_",
          "-");
  private static final List<String> PROXY =
      List.of(
          "http://", "me:pass", "@", "a.example", ":3128", "[::1]", "%zz", "socks5://", "/", " ");
  private static final List<String> EXCEPTION =
      List.of(
          "*", ".corp", "10.0.0.0", "/8", "/999", "999.1.1.1", "[", "2001:db8::", "]", ":443", ",");
  private static final List<String> WAIT =
      List.of("120", "-1", "Fri, 31 Dec 1999 23:59:59 GMT", "99999999999", " ", "1e9", "Fri");

  private static Path folder = Path.of("");

  @BeforeContainer
  static void open() throws IOException {
    folder = Files.createTempDirectory("berth-fuzz-");
    Files.createDirectory(folder.resolve("quay.io"));
  }

  @AfterContainer
  static void close() {
    FileTree.delete(folder);
  }

  @Provide
  Arbitrary<String> hosts() {
    return SpoiltText.of(HOSTS);
  }

  @Provide
  Arbitrary<String> auth() {
    return SpoiltText.of(AUTH);
  }

  @Provide
  Arbitrary<String> challenge() {
    return SpoiltText.of(CHALLENGE);
  }

  @Provide
  Arbitrary<String> manifest() {
    return SpoiltText.of(MANIFEST);
  }

  @Provide
  Arbitrary<String> config() {
    return SpoiltText.of(CONFIG);
  }

  @Provide
  Arbitrary<String> reference() {
    return SpoiltText.of(REFERENCE);
  }

  @Provide
  Arbitrary<String> proxy() {
    return SpoiltText.of(PROXY);
  }

  @Provide
  Arbitrary<String> exception() {
    return SpoiltText.of(EXCEPTION);
  }

  @Provide
  Arbitrary<String> pause() {
    return SpoiltText.of(WAIT);
  }

  @Property
  void hostsFiles(@ForAll("hosts") String text) throws Exception {
    Files.writeString(folder.resolve("quay.io/hosts.toml"), text);

    SpoiltText.answered(() -> new RegistryHosts(folder).of("quay.io"));
  }

  @Property
  void credentialFiles(@ForAll("auth") String text) throws Exception {
    Path file = Files.writeString(folder.resolve("auth.json"), text);

    SpoiltText.answered(
        () -> new CredentialFiles(List.of(file), List.of(folder)).find("quay.io", "team/app"));
  }

  @Property
  void challenges(@ForAll("challenge") String text) {
    assertThat(RegistryAuth.parse(text)).doesNotContainNull();
  }

  @Property
  void manifests(@ForAll("manifest") String text) throws Exception {
    SpoiltText.answered(
        () -> ManifestDocument.parse(text.getBytes(UTF_8), MediaTypes.OCI_MANIFEST));
  }

  @Property
  void configs(@ForAll("config") String text) throws Exception {
    Descriptor layer = Descriptor.of(MediaTypes.OCI_LAYER, Digest.parse(DIGEST), 1);

    SpoiltText.answered(() -> ImageParts.of(text.getBytes(UTF_8), List.of(layer)));
  }

  @Property
  void references(@ForAll("reference") String text) {
    try {
      ImageReference read = ImageReference.parse(text);
      assertThat(ImageReference.parse(read.toString())).isEqualTo(read);
    } catch (IllegalArgumentException refused) {
      assertThat(refused.getMessage()).isNotBlank();
    }
  }

  @Property
  void proxies(@ForAll("proxy") String proxy, @ForAll("exception") String exceptions)
      throws Exception {
    SpoiltText.answered(() ->
        Proxies.of(proxy, List.of(), Map.of("NO_PROXY", exceptions))
            .authorization(URI.create("https://10.1.2.3/v2")));
  }

  @Property
  void pauses(@ForAll("pause") String after, @ForAll("pause") String date) {
    var headers =
        HttpHeaders.of(
            Map.of("Retry-After", List.of(after), "Date", List.of(date)), (name, value) -> true);

    var asked = HostPace.asked(headers);

    assertThat(asked == null || !asked.isNegative()).isTrue();
  }

  @Property
  void archives(@ForAll("spoilt") byte[] archive) {
    try {
      TarReader reader =
          new TarReader(
              new ByteArrayInputStream(archive),
              1 << 20,
              (bytes, offset, length) -> {},
              new byte[8192]);
      for (int i = 0; i < 100 && reader.next() != null; i++) {
        // The next one skips the content.
      }
    } catch (IOException refused) {
      assertThat(refused.getMessage()).isNotBlank();
    }
  }

  /** A good archive with some bytes changed, and the end cut off. */
  @Provide
  Arbitrary<byte[]> spoilt() {
    byte[] good =
        new TarBuilder()
            .file("a", "one")
            .pax("SCHILY.xattr.user.x", new byte[20])
            .file("b/" + "long".repeat(60), "two")
            .build();
    Arbitrary<Integer> place = Arbitraries.integers().between(0, good.length - 1);
    return Combinators.combine(
            place.list().ofMaxSize(6), Arbitraries.bytes().list().ofSize(6), place)
        .as((places, values, end) -> {
          byte[] bad = good.clone();
          for (int i = 0; i < places.size(); i++) {
            bad[places.get(i)] = values.get(i);
          }
          return end % 3 == 0 ? Arrays.copyOf(bad, end) : bad;
        });
  }
}
