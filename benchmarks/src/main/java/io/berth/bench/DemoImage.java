package io.berth.bench;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.oci.Digest;
import io.berth.oci.Json;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.apache.commons.compress.archivers.tar.TarConstants;

/**
 * A small image made on the spot from this machine's static busybox, without any network: every
 * applet as a hard link, and a page for its web server. The same busybox gives the same bytes.
 */
final class DemoImage {
  static final String NAME = "localhost/berth-demo:1";

  /** Where its web page lies. */
  static final String WEB_ROOT = "/www";

  private static final Path BUSYBOX = Path.of("/bin/busybox");
  private static final String PAGE = "<p>Served by busybox, in a pod, on Berth.</p>\n";
  private static final String PROGRAM = "bin/busybox";
  private static final List<String> FOLDERS =
      List.of("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "www");
  private static final Map<String, String> FILES =
      Map.of(
          "etc/group", "root:x:0:\nnobody:x:65534:\n",
          "etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
          "www/index.html", PAGE);

  private DemoImage() {}

  /**
   * Writes an archive in the format of `docker save`, whose manifest carries the name.
   *
   * @param archive made or replaced
   */
  static void write(Path archive) throws IOException, InterruptedException {
    byte[] layer = layer();
    byte[] config =
        Json.write(
            Map.of(
                "architecture", architecture(),
                "os", "linux",
                "created", "2026-01-01T00:00:00Z",
                "config", Map.of("Env", List.of("PATH=/bin"), "Cmd", List.of("sh")),
                "rootfs",
                    Map.of(
                        "type", "layers", "diff_ids", List.of(Digest.sha256(layer).toString()))));
    String configFile = Digest.sha256(config).hex() + ".json";
    byte[] manifest =
        Json.write(
            List.of(
                Map.of(
                    "Config", configFile,
                    "RepoTags", List.of(NAME),
                    "Layers", List.of("layer.tar"))));
    try (OutputStream out = Files.newOutputStream(archive);
        TarArchiveOutputStream tar = new TarArchiveOutputStream(out, "UTF-8")) {
      file(tar, "layer.tar", layer, 0644);
      file(tar, configFile, config, 0644);
      file(tar, "manifest.json", manifest, 0644);
    }
  }

  /**
   * The image's files in a folder, for a container without an image.
   *
   * @param folder made
   * @return the folder
   */
  static Path unpack(Path folder) throws IOException, InterruptedException {
    for (String name : FOLDERS) {
      Files.createDirectories(folder.resolve(name));
    }
    Path program = folder.resolve(PROGRAM);
    Files.copy(BUSYBOX, program);
    for (String applet : applets()) {
      Files.createLink(folder.resolve("bin/" + applet), program);
    }
    for (Map.Entry<String, String> file : FILES.entrySet()) {
      Files.writeString(folder.resolve(file.getKey()), file.getValue());
    }
    return folder;
  }

  private static byte[] layer() throws IOException, InterruptedException {
    var bytes = new ByteArrayOutputStream(4 << 20);
    try (TarArchiveOutputStream tar = new TarArchiveOutputStream(bytes, "UTF-8")) {
      for (String folder : FOLDERS) {
        add(tar, new TarArchiveEntry(folder + "/"), folder.equals("tmp") ? 01777 : 0755);
      }
      file(tar, PROGRAM, Files.readAllBytes(BUSYBOX), 0755);
      for (String applet : applets()) {
        var link = new TarArchiveEntry("bin/" + applet, TarConstants.LF_LINK);
        link.setLinkName(PROGRAM);
        add(tar, link, 0755);
      }
      for (String name : FILES.keySet().stream().sorted().toList()) {
        file(tar, name, FILES.getOrDefault(name, "").getBytes(UTF_8), 0644);
      }
    }
    return bytes.toByteArray();
  }

  private static List<String> applets() throws InterruptedException {
    if (!Files.isExecutable(BUSYBOX)) {
      throw new BenchException(
          BenchException.Reason.PROGRAM,
          BUSYBOX + " is missing: apt-get install busybox-static",
          null);
    }
    List<String> applets =
        new ArrayList<>(
            Programs.run(List.of(BUSYBOX.toString(), "--list"), "busybox --list").lines().toList());
    applets.remove("busybox");
    return applets;
  }

  private static void file(TarArchiveOutputStream tar, String name, byte[] content, int mode)
      throws IOException {
    var entry = new TarArchiveEntry(name);
    entry.setSize(content.length);
    entry.setMode(mode);
    entry.setModTime(0);
    tar.putArchiveEntry(entry);
    tar.write(content);
    tar.closeArchiveEntry();
  }

  private static void add(TarArchiveOutputStream tar, TarArchiveEntry entry, int mode)
      throws IOException {
    entry.setMode(mode);
    entry.setModTime(0);
    tar.putArchiveEntry(entry);
    tar.closeArchiveEntry();
  }

  /** In the words of the image specification. */
  static String architecture() {
    return switch (System.getProperty("os.arch")) {
      case "aarch64" -> "arm64";
      case String other -> other; // the JVM says "amd64" too
    };
  }
}
