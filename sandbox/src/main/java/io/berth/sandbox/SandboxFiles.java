package io.berth.sandbox;

import static java.nio.charset.StandardCharsets.UTF_8;

import io.berth.linux.PrivateFolder;
import io.berth.linux.UserNamespace;
import io.berth.sandbox.SandboxException.Reason;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/// The files that every container of a pod gets: `/etc/hostname`, `/etc/resolv.conf` and, for
/// containers to which the kubelet gives none of its own, `/etc/hosts`. They lie in the state
/// folder, so nothing is synced.
final class SandboxFiles {
  /// The kernel's `__NEW_UTS_LEN`.
  private static final int LONGEST_HOSTNAME = 64;

  private static final Pattern HOSTNAME =
      Pattern.compile("[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?");
  private static final Pattern WORD = Pattern.compile("[\\x21-\\x7e]+");
  private static final Path MACHINE_HOSTNAME = Path.of("/proc/sys/kernel/hostname");
  private static final String LOOPBACK_HOSTS = "127.0.0.1 localhost\n::1 localhost\n";

  /// Read by whatever user a container runs as; the folder is root's.
  private static final Set<PosixFilePermission> FILE_MODE =
      PosixFilePermissions.fromString("rw-r--r--");

  private final SandboxSettings settings;
  private final SandboxLayout layout;

  SandboxFiles(SandboxSettings settings, SandboxLayout layout) {
    this.settings = settings;
    this.layout = layout;
  }

  /// Closes the folder of all sandboxes to others, which earlier versions left open.
  void close() {
    try {
      Files.setPosixFilePermissions(
          layout.sandboxes(), PosixFilePermissions.fromString("rwx------"));
    } catch (NoSuchFileException e) {
      // there was none yet
    } catch (IOException e) {
      throw new UncheckedIOException("close " + layout.sandboxes() + " to others: " + e, e);
    }
  }

  /// Makes the sandbox's folder with everything in it that isn't a mount.
  void write(Sandbox sandbox) {
    SandboxLayout.Paths paths = layout.paths(sandbox);
    Path folder = layout.folder(sandbox.id());
    try {
      var _ = PrivateFolder.make(folder);
      write(paths.hostname(), sandbox.hostname() + "\n");
      write(paths.resolvConf(), resolvConf(sandbox.config().dns()));
      write(paths.hosts(), copyOf(settings.hosts(), LOOPBACK_HOSTS));
      giveToRoot(paths);
    } catch (IOException e) {
      throw new SandboxException(
          Reason.FAILED,
          "run sandbox "
              + sandbox.id()
              + ": write the pod's files in "
              + folder
              + ": "
              + Failures.text(e)
              + "; check that file and the free space of the state folder",
          e);
    }
  }

  /// The files belong to whom the containers know as root, or root couldn't write them.
  private static void giveToRoot(SandboxLayout.Paths paths) throws IOException {
    UserNamespace user = paths.user();
    if (user != null) {
      for (Path file : List.of(paths.hostname(), paths.resolvConf(), paths.hosts())) {
        Files.setAttribute(file, "unix:uid", user.uid(0));
        Files.setAttribute(file, "unix:gid", user.gid(0));
      }
    }
  }

  /// Deletes the sandbox's folder. Nothing of it may be mounted any more: the kernel refuses to
  /// remove a mount point, and that refusal is passed on.
  void delete(SandboxId id) {
    Path folder = layout.folder(id);
    try {
      Files.walkFileTree(folder, new Deleting());
    } catch (NoSuchFileException e) {
      if (!folder.toString().equals(e.getFile())) {
        throw cannotDelete(id, folder, e);
      }
    } catch (IOException e) {
      throw cannotDelete(id, folder, e);
    }
  }

  private static SandboxException cannotDelete(SandboxId id, Path folder, IOException e) {
    return new SandboxException(
        Reason.FAILED,
        "remove sandbox "
            + id
            + ": delete "
            + folder
            + ": "
            + Failures.text(e)
            + "; see what is mounted there in /proc/self/mountinfo",
        e);
  }

  private String resolvConf(@Nullable DnsConfig dns) throws IOException {
    return dns == null ? copyOf(settings.resolvConf(), "") : resolvConfOf(dns);
  }

  /// resolv.conf(5): only what is given, and nothing at all when nothing is given.
  static String resolvConfOf(DnsConfig dns) {
    StringBuilder text = new StringBuilder();
    if (!dns.searches().isEmpty()) {
      text.append("search ").append(String.join(" ", dns.searches())).append('\n');
    }
    dns.servers().forEach(server -> text.append("nameserver ").append(server).append('\n'));
    if (!dns.options().isEmpty()) {
      text.append("options ").append(String.join(" ", dns.options())).append('\n');
    }
    return text.toString();
  }

  private static String copyOf(Path machineFile, String otherwise) throws IOException {
    try {
      return Files.readString(machineFile, UTF_8);
    } catch (NoSuchFileException _) {
      return otherwise;
    }
  }

  private static void write(Path file, String content) throws IOException {
    Files.writeString(file, content, UTF_8);
    Files.setPosixFilePermissions(file, FILE_MODE);
  }

  /// The pod's host name. Without one in the request, a pod on the network of the machine has the
  /// machine's, any other pod is told apart by its id.
  ///
  /// @throws SandboxException INVALID
  static String hostname(SandboxConfig config, SandboxId id) {
    String hostname = config.hostname();
    if (hostname.isEmpty()) {
      return config.namespaces().network() == NamespaceMode.NODE
          ? machineHostname()
          : id.shortForm();
    }
    if (hostname.length() > LONGEST_HOSTNAME || !HOSTNAME.matcher(hostname).matches()) {
      throw new SandboxException(
          Reason.INVALID,
          "run sandbox "
              + config.name()
              + ": hostname \""
              + hostname
              + "\" isn't one; use up to 64 letters, digits, dots and dashes");
    }
    return hostname;
  }

  private static String machineHostname() {
    try {
      return Files.readString(MACHINE_HOSTNAME).strip();
    } catch (IOException e) {
      throw new SandboxException(
          Reason.FAILED, "read the machine's hostname: " + Failures.text(e), e);
    }
  }

  /// A line break in a server or a search domain would smuggle a line into resolv.conf.
  ///
  /// @throws SandboxException INVALID
  static void checkDns(SandboxConfig config) {
    DnsConfig dns = config.dns();
    if (dns == null) {
      return;
    }
    Stream.of(dns.servers(), dns.searches(), dns.options())
        .flatMap(List::stream)
        .filter(word -> !WORD.matcher(word).matches())
        .findFirst()
        .ifPresent(word -> {
          throw new SandboxException(
              Reason.INVALID,
              "run sandbox "
                  + config.name()
                  + ": dns entry \""
                  + word.replaceAll("\\p{Cntrl}", "?")
                  + "\" must be one word; correct the pod's dnsConfig");
        });
  }

  private static final class Deleting extends SimpleFileVisitor<Path> {
    @Override
    public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
      Files.delete(file);
      return FileVisitResult.CONTINUE;
    }

    @Override
    public FileVisitResult postVisitDirectory(Path folder, @Nullable IOException failure)
        throws IOException {
      if (failure != null) {
        throw failure;
      }
      Files.delete(folder);
      return FileVisitResult.CONTINUE;
    }
  }
}
