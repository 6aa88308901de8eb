#!/bin/bash
# chroot.sh: makes a Debian with Home Assistant and its test fixtures in the cache, and prints the folder that it is in; a folder that
# is complete is used as it is. Home Assistant wants a newer Python than Debian's stable releases have. Nothing is mounted.
# chroot.sh run COMMAND...: runs a command in it, in this folder's repository, which is bound to /porthole there.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../lab/common.sh
. "$HERE/../lab/common.sh"
say() { printf 'homeassistant: %s\n' "$*" >&2; }
SUITE=forky

missing_for_homeassistant() {
  local tool
  [ "$(id -u)" = 0 ] || echo "not root (chroot and mmdebstrap need it)"
  for tool in mmdebstrap:mmdebstrap unshare:util-linux flock:util-linux; do
    command -v "${tool%:*}" >/dev/null || echo "no ${tool%:*} (Debian package ${tool#*:})"
  done
  unshare --mount true 2>/dev/null || echo "unshare --mount is not permitted (inside an unprivileged container?)"
}

folder() { echo "$CACHE/homeassistant-$( (dpkg --print-architecture; cat "$HERE"/requirements*.txt "$HERE/components.py"; sed -n "/^debian()/,/^build()/p" "$HERE/chroot.sh") | hash_of)"; }

# The mirror this machine uses for Debian itself. Empty elsewhere: then mmdebstrap takes its own default.
mirror() {
  # shellcheck disable=SC2016  # apt-get fills in $(REPO_URI)
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed 's#/*$##' | grep -m 1 '/debian$' || true
}

debian() {
  local mirror
  mirror=$(mirror)
  { apt-config dump | grep -E '^Acquire::(http|https|Check|Retries|ForceIP)' || true
    echo 'Acquire::Languages "none";'
    echo 'APT::Install-Recommends "false";'
  } >"$1.apt"
  timeout 900 nice mmdebstrap --mode=root --variant=minbase --include=python3,python3-venv,ca-certificates,libturbojpeg0,libpcap0.8 \
    --aptopt="$1.apt" --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$SUITE" "$1" ${mirror:+"$mirror"} >"$1.log" 2>&1 || return
  rm -f "$1.apt"
}

# This machine's own settings for the Python registry and its certificates hold inside, too. Two environments, as the fixtures come
# some weeks after each Home Assistant: venv is the one that is started, fixtures the one of pytest. What both have is there once.
python_packages() {
  cp -L /etc/resolv.conf "$1/etc/resolv.conf"
  cp /etc/hosts "$1/etc/hosts"
  cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"
  if [ -e /etc/pip.conf ]; then cp /etc/pip.conf "$1/etc/pip.conf"; fi
  cp "$HERE"/requirements*.txt "$HERE/components.py" "$1/root/"
  # shellcheck disable=SC2016  # the shell inside fills it in
  chroot "$1" env -u PIP_FIND_LINKS HOME=/root UV_LINK_MODE=hardlink UV_NATIVE_TLS=1 sh -ec '
    cd /root
    python3 -m venv tools
    tools/bin/pip install --quiet --no-cache-dir uv
    make() { # FOLDER REQUIREMENTS
      tools/bin/uv venv --quiet "$1"
      export VIRTUAL_ENV=/root/$1
      tools/bin/uv pip install --quiet -r "$2"
      "$1/bin/python" components.py >"$1.txt"
      tools/bin/uv pip install --quiet -r "$2" -r "$1.txt"
      # What was left out has to be there to be imported.
      echo "MicroVad = None" >"$(echo "$1"/lib/python3.*)/site-packages/pymicro_vad.py"
      echo "AudioProcessor = None" >"$(echo "$1"/lib/python3.*)/site-packages/pyspeex_noise.py"
    }
    make venv requirements-real.txt
    make fixtures requirements.txt
    tools/bin/uv cache clean --quiet
    rm -rf tools' >>"$1.log" 2>&1
}

build() {
  local part=$1.part
  say "making a Debian with Home Assistant, once; this takes some minutes"
  rm -rf "$part"
  if ! { debian "$part" && python_packages "$part"; }; then
    tail -n 15 "$part.log" >&2
    die "it cannot be made, see above"
  fi
  rm -f "$part.log"
  mv "$part" "$1"
}

ready() {
  local folder lacks
  lacks=$(missing_for_homeassistant | paste -sd';' | sed 's/;/; /g')
  [ -z "$lacks" ] || skip "$lacks"
  folder=$(folder)
  if [ ! -d "$folder" ]; then
    mkdir -p "$CACHE"
    exec 9>"$CACHE/homeassistant.lock"
    flock -w 1800 9 || die "another run makes it, for more than 30 minutes"
    [ -d "$folder" ] || build "$folder"
    exec 9>&-
  fi
  echo "$folder"
}

# What is mounted ends with the namespace, and so does what was started, where this process ends.
run() {
  local root
  root=$(ready)
  export PORTHOLE_ROOT=$root PORTHOLE_TOP=$HERE/../..
  # shellcheck disable=SC2016  # the shell inside fills it in
  exec unshare --mount --pid --fork --kill-child -- sh -ec '
    mkdir -p "$PORTHOLE_ROOT/porthole"
    mount -t proc proc "$PORTHOLE_ROOT/proc"
    mount --rbind /dev "$PORTHOLE_ROOT/dev"
    mount --rbind "$PORTHOLE_TOP" "$PORTHOLE_ROOT/porthole"
    mount --rbind /tmp "$PORTHOLE_ROOT/tmp"
    exec chroot "$PORTHOLE_ROOT" env PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"' sh "$@"
}

case ${1:-} in
  '') ready ;;
  run) shift; run "$@" ;;
  *) usage "chroot.sh [run COMMAND...]" ;;
esac
