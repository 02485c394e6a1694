package io.berth.daemon;

import io.berth.admin.v1.ExportProgress;
import io.berth.admin.v1.ExportRequest;
import io.berth.image.PullBoard;
import java.io.BufferedOutputStream;
import java.io.Console;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/// `berth export`: images that are here, as a file for another machine.
@Command(
    name = "export",
    description = "Writes images into an archive, for machines without a registry.",
    mixinStandardHelpOptions = true)
final class ExportCommand implements Callable<Integer> {
  enum ArchiveFormat {
    oci,
    docker
  }

  enum Compression {
    none,
    gzip,
    zstd
  }

  @Parameters(arity = "1..*", paramLabel = "IMAGE", description = "Names or ids.")
  List<String> images = new ArrayList<>();

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FILE",
      description = "Where to; default: - for standard output.")
  String file = "-";

  @Option(
      names = "--format",
      paramLabel = "FORMAT",
      description = "${COMPLETION-CANDIDATES}; default: ${DEFAULT-VALUE}, an image layout.")
  ArchiveFormat format = ArchiveFormat.oci;

  @Option(
      names = "--compression",
      paramLabel = "KIND",
      description =
          "${COMPLETION-CANDIDATES}: of each layer for oci (default: gzip), of the whole archive"
              + " for docker (default: none).")
  Optional<Compression> compression = Optional.empty();

  @Mixin BerthCommand.Daemon daemon = new BerthCommand.Daemon();

  @Override
  public Integer call() throws IOException, InterruptedException {
    var request =
        ExportRequest.newBuilder()
            .addAllImages(images)
            .setFormat(format.name())
            .setCompression(compression.map(Enum::name).orElse(""))
            .build();
    try (var client = new ArchiveClient(daemon.socket())) {
      if (file.equals("-")) {
        return toStandardOutput(client, request);
      }
      toFile(client, request, Path.of(file).toAbsolutePath());
    }
    return ExitCode.OK;
  }

  private static int toStandardOutput(ArchiveClient client, ExportRequest request)
      throws IOException, InterruptedException {
    boolean terminal = Optional.ofNullable(System.console()).map(Console::isTerminal).orElse(false);
    if (terminal) {
      System.err.println("berth: an archive is nothing for a terminal; give -o FILE");
      return ExitCode.USAGE;
    }
    // Not System.out, which swallows what goes wrong, such as a full disk.
    var out = new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 256 << 10);
    client.export(request, out, ExportCommand::tell);
    out.flush();
    return ExitCode.OK;
  }

  /// Under its name only when it is whole and on disk.
  private static void toFile(ArchiveClient client, ExportRequest request, Path target)
      throws IOException, InterruptedException {
    Path partial = target.resolveSibling(target.getFileName() + ".partial");
    try {
      try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(partial), 256 << 10)) {
        client.export(request, out, ExportCommand::tell);
      }
      try (FileChannel written = FileChannel.open(partial, StandardOpenOption.WRITE)) {
        written.force(true);
      }
      Files.move(partial, target, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      Files.deleteIfExists(partial);
    }
  }

  private static void tell(ExportProgress layer) {
    System.err.printf(
        "layer %d of %d: %s, %s%n",
        layer.getNumber(), layer.getCount(), layer.getLayer(), PullBoard.size(layer.getBytes()));
  }
}
