#!/bin/bash
# cloud-init.sh OUT [URL KEYRING]: a cloud-init file for Raspberry Pi OS, or Debian with cloud-init, that installs the package at
# the first start: from the apt repository at URL, whose key is in KEYRING, or a package that lies on the boot partition.
# It has one key, write_files, which Raspberry Pi Imager's own file does not use: whatever is set there, the two do not collide.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# As a value of YAML below `content: |`.
block() { sed 's/./      &/'; }

repository() {
  [ -n "$url" ] || return 0
  cat <<YAML
  - path: /etc/apt/keyrings/porthole-archive-keyring.gpg
    encoding: b64
    content: $(base64 --wrap=0 "$keyring")
  - path: /etc/apt/sources.list.d/porthole.sources
    content: |
YAML
  printf '%s\n' 'Types: deb' "URIs: $url" 'Suites: stable' 'Components: main' \
    'Signed-By: /etc/apt/keyrings/porthole-archive-keyring.gpg' | block
}

# Nobody is there to be asked, and a question without an answer leaves the package half installed: where an upgrade brings another
# example of a file that was edited (or came with the card), the edited one stays.
apt_settings_of_the_board() {
  printf '%s\n' 'Dpkg::Options { "--force-confdef"; "--force-confold"; };' | block
}

# There may be no network yet, no right time for apt's signatures, or no power before the end.
unit() {
  block <<'UNIT'
[Unit]
Description=Porthole: its installation, until it has succeeded
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/porthole-install
Restart=on-failure
RestartSec=20
RestartSteps=5
RestartMaxDelaySec=600
TimeoutStartSec=1800
[Install]
WantedBy=multi-user.target
UNIT
}

script() {
  block <<'SCRIPT'
#!/bin/sh
# Tried again after 20 seconds to 10 minutes, and at each start of the board, until it has run to its end.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
boot=/boot/firmware
[ -d "$boot" ] || boot=/boot
dpkg --configure -a --force-confdef --force-confold
apt-get update
package=porthole
for file in "$boot"/porthole_*_"$(dpkg --print-architecture)".deb; do
  if [ -e "$file" ]; then package=$file; fi
done
# libcamera's plugin is for cameras on a ribbon cable.
apt-get install --yes "$package" gstreamer1.0-libcamera
# What is wrong with an installer's porthole.toml is said beside it, in porthole-error.txt.
systemctl start porthole-firstboot.service || true
systemctl restart porthole.service
systemctl disable porthole-install.service
SCRIPT
}

cloud_config() {
  cat <<'YAML'
#cloud-config
# Installs Porthole at the first start. It goes onto the boot partition as `vendor-data`, beside the `user-data` that is there.
write_files:
YAML
  repository
  cat <<'YAML'
  - path: /etc/apt/apt.conf.d/52porthole-keep-files
    content: |
YAML
  apt_settings_of_the_board
  cat <<'YAML'
  - path: /usr/local/sbin/porthole-install
    permissions: '0755'
    content: |
YAML
  script
  cat <<'YAML'
  - path: /etc/systemd/system/porthole-install.service
    content: |
YAML
  unit
  cat <<'YAML'
  - path: /var/lib/cloud/scripts/per-instance/porthole
    permissions: '0755'
    content: |
      #!/bin/sh
      systemctl daemon-reload
      systemctl enable porthole-install.service
      systemctl start --no-block porthole-install.service
YAML
}

main() {
  if [ $# != 1 ] && [ $# != 3 ]; then say "usage: cloud-init.sh OUT [URL KEYRING]"; exit 64; fi
  local out=$1 url=${2:-} keyring=${3:-}
  if [ $# = 3 ]; then
    url=${url%/}
    [[ $url =~ ^(https?|file)://[][A-Za-z0-9/._~:@%-]+$ ]] || die "'$url' is no URL of a repository; such as https://SERVER/porthole"
    [ -s "$keyring" ] || die "there is no $keyring: make repo writes it"
  fi
  mkdir -p "$(dirname "$out")"
  cloud_config >"$out.part"
  mv "$out.part" "$out"
  echo "$out"
}
main "$@"
