# Shared by the scripts of this folder (sourced, never run): messages, the cache, Debian's mirrors.
# shellcheck shell=bash disable=SC2034

PATH=$PATH:/usr/sbin:/sbin
export LC_ALL=C
CROSS_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${PORTHOLE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/porthole}

say() { printf 'cross: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Sets triple (as Rust calls the target) and gnu (as the GNU tools do).
target_of() {
  case $1 in
    amd64) triple=x86_64-unknown-linux-gnu gnu=x86_64-linux-gnu ;;
    arm64) triple=aarch64-unknown-linux-gnu gnu=aarch64-linux-gnu ;;
    armhf) triple=armv7-unknown-linux-gnueabihf gnu=arm-linux-gnueabihf ;;
    *) say "'$1' is none of amd64, arm64, armhf"; exit 64 ;;
  esac
}

hash_of() { sha256sum | cut -c1-12; }

# A mirror that this machine itself uses: debian or debian-security. Empty where there is none; mmdebstrap
# then takes its own default.
mirror() {
  # shellcheck disable=SC2016  # apt-get fills in $(REPO_URI)
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed 's#/*$##' | grep -m 1 "/$1\$" || true
}

# This machine's proxies and certificates hold for what is fetched for another one too.
apt_settings() {
  apt-config dump | grep -E '^Acquire::(http|https|Check|Retries|ForceIP)' || true
  echo 'Acquire::Languages "none";'
  echo 'APT::Install-Recommends "false";'
}

# Package lists are sometimes in the middle of being renewed, so one failure is not the end.
three_times() { # LOG COMMAND...
  local attempt log=$1
  shift
  for attempt in 1 2 3; do
    if "$@" >"$log" 2>&1; then return; fi
    tail -n 12 "$log" >&2
    [ "$attempt" = 3 ] || { say "that failed, trying again"; sleep 15; }
  done
  die "it failed three times, see above"
}
