#!/bin/bash
# snapshot.sh: boots the guest once and saves the running machine beside its image, so that later runs
# resume in seconds. Prints the folder: `disk` and `ram` belong together, `accel` says what made them.
# The saved guest has booted, ssh answers, and no camera is there yet. With LAB_PACKAGE it is saved a second time, when that
# package is installed and its service runs; one such machine is kept.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Reads what QEMU answers to one command, past the events that it tells on its own.
qmp() {
  local line
  printf '%s\n' "$1" >&7
  while read -r -t 30 -u 8 line; do
    case $line in
      *'"return"'*) echo "$line"; return ;;
      *'"error"'*) say "QEMU: $line"; return 1 ;;
    esac
  done
  return 1
}

# Hardware first, with a short limit: some hosts offer a KVM that cannot run a stock kernel.
boot_any() {
  if [ -w /dev/kvm ]; then
    if boot kvm 60 2>/dev/null; then return; fi # the shell would report a QEMU that crashes at length
    say "no boot with KVM, so by emulation: $(tail -n 1 "$work/qemu.log")"
  fi
  boot tcg 900
}

# overlay FORMAT: what the machine writes to its disk goes to `disk`, above the disk of the folder around, which has this format.
overlay() {
  local options bytes
  bytes=$(stat -c %s "$(image_folder)/disk")
  options='{"driver":"qcow2","file":"file","size":'$bytes',"backing-file":"../disk","backing-fmt":"'$1'"}'
  : >"$work/disk"
  coproc OVERLAY {
    exec timeout 60 qemu-system-x86_64 -M none -nodefaults -display none -qmp stdio \
      -blockdev "driver=file,node-name=file,filename=$work/disk" 2>&1
  }
  # shellcheck disable=SC2153  # coproc sets it
  local pid=$OVERLAY_PID from=${OVERLAY[0]} to=${OVERLAY[1]} line
  printf '%s\n' '{"execute":"qmp_capabilities"}' \
    '{"execute":"blockdev-create","arguments":{"job-id":"create","options":'"$options"'}}' >&"$to"
  while read -r line <&"$from" && [[ $line != *'"concluded"'* ]]; do
    [[ $line != *'"error"'* ]] || say "QEMU: $line"
  done
  echo '{"execute":"quit"}' >&"$to"
  wait "$pid"
  [ -s "$work/disk" ] || { say "no disk: $line"; return 1; }
}

# start ACCEL [more...]: the machine that is to be saved, with a monitor.
start() {
  rm -f "$work"/monitor.* "$work/serial.log"
  mkfifo "$work/monitor.in" "$work/monitor.out"
  ulimit -c 0 # a KVM that fails may take QEMU with it
  # Without its state in the file, a machine that was stopped to be saved runs when it is loaded.
  start_qemu "$work" "$1" "file=$work/disk,format=qcow2" -global migration.store-global-state=off \
    -chardev "pipe,id=monitor,path=$work/monitor" -mon chardev=monitor,mode=control "${@:2}"
  echo "$1" >"$work/accel"
}

boot() { # ACCEL SECONDS
  local deadline=$((SECONDS + $2))
  overlay raw || return 1
  start "$1"
  until grep -q LAB-READY "$work/serial.log" 2>/dev/null; do
    if [ $SECONDS -ge $deadline ] || ! qemu_alive "$work" || grep -q 'internal error' "$work/qemu.log"; then
      say "no boot with $1: $(tail -n 1 "$work/qemu.log")"
      stop_qemu "$work"
      return 1
    fi
    sleep 0.5
  done
}

# What runs in the guest before it is saved, bounded in time; its output is in the folder.
in_guest() { # SECONDS COMMAND
  timeout "$1" "${BASH_SOURCE[0]}" guest "$work" "$2" >"$work/guest.log" 2>&1
}

booted() {
  local start=$SECONDS
  say "booting the guest once, to save it (a minute or two, once)"
  boot_any || die "the guest does not boot, its console is in $work/serial.log"
  say "booted with $(cat "$work/accel") in $((SECONDS - start)) s"
  in_guest 300 /usr/local/lib/lab-warm </dev/null || say "the warm-up failed, see $work/guest.log"
}

# The machine that was saved before, with the package installed.
installed() {
  local start=$SECONDS
  say "installing $(basename "$LAB_PACKAGE") once, to save the machine with it"
  overlay qcow2 || return 1
  start "$(cat "$work/../accel")" -incoming "exec:cat '$work/../ram'"
  if in_guest 90 "date -s @$EPOCHSECONDS" </dev/null && in_guest 600 "$INSTALL" <"$LAB_PACKAGE"; then
    say "installed in $((SECONDS - start)) s"
  else
    say "it cannot be installed: $(tail -n 3 "$work/guest.log")"
    return 1
  fi
}

save() {
  exec 7<>"$work/monitor.in" 8<>"$work/monitor.out"
  qmp '{"execute":"qmp_capabilities"}' >/dev/null
  # Emulation on several threads loses track of what a running machine writes meanwhile: its memory would be torn.
  qmp '{"execute":"stop"}' >/dev/null
  qmp '{"execute":"migrate-set-parameters","arguments":{"max-bandwidth":10000000000}}' >/dev/null
  qmp "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"exec:cat >'$work/ram'\"}}" >/dev/null
  local deadline=$((SECONDS + 300)) answer
  while [ $SECONDS -lt $deadline ]; do
    answer=$(qmp '{"execute":"query-migrate"}')
    case $answer in
      *'"status": "completed"'*) return ;;
      *'"status": "failed"'*) break ;;
    esac
    sleep 0.5
  done
  say "the machine's memory could not be saved: $answer"
  return 1
}

# A saved machine that does not run costs each later run more than a boot.
check() {
  start_qemu "$work" "$(cat "$work/accel")" "file=$work/disk,format=qcow2,snapshot=on" -incoming "exec:cat '$work/ram'"
  in_guest 120 'sleep 5; camera on && camera off' </dev/null
}

prepare() { # booted|installed
  local attempt
  network_up
  trap 'stop_qemu "$work"' EXIT
  for attempt in 1 2 3; do
    if prepare_once "$1" && check; then stop_qemu "$work"; return; fi
    stop_qemu "$work"
    say "attempt $attempt: the saved machine does not run ($(tail -n 1 "$work/guest.log" 2>/dev/null))"
  done
  return 1
}

prepare_once() {
  "$1" || return 1
  save || return 1
  stop_qemu "$work"
}

# make FOLDER booted|installed: in the place of others of its kind.
make() {
  rm -rf "${1%-*}"-*
  mkdir -p "$1.part"
  unshare --net "${BASH_SOURCE[0]}" prepare "$1.part" "$2" >&2
  mv "$1.part" "$1"
  say "saved, $(du -m "$1/ram" | cut -f1) MiB of memory"
}

main() {
  local folder
  lock_cache
  folder=$(ready_folder)
  [ -e "$folder" ] || make "$folder" booted
  if [ -n "${LAB_PACKAGE:-}" ]; then
    folder=$(installed_folder)
    [ -e "$folder" ] || make "$folder" installed
  fi
  echo "$folder"
}

work=${2:-}
case ${1:-} in
  '') main ;;
  prepare) prepare "$3" ;;
  guest) guest "$work" "${@:3}" ;;
esac
