package io.berth.image;

import io.berth.linux.SharedOperations;
import java.net.URI;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;

/**
 * What hosts asked for and the tokens bought for it, for all pulls together. A token serves only
 * who showed the same credentials for the same scope. Equal purchases at the same time are one.
 */
final class TokenCache {
  private static final int LIMIT = 256;

  /**
   * What a token is for.
   *
   * @param service "" when the challenge names none
   */
  record Purpose(URI realm, String service, String scope, RegistryCredentials credentials) {}

  /**
   * A bearer token.
   *
   * @param expires by {@link System#nanoTime}
   */
  record Token(String value, long expires) {
    boolean expired() {
      return System.nanoTime() - expires >= 0;
    }

    /** Never shows the secret. */
    @Override
    public String toString() {
      return "token";
    }
  }

  private record Door(URI root, String scope, RegistryCredentials credentials) {}

  private final Map<Purpose, Token> tokens = new Recent<>(); // guarded by this
  private final Map<Door, RegistryAuth.Challenge> challenges = new Recent<>(); // guarded by this
  private final SharedOperations<Purpose, Token> purchases =
      new SharedOperations<>("token", Duration.ZERO);

  /** Forgets what was used longest ago. */
  private static final class Recent<K, V> extends LinkedHashMap<K, V> {
    private static final long serialVersionUID = 1L;

    Recent() {
      super(16, 0.75f, true);
    }

    @Override
    protected boolean removeEldestEntry(Map.Entry<K, V> eldest) {
      return size() > LIMIT;
    }
  }

  /** What this host asked for the last time, null before. */
  synchronized RegistryAuth.@Nullable Challenge challenge(
      URI root, String scope, RegistryCredentials credentials) {
    return challenges.get(new Door(root, scope, credentials));
  }

  synchronized void remember(
      URI root, String scope, RegistryCredentials credentials, RegistryAuth.Challenge challenge) {
    challenges.put(new Door(root, scope, credentials), challenge);
  }

  /** A token that hasn't expired, null when one must be bought. */
  synchronized @Nullable Token find(Purpose purpose) {
    Token token = tokens.get(purpose);
    return token == null || token.expired() ? null : token;
  }

  /**
   * Another token than the one refused, bought unless somebody else has bought one meanwhile.
   *
   * @param refused the token the host didn't take, null if none was shown
   */
  Token get(Purpose purpose, @Nullable String refused, Callable<Token> buy)
      throws InterruptedException {
    Token known = find(purpose);
    if (known != null && !known.value().equals(refused)) {
      return known;
    }
    return purchases.join(
        purpose,
        () -> {
          Token bought = buy.call();
          synchronized (this) {
            tokens.put(purpose, bought);
          }
          return bought;
        });
  }
}
