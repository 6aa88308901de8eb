# Shared by the lab's scripts (sourced, never run): messages, the cache, the network, the QEMU command line.
# shellcheck shell=bash

PATH=$PATH:/usr/sbin:/sbin          # a plain user has these nowhere, and `doctor` should name what is really missing
export LC_ALL=C                     # EPOCHREALTIME with a point, and messages that can be compared
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CACHE=${PORTHOLE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/porthole}
SUITE=trixie
HOST_IP=10.77.0.1
GUEST_IP=10.77.0.2

readonly EXIT_USAGE=64 EXIT_SKIP=77 # 77 is "cannot run here": a test prints the reason and counts as skipped

say() { printf 'lab: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
usage() { say "$*"; exit "$EXIT_USAGE"; }
skip() { say "cannot run here: $*"; exit "$EXIT_SKIP"; }

hash_of() { sha256sum | cut -c1-12; }

# The image depends on these files and on nothing else of the host.
image_inputs() (
  cd "$LAB_DIR" || exit 1
  find image.sh packages.txt guest -type f | sort | xargs sha256sum
  echo "$SUITE"
)
image_folder() { echo "$CACHE/lab-$(image_inputs | hash_of)"; }

# A saved machine only loads into the same QEMU with the same processor and the same command line.
ready_inputs() {
  qemu-system-x86_64 --version | head -n 1
  grep -m 2 -E '^(model name|flags)' /proc/cpuinfo
  cat "$LAB_DIR/snapshot.sh" "$LAB_DIR/common.sh"
}
ready_folder() { echo "$(image_folder)/ready-$(ready_inputs | hash_of)"; }
# The same machine with LAB_PACKAGE installed. It is inside of the other's folder, on whose disk it builds.
installed_folder() { echo "$(ready_folder)/installed-$(hash_of <"$LAB_PACKAGE")"; }

# What the guest does with a package on its standard input: apt takes care of what it needs, and the service starts. Its first start
# lists GStreamer's plugins: seconds on a board, tens of them under emulation.
# shellcheck disable=SC2034  # the other scripts run it
INSTALL='cat >/root/porthole.deb && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes /root/porthole.deb 2>&1 &&
  rm /root/porthole.deb && timeout 240 sh -c "until [ -s /var/lib/porthole/gstreamer-registry ]; do sleep 1; done"'

# Everything that `up` needs, all of it named at once rather than one per attempt.
missing() {
  [ "$(uname -m)" = x86_64 ] || echo "the guest is amd64 and this machine is $(uname -m)"
  [ "$(id -u)" = 0 ] || echo "not root (network namespaces, the tap device and mmdebstrap need it)"
  local tool package
  while read -r tool package; do
    command -v "$tool" >/dev/null || echo "no $tool (Debian package $package)"
  done <<'TOOLS'
qemu-system-x86_64 qemu-system-x86
mmdebstrap mmdebstrap
mkfs.ext4 e2fsprogs
ip iproute2
ssh openssh-client
ssh-keygen openssh-client
unshare util-linux
flock util-linux
TOOLS
  [ -c /dev/net/tun ] || echo "no /dev/net/tun (modprobe tun, or give the container that device)"
  unshare --net true 2>/dev/null || echo "unshare --net is not permitted (inside an unprivileged container?)"
}

# The machine's own network is none of the lab's business. Where process 1 may not be looked at, a
# namespace counts as private when it has no interface that leads anywhere.
in_private_network() {
  local first
  first=$(readlink /proc/1/ns/net 2>/dev/null) || first=unknown
  [ "$(readlink /proc/self/ns/net)" != "$first" ] || return 1
  [ "$first" != unknown ] || ! ip -o link show up | grep -qvE '^[0-9]+: (lo|tap0):'
}

# The tap's address is fixed because the saved guest remembers it.
network_up() {
  ip link set lo up
  ip link show tap0 >/dev/null 2>&1 || ip tuntap add tap0 mode tap
  ip link set tap0 address 52:54:00:00:77:01 up
  ip addr replace $HOST_IP/24 dev tap0
}

# Which of the computer's two ways to run the guest: hardware, or emulation.
accelerator() {
  case $1 in
    kvm) echo "-accel kvm -cpu host" ;;
    tcg) echo "-accel tcg,thread=multi -cpu max" ;;
  esac
}

# start_qemu STATE ACCEL DISK-OPTIONS [more...]: in the background, its pid in STATE/qemu.pid. The options name the disk's format.
# Both a cold boot and a resume must build exactly this machine.
start_qemu() {
  local state=$1 accel=$2 disk=$3 image
  shift 3
  image=$(image_folder)
  install -m 600 "$image/key" "$image/known_hosts" "$state/"
  # shellcheck disable=SC2046  # the accelerator is several words
  TMPDIR=$state setsid qemu-system-x86_64 -M q35 $(accelerator "$accel") -smp 2 -m 1024 \
    -nodefaults -display none -no-reboot \
    -kernel "$image/vmlinuz" -initrd "$image/initrd" \
    -append "console=ttyS0 net.ifnames=0 quiet mitigations=off audit=0" \
    -drive "$disk,if=none,id=disk,cache=unsafe" -device virtio-blk-pci,drive=disk \
    -netdev tap,id=net,ifname=tap0,script=no,downscript=no \
    -device virtio-net-pci,netdev=net,mac=52:54:00:00:77:02,romfile= \
    -device virtio-rng-pci -serial "file:$state/serial.log" "$@" \
    </dev/null >"$state/qemu.log" 2>&1 9>&- &
  local pid=$!
  echo "$pid" >"$state/qemu.pid"
  # Until the new process has become QEMU, qemu_alive would take it for something else.
  until qemu_alive "$state" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
}

qemu_alive() {
  local pid
  pid=$(cat "$1/qemu.pid" 2>/dev/null) || return 1
  # The pid may belong to something else by now, so look at what it is.
  [[ $(readlink "/proc/$pid/exe") == *qemu-system-x86_64* ]]
}

stop_qemu() {
  [ -e "$1/qemu.pid" ] || return 0
  local pid n
  pid=$(cat "$1/qemu.pid")
  ! qemu_alive "$1" || kill "$pid"
  for n in $(seq 50); do
    qemu_alive "$1" || break
    [ "$n" != 40 ] || kill -KILL "$pid"
    sleep 0.1
  done
  # One that is dying still holds the tap device; only its own parent can wait for its end.
  wait "$pid" 2>/dev/null || true
  rm -f "$1/qemu.pid"
}

# guest STATE [ssh options] COMMAND: over the shared connection if there is one. The socket's name is
# relative because such names may hold only 108 characters, and scratch folders are often deep.
guest() (
  cd "$1" || exit 1
  shift
  exec ssh -q -F /dev/null -i key -o IdentitiesOnly=yes -o UserKnownHostsFile=known_hosts -o StrictHostKeyChecking=yes \
    -o KexAlgorithms=curve25519-sha256 -o ConnectTimeout=60 -o ServerAliveInterval=30 \
    -o ControlPath=./ssh "root@$GUEST_IP" "$@"
)

# Two runs may want to make the same thing: the second waits, and then finds it made.
lock_cache() {
  mkdir -p "$CACHE"
  exec 9>"$CACHE/lab.lock"
  flock -n 9 && return
  say "another run is preparing the lab, waiting for it"
  flock -w 1800 9 || die "it took more than 30 minutes"
}
