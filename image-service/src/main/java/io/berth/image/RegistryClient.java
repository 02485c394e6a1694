package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.image.RegistryHost.Connection;
import io.berth.oci.ImageReference;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.HttpTimeoutException;
import java.nio.channels.UnresolvedAddressException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.Collectors;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/**
 * Speaks HTTP with registries: the JDK's client over HTTP/1.1, one connection pool per set of
 * trusted authorities. Calls block and end when their thread is interrupted.
 */
public final class RegistryClient implements AutoCloseable {

  private static final int REDIRECTS = 5;
  private static final int POOLS = 8;
  private static final int PACES = 256;

  /** How long a host that asks for a pause is waited for while there are others to ask. */
  private static final Duration PATIENCE_WITH_MIRRORS = Duration.ofSeconds(5);

  /** How long an answer is waited for then. */
  private static final Duration ANSWER_WITH_MIRRORS = Duration.ofSeconds(10);

  private static final String USER_AGENT = "berth/0.1";

  private final RegistryHosts hosts;
  private final CredentialFiles credentialFiles;
  private final Proxies proxies;
  private final TransferSettings settings;
  private final PartialBlobs partials;
  private final TokenCache tokens = new TokenCache();
  private final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();

  /** By registry, for the transfers of layers. Names of registries are few. */
  private final ConcurrentMap<String, Semaphore> places = new ConcurrentHashMap<>();

  private final ReentrantLock lock = new ReentrantLock();

  /** Least recently used first, because changed authority files leave unused pools behind. */
  private final Map<Connection, HttpClient> pools = new LinkedHashMap<>(POOLS, 0.75f, true);

  /** Likewise. Each account has its own: a limit for strangers doesn't hold for members. */
  private final Map<Limited, HostPace> paces = new LinkedHashMap<>(PACES, 0.75f, true);

  private record Limited(String origin, RegistryCredentials credentials) {}

  public RegistryClient(
      RegistryHosts hosts,
      CredentialFiles credentialFiles,
      Proxies proxies,
      TransferSettings settings,
      PartialBlobs partials) {
    this.hosts = hosts;
    this.credentialFiles = credentialFiles;
    this.proxies = proxies;
    this.settings = settings;
    this.partials = partials;
  }

  TokenCache tokens() {
    return tokens;
  }

  /**
   * One repository as one caller may see it.
   *
   * @throws ImageException CONFIGURATION
   * @throws InterruptedException while a credential helper was asked
   */
  Repository open(ImageReference reference, RegistryCredentials credentials)
      throws InterruptedException {
    List<RegistryHost> route = hosts.of(reference.registry());
    List<RegistryEndpoint> endpoints = new ArrayList<>();
    for (RegistryHost host : route) {
      boolean last = endpoints.size() + 1 == route.size();
      Caller caller =
          new Caller(
              credentialsFor(host, reference, credentials).credentials(),
              last ? settings.patience() : shorter(settings.patience(), PATIENCE_WITH_MIRRORS),
              last ? settings.answer() : shorter(settings.answer(), ANSWER_WITH_MIRRORS));
      endpoints.add(new RegistryEndpoint(this, host, reference, caller));
    }
    return new Repository(
        reference,
        endpoints,
        hosts.folder(reference.registry()),
        settings,
        partials,
        places.computeIfAbsent(
            reference.registry(), _ -> new Semaphore(settings.perRegistry(), true)));
  }

  private static Duration shorter(Duration one, Duration other) {
    return one.compareTo(other) < 0 ? one : other;
  }

  /**
   * Those of the request if they are meant for this host, else those left on this machine. A mirror
   * is another party: it sees only what was given for it by name.
   */
  private CredentialFiles.Found credentialsFor(
      RegistryHost host, ImageReference reference, RegistryCredentials given)
      throws InterruptedException {
    String name = host.mirror() ? host.root().getRawAuthority() : reference.registry();
    if (!host.mirror() || !given.host().isEmpty()) {
      RegistryCredentials meant = given.forRegistry(name);
      if (!meant.isEmpty()) {
        return new CredentialFiles.Found(meant, "the request");
      }
    }
    return credentialFiles
        .find(name, reference.repository())
        .orElseGet(() -> new CredentialFiles.Found(RegistryCredentials.NONE, "none"));
  }

  /**
   * A small file that lies on some web server and may not exist: no registry, and nobody's
   * credentials.
   *
   * @param limit bytes of it that are read, whatever its size
   * @param source where its place was configured
   * @throws ImageException REGISTRY_UNAVAILABLE
   */
  Optional<byte[]> document(URI uri, int limit, String source) throws InterruptedException {
    var host = new RegistryHost(uri, false, Set.of(), Connection.PLAIN, Map.of(), source);
    var caller = new Caller(RegistryCredentials.NONE, settings.patience(), settings.answer());
    HttpRequest.Builder request = HttpRequest.newBuilder(uri).timeout(settings.answer());
    try (Answer answer = send(request, host, null, caller)) {
      if (answer.status() == 404) {
        return Optional.empty();
      }
      if (answer.status() != 200) {
        throw new ImageException(
            Reason.REGISTRY_UNAVAILABLE,
            uri + " can't be read: HTTP " + answer.status() + "; it is named in " + source);
      }
      try (InputStream body = answer.body()) {
        return Optional.of(body.readNBytes(limit));
      }
    } catch (IOException e) {
      throw new ImageException(
          Reason.REGISTRY_UNAVAILABLE, uri + " can't be read: " + describe(e), e);
    }
  }

  /**
   * The route that a pull would take, each host asked for the manifest.
   *
   * @throws ImageException INVALID, CONFIGURATION
   */
  public List<RouteStop> explain(String image) throws InterruptedException {
    ImageReference reference;
    try {
      reference = ImageReference.parse(image);
    } catch (IllegalArgumentException e) {
      throw new ImageException(Reason.INVALID, "explain: " + e.getMessage(), e);
    }
    List<RouteStop> stops = new ArrayList<>();
    for (RegistryHost host : hosts.of(reference.registry())) {
      CredentialFiles.Found found = credentialsFor(host, reference, RegistryCredentials.NONE);
      RegistryEndpoint endpoint =
          new RegistryEndpoint(
              this,
              host,
              reference,
              new Caller(found.credentials(), Duration.ZERO, settings.answer()));
      RegistryHost.Capability needed =
          reference.digest() == null
              ? RegistryHost.Capability.RESOLVE
              : RegistryHost.Capability.PULL;
      String answer;
      boolean serves = false;
      if (endpoint.can(needed)) {
        long began = System.nanoTime();
        try {
          String digest = endpoint.resolve(reference.tagOrDigest()).digest().toString();
          serves = true;
          answer = digest + " in " + (System.nanoTime() - began) / 1_000_000 + " ms";
        } catch (ImageException e) {
          answer = e.words();
        }
      } else {
        answer = "not asked: it may not " + needed.name().toLowerCase(Locale.ROOT);
      }
      stops.add(
          new RouteStop(
              host.root().toString(),
              host.mirror(),
              host.source(),
              host.capabilities().stream()
                  .map(capability -> capability.name().toLowerCase(Locale.ROOT))
                  .sorted()
                  .collect(Collectors.joining(", ")),
              found.credentials().isEmpty()
                  ? "none"
                  : found.credentials().describe() + " from " + found.source(),
              proxies.proxy(host.root()).map(Proxies::show).orElse("none"),
              answer,
              serves));
    }
    return List.copyOf(stops);
  }

  /**
   * An answer after redirects.
   *
   * @param foreign true when it came from another host than the one asked
   */
  record Answer(HttpResponse<InputStream> response, boolean foreign, TransferSettings settings)
      implements AutoCloseable {
    int status() {
      return response.statusCode();
    }

    @Nullable String header(String name) {
      return response.headers().firstValue(name).orElse(null);
    }

    /** The body, guarded against stalling; closing it closes the answer. */
    @MustBeClosed
    @SuppressWarnings("MustBeClosedChecker") // handed on to the caller
    InputStream body() {
      return settings.stallTime().isZero()
          ? response.body()
          : new StallGuard(response.body(), settings.stallTime(), settings.stallFloor());
    }

    @Override
    public void close() throws IOException {
      response.body().close();
    }
  }

  /**
   * Sends a request, again after failures that may pass, and follows redirects, on which neither
   * the authorization nor the host's own headers go to another host, and HTTPS never becomes HTTP.
   *
   * @throws ImageException REGISTRY_UNAVAILABLE when there is no answer
   */
  @MustBeClosed
  @SuppressWarnings("MustBeClosedChecker") // returned or closed
  Answer send(
      HttpRequest.Builder request, RegistryHost host, @Nullable String authorization, Caller caller)
      throws InterruptedException {
    long deadline = System.nanoTime() + caller.patience().toNanos();
    for (int attempt = 1; ; attempt++) {
      Answer answer = follow(request, host, authorization, caller, deadline, attempt);
      if (answer != null) {
        return answer;
      }
    }
  }

  /** Sends a request once; null when it is to be sent again, now. */
  private @Nullable Answer follow(
      HttpRequest.Builder request,
      RegistryHost host,
      @Nullable String authorization,
      Caller caller,
      long deadline,
      int attempt)
      throws InterruptedException {
    HttpRequest first = request.copy().build();
    String method = first.method();
    URI uri = first.uri();
    boolean foreign = false;
    HttpClient pool = pool(host.connection());
    for (int hop = 0; hop <= REDIRECTS; hop++) {
      HttpRequest.Builder next =
          request.copy().uri(uri).timeout(first.timeout().orElse(settings.answer()));
      next.setHeader("User-Agent", USER_AGENT);
      if (!foreign) {
        host.headers().forEach(next::setHeader);
        if (authorization != null) {
          next.setHeader("Authorization", authorization);
        }
      }
      proxies.authorization(uri).ifPresent(shown -> next.setHeader("Proxy-Authorization", shown));
      HostPace pace = pace(uri, foreign ? RegistryCredentials.NONE : caller.credentials());
      pace.await(deadline);
      long sentAt = System.nanoTime();
      HttpResponse<InputStream> response;
      try {
        response = pool.send(next.build(), BodyHandlers.ofInputStream());
      } catch (IOException e) {
        if (mayPass(e) && pace.again(attempt)) {
          return null;
        }
        throw unreachable(uri, e);
      }
      int status = response.statusCode();
      if (status == 407) {
        closeQuietly(response.body());
        throw refusedByProxy(uri);
      }
      boolean again;
      try {
        again = pace.again(status, response.headers(), sentAt, attempt, deadline);
      } catch (InterruptedException e) {
        closeQuietly(response.body());
        throw e;
      }
      if (again) {
        closeQuietly(response.body());
        return null;
      }
      String location = response.headers().firstValue("Location").orElse(null);
      if (!isRedirect(status) || location == null) {
        return new Answer(response, foreign, settings);
      }
      closeQuietly(response.body());
      URI target = redirect(uri, location);
      foreign |= !sameOrigin(first.uri(), target);
      uri = target;
    }
    throw new ImageException(
        Reason.REGISTRY_UNAVAILABLE,
        method + " " + first.uri() + " was redirected more than " + REDIRECTS + " times");
  }

  private HostPace pace(URI uri, RegistryCredentials credentials) {
    lock.lock();
    try {
      if (paces.size() == PACES) {
        paces.remove(paces.keySet().iterator().next());
      }
      return paces.computeIfAbsent(
          new Limited(origin(uri), credentials), key -> new HostPace(key.origin(), settings));
    } finally {
      lock.unlock();
    }
  }

  /** A connection that broke; one that never stood would not stand a second later either. */
  private static boolean mayPass(IOException failure) {
    return !(failure instanceof ConnectException
        || failure instanceof HttpTimeoutException
        || failure instanceof SSLException);
  }

  private ImageException refusedByProxy(URI uri) {
    return new ImageException(
        Reason.REGISTRY_UNAVAILABLE,
        "cannot reach "
            + origin(uri)
            + throughProxy(uri)
            + ", which refuses the user and password given for it (HTTP 407); see images.proxy and"
            + " the variables HTTPS_PROXY and HTTP_PROXY of berthd");
  }

  private String throughProxy(URI uri) {
    return proxies.proxy(uri).map(proxy -> " through the proxy " + Proxies.show(proxy)).orElse("");
  }

  private ImageException unreachable(URI uri, IOException e) {
    return new ImageException(
        Reason.REGISTRY_UNAVAILABLE,
        "cannot reach "
            + origin(uri)
            + throughProxy(uri)
            + ": "
            + describe(e)
            + "; see that it runs and that this machine can connect to it, or name a mirror",
        e);
  }

  private static boolean isRedirect(int status) {
    return switch (status) {
      case 301, 302, 303, 307, 308 -> true;
      default -> false;
    };
  }

  private static URI redirect(URI from, String location) {
    URI target;
    try {
      target = from.resolve(location);
    } catch (IllegalArgumentException e) {
      throw new ImageException(
          Reason.REGISTRY_UNAVAILABLE, origin(from) + " redirects to what is no URL", e);
    }
    String scheme = String.valueOf(target.getScheme());
    boolean safe = scheme.equals("https") || (scheme.equals("http") && !isSecure(from));
    if (!safe || target.getHost() == null) {
      throw new ImageException(
          Reason.REGISTRY_UNAVAILABLE,
          origin(from) + " redirects to " + origin(target) + ", which is refused as less secure");
    }
    return target;
  }

  static boolean isSecure(URI uri) {
    return "https".equals(uri.getScheme());
  }

  private static boolean sameOrigin(URI a, URI b) {
    return origin(a).equalsIgnoreCase(origin(b));
  }

  static String origin(URI uri) {
    return uri.getScheme() + "://" + uri.getRawAuthority();
  }

  /** The JDK's exceptions often carry no message, or one that names classes. */
  static String describe(Throwable failure) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause instanceof UnresolvedAddressException) {
        return "the host name can't be resolved";
      }
      if (cause instanceof SSLException) {
        return "TLS failed: " + cause.getMessage();
      }
      if (cause instanceof HttpTimeoutException) {
        return "no answer in time";
      }
    }
    if (failure instanceof ConnectException && failure.getMessage() == null) {
      return "connection refused";
    }
    return failure.getMessage() == null ? failure.getClass().getSimpleName() : failure.getMessage();
  }

  private HttpClient pool(Connection connection) {
    lock.lock();
    try {
      HttpClient pool = pools.get(connection);
      if (pool == null) {
        Duration dial = connection.dialTimeout();
        // Without an authenticator, which would answer challenges of its own accord.
        pool =
            HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .followRedirects(HttpClient.Redirect.NEVER)
                .connectTimeout(dial == null ? settings.connect() : dial)
                .executor(executor)
                .proxy(proxies)
                .sslContext(TlsContexts.of(connection))
                .build();
        if (pools.size() == POOLS) {
          var oldest = pools.entrySet().iterator();
          oldest.next().getValue().shutdown();
          oldest.remove();
        }
        pools.put(connection, pool);
      }
      return pool;
    } finally {
      lock.unlock();
    }
  }

  static void closeQuietly(AutoCloseable body) {
    try {
      body.close();
    } catch (Exception e) {
      // What was wanted from it is known already.
    }
  }

  /** Ends running transfers. */
  @Override
  public void close() {
    lock.lock();
    try {
      pools.values().forEach(HttpClient::shutdownNow);
      pools.clear();
    } finally {
      lock.unlock();
    }
    executor.shutdownNow();
  }
}
