#!/bin/bash
# repo.sh FOLDER KEY PACKAGE...: an apt repository in FOLDER with these packages beside those that it holds already, signed with KEY
# of this user's gpg. What is served changes at the end, in one step: a client that comes in between gets all old or all new.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SUITE=stable
COMPONENT=main
ARCHITECTURES=(amd64 arm64 armhf)
KEYRING=porthole-archive-keyring.gpg

signed() { gpg --batch --yes --quiet --local-user "$key" "$@"; }

# The package lists, by their sums too: a client that has read the list of lists before they changed still finds its own.
lists() { # DISTS
  local architecture folder list sum
  for architecture in "${ARCHITECTURES[@]}"; do
    folder=$1/$COMPONENT/binary-$architecture
    mkdir -p "$folder/by-hash/SHA256"
    if [ -d "$repo/dists/$SUITE/$COMPONENT/binary-$architecture/by-hash" ]; then
      cp -a "$repo/dists/$SUITE/$COMPONENT/binary-$architecture/by-hash" "$folder/"
      find "$folder/by-hash" -type f -mtime +30 -delete
    fi
    (cd "$repo" && apt-ftparchive --arch "$architecture" packages pool) >"$folder/Packages"
    gzip --no-name --keep "$folder/Packages"
    for list in "$folder"/Packages*; do
      sum=$(sha256sum "$list" | cut -d' ' -f1)
      cp "$list" "$folder/by-hash/SHA256/$sum"
    done
  done
}

release() { # DISTS
  (cd "$1" && apt-ftparchive \
    -o APT::FTPArchive::Release::Origin=Porthole -o APT::FTPArchive::Release::Label=Porthole \
    -o APT::FTPArchive::Release::Suite="$SUITE" -o APT::FTPArchive::Release::Codename="$SUITE" \
    -o APT::FTPArchive::Release::Components="$COMPONENT" \
    -o APT::FTPArchive::Release::Architectures="${ARCHITECTURES[*]}" \
    -o APT::FTPArchive::Release::Acquire-By-Hash=yes \
    release .) >"$repo/Release.part"
  mv "$repo/Release.part" "$1/Release"
  signed --clearsign --output "$1/InRelease" "$1/Release"
  signed --armor --detach-sign --output "$1/Release.gpg" "$1/Release"
}

main() {
  [ $# -ge 3 ] || { say "usage: repo.sh FOLDER KEY PACKAGE..."; exit 64; }
  repo=$(realpath -m "$1") key=$2
  shift 2
  gpg --batch --list-secret-keys "$key" >/dev/null 2>&1 ||
    die "gpg has no secret key '$key'; make one with: gpg --quick-generate-key '$key' ed25519 sign never"
  local package
  mkdir -p "$repo/pool" "$repo/dists"
  for package in "$@"; do
    [ "$(dpkg-deb --field "$package" Package)" = porthole ] || die "$package is no package of porthole"
    # shellcheck disable=SC2016  # dpkg-deb fills in the fields
    cp "$package" "$repo/pool/$(dpkg-deb --show --showformat '${Package}_${Version}_${Architecture}.deb' "$package")"
  done
  new=$(mktemp -d "$repo/dists/.new.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  chmod 755 "$new"
  lists "$new"
  release "$new"
  signed --export "$key" >"$repo/$KEYRING.part"
  mv "$repo/$KEYRING.part" "$repo/$KEYRING"
  # A symbolic link is what can be replaced in one step.
  local generation
  generation=$SUITE.$(sha256sum "$new/Release" | cut -c1-12)
  rm -rf "${repo:?}/dists/$generation"
  mv "$new" "$repo/dists/$generation"
  ln -sfn "$generation" "$repo/dists/$SUITE.part"
  mv -T "$repo/dists/$SUITE.part" "$repo/dists/$SUITE"
  find "$repo/dists" -mindepth 1 -maxdepth 1 -type d -name "$SUITE.*" ! -name "$generation" -exec rm -rf {} +
  echo "$repo"
}
main "$@"
