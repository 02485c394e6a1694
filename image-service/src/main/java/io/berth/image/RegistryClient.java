package io.berth.image;

import com.google.errorprone.annotations.MustBeClosed;
import io.berth.image.ImageException.Reason;
import io.berth.image.RegistryHost.AuthorityFile;
import io.berth.image.RegistryHost.Tls;
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
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.ReentrantLock;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/**
 * Speaks HTTP with registries: the JDK's client over HTTP/1.1, one connection pool per set of
 * trusted authorities. Calls block and end when their thread is interrupted.
 */
public final class RegistryClient implements AutoCloseable {

  /**
   * How patient to be.
   *
   * @param connect until a connection stands
   * @param answer until the head of an answer is there
   * @param stall longest silence within a body; zero waits for ever
   */
  public record Timeouts(Duration connect, Duration answer, Duration stall) {
    public static final Timeouts DEFAULT =
        new Timeouts(Duration.ofSeconds(30), Duration.ofSeconds(60), Duration.ofMinutes(5));
  }

  private static final int REDIRECTS = 5;
  private static final int POOLS = 8;
  private static final String USER_AGENT = "berth/0.1";

  private final RegistryHosts hosts;
  private final Timeouts timeouts;
  private final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();
  private final ReentrantLock lock = new ReentrantLock();

  /** Least recently used first, because changed authority files leave unused pools behind. */
  private final Map<Tls, HttpClient> pools = new LinkedHashMap<>(POOLS, 0.75f, true);

  public RegistryClient(RegistryHosts hosts, Timeouts timeouts) {
    this.hosts = hosts;
    this.timeouts = timeouts;
  }

  /**
   * One repository as one caller may see it.
   *
   * @throws ImageException CONFIGURATION
   */
  Repository open(ImageReference reference, RegistryCredentials credentials) {
    RegistryCredentials mine = credentials.forRegistry(reference.registry());
    List<RegistryEndpoint> endpoints =
        hosts.of(reference.registry()).stream()
            .map(host ->
                new RegistryEndpoint(
                    this,
                    host,
                    reference,
                    // A mirror is another party: it sees only what was given for it by name.
                    host.mirror()
                        ? credentials.host().isEmpty()
                            ? RegistryCredentials.NONE
                            : credentials.forRegistry(host.root().getRawAuthority())
                        : mine))
            .toList();
    return new Repository(reference, endpoints, hosts.folder(reference.registry()));
  }

  /**
   * An answer after redirects.
   *
   * @param foreign true when it came from another host than the one asked
   */
  record Answer(HttpResponse<InputStream> response, boolean foreign, Duration stall)
      implements AutoCloseable {
    int status() {
      return response.statusCode();
    }

    @Nullable String header(String name) {
      return response.headers().firstValue(name).orElse(null);
    }

    /** The body, guarded against silence; closing it closes the answer. */
    @MustBeClosed
    @SuppressWarnings("MustBeClosedChecker") // handed on to the caller
    InputStream body() {
      return stall.isZero() ? response.body() : new StallGuard(response.body(), stall);
    }

    @Override
    public void close() throws IOException {
      response.body().close();
    }
  }

  /**
   * Sends a request and follows redirects, on which neither the authorization nor the host's own
   * headers go to another host, and HTTPS never becomes HTTP.
   *
   * @throws ImageException REGISTRY_UNAVAILABLE when there is no answer
   */
  @MustBeClosed
  Answer send(HttpRequest.Builder request, RegistryHost host, @Nullable String authorization)
      throws InterruptedException {
    HttpRequest first = request.copy().build();
    String method = first.method();
    URI uri = first.uri();
    boolean foreign = false;
    HttpClient pool = pool(host.tls());
    for (int hop = 0; hop <= REDIRECTS; hop++) {
      HttpRequest.Builder next = request.copy().uri(uri).timeout(timeouts.answer());
      next.setHeader("User-Agent", USER_AGENT);
      if (!foreign) {
        host.headers().forEach(next::setHeader);
        if (authorization != null) {
          next.setHeader("Authorization", authorization);
        }
      }
      HttpResponse<InputStream> response = send(pool, next.build());
      String location = response.headers().firstValue("Location").orElse(null);
      if (!isRedirect(response.statusCode()) || location == null) {
        return new Answer(response, foreign, timeouts.stall());
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

  private static HttpResponse<InputStream> send(HttpClient pool, HttpRequest request)
      throws InterruptedException {
    try {
      return pool.send(request, BodyHandlers.ofInputStream());
    } catch (IOException e) {
      throw new ImageException(
          Reason.REGISTRY_UNAVAILABLE,
          "cannot reach "
              + origin(request.uri())
              + ": "
              + describe(e)
              + "; see that it runs and that this machine can connect to it, or name a mirror",
          e);
    }
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

  private HttpClient pool(Tls tls) {
    lock.lock();
    try {
      HttpClient pool = pools.get(tls);
      if (pool == null) {
        pool =
            HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .followRedirects(HttpClient.Redirect.NEVER)
                .connectTimeout(timeouts.connect())
                .executor(executor)
                .sslContext(
                    TlsContexts.of(
                        tls.skipVerify(),
                        tls.authorities().stream().map(AuthorityFile::path).toList()))
                .build();
        if (pools.size() == POOLS) {
          var oldest = pools.entrySet().iterator();
          oldest.next().getValue().shutdown();
          oldest.remove();
        }
        pools.put(tls, pool);
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
