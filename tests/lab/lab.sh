#!/bin/bash
# lab.sh: the device under test is a small machine of its own, with its own kernel, cameras and network.
# README.md beside this file says how it is made. LAB_STATE names this run's scratch folder.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

help() {
  cat <<'HELP'
lab.sh prepare              makes the guest's image and saves it running, if that is still to do (needs the network)
lab.sh up [--here]          resumes the guest and waits until it answers
lab.sh run COMMAND...       runs a shell command in the guest (LAB_SECONDS, 300: its limit)
lab.sh push LOCAL REMOTE    copies a file into the guest, keeping only whether it may be executed
lab.sh camera on|mjpeg|h264|unplug|plug|off|status    what camera the guest has
lab.sh webcam COMMAND...    a USB camera of the guest's own uvcvideo, with faults on command: without one they are listed
lab.sh shell                an interactive shell in the guest
lab.sh clock                sets the guest's clock to this machine's
lab.sh status               exit code 0 if the guest answers
lab.sh down                 ends the guest, and everything in it is forgotten
lab.sh doctor               what this machine lacks for the lab

`up` wants a network namespace of its own (unshare --net), which nothing leads out of; --here uses the present one all the same.
Environment: LAB_STATE (a folder, required by all but doctor and prepare), LAB_OWNER (a pid: the guest ends with it),
LAB_COLD=1 (boot instead of resuming), LAB_PACKAGE (a package that `up` finds installed: made once and resumed), LAB_SECONDS,
PORTHOLE_CACHE.
Exit codes: 0, 1 failed, 64 wrong usage, 77 cannot run on this machine (the reason is printed), 124 took
too long, 255 the guest cannot be reached; `run` gives the command's own.
HELP
}

check_machine() {
  local lacks
  lacks=$(missing | paste -sd';' | sed 's/;/; /g')
  [ -z "$lacks" ] || skip "$lacks"
}

doctor() {
  check_machine
  say "this machine can run the lab$([ -d "$(image_folder)" ] || echo " (the guest's image is still to be made)")"
}

state_folder() {
  [ -n "${LAB_STATE:-}" ] || usage "LAB_STATE must name this run's scratch folder"
  mkdir -p "$LAB_STATE"
  LAB_STATE=$(realpath "$LAB_STATE")
}

check_namespace() {
  [ "${1:-}" = --here ] || in_private_network ||
    usage "this is the machine's own network: use 'unshare --net', or --here if that is what you want"
}

prepare() {
  check_machine
  "$LAB_DIR/image.sh" >/dev/null
  [ -n "${LAB_COLD:-}" ] || "$LAB_DIR/snapshot.sh" >/dev/null || say "the guest will have to boot each time"
}

in_guest() { timeout --foreground "${LAB_SECONDS:-300}" "${BASH_SOURCE[0]}" _ssh "$@"; }

up() {
  local start=$SECONDS how
  check_machine
  check_namespace "${1:-}"
  ! qemu_alive "$LAB_STATE" || die "the guest of $LAB_STATE is up already"
  [ -d "$(image_folder)" ] || die "the guest's image is still to be made: run 'lab.sh prepare' outside of the namespace"
  network_up
  rm -f "$LAB_STATE"/{ssh,serial.log,qemu.log,webcam}
  start_guest
  follow_owner
  clock
  how=$(cat "$LAB_STATE/how")
  echo "lab: up in $((SECONDS - start)) s ($how), guest $GUEST_IP"
}

# Resuming is a convenience: whatever is wrong with it, a cold boot does the same more slowly.
start_guest() {
  local ready
  if [ -z "${LAB_COLD:-}" ] && ready=$("$LAB_DIR/snapshot.sh"); then
    start_qemu "$LAB_STATE" "$(cat "$ready/accel")" "file=$ready/disk,format=qcow2,snapshot=on" -incoming "exec:cat '$ready/ram'"
    echo resumed >"$LAB_STATE/how"
    if connect 90; then return; fi
    say "the saved machine does not answer, booting it instead ($(tail -n 1 "$LAB_STATE/qemu.log"))"
    stop_qemu "$LAB_STATE"
    # The next `prepare` makes another.
    mv "$ready" "$ready.broken" 2>/dev/null || true
  fi
  start_qemu "$LAB_STATE" tcg "file=$(image_folder)/disk,format=raw,snapshot=on"
  echo cold >"$LAB_STATE/how"
  connect 600 || die "the guest does not answer: see serial.log in $LAB_STATE ($(tail -n 1 "$LAB_STATE/qemu.log"))"
  [ -z "${LAB_PACKAGE:-}" ] || in_guest "$INSTALL" <"$LAB_PACKAGE" >&2 || die "$LAB_PACKAGE cannot be installed in the guest"
}

# One connection is made and kept, because a key exchange costs seconds under emulation.
connect() { # SECONDS
  local deadline=$((SECONDS + $1))
  while [ $SECONDS -lt $deadline ] && qemu_alive "$LAB_STATE"; do
    if LAB_SECONDS=60 in_guest -o ControlMaster=yes -N -f 2>>"$LAB_STATE/qemu.log"; then return; fi
    sleep 0.5
  done
  return 1
}

# Nobody has to remember `down`: with LAB_OWNER the guest goes when that process does.
follow_owner() {
  [ -n "${LAB_OWNER:-}" ] || return 0
  setsid "${BASH_SOURCE[0]}" _follow "$LAB_OWNER" </dev/null >/dev/null 2>&1 &
}

follow() {
  while kill -0 "$1" 2>/dev/null && qemu_alive "$LAB_STATE"; do sleep 1; done
  stop_qemu "$LAB_STATE"
}

# The time is sent when the guest is ready to take it. Setting it takes the guest some 50 ms, so it is
# sent a second time with that added; what remains is some 10 ms, more on a busy machine.
clock() {
  local pid to theirs late
  # shellcheck disable=SC2016  # the guest's shell fills in its own variables
  coproc GUEST { in_guest 'echo ready; while read -r now; do date -s "@$now" >/dev/null; echo "$EPOCHREALTIME"; done'; }
  # shellcheck disable=SC2153  # coproc sets it
  pid=$GUEST_PID to=${GUEST[1]}
  read -r -t 60 -u "${GUEST[0]}" _ || die "the guest does not take the time"
  seconds_of "${EPOCHREALTIME/./}" >&"$to"
  read -r -t 60 -u "${GUEST[0]}" theirs || die "the guest does not take the time"
  late=$((${EPOCHREALTIME/./} - ${theirs/./}))
  seconds_of $((${EPOCHREALTIME/./} + late)) >&"$to"
  read -r -t 60 -u "${GUEST[0]}" _ || die "the guest does not take the time"
  exec {to}>&-
  wait "$pid"
}

seconds_of() { printf '%d.%06d\n' $(($1 / 1000000)) $(($1 % 1000000)); }

push() {
  [ $# = 2 ] || usage "push LOCAL REMOTE"
  [ -f "$1" ] || die "there is no file $1"
  local mode=644
  [ ! -x "$1" ] || mode=755
  in_guest "cat >'$2.part' && chmod $mode '$2.part' && mv '$2.part' '$2'" <"$1"
}

# The USB camera is compiled here and is no part of the image, so that a change of it costs no image.
webcam() {
  local program=$LAB_STATE/webcam
  if [ ! -e "$program" ]; then
    command -v cc >/dev/null || skip "no C compiler (Debian package build-essential)"
    cc -std=gnu11 -static -O2 -Wall -Wextra -o "$program" "$LAB_DIR"/webcam/*.c
    push "$program" /usr/local/bin/webcam
    in_guest 'modprobe -a vhci-hcd uvcvideo && systemd-run -q --unit=lab-webcam webcam serve /var/lib/lab/webcam &&
      timeout 20 sh -c "until [ -S /run/webcam ]; do sleep 0.1; done"' </dev/null
  fi
  in_guest webcam "$@" </dev/null
}

status() {
  qemu_alive "$LAB_STATE" || die "no guest is running for $LAB_STATE"
  LAB_SECONDS=30 in_guest true </dev/null || die "the guest runs, but does not answer"
  say "the guest answers ($(cat "$LAB_STATE/how")), $(in_guest 'camera status' </dev/null)"
}

main() {
  local command=${1:-}
  [ $# = 0 ] || shift
  case $command in
    doctor) doctor; return ;;
    prepare) prepare; return ;;
    '' | help | -h | --help) help; return ;;
  esac
  state_folder
  case $command in
    up) up "$@" ;;
    run) [ $# -gt 0 ] || usage "run COMMAND..."; in_guest "$@" ;;
    push) push "$@" ;;
    camera) in_guest "camera ${1:-}" </dev/null ;;
    webcam) webcam "$@" ;;
    shell) guest "$LAB_STATE" -t ;;
    clock) clock ;;
    status) status ;;
    down) stop_qemu "$LAB_STATE" ;;
    _ssh) guest "$LAB_STATE" "$@" ;;
    _follow) follow "$1" ;;
    *) help >&2; usage "there is no command '$command'" ;;
  esac
}
main "$@"
