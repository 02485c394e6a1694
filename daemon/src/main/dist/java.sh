# Sourced by berthd and berth: finds Java 25 and starts a class of lib/ with it.
# Set by the caller: home (this folder), main (the class), name (of the AOT cache), flags.

find_java() {
  for java_home in "${BERTH_JAVA_HOME:-}" "${JAVA_HOME:-}" /usr/lib/jvm/*; do
    if [ -x "$java_home/bin/java" ] && grep -qs '^JAVA_VERSION="25' "$java_home/release"; then
      return
    fi
  done
  echo "$name: Java 25 is missing; install openjdk-25-jre-headless, or name its folder in BERTH_JAVA_HOME" >&2
  exit 1
}

start_java() {
  find_java
  case $(uname -m) in
    aarch64) jna=linux-aarch64 zstd=linux/aarch64 ;;
    *) jna=linux-x86-64 zstd=linux/amd64 ;;
  esac
  # The AOT cache is tied to the class path, so its order has to be the same each time.
  class_path=
  for jar in "$home"/lib/*.jar; do
    class_path=$class_path${class_path:+:}$jar
  done
  for library in "$home/native/$zstd"/*.so; do
    [ -e "$library" ] && flags="$flags -DZstdNativePath=$library"
  done
  # ./dev build trains the cache: a run with BERTH_AOT_OUTPUT writes it when the process ends.
  if [ -n "${BERTH_AOT_OUTPUT:-}" ]; then
    flags="$flags -Xlog:aot=error -XX:-AOTRecordTraining -XX:AOTCacheOutput=$BERTH_AOT_OUTPUT"
  elif [ -e "$home/$name.aot" ]; then
    flags="$flags -XX:AOTCache=$home/$name.aot"
  fi
  # File names are bytes, which Java reads as the locale says: in the C locale all but ASCII is lost.
  export LC_ALL=C.UTF-8
  # Flags are words without spaces, so they are split on purpose.
  # shellcheck disable=SC2086
  exec "$java_home/bin/java" \
    -XX:+UseSerialGC -XX:+UseCompactObjectHeaders -XX:-UsePerfData \
    -XX:+UnlockDiagnosticVMOptions -XX:ArchiveRelocationMode=0 \
    --enable-native-access=ALL-UNNAMED --sun-misc-unsafe-memory-access=allow \
    -Djava.library.path="$home/native/META-INF/native" \
    -Djna.boot.library.path="$home/native/com/sun/jna/$jna" -Djna.nosys=true \
    -Dio.netty.allocator.type=unpooled -Dio.netty.noPreferDirect=true \
    $flags ${BERTH_JAVA_OPTIONS:-} -cp "$class_path" "$main" "$@"
}
