#!/bin/bash
# make-lab.sh BINARY: shows the daemon at work in the lab, from its camera to a browser's picture.
# All of it (guest, broker, viewers) runs in one private network namespace and ends with this script.
set -euo pipefail
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
lab() { "$LAB_DIR/lab.sh" "$@"; }

broker() {
  cat >"$LAB_STATE/mosquitto.conf" <<CONF
user root
persistence false
allow_anonymous true
listener 1883 $HOST_IP
listener 9001 $HOST_IP
protocol websockets
CONF
  mosquitto -c "$LAB_STATE/mosquitto.conf" </dev/null >"$LAB_STATE/mosquitto.log" 2>&1 &
  broker_pid=$!
  sleep 1
  kill -0 "$broker_pid" 2>/dev/null || die "mosquitto does not start: $(tail -n 1 "$LAB_STATE/mosquitto.log")"
}

daemon() {
  # Debug information is most of a development build, and emulated ssh is slow.
  strip -o "$LAB_STATE/porthole" "$binary" 2>/dev/null || cp "$binary" "$LAB_STATE/porthole"
  lab push "$LAB_STATE/porthole" /usr/local/bin/porthole
  # shellcheck disable=SC2016  # the guest's shell runs it
  lab run 'libs=$(ldd /usr/local/bin/porthole 2>/dev/null | grep "not found"); [ -z "$libs" ] || { echo "$libs" >&2; exit 1; }' </dev/null ||
    die "the guest lacks libraries that the binary wants"
  lab run 'cat >/etc/porthole.toml' <<CONF
[device]
id = "lab"
name = "Lab camera"
state_dir = "/var/lib/porthole"
[mqtt]
url = "mqtt://$HOST_IP:1883"
[camera]
device = "auto"
[access]
mode = "open"
[http]
listen = "0.0.0.0:8080"
CONF
  lab run 'systemd-run -q --unit=porthole -p StateDirectory=porthole /usr/local/bin/porthole run --config /etc/porthole.toml' </dev/null
}

# Until the daemon has found its camera and an encoder: an emulated processor takes its time over that.
ready() {
  local n
  if ! command -v mosquitto_sub >/dev/null; then sleep 30; return; fi
  for n in $(seq 60); do
    # The state is retained, so it comes at once or not at all.
    if timeout 2 mosquitto_sub -h "$HOST_IP" -t porthole/lab/state -C 1 | grep -q '"encoder":{'; then return; fi
    sleep 1
  done
  say "the daemon is not ready after $n attempts"
}

watch_it() {
  say "watching for 10 s"
  timeout 120 "$binary" watch --broker "mqtt://$HOST_IP:1883" --device lab --seconds 10 ||
    { say "no video; the daemon's last lines:"; lab run 'journalctl -u porthole -n 20 --no-pager -o cat' </dev/null >&2; failed=1; }
}

# Through its driver, because Chromium's own --screenshot does not wait for a video to begin.
browser() {
  local shot
  if ! command -v chromedriver >/dev/null || ! command -v curl >/dev/null; then
    say "no browser's picture: that needs chromedriver (Debian package chromium-driver) and curl"
    return 0
  fi
  shot=$(mktemp --suffix=.png "${TMPDIR:-/tmp}/porthole-lab-XXXXXX")
  chromedriver --port=9515 </dev/null >"$LAB_STATE/chromedriver.log" 2>&1 &
  driver_pid=$!
  if screenshot "$shot"; then echo "lab: what the browser shows is in $shot"; else say "Chromium made no picture"; failed=1; fi
  kill "$driver_pid" 2>/dev/null || true
}

# ask METHOD PATH [BODY]: one WebDriver command, bounded in time.
ask() { curl -s --max-time 60 --retry 5 --retry-connrefused -X "$1" "http://127.0.0.1:9515$2" ${3:+-d "$3"}; }

screenshot() { # FILE
  local session page="http://$GUEST_IP:8080/#broker=ws://$HOST_IP:9001&device=lab"
  session=$(ask POST /session '{"capabilities":{"alwaysMatch":{"goog:chromeOptions":{"args":["--headless=new","--no-sandbox",
    "--disable-gpu","--window-size=1280,800","--autoplay-policy=no-user-gesture-required"]}}}}' | sed -n 's/.*"sessionId":"\([^"]*\)".*/\1/p')
  [ -n "$session" ] || return 1
  ask POST "/session/$session/url" "{\"url\":\"$page\"}" >/dev/null
  sleep 10
  ask GET "/session/$session/screenshot" | sed -n 's/.*"value":"\([^"]*\)".*/\1/p' | base64 -d >"$1"
  ask DELETE "/session/$session" >/dev/null
  [ -s "$1" ]
}

stay() {
  local enter="nsenter --net=/proc/$$/ns/net env LAB_STATE=$LAB_STATE"
  echo "lab: a shell in the guest, from another terminal:  $enter $LAB_DIR/lab.sh shell"
  echo "lab: pull the camera's cable and put it back:      $enter $LAB_DIR/lab.sh camera unplug (or plug)"
  echo "lab: Ctrl-C ends it"
  lab run 'journalctl -u porthole -n 5 -f -o cat' || true
}

# shellcheck disable=SC2317  # reached by the trap
tidy() {
  local pid
  for pid in ${broker_pid:-} ${driver_pid:-}; do kill "$pid" 2>/dev/null || true; done
  lab down || true
  rm -rf "$LAB_STATE"
}

main() {
  command -v mosquitto >/dev/null || skip "no mosquitto (Debian package mosquitto)"
  LAB_STATE=$(mktemp -d)
  export LAB_STATE LAB_OWNER=$$
  trap tidy EXIT
  trap 'exit 130' INT TERM
  lab up
  lab camera on
  broker
  daemon
  ready
  watch_it
  browser
  if [ -t 0 ]; then LAB_SECONDS=86400 stay; fi
  exit "$failed"
}

failed=0
if [ $# != 1 ] || [ ! -x "$1" ]; then usage "make-lab.sh BINARY (the daemon, built for amd64)"; fi
binary=$(realpath "$1")
if [ -z "${LAB_INSIDE:-}" ]; then
  lab prepare
  LAB_INSIDE=1 exec unshare --net "${BASH_SOURCE[0]}" "$binary"
fi
main
