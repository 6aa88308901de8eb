#!/bin/bash
# snapshot.sh: boots the guest once and saves the running machine beside its image, so that later runs
# resume in seconds. Prints the folder: `disk` and `ram` belong together, `accel` says what made them.
# The saved guest has booted, ssh answers, and no camera is there yet.
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

boot() { # ACCEL SECONDS
  local deadline=$((SECONDS + $2))
  cp --sparse=always "$(image_folder)/disk" "$work/disk"
  rm -f "$work"/monitor.* "$work/serial.log"
  mkfifo "$work/monitor.in" "$work/monitor.out"
  ulimit -c 0 # a KVM that fails may take QEMU with it
  # Without its state in the file, a machine that was stopped to be saved runs when it is loaded.
  start_qemu "$work" "$1" "file=$work/disk" -global migration.store-global-state=off -chardev "pipe,id=monitor,path=$work/monitor" -mon chardev=monitor,mode=control
  until grep -q LAB-READY "$work/serial.log" 2>/dev/null; do
    if [ $SECONDS -ge $deadline ] || ! qemu_alive "$work" || grep -q 'internal error' "$work/qemu.log"; then
      say "no boot with $1: $(tail -n 1 "$work/qemu.log")"
      stop_qemu "$work"
      return 1
    fi
    sleep 0.5
  done
  echo "$1" >"$work/accel"
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
  start_qemu "$work" "$(cat "$work/accel")" "file=$work/disk,snapshot=on" -incoming "exec:cat '$work/ram'"
  timeout 120 "${BASH_SOURCE[0]}" guest "$work" 'sleep 5; camera on && camera off' >"$work/check.log" 2>&1
}

prepare() {
  local attempt
  for attempt in 1 2 3; do
    if prepare_once && check; then stop_qemu "$work"; return; fi
    stop_qemu "$work"
    say "attempt $attempt: the saved machine does not run ($(tail -n 1 "$work/check.log" 2>/dev/null))"
  done
  return 1
}

prepare_once() {
  local start=$SECONDS
  say "booting the guest once, to save it (a minute or two, once)"
  network_up
  trap 'stop_qemu "$work"' EXIT
  boot_any || die "the guest does not boot, its console is in $work/serial.log"
  say "booted with $(cat "$work/accel") in $((SECONDS - start)) s"
  timeout 300 "${BASH_SOURCE[0]}" guest "$work" /usr/local/lib/lab-warm >"$work/warm.log" 2>&1 || say "the warm-up failed, see $work/warm.log"
  save || return 1
  stop_qemu "$work"
}

main() {
  local folder
  folder=$(ready_folder)
  lock_cache
  if [ ! -e "$folder" ]; then
    rm -rf "$(image_folder)"/ready-*
    mkdir -p "$folder.part"
    unshare --net "${BASH_SOURCE[0]}" prepare "$folder.part" >&2
    mv "$folder.part" "$folder"
    say "saved, $(du -m "$folder/ram" | cut -f1) MiB of memory"
  fi
  echo "$folder"
}

work=${2:-}
case ${1:-} in
  '') main ;;
  prepare) prepare ;;
  guest) guest "$work" "${@:3}" ;;
esac
