package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.berth.image.ImageException.Reason;
import io.berth.image.ScriptedRegistry.Request;
import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import io.berth.oci.MediaTypes;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(30)
class RegistryAuthTest {
  private static final byte[] MANIFEST = "{\"schemaVersion\":2}".getBytes(UTF_8);

  private ScriptedRegistry registry;
  private ScriptedRegistry tokens;
  private RegistryClient client;

  @BeforeEach
  void open(@TempDir Path certs) throws Exception {
    registry = new ScriptedRegistry();
    tokens = new ScriptedRegistry();
    client =
        new RegistryClient(
            new RegistryHosts(certs),
            new CredentialFiles(List.of()),
            Proxies.none(),
            TransferSettings.DEFAULT,
            PartialBlobs.none());
    registry.putManifest("team/app", "v1", MediaTypes.OCI_MANIFEST, MANIFEST);
  }

  @AfterEach
  void close() {
    client.close();
    registry.close();
    tokens.close();
  }

  private Digest resolve(RegistryCredentials credentials) throws InterruptedException {
    return client
        .open(ImageReference.parse(registry.address() + "/team/app:v1"), credentials)
        .resolve()
        .digest();
  }

  private static RegistryCredentials password(String server) {
    return RegistryCredentials.of("bob", "pass word", "", server, "", "");
  }

  private static String basic(String text) {
    return "Basic " + Base64.getEncoder().encodeToString(text.getBytes(UTF_8));
  }

  /** Lets in only who shows this token, and says where to get it. */
  private void wantToken(AtomicReference<String> token) {
    registry.script =
        exchange -> {
          String shown = exchange.getRequestHeaders().getFirst("Authorization");
          if (("Bearer " + token.get()).equals(shown)) {
            return false;
          }
          exchange
              .getResponseHeaders()
              .set(
                  "WWW-Authenticate",
                  "Basic realm=\"x, y\", Bearer realm=\"http://"
                      + tokens.address()
                      + "/token?a=b\",service=\"the registry\"");
          return ScriptedRegistry.answer(exchange, 401, "");
        };
  }

  @Test
  void tokenIsBoughtAnonymouslyWithServiceAndScope() throws Exception {
    wantToken(new AtomicReference<>("t1"));
    tokens.script = exchange -> ScriptedRegistry.answer(exchange, 200, "{\"token\":\"t1\"}");

    assertThat(resolve(RegistryCredentials.NONE)).isEqualTo(Digest.sha256(MANIFEST));

    Request bought = tokens.requests.getFirst();
    assertThat(bought.line()).isEqualTo("GET /token");
    assertThat(bought.query())
        .isEqualTo("a=b&service=the+registry&scope=repository%3Ateam%2Fapp%3Apull");
    assertThat(bought.authorization()).isNull();
    assertThat(registry.requests).hasSize(2);
  }

  @Test
  void passwordGoesToTheTokenServerAlone() throws Exception {
    wantToken(new AtomicReference<>("t1"));
    tokens.script =
        exchange ->
            basic("bob:pass word").equals(exchange.getRequestHeaders().getFirst("Authorization"))
                ? ScriptedRegistry.answer(exchange, 200, "{\"access_token\":\"t1\"}")
                : ScriptedRegistry.answer(exchange, 401, "{\"details\":\"wrong password\"}");

    assertThat(resolve(password(""))).isEqualTo(Digest.sha256(MANIFEST));
    assertThat(registry.requests)
        .extracting(Request::authorization)
        .containsExactly(null, "Bearer t1");

    assertThatThrownBy(() -> resolve(RegistryCredentials.NONE))
        .isInstanceOf(ImageException.class)
        .hasMessageContaining("refuses a token for repository:team/app:pull")
        .hasMessageContaining("wrong password");
  }

  @Test
  void identityTokenIsPostedAndFallsBackToGet() throws Exception {
    wantToken(new AtomicReference<>("t1"));
    AtomicReference<String> form = new AtomicReference<>("");
    tokens.script =
        exchange -> {
          form.set(new String(exchange.getRequestBody().readAllBytes(), UTF_8));
          return ScriptedRegistry.answer(exchange, 200, "{\"access_token\":\"t1\"}");
        };
    RegistryCredentials identity = RegistryCredentials.of("", "", "", "", "id&token", "");

    assertThat(resolve(identity)).isEqualTo(Digest.sha256(MANIFEST));
    assertThat(form.get())
        .contains("grant_type=refresh_token", "refresh_token=id%26token", "service=the+registry");

    tokens.requests.clear();
    tokens.script =
        exchange ->
            exchange.getRequestMethod().equals("POST")
                ? ScriptedRegistry.answer(exchange, 405, "")
                : ScriptedRegistry.answer(exchange, 200, "{\"token\":\"t1\"}");
    RegistryCredentials other = RegistryCredentials.of("", "", "", "", "another", "");
    assertThat(resolve(other)).isEqualTo(Digest.sha256(MANIFEST));
    assertThat(tokens.lines()).containsExactly("POST /token", "GET /token");
  }

  @Test
  void registryTokenIsSentAsItIs() throws Exception {
    wantToken(new AtomicReference<>("mine"));

    assertThat(resolve(RegistryCredentials.of("bob", "x", "", "", "", "mine")))
        .isEqualTo(Digest.sha256(MANIFEST));

    assertThat(registry.requests).extracting(Request::authorization).containsExactly("Bearer mine");
    assertThat(tokens.requests).isEmpty();
  }

  @Test
  void expiredTokenIsRenewedWithinAPull() throws Exception {
    AtomicReference<String> current = new AtomicReference<>("t1");
    AtomicInteger sold = new AtomicInteger();
    wantToken(current);
    tokens.script =
        exchange ->
            ScriptedRegistry.answer(
                exchange, 200, "{\"token\":\"t" + sold.incrementAndGet() + "\"}");
    Repository repository =
        client.open(
            ImageReference.parse(registry.address() + "/team/app:v1"), RegistryCredentials.NONE);
    Digest digest = repository.resolve().digest();
    current.set("t2");

    assertThat(repository.manifest(digest, -1).content()).isEqualTo(MANIFEST);
    assertThat(sold).hasValue(2);
  }

  @Test
  void tokenServesAllPullsOfTheSameCredentialsUntilItExpires() throws Exception {
    wantToken(new AtomicReference<>("t1"));
    tokens.script = exchange -> ScriptedRegistry.answer(exchange, 200, "{\"token\":\"t1\"}");
    try (var pulls = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Digest>> results = new ArrayList<>();
      for (int i = 0; i < 10; i++) {
        results.add(pulls.submit(() -> resolve(RegistryCredentials.NONE)));
      }
      for (Future<Digest> result : results) {
        assertThat(result.get()).isEqualTo(Digest.sha256(MANIFEST));
      }
    }
    assertThat(tokens.requests).hasSize(1);
    registry.requests.clear();

    resolve(RegistryCredentials.NONE);
    assertThat(registry.requests).extracting(Request::authorization).containsExactly("Bearer t1");
    assertThat(tokens.requests).hasSize(1);

    resolve(password(""));
    assertThat(tokens.requests).hasSize(2);
    assertThat(tokens.requests.getLast().authorization()).isEqualTo(basic("bob:pass word"));
  }

  @Test
  void credentialsForAnotherServerAreNotSent() throws Exception {
    registry.script =
        exchange -> {
          exchange.getResponseHeaders().set("WWW-Authenticate", "Basic realm=\"x\"");
          return exchange.getRequestHeaders().containsKey("Authorization")
              ? false
              : ScriptedRegistry.answer(exchange, 401, "");
        };

    assertThatThrownBy(() -> resolve(password("https://elsewhere.example/v1/")))
        .isInstanceOf(ImageException.class)
        .extracting(e -> ((ImageException) e).reason())
        .isEqualTo(Reason.UNAUTHORIZED);
    assertThat(registry.requests).extracting(Request::authorization).containsOnlyNulls();

    assertThat(resolve(password("http://" + registry.address())))
        .isEqualTo(Digest.sha256(MANIFEST));
    assertThat(registry.requests.getLast().authorization()).isEqualTo(basic("bob:pass word"));
  }

  @Test
  void redirectToAnotherHostDropsCredentialsAndAnswersNoChallengeThere() throws Exception {
    try (ScriptedRegistry storage = new ScriptedRegistry()) {
      storage.putManifest("team/app", "v1", MediaTypes.OCI_MANIFEST, MANIFEST);
      registry.script =
          exchange -> {
            if (exchange.getRequestHeaders().getFirst("Authorization") == null) {
              exchange.getResponseHeaders().set("WWW-Authenticate", "Basic realm=\"x\"");
              return ScriptedRegistry.answer(exchange, 401, "");
            }
            exchange
                .getResponseHeaders()
                .set("Location", "http://" + storage.address() + exchange.getRequestURI());
            return ScriptedRegistry.answer(exchange, 307, "");
          };

      assertThat(resolve(password(""))).isEqualTo(Digest.sha256(MANIFEST));
      assertThat(storage.requests).extracting(Request::authorization).containsOnlyNulls();

      storage.script =
          exchange -> {
            exchange.getResponseHeaders().set("WWW-Authenticate", "Basic realm=\"give\"");
            return ScriptedRegistry.answer(exchange, 401, "");
          };
      assertThatThrownBy(() -> resolve(password(""))).isInstanceOf(ImageException.class);
      assertThat(storage.requests).extracting(Request::authorization).containsOnlyNulls();
    }
  }

  @Test
  void realmThatIsNoUrlGetsNothing() {
    registry.script =
        exchange -> {
          exchange.getResponseHeaders().set("WWW-Authenticate", "Bearer realm=\"file:///etc\"");
          return ScriptedRegistry.answer(exchange, 401, "");
        };

    assertThatThrownBy(() -> resolve(password("")))
        .hasMessageContaining("no URL to trust with credentials");
  }

  @Test
  void headThatSaysTooLittleIsFollowedByGet() throws Exception {
    registry.script =
        exchange ->
            exchange.getRequestMethod().equals("HEAD")
                && ScriptedRegistry.answer(exchange, 405, "");

    assertThat(resolve(RegistryCredentials.NONE)).isEqualTo(Digest.sha256(MANIFEST));
  }

  @Test
  void challengesAreReadInAllTheirForms() {
    assertThat(RegistryAuth.parse("Basic realm=\"a \\\"b\\\", c\" , Bearer realm=x,scope=\"s,t\""))
        .extracting(challenge -> challenge.scheme() + challenge.parameters())
        .isEqualTo(List.of("basic{realm=a \"b\", c}", "bearer{realm=x, scope=s,t}"));
    assertThat(RegistryAuth.parse("Negotiate")).hasSize(1);
    assertThat(RegistryAuth.parse("=,=")).isEmpty();
  }

  @Test
  void formsOfAuthConfigHaveTheirOrder() {
    String auth = Base64.getEncoder().encodeToString("eve:se:cret\0\0".getBytes(UTF_8));

    assertThat(RegistryCredentials.of("", "", auth, "", "", "").basic())
        .isEqualTo(basic("eve:se:cret"));
    assertThat(RegistryCredentials.of("bob", "p", auth, "", "id", "").basic())
        .isEqualTo(basic("bob:p"));
    assertThat(RegistryCredentials.of("", "", auth, "", "id", "").identityToken()).isEqualTo("id");
    assertThat(RegistryCredentials.of("", "", "", "quay.io", "", "").isEmpty()).isTrue();
    assertThat(RegistryCredentials.of("b", "p", "", "https://index.docker.io/v1/", "", "").host())
        .isEqualTo("docker.io");
    assertThat(RegistryCredentials.of("b", "topsecret", "", "", "", "").toString())
        .doesNotContain("topsecret");
    for (String broken : List.of("%%%", Base64.getEncoder().encodeToString(new byte[] {'x'}))) {
      assertThatThrownBy(() -> RegistryCredentials.of("", "", broken, "", "", ""))
          .isInstanceOf(ImageException.class)
          .message()
          .doesNotContain(broken);
    }
  }
}
