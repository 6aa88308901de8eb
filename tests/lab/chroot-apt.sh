#!/bin/bash
# chroot-apt.sh SYSTEM.tar PACKAGE.deb: an apt of the package's processor installs it from the repository that cross/repo.sh writes,
# upgrades it, goes back and removes it, in a Debian that is unpacked from SYSTEM.tar (cross/card/base.sh prints such a name for
# arm64) and has what the package depends on. Programs of another processor run under qemu-user. Nothing of it stays: it has a folder
# and namespaces of its own, with no network but a loopback on which the repository is served. No service is started.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
KEY='Test of a repository <repository@example.org>'
URL=http://127.0.0.1:8000

missing_for_chroot() {
  local tool
  [ "$(id -u)" = 0 ] || echo "not root (chroot, and files that belong to root)"
  for tool in apt-ftparchive:apt-utils gpg:gnupg python3:python3 unshare:util-linux arch-test:arch-test; do
    command -v "${tool%:*}" >/dev/null || echo "no ${tool%:*} (Debian package ${tool#*:})"
  done
}

# Another version of it, with another example of its configuration; the program in it is the same.
later() {
  dpkg-deb -R "$package" "$work/tree"
  sed -i 's/^Version: .*/Version: 99.0-1/' "$work/tree/DEBIAN/control"
  echo '# a later example' >>"$work/tree/etc/porthole/porthole.toml"
  dpkg-deb --root-owner-group -b -Znone "$work/tree" "$work/later.deb" >/dev/null
}

repository() { GNUPGHOME=$work/gpg "$LAB_DIR/../../cross/repo.sh" "$work/repo" "$KEY" "$@" >/dev/null; }

inside() { chroot "$work/root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"; }
quiet() { "$@" </dev/null >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "$* failed"; }; }
# shellcheck disable=SC2016  # dpkg-query fills it in
version() { inside dpkg-query -W -f '${Version}' porthole; }
is() { [ "$2" = "$3" ] || die "$1: $2, and not $3"; say "ok: $1: $2"; }

source_of_packages() {
  rm -rf "$work/root"/etc/apt/sources.list "$work/root"/etc/apt/sources.list.d/*
  install -D -m 644 "$work/repo/porthole-archive-keyring.gpg" "$work/root/etc/apt/keyrings/porthole-archive-keyring.gpg"
  printf '%s\n' 'Types: deb' "URIs: $URL" 'Suites: stable' 'Components: main' \
    'Signed-By: /etc/apt/keyrings/porthole-archive-keyring.gpg' >"$work/root/etc/apt/sources.list.d/porthole.sources"
  # As docs/repository.md has it for devices at which nobody sits.
  echo 'Dpkg::Options { "--force-confdef"; "--force-confold"; };' >"$work/root/etc/apt/apt.conf.d/52porthole"
}

try() {
  local first
  ip link set lo up
  mount -t proc proc "$work/root/proc"
  mount --bind /dev "$work/root/dev"
  (cd "$work/repo" && exec python3 -m http.server --bind 127.0.0.1 8000) >/dev/null 2>&1 &
  for _ in $(seq 300); do
    if (: <>/dev/tcp/127.0.0.1/8000) 2>/dev/null; then break; fi
    sleep 0.1
  done
  is "processor" "$(inside dpkg --print-architecture)" "$(dpkg-deb -f "$package" Architecture)"
  quiet inside apt-get update --error-on=any
  quiet inside apt-get install --yes --no-install-recommends porthole
  first=$(version)
  is "installed" "$first" "$(dpkg-deb -f "$package" Version)"
  is "the program says" "$(inside porthole --version)" "porthole ${first%-*}"
  quiet inside porthole check
  say "ok: it takes the configuration of its package"
  echo '# edited' >>"$work/root/etc/porthole/porthole.toml"
  later
  repository "$work/later.deb"
  quiet inside apt-get update --error-on=any
  quiet inside apt-get upgrade --yes
  is "upgraded" "$(version)" 99.0-1
  is "the edited configuration" "$(tail -n 1 "$work/root/etc/porthole/porthole.toml")" '# edited'
  quiet inside apt-get install --yes --allow-downgrades "porthole=$first"
  is "gone back" "$(version)" "$first"
  quiet inside apt-get purge --yes porthole
  sed -i 's/^Origin: Porthole/Origin: Somebody/' "$work/repo/dists/stable/InRelease"
  if inside apt-get update --error-on=any >"$work/log" 2>&1; then die "a list that was changed is taken"; fi
  say "ok: a list that was changed is refused"
  is "purged, what is left of it" "$(inside sh -c 'command -v porthole; ls -d /etc/porthole 2>/dev/null; true')" ''
}

main() {
  local lacks
  if [ $# != 2 ] || [ ! -f "$1" ] || [ ! -f "$2" ]; then usage "chroot-apt.sh SYSTEM.tar PACKAGE.deb"; fi
  lacks=$(missing_for_chroot | paste -sd';' | sed 's/;/; /g')
  [ -z "$lacks" ] || skip "$lacks"
  package=$(realpath "$2")
  if [ -z "${CHROOT_INSIDE:-}" ]; then
    arch-test "$(dpkg-deb -f "$package" Architecture)" >/dev/null || skip "programs of that processor do not run here (qemu-user-static)"
    work=$(mktemp -d "${TMPDIR:-/tmp}/porthole-apt-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir -m 700 "$work/gpg" && mkdir "$work/root"
    GNUPGHOME=$work/gpg gpg --batch --quiet --passphrase '' --quick-generate-key "$KEY" ed25519 sign never
    tar --extract --numeric-owner --file "$1" --directory "$work/root"
    repository "$package"
    source_of_packages
    GNUPGHOME=$work/gpg gpgconf --kill all
    # The mounts, the web server and gpg's agent end with their namespaces.
    CHROOT_INSIDE=$work unshare --mount --net --pid --fork --kill-child "${BASH_SOURCE[0]}" "$1" "$package"
  else
    work=$CHROOT_INSIDE
    try
  fi
}
main "$@"
