package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.berth.image.ImageException.Reason;
import io.berth.oci.Digest;
import io.berth.oci.ImageReference;
import io.berth.oci.MediaTypes;
import java.net.http.HttpHeaders;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class HostPaceTest {
  private static final byte[] MANIFEST = "{\"schemaVersion\":2}".getBytes(UTF_8);
  private static final Digest DIGEST = Digest.sha256(MANIFEST);

  private ScriptedRegistry registry;
  private RegistryClient client;

  @BeforeEach
  void open(@TempDir Path certs) throws Exception {
    registry = new ScriptedRegistry();
    registry.putManifest("app", "v1", MediaTypes.OCI_MANIFEST, MANIFEST);
    client =
        new RegistryClient(
            new RegistryHosts(certs),
            new CredentialFiles(List.of()),
            Proxies.none(),
            ImageHouse.TRANSFERS,
            PartialBlobs.none());
  }

  @AfterEach
  void close() {
    client.close();
    registry.close();
  }

  private Digest resolve(RegistryCredentials credentials) throws InterruptedException {
    return client
        .open(ImageReference.parse(registry.address() + "/app:v1"), credentials)
        .resolve()
        .digest();
  }

  @Test
  void limitedHostIsAskedByNoPullBeforeTheTimeItNames() throws Exception {
    int pulls = 10;
    CountDownLatch arrived = new CountDownLatch(pulls);
    AtomicLong limitedAt = new AtomicLong();
    List<Long> later = new CopyOnWriteArrayList<>();
    registry.script =
        exchange -> {
          if (arrived.getCount() == 0) {
            later.add(System.nanoTime());
            return false;
          }
          arrived.countDown();
          awaitQuietly(arrived);
          limitedAt.compareAndSet(0, System.nanoTime());
          exchange.getResponseHeaders().set("Retry-After", "2");
          return ScriptedRegistry.answer(exchange, 429, "");
        };

    List<Future<Digest>> results = new ArrayList<>();
    try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < pulls; i++) {
        results.add(executor.submit(() -> resolve(RegistryCredentials.NONE)));
      }
    }

    for (Future<Digest> result : results) {
      assertThat(result.get()).isEqualTo(DIGEST);
    }
    assertThat(later)
        .hasSize(pulls)
        .allMatch(time -> time - limitedAt.get() >= TimeUnit.SECONDS.toNanos(2));
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      assertThat(latch.await(30, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Test
  void pauseBeyondAllPatienceFailsAtOnceAndSavesFurtherRequestsOfTheSameAccount() throws Exception {
    registry.script =
        exchange -> {
          if (exchange.getRequestHeaders().containsKey("Authorization")) {
            return false;
          }
          exchange.getResponseHeaders().set("Retry-After", "3600");
          return ScriptedRegistry.answer(exchange, 429, "");
        };

    ImageException first =
        catchThrowableOfType(ImageException.class, () -> resolve(RegistryCredentials.NONE));
    assertThat(first.reason()).isEqualTo(Reason.REGISTRY_UNAVAILABLE);
    assertThat(first).hasMessageContaining("limits requests and asks for none until ");
    int asked = registry.requests.size();

    assertThatThrownBy(() -> resolve(RegistryCredentials.NONE))
        .hasMessageContaining("limits requests and asks for none until ");
    assertThat(registry.requests).hasSize(asked);

    assertThat(resolve(RegistryCredentials.of("", "", "", "", "", "token"))).isEqualTo(DIGEST);
  }

  @Test
  void failuresThatMayPassAreTriedAgain() throws Exception {
    AtomicInteger count = new AtomicInteger();
    registry.script =
        exchange ->
            switch (count.incrementAndGet()) {
              case 1 -> ScriptedRegistry.answer(exchange, 502, "");
              case 2 -> true; // closes the connection without an answer
              default -> false;
            };

    assertThat(resolve(RegistryCredentials.NONE)).isEqualTo(DIGEST);
    assertThat(count).hasValue(3);
  }

  @Test
  void hostThatKeepsFailingGetsNoMoreRetriesThanTheCommonBudgetHolds() throws Exception {
    registry.script = exchange -> ScriptedRegistry.answer(exchange, 500, "");
    int pulls = 30;
    long began = System.nanoTime();
    List<Future<Digest>> results = new ArrayList<>();
    try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < pulls; i++) {
        results.add(executor.submit(() -> resolve(RegistryCredentials.NONE)));
      }
    }

    assertThat(results)
        .allSatisfy(
            result -> assertThatThrownBy(result::get).rootCause().hasMessageContaining("HTTP 500"));
    long refilled = Duration.ofNanos(System.nanoTime() - began).toSeconds() + 1;
    // HEAD, and then GET as HEAD says too little; each could be tried again twice without a budget.
    assertThat((long) registry.requests.size()).isBetween(2L * pulls, 2L * pulls + 30 + refilled);
  }

  @Test
  void waitingTimesAreReadInBothTheirForms() {
    String date = "Fri, 31 Dec 1999 23:59:59 GMT";
    assertThat(asked("7", date)).isEqualTo(Duration.ofSeconds(7));
    assertThat(asked("Sat, 01 Jan 2000 00:00:59 GMT", date)).isEqualTo(Duration.ofMinutes(1));
    assertThat(asked("Fri, 31 Dec 1999 23:00:00 GMT", date)).isEqualTo(Duration.ZERO);
    assertThat(asked("soon", date)).isNull();
    assertThat(asked("-1", date)).isNull();
    assertThat(HostPace.asked(HttpHeaders.of(Map.of(), (name, value) -> true))).isNull();
  }

  private static @Nullable Duration asked(String retryAfter, String date) {
    return HostPace.asked(
        HttpHeaders.of(
            Map.of("Retry-After", List.of(retryAfter), "Date", List.of(date)),
            (name, value) -> true));
  }
}
