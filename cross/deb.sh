#!/bin/bash
# deb.sh ARCH | --debug: the Debian package for amd64, arm64 or armhf, in TARGET/package; prints its path.
# With --debug it holds this machine's development build, which has to be there: for tests only.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# What clap knows, as man pages and completions. The generators run on this machine, whatever the target is.
manual() {
  rm -rf target/manual
  cargo run --locked --quiet --example manual target/manual
}

package() { # FOLDER CARGO-DEB-OPTIONS
  local folder=$1
  shift
  rm -rf "$folder.part"
  mkdir -p "$folder"
  cargo deb --no-build --quiet --output "$folder.part/" "$@" >&2
  mv "$folder.part"/*.deb "$folder/"
  rmdir "$folder.part"
}

main() {
  [ $# = 1 ] || { say "usage: deb.sh amd64|arm64|armhf|--debug"; exit 64; }
  cd "$CROSS_DIR/.."
  local folder
  folder=$(realpath -m "${CARGO_TARGET_DIR:-target}/package")
  if [ "$1" = --debug ]; then
    folder=$folder/debug
    manual
    package "$folder" --profile dev --strip
    ls "$folder"/*.deb
  else
    target_of "$1"
    "$CROSS_DIR/build.sh" "$1" >/dev/null
    manual
    # shellcheck disable=SC2154  # target_of sets it
    package "$folder" --target "$triple" --no-strip
    ls "$folder"/*_"$1".deb
  fi
}
main "$@"
