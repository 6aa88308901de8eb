#!/bin/bash
# image.sh DEB OUT.img: a card for a 64-bit Raspberry Pi, with the package DEB installed in Debian. docs/image.md says
# what it is good for. Nothing is mounted and no loop device is needed; root is, for the owners of files.
# What takes long (Debian itself) is made once, by card/base.sh, and kept in ${PORTHOLE_CACHE:-~/.cache/porthole}.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
CARD=$CROSS_DIR/card
BOOT_MIB=256
SPARE_MIB=256 # for the first start; the file system then grows to the end of the card

check_machine() {
  local tool
  [ "$(id -u)" = 0 ] || die "this needs root (chroot, and files that belong to root): sudo cross/image.sh …"
  for tool in mmdebstrap:mmdebstrap arch-test:arch-test mkfs.ext4:e2fsprogs mkfs.vfat:dosfstools mcopy:mtools \
    sfdisk:fdisk xz:xz-utils systemctl:systemd dpkg-deb:dpkg; do
    command -v "${tool%:*}" >/dev/null || die "there is no ${tool%:*} (Debian package ${tool#*:})"
  done
  [ "$(dpkg-deb -f "$deb" Architecture)" = arm64 ] || die "$deb is not for arm64"
}

unpack() { # ARCHIVE FOLDER
  mkdir "$2"
  tar --extract --numeric-owner --file "$1" --directory "$2"
}

# What has to be another one on every card is made by the card itself.
root_tree() {
  unpack "$base" "$root"
  rm -f "$root"/etc/apt/apt.conf.d/99mmdebstrap "$root"/etc/ssh/ssh_host_* "$root"/etc/hostname \
    "$root"/var/lib/dbus/machine-id "$root"/etc/systemd/system/multi-user.target.wants/e2scrub_reap.service
  : >"$root/etc/machine-id"
  : >"$root/etc/hostname"
  # apt's own example names Debian's servers; the mirror of the machine that made the card stays out of it.
  rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
  sed '/^#/d; s/ contrib non-free / /' "$root/usr/share/doc/apt/examples/debian.sources" \
    >"$root/etc/apt/sources.list.d/debian.sources"
  printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
  cp -r --no-preserve=ownership "$CARD/root/." "$root/"
  ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
  mkdir -p "$root/boot/firmware"
  cp -a "$kernel/usr/lib/modules/." "$root/usr/lib/modules/"
  chroot "$root" depmod "$release"
  units
}

units() {
  systemctl --root="$root" --quiet enable card-setup.service card-grow.service systemd-networkd.service
  systemctl --root="$root" --quiet disable wpa_supplicant.service
  # A camera needs none of these, and a board is slow.
  systemctl --root="$root" --quiet mask systemd-networkd-wait-online.service systemd-firstboot.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer ldconfig.service
  touch "$root/etc/.updated" "$root/var/.updated"
  systemctl --root="$root" --quiet set-default multi-user.target
}

# Its dependencies are all in the base, so nothing is fetched. Services are only registered: nothing runs in a chroot.
package() {
  mkdir -p "$root/tmp"
  cp "$deb" "$root/tmp/porthole.deb"
  chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
    dpkg --force-unsafe-io --install /tmp/porthole.deb >"$work/dpkg.log" 2>&1 ||
    { tail -n 20 "$work/dpkg.log" >&2; die "the package does not install"; }
  rm "$root/tmp/porthole.deb"
}

# kmod knows what each module needs, and in which order. The unpacked tree lacks the links of an installed system.
initial_ram_disk() {
  local tree=$kernel/tmp/initrd module path
  mkdir -p "$tree"/{bin,dev,modules,proc,root}
  cp "$kernel/usr/bin/busybox" "$tree/bin/"
  ln -s busybox "$tree/bin/sh"
  install -m 755 "$CARD/init" "$tree/init"
  chroot "$kernel" depmod "$release"
  sed 's/#.*//' "$CARD/modules.txt" | xargs -n 1 chroot "$kernel" modprobe -S "$release" --show-depends |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' |
    while read -r path; do
      module=$(basename "$path" .xz)
      case $path in
        *.xz) xz -dc "$kernel$path" ;;
        *) cat "$kernel$path" ;;
      esac >"$tree/modules/$module"
      echo "$module" >>"$tree/modules/order"
    done
  [ "$(wc -l <"$tree/modules/order")" -ge 5 ] || die "modules of the ram disk are missing"
  chroot "$kernel" busybox sh -c 'cd /tmp/initrd && find . | cpio -o -H newc --quiet' | gzip -6 >"$work/initrd.img"
}

boot_partition() {
  local fat=$work/boot.fat
  truncate -s ${BOOT_MIB}M "$fat"
  mkfs.vfat -F 32 -n BOOTFS "$fat" >/dev/null
  sed 's/$/\r/' "$CARD/boot/README.txt" >"$work/README.txt"
  sed 's/$/\r/' "$root/etc/porthole/porthole.toml" >"$work/porthole.toml.example"
  mcopy -i "$fat" "$work/README.txt" "$work/porthole.toml.example" "$CARD/boot/config.txt" "$CARD/boot/cmdline.txt" ::
  mcopy -i "$fat" "$kernel/boot/vmlinuz-$release" ::vmlinuz
  mcopy -i "$fat" "$work/initrd.img" ::
  mcopy -i "$fat" "$kernel"/usr/lib/raspi-firmware/*.{bin,elf,dat} ::
  mcopy -i "$fat" "$kernel/usr/share/doc/raspi-firmware/copyright" ::LICENCE-firmware.txt
  mcopy -i "$fat" "$kernel/usr/lib/linux-image-$release"/broadcom/bcm2*rpi*.dtb ::
}

image() {
  local size
  size=$(($(du -sm --apparent-size "$root" | cut -f1) * 9 / 8 + SPARE_MIB))
  truncate -s "${size}M" "$work/root.ext4"
  nice mkfs.ext4 -q -F -L rootfs -d "$root" "$work/root.ext4"
  truncate -s $((1 + BOOT_MIB + size))M "$work/card.img"
  sfdisk --quiet "$work/card.img" <<PARTITIONS
label: dos
start=1MiB, size=${BOOT_MIB}MiB, type=c, bootable
start=$((1 + BOOT_MIB))MiB, size=${size}MiB, type=83
PARTITIONS
  dd if="$work/boot.fat" of="$work/card.img" bs=1M seek=1 conv=notrunc,sparse status=none
  dd if="$work/root.ext4" of="$work/card.img" bs=1M seek=$((1 + BOOT_MIB)) conv=notrunc,sparse status=none
  mv "$work/card.img" "$out"
}

main() {
  if [ $# != 2 ] || [ ! -f "$1" ]; then say "usage: image.sh PACKAGE.deb OUT.img"; exit 64; fi
  local deb out base work root kernel release start=$SECONDS
  deb=$(realpath "$1")
  out=$(realpath -m "$2")
  check_machine
  base=$("$CARD/base.sh")
  # Beside the image, so that the last step is a rename on one disk; not in /tmp, which may be memory.
  work=$(mktemp -d "$out.XXXXXX")
  # shellcheck disable=SC2064  # its name as it is now
  trap "rm -rf '$work'" EXIT
  root=$work/root kernel=$work/kernel
  unpack "${base%.tar}-boot.tar" "$kernel"
  for link in bin lib sbin; do ln -s "usr/$link" "$kernel/$link"; done
  release=$(basename "$kernel"/usr/lib/modules/*)
  root_tree
  package
  initial_ram_disk
  boot_partition
  image
  say "made $out in $((SECONDS - start)) s: $(du -h --apparent-size "$out" | cut -f1), kernel $release"
}
main "$@"
