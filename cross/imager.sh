#!/bin/bash
# imager.sh IMAGE FOLDER [URL]: what Raspberry Pi Imager needs to offer the card image: the image compressed, an icon, and the
# manifest that names both. URL is where FOLDER will be served; without one the manifest is for this machine's own Imager.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
NAME=porthole
ICON=$CROSS_DIR/../viewer/src/page/favicon.svg

# Only what may stand in a URL as it is.
encoded() {
  local at character code
  for ((at = 0; at < ${#1}; at++)); do
    character=${1:at:1}
    case $character in
      [A-Za-z0-9/._~-]) printf %s "$character" ;;
      *) printf -v code %d "'$character"; printf '%%%02X' $((code & 255)) ;;
    esac
  done
}

sum() { sha256sum "$1" | cut -d' ' -f1; }

compressed() {
  if [ "$xz" -nt "$image" ]; then return; fi
  say "compressing $image (some minutes)"
  nice xz --threads=0 --keep --stdout "$image" >"$xz.part"
  mv "$xz.part" "$xz"
}

# Boards by Imager's names for them; a Zero 2 W goes by the Pi 3's. Not the Pi 5, which the image does not start.
# init_format says what the image makes of the settings that Imager asks for: nothing. It reads files of its own (docs/image.md).
manifest() {
  cat <<JSON
{
  "imager": {
    "devices": [
      {
        "name": "Raspberry Pi 4",
        "description": "Models 4 and 400",
        "icon": "$url/$NAME.svg",
        "tags": ["pi4-64bit"],
        "matching_type": "exclusive"
      },
      {
        "name": "Raspberry Pi 3 or Zero 2 W",
        "description": "Models 3, 3+ and Zero 2 W",
        "icon": "$url/$NAME.svg",
        "tags": ["pi3-64bit"],
        "matching_type": "exclusive"
      }
    ]
  },
  "os_list": [
    {
      "name": "Porthole (64-bit)",
      "description": "A USB camera for browsers. Not for the Pi 5, nor for cameras on a ribbon cable: those take Raspberry Pi OS",
      "icon": "$url/$NAME.svg",
      "url": "$url/$(encoded "$(basename "$xz")")",
      "extract_size": $(stat -c %s "$image"),
      "extract_sha256": "$(sum "$image")",
      "image_download_size": $(stat -c %s "$xz"),
      "image_download_sha256": "$(sum "$xz")",
      "release_date": "$(date -u -r "$image" +%F)",
      "devices": ["pi4-64bit", "pi3-64bit"],
      "architecture": "armv8",
      "init_format": "none"
    }
  ]
}
JSON
}

main() {
  if [ $# -lt 2 ] || [ $# -gt 3 ] || [ ! -f "$1" ]; then say "usage: imager.sh IMAGE.img FOLDER [URL]"; exit 64; fi
  local image folder url xz
  image=$(realpath "$1") folder=$(realpath -m "$2") url=${3:-}
  if [ -z "$url" ]; then url=file://$(encoded "$folder"); fi
  url=${url%/}
  [[ $url =~ ^(https?|file)://[][A-Za-z0-9/._~:@%-]+$ ]] || die "'$url' is no URL of a folder; such as https://SERVER/porthole-card"
  mkdir -p "$folder"
  xz=$folder/$(basename "$image").xz
  compressed
  install -m 644 "$ICON" "$folder/$NAME.svg"
  manifest >"$folder/manifest.part"
  mv "$folder/manifest.part" "$folder/$NAME.rpi-imager-manifest"
  echo "$folder/$NAME.rpi-imager-manifest"
}
main "$@"
