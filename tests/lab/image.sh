#!/bin/bash
# image.sh: makes the lab's guest (a disk, a kernel, an initial ram disk and an ssh key) in the cache
# and prints the folder it is in; a folder that is complete is used as it is.
# Nothing is mounted, and no loop device is needed.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages() { awk -v kind="$1" '$1 == kind { for (i = 2; i <= NF; i++) print $i }' "$LAB_DIR/packages.txt" | paste -sd,; }

# The mirror this machine uses for Debian itself. Empty elsewhere: then mmdebstrap takes its own default.
mirror() {
  # shellcheck disable=SC2016  # apt-get fills in $(REPO_URI)
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed 's#/*$##' | grep -m 1 '/debian$' || true
}

# This machine's proxies, certificates and the like hold for the guest's packages too.
apt_settings() {
  apt-config dump | grep -E '^Acquire::(http|https|Check|Retries|ForceIP)' || true
  echo 'Acquire::Languages "none";'
  echo 'APT::Install-Recommends "false";'
}

# Package lists are sometimes in the middle of being renewed, so one failure is not the end.
bootstrap() { # VARIANT FOLDER PACKAGES
  local attempt
  for attempt in 1 2 3; do
    if bootstrap_once "$@"; then return; fi
    tail -n 12 "$2.log" >&2
    [ "$attempt" = 3 ] || { say "mmdebstrap failed, trying again"; sleep 15; }
  done
  die "mmdebstrap failed three times, see above"
}

bootstrap_once() {
  local mirror
  mirror=$(mirror)
  rm -rf "$2"
  timeout 1800 nice mmdebstrap --mode=root --variant="$1" --include="$3" \
    --aptopt="$work/apt.conf" --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$SUITE" "$2" ${mirror:+"$mirror"} >"$2.log" 2>&1
}

# The kernel comes from packages that are unpacked and not installed: installing them would build a
# large initial ram disk. The tree also holds a compiler of the right version for one module.
kernel_tree() {
  bootstrap extract "$work/kernel" "$(packages kernel)"
  ln -sf mawk "$work/kernel/usr/bin/awk"
  cp "$work"/kernel/boot/vmlinuz-* "$work/out/vmlinuz"
  loopback_module || say "v4l2loopback does not build: the lab will have no MJPEG and no H.264 camera"
  board_encoder || say "the board's encoder does not build, see $work/board.log: the lab will have none"
  chroot "$work/kernel" depmod "$(kernel_release)"
  initial_ram_disk
}

kernel_release() { basename "$work"/kernel/usr/lib/modules/*; }

loopback_module() {
  local release modules source
  release=$(kernel_release)
  modules=/usr/lib/modules/$release
  source=$(cd "$work/kernel" && echo usr/src/v4l2loopback-*)
  chroot "$work/kernel" make -s -C "$modules/build" M="/$source" CC=gcc-14 modules >"$work/loopback.log" 2>&1 || return 1
  install -D -m 644 "$work/kernel/$source/v4l2loopback.ko" "$work/kernel$modules/updates/v4l2loopback.ko" &&
    cp "$LAB_DIR/guest/feed.c" "$work/kernel/tmp/" &&
    chroot "$work/kernel" gcc-14 -O2 -Wall -o /tmp/feed /tmp/feed.c
}

# Debian's kernel for PCs lacks the common part of memory-to-memory devices: it comes from the same kernel's source.
board_encoder() {
  local release modules part=drivers/media/v4l2-core/v4l2-mem2mem.c module
  release=$(kernel_release)
  modules=/usr/lib/modules/$release
  cp -r "$LAB_DIR/guest/board" "$work/kernel/tmp/" &&
    tar -xf "$work"/kernel/usr/src/linux-source-*.tar.xz -C "$work/kernel/tmp/board" \
      --wildcards --strip-components=4 --occurrence=1 "linux-source-*/$part" &&
    chroot "$work/kernel" make -s -C "$modules/build" M=/tmp/board CC=gcc-14 modules >"$work/board.log" 2>&1 || return 1
  for module in v4l2-mem2mem lab_encoder; do
    install -D -m 644 "$work/kernel/tmp/board/$module.ko" "$work/kernel$modules/updates/$module.ko" || return 1
  done
}

# modprobe knows what each module needs, and in which order.
initial_ram_disk() {
  local release tree=$work/initrd module path
  release=$(kernel_release)
  mkdir -p "$tree"/{bin,dev,modules,proc,root}
  cp "$work/kernel/usr/bin/busybox" "$tree/bin/"
  install -m 755 "$LAB_DIR/guest/init" "$tree/init"
  for module in virtio_blk crc32c_generic ext4; do
    chroot "$work/kernel" modprobe -S "$release" --show-depends "$module"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    while read -r path; do
      module=$(basename "$path" .xz)
      case $path in
        *.xz) xz -dc "$work/kernel$path" ;;
        *) cat "$work/kernel$path" ;;
      esac >"$tree/modules/$module"
      echo "$module" >>"$tree/modules/order"
    done
  cp -r "$tree" "$work/kernel/tmp/initrd"
  chroot "$work/kernel" sh -c 'cd /tmp/initrd && find . | cpio -o -H newc --quiet | gzip -1' >"$work/out/initrd"
}

root_tree() {
  bootstrap minbase "$work/root" "$(packages guest)"
  local root=$work/root
  rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/ssh/ssh_host_* "$root"/etc/resolv.conf
  cp -r "$LAB_DIR/guest/root/." "$root/"
  echo lab >"$root/etc/hostname"
  echo '127.0.0.1 localhost lab' >"$root/etc/hosts"
  echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
  : >"$root/etc/fstab"
  ssh_keys
  units
  recordings
}

ssh_keys() {
  local root=$work/root
  ssh-keygen -q -t ed25519 -N '' -C lab -f "$work/out/key"
  install -D -m 600 "$work/out/key.pub" "$root/root/.ssh/authorized_keys"
  chmod 700 "$root/root/.ssh"
  ssh-keygen -q -t ed25519 -N '' -C lab -f "$root/etc/ssh/ssh_host_ed25519_key"
  echo "$GUEST_IP $(cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" >"$work/out/known_hosts"
}

# What a guest without users, time zones and updates does not need costs seconds of emulation.
units() {
  systemctl --root="$work/root" --quiet enable lab-net.service lab-ready.service ssh.service 2>/dev/null
  systemctl --root="$work/root" --quiet mask serial-getty@ttyS0.service getty@tty1.service \
    systemd-logind.service systemd-firstboot.service apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    ldconfig.service systemd-networkd-wait-online.service systemd-pcrmachine.service 2>/dev/null
  touch "$work/root/etc/.updated" "$work/root/var/.updated"
  systemctl --root="$work/root" --quiet set-default multi-user.target 2>/dev/null
}

# Made on this machine's own processor: under emulation the plugin scan alone takes tens of seconds.
recordings() {
  local root=$work/root
  mkdir -p "$root/var/lib/lab"
  # shellcheck disable=SC2016  # the guest's shell fills in $source
  chroot "$root" env HOME=/root GST_REGISTRY=/var/lib/lab/gst-registry.bin sh -ec '
    source="videotestsrc num-buffers=60 pattern=ball ! video/x-raw,format=I420,width=640,height=360,framerate=30/1"
    gst-launch-1.0 -q $source ! jpegenc ! filesink location=/var/lib/lab/loop.MJPG
    gst-launch-1.0 -q $source ! x264enc tune=zerolatency key-int-max=30 bitrate=1000 ! \
      video/x-h264,stream-format=byte-stream,alignment=au,profile=constrained-baseline ! \
      h264parse config-interval=-1 ! filesink location=/var/lib/lab/loop.H264
  ' >"$work/recordings.log" 2>&1 || { tail "$work/recordings.log" >&2; die "GStreamer does not run in the guest's tree"; }
  webcam_recordings
  # A program that chose no registry of its own finds the same one.
  install -D "$root/var/lib/lab/gst-registry.bin" "$root/root/.cache/gstreamer-1.0/registry.x86_64.bin"
}

# What the USB camera of webcam/ shows: its compressed formats at its sizes, two seconds each. H.264 comes
# in the High profile too (640028), and with one key frame in ten seconds.
webcam_recordings() {
  local root=$work/root
  mkdir -p "$root/var/lib/lab/webcam"
  # shellcheck disable=SC2016  # the guest's shell fills in its own variables
  chroot "$root" env HOME=/root GST_REGISTRY=/var/lib/lab/gst-registry.bin sh -ec '
    cd /var/lib/lab/webcam
    source() { echo "videotestsrc num-buffers=$1 pattern=ball ! video/x-raw,format=I420,width=${2%x*},height=${2#*x},framerate=30/1"; }
    h264() { # FILE PROFILE PICTURES SIZE KEY-FRAME-INTERVAL OPTIONS...
      file=$1 profile=$2 pictures=$3 size=$4 interval=$5
      shift 5
      gst-launch-1.0 -q $(source "$pictures" "$size") ! x264enc key-int-max="$interval" bframes=0 bitrate=1000 "$@" ! \
        "video/x-h264,stream-format=byte-stream,alignment=au,profile=$profile" ! filesink location="$file"
    }
    for size in 640x480 1280x720 1920x1080; do
      gst-launch-1.0 -q $(source 60 $size) ! jpegenc ! filesink location=$size.MJPG
    done
    for size in 640x480 1280x720; do
      h264 $size.H264 constrained-baseline 60 $size 30 tune=zerolatency
      h264 $size-high.H264 high 60 $size 30 tune=zerolatency dct8x8=true cabac=true option-string=level=40
      h264 $size-sparse.H264 constrained-baseline 300 $size 300 tune=zerolatency option-string=scenecut=0
    done
  ' >>"$work/recordings.log" 2>&1 || { tail "$work/recordings.log" >&2; die "GStreamer does not make the USB camera's pictures"; }
}

disk() {
  local root=$work/root size
  mkdir -p "$root/usr/lib/modules"
  cp -a "$work/kernel/usr/lib/modules/." "$root/usr/lib/modules/"
  [ ! -e "$work/kernel/tmp/feed" ] || install "$work/kernel/tmp/feed" "$root/usr/local/bin/feed"
  size=$(($(du -sm "$root" | cut -f1) * 5 / 4 + 512))
  truncate -s "${size}M" "$work/out/disk"
  nice mkfs.ext4 -q -F -O ^has_journal -L lab -d "$root" "$work/out/disk"
}

build() { # FOLDER
  work=$1.part
  rm -rf "$work"
  mkdir -p "$work/out"
  apt_settings >"$work/apt.conf"
  kernel_tree &
  local kernel=$!
  trap wait EXIT # whatever fails here, nothing of it goes on alone
  root_tree
  wait "$kernel"
  disk
  mv "$work/out" "$1"
  rm -rf "$work"
}

# Images of earlier inputs go, but for the one used last: someone may work on two versions in turn.
# A lab that is running keeps the files that it has open.
forget_old() {
  find "$CACHE" -maxdepth 1 -type d -name 'lab-*' ! -name "$(basename "$1")" -printf '%T@ %p\n' |
    sort -rn | tail -n +2 | cut -d' ' -f2- | xargs -r -d '\n' rm -rf
}

main() {
  local folder start=$SECONDS
  folder=$(image_folder)
  lock_cache
  if [ ! -e "$folder" ]; then
    say "making the guest's image (a few minutes, once)"
    (umask 077 && mkdir -p "$folder.part")
    build "$folder"
    forget_old "$folder"
    say "image made in $((SECONDS - start)) s"
  fi
  touch "$folder"
  echo "$folder"
}
main
