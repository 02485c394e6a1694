package io.berth.daemon;

import java.util.Optional;
import java.util.regex.Pattern;

/// The version of a program or kernel, ordered. A pre-release comes before its release; what a
/// distribution appends (`1.1.5+ds1`, `6.1.0-32-amd64`) does not count.
record Version(int major, int minor, int patch, int candidate, String text)
    implements Comparable<Version> {
  // "1.4.0-rc.3" and "1.0.0-rc93" are candidates; "6.1.0-32-amd64" is none.
  private static final Pattern FORM =
      Pattern.compile("v?(\\d{1,6})\\.(\\d{1,6})(?:\\.(\\d{1,6}))?(?:-rc\\.?(\\d{1,6}))?\\S*");

  /// The first thing in the text that looks like a version.
  static Optional<Version> find(String text) {
    var form = FORM.matcher(text);
    if (!form.find()) {
      return Optional.empty();
    }
    String patch = form.group(3);
    String candidate = form.group(4);
    return Optional.of(
        new Version(
            Integer.parseInt(form.group(1)),
            Integer.parseInt(form.group(2)),
            patch == null ? 0 : Integer.parseInt(patch),
            candidate == null ? Integer.MAX_VALUE : Integer.parseInt(candidate),
            form.group()));
  }

  static Version of(String text) {
    return find(text).orElseThrow(() -> new IllegalArgumentException("not a version: " + text));
  }

  boolean atLeast(String other) {
    return compareTo(of(other)) >= 0;
  }

  boolean before(String other) {
    return !atLeast(other);
  }

  boolean sameSeries(Version other) {
    return major == other.major && minor == other.minor;
  }

  @Override
  public int compareTo(Version other) {
    int order = Integer.compare(major, other.major);
    order = order != 0 ? order : Integer.compare(minor, other.minor);
    order = order != 0 ? order : Integer.compare(patch, other.patch);
    return order != 0 ? order : Integer.compare(candidate, other.candidate);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Version version && compareTo(version) == 0;
  }

  @Override
  public int hashCode() {
    return ((major * 1000) + minor) * 1000 + patch;
  }

  @Override
  public String toString() {
    return text;
  }
}
