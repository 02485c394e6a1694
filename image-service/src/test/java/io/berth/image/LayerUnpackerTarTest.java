package io.berth.image;

import static org.assertj.core.api.Assertions.assertThat;

import io.berth.linux.Fd;
import io.berth.linux.FileTree;
import io.berth.linux.RootedTree;
import io.berth.linux.Subprocess;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What GNU tar packs, in each of its formats, is unpacked as GNU tar unpacks it. */
@Tag("root")
class LayerUnpackerTarTest {
  private static final String TREE =
      """
      set -e
      mkdir -p plain/empty plain/deep/er
      echo hello > plain/hello
      : > plain/nothing
      head -c 300000 /dev/urandom > plain/deep/random
      head -c 512 /dev/urandom > plain/one-block
      head -c 513 /dev/urandom > plain/more-than-a-block
      ln plain/hello plain/deep/hard
      ln -s ../hello plain/deep/soft
      ln -s /does/not/exist plain/dangling
      chmod 4755 plain/hello
      chmod 1777 plain/empty
      chmod 2750 plain/deep
      chmod 000 plain/nothing
      chown 12:34 plain/hello
      chown -h 56:78 plain/deep/soft
      chown 2097150:99 plain/deep/er
      touch -h -d '2001-02-03 04:05:06' plain/deep/soft plain/hello
      mkdir rich
      mkfifo rich/fifo
      mknod rich/null c 1 3
      mknod rich/disk b 259 1048575
      long=$(printf 'n%.0s' $(seq 1 150))
      mkdir -p rich/$long/$long
      echo deep > rich/$long/$long/$long
      ln rich/$long/$long/$long rich/hard-$long
      ln -s $long/$long/$long rich/soft-$long
      echo umlaut > rich/$(printf 'gr\\303\\274n')
      echo latin > rich/$(printf 'gr\\374n')
      chown 3000000:4000000000 rich/fifo
      touch -d '1960-01-01 00:00:00' rich/fifo
      touch -d '2500-01-01 00:00:00' rich/null
      mkdir holes
      truncate -s 5M holes/empty
      echo begin > holes/begin; truncate -s 3M holes/begin
      truncate -s 2M holes/end; echo end >> holes/end
      for i in $(seq 0 40); do printf "piece $i" | dd of=holes/many bs=1 seek=$((i * 65536)) conv=notrunc status=none; done
      touch -d '2010-10-10 10:10:10.123456789' plain/deep plain holes rich
      """;

  private Path folder;
  private LayerStack layers;

  @BeforeEach
  void packTree() throws Exception {
    layers = new LayerStack();
    folder = Files.createTempDirectory("berth-tar");
    run("sh", "-c", TREE);
  }

  @AfterEach
  void close() {
    if (layers != null) {
      layers.close();
      FileTree.delete(folder);
    }
  }

  private void run(String... argv) throws Exception {
    List<String> command = new ArrayList<>(List.of("/usr/bin/env"));
    command.addAll(List.of(argv));
    var result =
        Subprocess.command(command)
            .environment(
                Map.of("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL", "C.UTF-8", "TZ", "UTC"))
            .directory(folder)
            .run();
    assertThat(result.ok()).as("%s: %s", List.of(argv), result.err()).isTrue();
  }

  @ParameterizedTest
  @ValueSource(strings = {"gnu", "oldgnu", "posix"})
  void everyKindOfFileIsUnpackedAsByTar(String format) throws Exception {
    assertUnpackedAsByTar(List.of("--format=" + format), "plain", "rich");
  }

  @ParameterizedTest
  @ValueSource(strings = {"ustar", "v7"})
  void oldFormatsAreUnpackedAsByTar(String format) throws Exception {
    assertUnpackedAsByTar(
        List.of("--format=" + format),
        "plain/hello",
        "plain/deep/hard",
        "plain/deep/random",
        "plain/dangling",
        "plain/empty");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--format=gnu",
        "--format=oldgnu",
        "--format=posix --sparse-version=0.0",
        "--format=posix --sparse-version=0.1",
        "--format=posix --sparse-version=1.0"
      })
  void filesWithHolesKeepThem(String options) throws Exception {
    List<String> arguments = new ArrayList<>(List.of(options.split(" ")));
    arguments.add("--sparse");
    assertUnpackedAsByTar(arguments, "holes", "plain");
    for (String name : List.of("empty", "begin", "end", "many")) {
      RootedTree.Stat stat = LayerStack.stat(layers.top().resolve("holes/" + name));
      assertThat(stat.blocks() * 512).as(name).isLessThan(stat.size() / 2);
    }
  }

  @Test
  void attributesAreUnpackedAsByTar() throws Exception {
    try (RootedTree tree = RootedTree.open(folder);
        Fd plain = tree.openDirectory("plain")) {
      tree.setXattr(plain, "hello", "user.binary", new byte[] {0, -1, '\n', '=', 7});
      tree.setXattr(plain, "deep", "user.folder", new byte[] {1});
      tree.setXattr(plain, "dangling", "trusted.link", new byte[] {2});
      byte[] capability = new byte[20];
      capability[3] = 2;
      capability[5] = 0x20;
      tree.setXattr(plain, "one-block", "security.capability", capability);
    }
    assertUnpackedAsByTar(List.of("--format=posix", "--xattrs", "--xattrs-include=*"), "plain");
  }

  @ParameterizedTest
  @ValueSource(strings = {"PAX_FORMAT", "GNU_FORMAT"})
  void whatPythonPacksIsUnpackedAsByTar(String format) throws Exception {
    python(format, "plain", "rich");
    assertArchiveIsUnpackedAsByTar("plain", "rich");
  }

  @Test
  void whatPythonPacksInTheOldestFormatIsUnpackedAsByTar() throws Exception {
    run("chown", "1:1", "plain/deep/er"); // no more than seven octal digits
    python("USTAR_FORMAT", "plain");
    assertArchiveIsUnpackedAsByTar("plain");
  }

  private void python(String format, String... members) throws Exception {
    List<String> command =
        new ArrayList<>(
            List.of(
                "python3",
                "-c",
                """
                import sys, tarfile
                with tarfile.open("archive.tar", "w", format=getattr(tarfile, sys.argv[1])) as tar:
                    for member in sys.argv[2:]:
                        tar.add(member)
                """,
                format));
    command.addAll(List.of(members));
    run(command.toArray(String[]::new));
  }

  @Test
  void whatBusyboxPacksIsUnpackedAsByTar() throws Exception {
    run("chown", "3000:4000", "rich/fifo"); // it knows no larger ids, nor times before 1970
    run("touch", "-d", "2000-01-01 00:00:00", "rich/fifo", "rich/null");
    run("busybox", "tar", "-cf", "archive.tar", "plain", "rich");
    assertArchiveIsUnpackedAsByTar("plain", "rich");
  }

  private void assertUnpackedAsByTar(List<String> options, String... members) throws Exception {
    List<String> pack = new ArrayList<>(List.of("tar", "--numeric-owner"));
    pack.addAll(options);
    pack.addAll(List.of("-cf", "archive.tar"));
    pack.addAll(List.of(members));
    run(pack.toArray(String[]::new));
    assertArchiveIsUnpackedAsByTar(members);
  }

  private void assertArchiveIsUnpackedAsByTar(String... members) throws Exception {
    Path expected = Files.createDirectory(folder.resolve("expected"));
    run(
        "tar",
        "--numeric-owner",
        "--same-owner",
        "--xattrs",
        "--xattrs-include=*",
        "-xpf",
        "archive.tar",
        "-C",
        "expected");
    layers.add(Files.readAllBytes(folder.resolve("archive.tar")));

    assertThat(TreeListing.of(layers.top(), members)).isEqualTo(TreeListing.of(expected, members));
  }
}
