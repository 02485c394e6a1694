package io.berth.image;

/**
 * One host of the route that a pull would take, and what it answered to the question for the
 * manifest. Everything is for people; secrets are in none of it.
 *
 * @param url beneath which everything is asked
 * @param source the file and line that named the host, or "default"
 * @param may what it is trusted with, such as "resolve, pull"
 * @param credentials whose, and where they stand; "none"
 * @param proxy "none" when it is reached directly
 * @param answer the digest and the time it took, or why not; "not asked" where it may not resolve
 * @param serves true when the pull could begin here
 */
public record RouteStop(
    String url,
    boolean mirror,
    String source,
    String may,
    String credentials,
    String proxy,
    String answer,
    boolean serves) {}
