#!/bin/bash
# base.sh: the card's system without Porthole, as two archives in the cache: Debian installed for arm64 under
# emulation (card-HASH.tar), and the kernel and boot loader unpacked (card-HASH-boot.tar). Prints the first one's
# name. Made once: 5 to 30 minutes, depending on the machine; it depends on this file and packages.txt alone.
set -euo pipefail
# shellcheck source=../common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
SUITE=trixie
ARCH=arm64
HERE=$CROSS_DIR/card

packages() { awk -v kind="$1" '$1 == kind { for (i = 2; i <= NF; i++) print $i }' "$HERE/packages.txt" | paste -sd,; }

# Copyright files stay: whoever hands a card on hands on the licences too. apt's example names Debian's servers, for
# the card's own updates.
bootstrap() { # VARIANT PACKAGES OUT APT-CONFIGURATION
  local debian security
  debian=$(mirror debian) security=$(mirror debian-security)
  rm -f "$3"
  timeout 5400 nice mmdebstrap --mode=root --arch=$ARCH --variant="$1" --include="$2" --aptopt="$4" \
    --components=main,non-free-firmware --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-include=/usr/share/doc/apt/examples/*' \
    "$SUITE" "$3" ${debian:+"deb $debian $SUITE main non-free-firmware"} ${security:+"deb $security $SUITE-security main"}
}

# Programs of the card's processor run on this one through qemu-user, once the kernel knows it. What is registered
# (with the flag F) stays until this machine is started again, and changes nothing else.
emulation() {
  local format=/usr/lib/binfmt.d/qemu-aarch64.conf binfmt=/proc/sys/fs/binfmt_misc
  if arch-test $ARCH >/dev/null; then return; fi
  [ -e "$format" ] || die "programs for $ARCH do not run here (Debian package qemu-user-static)"
  say "telling the kernel to run $ARCH programs through qemu-user (until the next start of this machine)"
  [ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
  cat "$format" >$binfmt/register || true
  arch-test $ARCH >/dev/null || die "programs for $ARCH still do not run here: arch-test $ARCH says why"
}

make() { # NAME WHAT COMMAND...: an archive that is not there yet
  local file=$CACHE/$1 start=$SECONDS
  [ ! -e "$file" ] || return 0
  say "making $2"
  three_times "$file.log" "${@:3}" "$file.part.tar"
  mv "$file.part.tar" "$file"
  rm -f "$file.log"
  say "made $2 in $((SECONDS - start)) s"
}
# shellcheck disable=SC2317  # called by `make`
system() { bootstrap minbase "$(packages system),$(packages porthole)" "$1" "$settings"; }
# shellcheck disable=SC2317
unpacked() { bootstrap extract "$(packages unpacked)" "$1" "$settings"; }

main() {
  local name settings
  name=card-$(cat "${BASH_SOURCE[0]}" "$HERE/packages.txt" | hash_of)
  mkdir -p "$CACHE"
  exec 9>"$CACHE/card.lock"
  flock -n 9 || { say "another run is making the card's system, waiting for it"; flock -w 7200 9; }
  if [ ! -e "$CACHE/$name.tar" ] || [ ! -e "$CACHE/$name-boot.tar" ]; then
    emulation
    settings=$CACHE/$name.conf
    apt_settings >"$settings"
    make "$name-boot.tar" "the kernel and the boot loader (a minute)" unpacked
    make "$name.tar" "Debian for the card (5 to 30 minutes, once)" system
    rm -f "$settings"
  fi
  echo "$CACHE/$name.tar"
}
main
