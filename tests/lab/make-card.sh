#!/bin/bash
# make-card.sh IMAGE WATCHER: starts a card image on an emulated 64-bit ARM machine and looks at what an installer
# would see: a wrong porthole.toml explained on the card, a right one taken over, a camera watched from here by WATCHER
# (a porthole that runs on this machine). docs/image.md has the figures that it prints.
# All of it runs in one private network namespace and ends with this script; the image itself is not written to.
# KEEP=1 keeps the card and the consoles, as a failure does.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

SSH_PORT=2222 MQTT_PORT=1883
BOOT_LIMIT=900     # seconds; a busy machine needs 163 for an amd64 guest
FAT_OFFSET=1048576 # of the boot partition, see cross/image.sh
GROWTH_MIB=1024    # how much larger the "card" is than the image

missing_for_card() {
  local tool
  [ "$(id -u)" = 0 ] || echo "not root (network namespace and tap device)"
  for tool in qemu-system-aarch64:qemu-system-arm mcopy:mtools ssh-keygen:openssh-client unshare:util-linux ip:iproute2 \
    mosquitto_sub:mosquitto-clients; do
    command -v "${tool%:*}" >/dev/null || echo "no ${tool%:*} (Debian package ${tool#*:})"
  done
  [ -c /dev/net/tun ] || echo "no /dev/net/tun (modprobe tun, or give the container that device)"
}

fat() { # COMMAND ARGUMENTS: mtools on the card's boot partition, which need not be mounted
  local command=$1
  shift
  "m$command" -i "$state/card.img@@$FAT_OFFSET" "$@"
}
put() { fat copy -o - "::$1"; }
take() { fat copy "::$1" - 2>/dev/null; }
# shellcheck disable=SC2317  # called by `check`, as the next
on_card() { fat dir -b :: 2>/dev/null | grep -qixF "::/$1"; }

card() {
  cp --sparse=always "$image" "$state/card.img"
  truncate -s "+${GROWTH_MIB}M" "$state/card.img"
  take vmlinuz >"$state/vmlinuz"
  take initrd.img >"$state/initrd.img"
  ssh-keygen -q -t ed25519 -N '' -C card -f "$state/key"
  # As Windows' editors leave them.
  sed 's/$/\r/' "$state/key.pub" | put authorized_keys
  printf 'card-lab\r\n' | put hostname.txt
}

# The network is QEMU's own: the card gets its address by DHCP, as it would anywhere. What the card sends to the
# viewer's address (the tap device's) arrives there, so pictures go over UDP; only ssh and MQTT are forwarded.
boot() { # HOW-OFTEN-SO-FAR
  local forward=hostfwd=tcp:127.0.0.1:$SSH_PORT-:22,hostfwd=tcp:127.0.0.1:$MQTT_PORT-:1883
  started=$SECONDS
  qemu-system-aarch64 -M virt -cpu cortex-a72 -accel tcg,thread=multi -smp 2 -m 1024 \
    -nodefaults -display none -no-reboot -kernel "$state/vmlinuz" -initrd "$state/initrd.img" \
    -append "root=LABEL=rootfs ro console=ttyAMA0 net.ifnames=0 quiet" \
    -drive "file=$state/card.img,if=none,id=card,format=raw,cache=unsafe" -device virtio-blk-pci,drive=card \
    -netdev "user,id=net,$forward" -device virtio-net-pci,netdev=net,romfile= \
    -device virtio-rng-pci -serial "file:$state/serial-$1.log" </dev/null >"$state/qemu.log" 2>&1 &
  qemu=$!
  until on_board true 2>/dev/null; do
    kill -0 "$qemu" 2>/dev/null || die "QEMU ended: $(tail -n 2 "$state/qemu.log")"
    [ $((SECONDS - started)) -lt $BOOT_LIMIT ] || { tail -n 20 "$state/serial-$1.log" >&2; die "no ssh after $BOOT_LIMIT s"; }
    sleep 1
  done
  say "start $1: ssh answers after $((SECONDS - started)) s"
}

on_board() {
  timeout 180 ssh -q -F /dev/null -i "$state/key" -o IdentitiesOnly=yes -o UserKnownHostsFile="$state/known_hosts" \
    -o StrictHostKeyChecking=accept-new -o ConnectTimeout=30 -p $SSH_PORT root@127.0.0.1 "$@" </dev/null
}

# Whole, so that the boot partition can be read here.
power_off() {
  local n
  on_board 'systemctl poweroff' 2>/dev/null || true
  for n in $(seq 240); do
    kill -0 "$qemu" 2>/dev/null || return 0
    sleep 1
  done
  die "the board does not power off within $n s"
}

check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@"; then say "ok: $what"; else say "WRONG: $what"; failed=1; fi
}
# shellcheck disable=SC2317
board_says() { [ "$(on_board "$1" 2>/dev/null || true)" = "$2" ]; }
settled() { on_board 'timeout 150 systemctl is-system-running --wait' >/dev/null 2>&1 || true; }

# The first start, with a mistake in the file.
wrong_file() {
  printf '\xef\xbb\xbf[device]\r\nid = "card"\r\n\r\n[camera]\r\nfps = 500\r\n' | put porthole.toml.txt
  boot 1
  settled
  check "the wrong file fails its unit, visibly" board_says 'systemctl is-failed porthole-firstboot' failed
  check "the daemon runs all the same" board_says 'systemctl is-active porthole' active
  check "hostname.txt was taken over" board_says hostname card-lab
  # shellcheck disable=SC2016  # the board's shell fills it in
  check "the root file system has grown" board_says \
    '[ $(($(findmnt -bnro SIZE /) / 1048576)) -gt '$((root_mib + GROWTH_MIB * 3 / 4))' ] && echo yes' yes
  check "the board has keys and an id of its own" board_says 'test -s /etc/ssh/ssh_host_ed25519_key -a -s /etc/machine-id && echo yes' yes
  check "nobody has a password" board_says 'cut -d: -f2 /etc/shadow | grep -c "^\$"' 0
  power_off
  take porthole-error.txt | tr -d '\r' >"$state/error.txt" || true
  sed 's/^/lab:   | /' "$state/error.txt" >&2
  check "the card says which line is wrong" grep -q 'Line 5:  fps = 500' "$state/error.txt"
  check "and what would be right" grep -q 'from 1 to 240' "$state/error.txt"
  check "Notepad shows its lines" test "$(take porthole-error.txt | grep -c $'\r$')" -ge 5
  check "the SSH key was put away" on_card authorized_keys.taken
}

# The second, with the mistake corrected.
right_file() {
  fat del ::porthole.toml.txt
  printf '[device]\r\nid = "card"\r\n[mqtt]\r\nurl = "embedded"\r\n[camera]\r\ndevice = "auto"\r\nwidth = 640\r\nheight = 360\r\n[access]\r\nmode = "open"\r\n' |
    put porthole.toml
  boot 2
  boot_seconds=$((SECONDS - started))
  settled
  check "nothing on the board has failed" board_says 'systemctl is-system-running' running
  [ "$failed" = 0 ] || on_board 'systemctl --failed --no-legend; journalctl -b -p err -n 20 --no-pager -o cat' >&2 || true
  check "only the daemon may read its configuration" board_says 'stat -c "%a %U %G" /etc/porthole/porthole.toml' '640 root porthole'
  check "the previous one was kept" board_says 'test -s /etc/porthole/porthole.toml.previous && echo yes' yes
  online
  camera
  power_off
  check "the file was put away" on_card porthole.toml.taken
  check "the error file is gone" test ! "$(take porthole-error.txt)"
}

# From the start of the service to its first connection to the broker, by the board's own clock.
online() {
  local times
  check "the broker on the board knows it as online" test "$(timeout 120 mosquitto_sub -h 127.0.0.1 -p $MQTT_PORT -t porthole/card/availability -C 1)" = online
  # shellcheck disable=SC2016  # the board's shell fills it in
  times=$(on_board 'systemctl show -P ExecMainStartTimestampMonotonic porthole
    journalctl -b -u porthole -o export --no-pager | awk -F= "/^__MONOTONIC_TIMESTAMP=/ { t = \$2 } /^MESSAGE=.*connected to the broker/ { print t; exit }"')
  online_seconds=$(awk 'NR == 1 { start = $1 } NR == 2 { printf "%.1f", ($1 - start) / 1e6 }' <<<"$times")
  check "the journal says when" test -n "$online_seconds"
}

camera() {
  local rss got=1
  on_board 'modprobe vivid n_devs=1 node_types=0x1 && udevadm settle' || die "the card's kernel has no vivid"
  # It comes after the daemon: allowed only since the service loads videodev, and once udev has given it its group.
  check "the daemon sees the board's camera" camera_is_there
  say "watching for 20 s"
  # Half way, while pictures flow.
  # shellcheck disable=SC2016  # the board's shell fills it in
  { sleep 12; on_board 'grep VmRSS /proc/$(systemctl show -P MainPID porthole)/status' >"$state/rss" 2>/dev/null; } &
  rss=$!
  timeout 240 "$watcher" watch --broker "mqtt://127.0.0.1:$MQTT_PORT" --device card --seconds 20 >"$state/watch" 2>&1 || got=
  wait "$rss" || true
  sed 's/^/lab:   | /' "$state/watch" >&2
  check "its picture arrives here" test "$got"
  [ "$got" ] || on_board 'journalctl -b -u porthole -n 20 --no-pager -o cat' >&2 || true
}

# shellcheck disable=SC2317  # called by `check`
camera_is_there() {
  local n
  for n in $(seq 60); do
    # The state is retained, so it comes at once or not at all. Only a camera that can be opened is idle.
    if timeout 10 mosquitto_sub -h 127.0.0.1 -p "$MQTT_PORT" -t porthole/card/state -C 1 | grep -q '"state":"idle"'; then return; fi
    sleep 1
  done
  return 1
}

figures() {
  echo
  echo "boot until ssh answers: $boot_seconds s"
  echo "service start until online: ${online_seconds:-?} s"
  awk '/VmRSS/ { printf "memory of the daemon while it streams: %.0f MiB\n", $2 / 1024 }' "$state/rss"
  cat "$state/watch"
}

# shellcheck disable=SC2317  # reached by the trap
tidy() {
  [ -z "${qemu:-}" ] || kill "$qemu" 2>/dev/null || true
  wait 2>/dev/null || true
  if [ "$failed" = 0 ] && [ -z "${KEEP:-}" ]; then rm -rf "$state"; else say "consoles and figures are in $state"; fi
}

main() {
  local lacks root_mib
  lacks=$(missing_for_card | paste -sd';' | sed 's/;/; /g')
  [ -z "$lacks" ] || skip "$lacks"
  state=$(mktemp -d "${TMPDIR:-/tmp}/porthole-card-XXXXXX")
  trap tidy EXIT
  trap 'exit 130' INT TERM
  network_up
  root_mib=$(($(stat -c %s "$image") / 1048576 - 257))
  card
  wrong_file
  right_file
  figures
  exit "$failed"
}

failed=0
if [ $# != 2 ] || [ ! -f "$1" ] || [ ! -x "$2" ]; then usage "make-card.sh IMAGE WATCHER (a card from cross/image.sh, and a porthole for this machine)"; fi
image=$(realpath "$1") watcher=$(realpath "$2")
if [ -z "${CARD_INSIDE:-}" ]; then
  CARD_INSIDE=1 exec unshare --net "${BASH_SOURCE[0]}" "$image" "$watcher"
fi
main
