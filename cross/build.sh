#!/bin/bash
# build.sh ARCH [CARGO OPTIONS]: the release build for amd64, arm64 or armhf, on a Debian machine of any kind.
# Prints the program's path. Everything is linked against Debian 12's libraries, unpacked into
# ${PORTHOLE_CACHE:-~/.cache/porthole}, so that one package serves Debian 12 and 13.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
SUITE=bookworm

# What is linked against, and what the C parts of crates are compiled with.
LIBRARIES=libc6-dev,linux-libc-dev,libgcc-12-dev,libgstreamer1.0-dev,libgstreamer-plugins-base1.0-dev
# Debian's compiler of the kind that knows other targets, for machines whose rustup offers only their own.
COMPILER=rustc-web,libstd-rust-web-dev

# unpacked NAME ARCH PACKAGES SUITES: prints the folder with these packages and all they depend on, unpacked and not
# installed: nothing of another processor has to run, and this machine's own packages stay as they are.
unpacked() {
  local folder
  folder=$CACHE/$1-$2-$(echo "$SUITE $3 $4 1" | hash_of)
  mkdir -p "$CACHE"
  exec 9>"$folder.lock"
  flock 9
  if [ ! -e "$folder" ]; then
    say "unpacking $1 for $2 (a minute or two, once)"
    rm -rf "$folder.part"
    apt_settings >"$folder.conf"
    three_times "$folder.log" fetch "$2" "$3" "$4" "$folder.part" "$folder.conf"
    rm -rf "$folder.part"/var/{cache,lib}/apt
    relative_links "$folder.part"
    mv "$folder.part" "$folder"
    rm -f "$folder.conf" "$folder.log"
  fi
  exec 9>&-
  echo "$folder"
}

fetch() { # ARCH PACKAGES SUITES FOLDER APT-CONFIGURATION
  local suite mirror sources=()
  for suite in $3; do
    mirror=$(mirror "debian${suite#"$SUITE"}")
    [ -z "$mirror" ] || sources+=("deb $mirror $suite main")
  done
  rm -rf "$4"
  timeout 1800 mmdebstrap --mode="$(mmdebstrap_mode)" --arch="$1" --variant=extract --include="$2" --aptopt="$5" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$SUITE" "$4" "${sources[@]}"
}

mmdebstrap_mode() { if [ "$(id -u)" = 0 ]; then echo root; else echo unshare; fi; }

# Absolute links would lead out of the folder, into this machine.
relative_links() {
  local link to
  find "$1" -type l -lname '/*' | while read -r link; do
    to=$(readlink "$link")
    ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$1$to")" "$link"
  done
}

rustup_knows_target() {
  rustup target list --installed 2>/dev/null | grep -qx "$triple" || rustup target add "$triple" >/dev/null 2>&1
}

# Debian's own compiler, with the standard library for the target beside it.
debians_compiler() {
  local tree library
  tree=$(unpacked compiler "$(dpkg --print-architecture)" "$COMPILER" "$SUITE $SUITE-security")
  library=$(unpacked rust-library "$arch" libstd-rust-web-dev "$SUITE $SUITE-security")
  ln -sfn "$library/usr/lib/rustlib/$triple" "$tree/usr/lib/rustlib/$triple"
  cat >"$tree/rustc" <<RUSTC
#!/bin/sh
LD_LIBRARY_PATH=$tree/usr/lib/$(dpkg-architecture -q DEB_HOST_MULTIARCH 2>/dev/null || gcc -dumpmachine) exec $tree/usr/bin/rustc "\$@"
RUSTC
  chmod +x "$tree/rustc"
  export RUSTC=$tree/rustc
}

check_machine() {
  local tool package
  for tool in cargo:cargo mmdebstrap:mmdebstrap pkg-config:pkg-config \
    "$gnu-gcc:gcc-${gnu//_/-}" "$gnu-strip:binutils-${gnu//_/-}"; do
    package=${tool#*:}
    command -v "${tool%:*}" >/dev/null || die "there is no ${tool%:*} (Debian package $package)"
  done
  [ -e "$CROSS_DIR/../viewer/dist/index.html" ] || die "the page is not built yet: make page"
}

main() {
  [ $# -ge 1 ] || { say "usage: build.sh amd64|arm64|armhf [cargo options]"; exit 64; }
  local arch=$1 triple gnu sysroot upper lower
  shift
  target_of "$arch"
  check_machine
  sysroot=$(unpacked sysroot "$arch" "$LIBRARIES" "$SUITE")
  rustup_knows_target || debians_compiler
  lower=${triple//-/_}
  upper=${lower^^}
  export "CARGO_TARGET_${upper}_LINKER=$gnu-gcc" "CARGO_TARGET_${upper}_RUSTFLAGS=-Clink-arg=--sysroot=$sysroot"
  export "CC_$lower=$gnu-gcc" "AR_$lower=$gnu-ar" "CFLAGS_$lower=--sysroot=$sysroot"
  export "BINDGEN_EXTRA_CLANG_ARGS_$lower=--sysroot=$sysroot --target=$gnu"
  export PKG_CONFIG_ALLOW_CROSS=1 PKG_CONFIG_SYSROOT_DIR=$sysroot PKG_CONFIG_PATH=
  export PKG_CONFIG_LIBDIR=$sysroot/usr/lib/$gnu/pkgconfig:$sysroot/usr/share/pkgconfig
  cd "$CROSS_DIR/.."
  cargo build --locked --release --target "$triple" "$@" >&2
  echo "${CARGO_TARGET_DIR:-target}/$triple/release/porthole"
}
main "$@"
