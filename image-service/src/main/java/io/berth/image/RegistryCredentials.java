package io.berth.image;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.image.ImageException.Reason;
import java.net.URI;
import java.util.Base64;
import org.jspecify.annotations.Nullable;

/**
 * What a caller may show a registry: nothing, a user name with a password, an identity token that
 * buys an access token, or an access token itself. Empty strings mean absent.
 *
 * @param host the registry these are for, in the form of {@link
 *     io.berth.oci.ImageReference#registry}; "" for whichever is asked
 */
public record RegistryCredentials(
    String username, String password, String identityToken, String accessToken, String host) {

  public static final RegistryCredentials NONE = new RegistryCredentials("", "", "", "", "");

  /**
   * From the fields of CRI's AuthConfig, of which the first usable one wins: registry token, user
   * name, identity token, auth.
   *
   * @param auth base64 of {@code user:password}
   * @param serverAddress host or URL, "" when not said
   * @throws ImageException INVALID if {@code auth} can't be decoded; the message doesn't show it
   */
  public static RegistryCredentials of(
      String username,
      String password,
      String auth,
      String serverAddress,
      String identityToken,
      String registryToken) {
    String host = hostOf(serverAddress);
    if (!registryToken.isEmpty()) {
      return new RegistryCredentials("", "", "", registryToken, host);
    }
    if (!username.isEmpty()) {
      return new RegistryCredentials(username, password, "", "", host);
    }
    if (!identityToken.isEmpty()) {
      return new RegistryCredentials("", "", identityToken, "", host);
    }
    if (auth.isEmpty()) {
      return NONE;
    }
    String decoded = decode(auth);
    int colon = decoded.indexOf(':');
    if (colon < 0) {
      throw new ImageException(
          Reason.INVALID,
          "credentials: \"auth\" is not base64 of user:password, there is no colon");
    }
    return new RegistryCredentials(
        decoded.substring(0, colon), decoded.substring(colon + 1), "", "", host);
  }

  /** Old docker clients padded the decoded value with NUL bytes. */
  private static String decode(String auth) {
    try {
      return new String(Base64.getDecoder().decode(auth.strip()), UTF_8).replaceAll("\0+$", "");
    } catch (IllegalArgumentException e) {
      throw new ImageException(
          Reason.INVALID, "credentials: \"auth\" is not base64 of user:password", e);
    }
  }

  /** These credentials, or none when they belong to another registry. */
  RegistryCredentials forRegistry(String registry) {
    return host.isEmpty() || host.equalsIgnoreCase(registry) ? this : NONE;
  }

  boolean isEmpty() {
    return username.isEmpty() && identityToken.isEmpty() && accessToken.isEmpty();
  }

  /** Whose they are, without a secret. */
  String describe() {
    if (!username.isEmpty()) {
      return "user \"" + username + "\"";
    }
    return accessToken.isEmpty() ? "an identity token" : "a registry token";
  }

  /** The value of a Basic Authorization header, null without a user name. */
  @Nullable String basic() {
    if (username.isEmpty()) {
      return null;
    }
    return "Basic "
        + Base64.getEncoder().encodeToString((username + ":" + password).getBytes(UTF_8));
  }

  private static String hostOf(String serverAddress) {
    if (serverAddress.isBlank()) {
      return "";
    }
    String address = serverAddress.strip();
    try {
      URI uri = URI.create(address.contains("://") ? address : "https://" + address);
      String authority = uri.getAuthority();
      if (authority == null) {
        throw new IllegalArgumentException("no host in it");
      }
      return switch (authority) {
        case "index.docker.io", "registry-1.docker.io" -> "docker.io";
        default -> authority;
      };
    } catch (IllegalArgumentException e) {
      throw new ImageException(
          Reason.INVALID, "credentials: \"" + address + "\" is not a server address", e);
    }
  }

  /** Never shows a secret: records are printed in logs. */
  @Override
  public String toString() {
    return isEmpty() ? "no credentials" : "credentials" + (host.isEmpty() ? "" : " for " + host);
  }
}
