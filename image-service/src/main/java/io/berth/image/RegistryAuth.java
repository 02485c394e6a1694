package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import io.berth.image.ImageException.Reason;
import io.berth.oci.Json;
import java.io.IOException;
import java.io.InputStream;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpRequest;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The authorization for one repository at one host during one pull: found out when the host asks
 * for it, shared by all requests, renewed when it has expired or is refused, also amid a pull.
 * Tokens are bought as the distribution project describes in "Token Authentication" and "OAuth2".
 */
final class RegistryAuth {

  /** One way in that a host offers, for example Bearer with realm, service and scope. */
  record Challenge(String scheme, Map<String, String> parameters) {}

  private static final Pattern CHALLENGE_PART =
      Pattern.compile(
          "\\G[\\s,]*(?:([A-Za-z][\\w-]*)\\s*=\\s*(?:\"((?:[^\"\\\\]|\\\\.)*)\"|([^\\s,]+))"
              + "|([A-Za-z][\\w-]*)(?=[\\s,]|$))");

  private static final int CHALLENGE_LIMIT = 4096;
  private static final int TOKEN_ANSWER_LIMIT = 1 << 20;
  private static final String BEARER = "Bearer ";

  /** What a token that doesn't say how long it lasts is good for. */
  private static final long DEFAULT_SECONDS = 60;

  private final RegistryClient client;
  private final RegistryHost host;
  private final Caller caller;
  private final RegistryCredentials credentials;
  private final String scope;
  private volatile @Nullable Challenge challenge;

  RegistryAuth(RegistryClient client, RegistryHost host, Caller caller, String scope) {
    this.client = client;
    this.host = host;
    this.caller = caller;
    this.credentials = caller.credentials();
    this.scope = scope;
    this.challenge = client.tokens().challenge(host.root(), scope, credentials);
  }

  /** What to send now, null while the host hasn't asked or a token must be bought first. */
  @Nullable String header() {
    if (!credentials.accessToken().isEmpty()) {
      return BEARER + credentials.accessToken();
    }
    Challenge asked = challenge;
    if (asked == null) {
      return null;
    }
    if (asked.scheme().equals("basic")) {
      return credentials.basic();
    }
    TokenCache.Token token = client.tokens().find(purpose(asked));
    return token == null ? null : BEARER + token.value();
  }

  /**
   * Answers a 401.
   *
   * @param refused what the request carried
   * @return the header to try instead, null when there is nothing better to show
   * @throws ImageException UNAUTHORIZED if the token server refuses, REGISTRY_UNAVAILABLE
   */
  @Nullable String renew(List<String> challenges, @Nullable String refused)
      throws InterruptedException {
    if (!credentials.accessToken().isEmpty()) {
      return null;
    }
    List<Challenge> offers = challenges.stream().flatMap(text -> parse(text).stream()).toList();
    Challenge offer = find(offers, "bearer");
    String renewed = null;
    if (offer != null) {
      renewed = BEARER + token(offer, refused).value();
    } else {
      offer = find(offers, "basic");
      renewed = offer == null ? null : credentials.basic();
    }
    if (offer == null || renewed == null || renewed.equals(refused)) {
      return null;
    }
    challenge = offer;
    client.tokens().remember(host.root(), scope, credentials, offer);
    return renewed;
  }

  private static @Nullable Challenge find(List<Challenge> offers, String scheme) {
    return offers.stream().filter(offer -> offer.scheme().equals(scheme)).findFirst().orElse(null);
  }

  /** Reads a WWW-Authenticate header, which may hold several challenges (RFC 9110, 11.6.1). */
  static List<Challenge> parse(String text) {
    List<Challenge> found = new ArrayList<>();
    // The matcher's stack grows with what is quoted.
    Matcher part =
        CHALLENGE_PART.matcher(text.substring(0, Math.min(text.length(), CHALLENGE_LIMIT)));
    while (part.find()) {
      if (part.group(4) != null) {
        found.add(new Challenge(part.group(4).toLowerCase(Locale.ROOT), new LinkedHashMap<>()));
      } else if (!found.isEmpty()) {
        String quoted = part.group(2);
        found
            .getLast()
            .parameters()
            .put(
                part.group(1).toLowerCase(Locale.ROOT),
                quoted != null ? quoted.replaceAll("\\\\(.)", "$1") : part.group(3));
      }
    }
    return found;
  }

  private TokenCache.Purpose purpose(Challenge offer) {
    return new TokenCache.Purpose(
        realm(offer),
        offer.parameters().getOrDefault("service", ""),
        offer.parameters().getOrDefault("scope", scope),
        credentials);
  }

  private TokenCache.Token token(Challenge offer, @Nullable String refused)
      throws InterruptedException {
    TokenCache.Purpose purpose = purpose(offer);
    String old =
        refused != null && refused.startsWith(BEARER) ? refused.substring(BEARER.length()) : null;
    return client.tokens().get(purpose, old, () -> buy(purpose));
  }

  private TokenCache.Token buy(TokenCache.Purpose purpose) throws InterruptedException {
    URI realm = purpose.realm();
    Map<String, String> query = new LinkedHashMap<>();
    if (!purpose.service().isEmpty()) {
      query.put("service", purpose.service());
    }
    query.put("scope", purpose.scope());
    if (!credentials.identityToken().isEmpty()) {
      Map<String, String> form = new LinkedHashMap<>(query);
      form.put("grant_type", "refresh_token");
      form.put("client_id", "berth");
      form.put("refresh_token", credentials.identityToken());
      HttpRequest.Builder post =
          HttpRequest.newBuilder(realm)
              .header("Content-Type", "application/x-www-form-urlencoded")
              .POST(HttpRequest.BodyPublishers.ofString(encode(form)));
      try (var answer = client.send(post, tokenServer(realm), null, caller)) {
        if (answer.status() != 404 && answer.status() != 405) {
          return token(realm, answer);
        }
      } catch (IOException e) {
        throw unavailable(realm, e);
      }
    }
    String separator = realm.getRawQuery() == null ? "?" : "&";
    HttpRequest.Builder get = HttpRequest.newBuilder(URI.create(realm + separator + encode(query)));
    try (var answer = client.send(get, tokenServer(realm), credentials.basic(), caller)) {
      return token(realm, answer);
    } catch (IOException e) {
      throw unavailable(realm, e);
    }
  }

  /** The token server is another party: it gets none of the headers meant for the registry. */
  private RegistryHost tokenServer(URI realm) {
    return new RegistryHost(
        realm, false, host.capabilities(), host.connection(), Map.of(), host.source());
  }

  private TokenCache.Token token(URI realm, RegistryClient.Answer answer) throws IOException {
    long now = System.nanoTime();
    if (answer.status() == 401 || answer.status() == 403) {
      throw new ImageException(
          Reason.UNAUTHORIZED,
          "the token server "
              + RegistryClient.origin(realm)
              + " refuses a token for "
              + scope
              + " ("
              + RegistryEndpoint.words(answer)
              + "); check the credentials");
    }
    if (answer.status() != 200) {
      throw new ImageException(
          Reason.REGISTRY_UNAVAILABLE,
          "the token server "
              + RegistryClient.origin(realm)
              + " fails ("
              + RegistryEndpoint.words(answer)
              + ")");
    }
    byte[] body;
    try (InputStream in = answer.body()) {
      body = in.readNBytes(TOKEN_ANSWER_LIMIT);
    }
    JsonNode json;
    try {
      json = Json.read(body, JsonNode.class, "token");
    } catch (IllegalArgumentException e) {
      throw new ImageException(
          Reason.REGISTRY_UNAVAILABLE,
          "the token server " + RegistryClient.origin(realm) + " answers with no JSON");
    }
    String token = json.path("token").asText(json.path("access_token").asText(""));
    if (token.isEmpty() || token.chars().anyMatch(c -> c <= ' ' || c > '~')) {
      throw new ImageException(
          Reason.REGISTRY_UNAVAILABLE,
          "the token server " + RegistryClient.origin(realm) + " answers without a token");
    }
    long seconds = Math.clamp(json.path("expires_in").asLong(DEFAULT_SECONDS), 10, 24 * 3600);
    // Given up a little early, as the request has still to travel.
    return new TokenCache.Token(token, now + TimeUnit.SECONDS.toNanos(seconds) / 10 * 9);
  }

  /** Where tokens are sold; a registry reached by TLS may not send passwords to plain HTTP. */
  private URI realm(Challenge challenge) {
    String realm = challenge.parameters().getOrDefault("realm", "");
    try {
      URI uri = URI.create(realm);
      boolean http = "http".equals(uri.getScheme());
      if (uri.getHost() != null
          && (RegistryClient.isSecure(uri) || (http && !RegistryClient.isSecure(host.root())))) {
        return uri;
      }
    } catch (IllegalArgumentException e) {
      // Named below.
    }
    throw new ImageException(
        Reason.REGISTRY_UNAVAILABLE,
        "registry "
            + host.origin()
            + " sends clients for a token to \""
            + realm
            + "\", which is no URL to trust with credentials");
  }

  private static ImageException unavailable(URI realm, IOException e) {
    return new ImageException(
        Reason.REGISTRY_UNAVAILABLE,
        "the token server "
            + RegistryClient.origin(realm)
            + " broke off: "
            + RegistryClient.describe(e),
        e);
  }

  private static String encode(Map<String, String> parameters) {
    StringBuilder text = new StringBuilder();
    parameters.forEach((name, value) ->
        text.append(text.isEmpty() ? "" : "&")
            .append(name)
            .append('=')
            .append(URLEncoder.encode(value, UTF_8)));
    return text.toString();
  }
}
