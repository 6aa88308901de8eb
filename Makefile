# Everything a developer or a newcomer asks of this repository. `make` alone lists it.
#
# Each target installs what it lacks and says what before it does; where nothing is missing, nothing is
# touched. Recipes are whole bash scripts (.ONESHELL), so `cd` and variables last to a recipe's end.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# rustup puts cargo here and a shell that was open before does not know it yet; mosquitto is in sbin.
CARGO_BIN := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin
export PATH := $(CARGO_BIN):$(PATH):/usr/local/sbin:/usr/sbin:/sbin

TARGET := $(or $(CARGO_TARGET_DIR),target)
DEBUG := $(TARGET)/debug/porthole
LOGS := $(TARGET)/test-logs

# Debian's names. `command:package` is satisfied by a command of any origin.
BUILD_PACKAGES := build-essential pkg-config:pkg-config libclang-dev \
	libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev ca-certificates
RUN_PACKAGES := gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
	gstreamer1.0-alsa
# The last three are for GStreamer's own WHEP players.
TEST_PACKAGES := mosquitto:mosquitto mosquitto_pub:mosquitto-clients chromium:chromium chromedriver:chromium-driver \
	nft:nftables turnserver:coturn promtool:prometheus procps \
	python3-venv python3-jsonschema xz:xz-utils gstreamer1.0-nice gstreamer1.0-libav libgstreamer-plugins-bad1.0-0 \
	pulseaudio:pulseaudio gstreamer1.0-pulseaudio
# The lab's guest is an amd64 machine, and only root may make its network: elsewhere its tests are skipped.
LAB_PACKAGES := qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs ip:iproute2 \
	ssh:openssh-client unshare:util-linux curl:curl
CAN_LAB := $(filter x86_64-0,$(shell uname -m)-$(shell id -u))
LINT_PACKAGES := shellcheck:shellcheck
# For a package of another processor; its libraries are unpacked into the cache, not installed.
ARCH ?= $(shell dpkg --print-architecture 2>/dev/null)
CROSS_PACKAGES := mmdebstrap:mmdebstrap util-linux dpkg-dev:dpkg-dev \
	$(if $(filter arm64,$(ARCH)),aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu) \
	$(if $(filter armhf,$(ARCH)),arm-linux-gnueabihf-gcc:gcc-arm-linux-gnueabihf) \
	$(if $(filter amd64,$(ARCH)),x86_64-linux-gnu-gcc:gcc-x86-64-linux-gnu)
PACKAGE_PACKAGES := lintian:lintian
REPO_PACKAGES := apt-ftparchive:apt-utils gpg:gnupg gpg-agent:gpg-agent
# A card is Debian for arm64: its package scripts run under emulation, and so does the machine that tests it.
IMAGE := $(TARGET)/porthole-arm64.img
IMAGE_PACKAGES := qemu-user-static mmdebstrap:mmdebstrap arch-test:arch-test mkfs.ext4:e2fsprogs mkfs.vfat:dosfstools \
	mcopy:mtools sfdisk:fdisk xz:xz-utils aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu
CARD_PACKAGES := qemu-system-aarch64:qemu-system-arm mcopy:mtools mosquitto_sub:mosquitto-clients ip:iproute2 \
	ssh:openssh-client unshare:util-linux
# Debian 12's npm wants Debian's own nodejs; a newer Node.js from elsewhere brings an npm with it.
NODE_WANTED := 18
NODE_PACKAGES := $(if $(shell v=$$(node -p 'parseInt(process.versions.node)' 2>/dev/null) && \
	[ "$$v" -ge $(NODE_WANTED) ] && command -v npm),,nodejs npm)

CARGO_DENY := 0.20.2
CARGO_DEB := 3.8.0
CARGO_FUZZ := 0.13.2
# Each parser of what comes from outside, and for how long `make fuzz` tries each.
FUZZ_TARGETS := signal topic sdp fragment config
FUZZ_SECONDS ?= 60

# $(call install,PACKAGES): says what is missing and installs it, or does nothing.
define install
missing=()
for wanted in $(1); do
  command=$${wanted%%:*} package=$${wanted##*:}
  if [ "$$wanted" != "$$package" ] && type -P "$$command" >/dev/null; then continue; fi
  if [ "$$(dpkg-query -W -f='$${db:Status-Abbrev}' "$$package" 2>/dev/null)" != 'ii ' ]; then missing+=("$$package"); fi
done
if [ $${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "make: this is no Debian. Install what these Debian packages hold, and go on: $${missing[*]}" >&2
    exit 1
  fi
  as_root=()
  if [ "$$(id -u)" != 0 ]; then as_root=(sudo); fi
  echo "make: these packages are missing, and are installed now with"
  echo "      $${as_root[*]:+$${as_root[*]} }apt-get update"
  echo "      $${as_root[*]:+$${as_root[*]} }apt-get install --yes --no-install-recommends $${missing[*]}"
  if [ "$$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    echo "make: there is no sudo on this machine: run those two lines as root, then make again" >&2
    exit 1
  fi
  "$${as_root[@]}" apt-get update --quiet
  "$${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet --yes --no-install-recommends "$${missing[@]}"
  for service in mosquitto coturn prometheus; do
    if [[ " $${missing[*]} " == *" $$service "* && -d /run/systemd/system ]]; then
      echo "make: Debian starts a $$service service, which only the tests' own is meant to be. It is switched off with"
      echo "      $${as_root[*]:+$${as_root[*]} }systemctl disable --now $$service"
      "$${as_root[@]}" systemctl disable --now "$$service"
    fi
  done
fi
endef

# $(call cargo_tool,NAME,VERSION): installs cargo-NAME unless that version is there.
define cargo_tool
if [[ "$$(cargo $(1) --version 2>/dev/null)" != *"$(2)" ]]; then
  echo "make: cargo-$(1) is missing, and is installed now (some minutes, once) with"
  echo "      cargo install --locked cargo-$(1) --version $(2)"
  cargo install --quiet --locked cargo-$(1) --version $(2)
fi
endef

.PHONY: help
help: ## this list
	@echo "Porthole. The two to begin with: make run, make test"
	echo
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

# The development build is fast enough to show a picture, and a third of the wait of the small one.
.PHONY: run
run: run-packages rust page ## installs what is missing, builds, runs the demo: a live picture in a browser
	@echo "make: building the demo (the first time takes some minutes)"
	cargo build --locked
	exec $(DEBUG) demo

.PHONY: test
test: test-packages test-deb peers ## installs what is missing, runs every test
	@mkdir -p $(LOGS)
	rm -f $(LOGS)/*
	failed=0
	echo "make: the page's types and tests"
	(cd viewer && npm run --silent check && npm test --silent) 2>&1 | tee $(LOGS)/viewer || failed=1
	echo "make: the tests of Home Assistant's integration"
	tests/homeassistant/run.sh 2>&1 | tee $(LOGS)/homeassistant || failed=1
	echo "make: the daemon's tests"
	if cargo nextest --version >/dev/null 2>&1; then
	  rm -f target/nextest/default/junit.xml # always below the workspace, wherever cargo builds
	  cargo nextest run --locked --no-fail-fast --test-threads $$(( 2 * $$(nproc) )) || failed=1
	  cp target/nextest/default/junit.xml $(LOGS)/daemon 2>/dev/null || failed=1
	  cargo test --locked --doc --quiet || failed=1
	else
	  echo "make: cargo-nextest would be clearer and ends tests that hang: cargo install --locked cargo-nextest"
	  # Tests with browsers in them make each other late; nextest knows which, this can only be careful.
	  export RUST_TEST_THREADS=$$(( ($$(nproc) + 3) / 4 ))
	  cargo test --locked --no-fail-fast -- --show-output 2>&1 | tee $(LOGS)/daemon | sed -u '$(HIDE_SUCCESSES)' || failed=1
	fi
	if [ $$failed != 0 ]; then echo "SOMETHING FAILED" >$(LOGS)/verdict; fi
	echo
	awk '$(COUNT_TESTS)' $(LOGS)/* | tee $(TARGET)/test-totals || failed=1
	exit $$failed

# cargo test shows what passing tests said, for the sake of those that were skipped; nobody wants to read it.
HIDE_SUCCESSES := /^successes:$$/,/^test result:\|^failures:/{/^test result:\|^failures:/!d}

# What takes minutes of an emulated machine each, and is not worth them at each change. TESTS names one.
TESTS ?= lab_board_faults lab_webcam_faults lab_repository
.PHONY: test-long
test-long: test-packages test-deb ## the longest tests of the lab, which `make test` leaves out
	cargo nextest run --locked --no-fail-fast --run-ignored only $(addprefix --test ,$(TESTS))

# One sum over what node --test, tests/homeassistant/run.sh, nextest (junit) and cargo test wrote. A test that could not run here says
# SKIPPED: and passes; it is counted as skipped and its reason repeated.
define COUNT_TESTS
function skip(reason) { if (!said) { said = 1; skipped++; passed--; reasons[reason]++ } }
/^(#|ℹ) pass [0-9]+/ { passed += $$3 }
/^(#|ℹ) fail [0-9]+/ { failed += $$3 }
/^(#|ℹ) (skipped|todo) [0-9]+/ { skipped += $$3 }
FNR == 1 { junit = /^<[?]xml/; said = 0 }
!junit && /^test result:/ { passed += $$4; failed += $$6; skipped += $$8 }
/<testcase |^---- .* stdout ----/ { said = 0 }
junit && /<testcase / { passed++ }
junit && /<(failure|error)[ >]/ { passed--; failed++ }
/SKIPPED: / { sub(/.*SKIPPED: /, ""); sub(/<\/system-(err|out)>.*/, ""); skip($$0) }
/^SOMETHING FAILED/ { something = 1 }
END {
  if (something && !failed) { failed = 1; print "something failed that is no test: see above" }
  for (reason in reasons) printf "skipped %d: %s\n", reasons[reason], reason
  printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
  exit passed == 0 || failed > 0
}
endef

.PHONY: screenshots
screenshots: test-packages rust page ## the page in light and dark, on a phone and a wall: all in target/screenshots, some in docs
	mkdir -p $(TARGET)/screenshots
	PORTHOLE_TEST_SCREENSHOTS=$$(realpath $(TARGET)/screenshots) cargo test --locked --test page_accessible
	for name in settings-phone-light-en statistics-phone-dark-en statistics-wall-dark-en; do
	  cp $(TARGET)/screenshots/page-$$name.png docs/
	done

.PHONY: lint
lint: lint-packages rust viewer/node_modules/.package-lock.json ## format, clippy, licences, types and shell scripts
	@for component in rustfmt clippy; do
	  if ! cargo $${component/rust/} --version >/dev/null 2>&1; then
	    echo "make: $$component is missing, and is installed now with: rustup component add $$component"
	    rustup component add $$component
	  fi
	done
	$(call cargo_tool,deny,$(CARGO_DENY))
	set -x
	cargo fmt --all --check
	cargo clippy --locked --all-targets --quiet -- --deny warnings
	CLIPPY_CONF_DIR=src cargo clippy --locked --lib --quiet -- --deny warnings --cfg room_lint
	cargo deny --locked --log-level error check licenses bans sources
	npm --prefix viewer run --silent check
	shellcheck --external-sources --source-path=SCRIPTDIR $$(git ls-files '*.sh' .ci)

.PHONY: audit
audit: rust ## known vulnerabilities of the dependencies: needs the advisory database, from the internet
	@cargo deny --locked check advisories

.PHONY: fuzz
fuzz: build-packages rust page ## tries to break the parsers of what comes from outside: a minute each (FUZZ_SECONDS=60)
	@$(call cargo_tool,fuzz,$(CARGO_FUZZ))
	# Coverage needs no sanitizer, and without one the stable compiler will do. What it finds is kept in TARGET/fuzz;
	# what is worth keeping for ever is added to fuzz/corpus, which tests/corpus.rs replays.
	for target in $(FUZZ_TARGETS); do
	  echo "make: fuzzing $$target for $(FUZZ_SECONDS) s"
	  mkdir -p "$(TARGET)/fuzz/$$target"
	  RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none "$$target" "$(TARGET)/fuzz/$$target" "fuzz/corpus/$$target" -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
	done

.PHONY: bench
bench: test-packages rust page ## the figures of this machine, as a table, then the microbenchmarks
	@cargo bench --locked --bench '*'

# With ARCH=arm64 it is the card image of `make image` that is started, under emulation.
.PHONY: lab
ifeq ($(ARCH)-$(origin ARCH),arm64-command line)
lab: card-packages build
	@[ -e $(IMAGE) ] || { echo "make: there is no $(IMAGE) yet: make image" >&2; exit 1; }
	as_root=()
	if [ "$$(id -u)" != 0 ]; then as_root=(sudo); echo "make: the lab's network needs root: sudo"; fi
	"$${as_root[@]}" tests/lab/make-card.sh $(IMAGE) $(DEBUG)
else
lab: lab-packages build ## a virtual machine with a V4L2 camera, this daemon in it, watched from here
	@as_root=()
	if [ "$$(id -u)" != 0 ]; then as_root=(sudo); echo "make: the lab's network needs root: sudo"; fi
	"$${as_root[@]}" tests/lab/make-lab.sh $(DEBUG)
endif

# What is linked against is Debian 12's, so one package serves Debian 12 and 13.
.PHONY: deb
deb: cross-packages rust page ## a Debian package: make deb ARCH=arm64 (or amd64, armhf)
	@$(call cargo_tool,deb,$(CARGO_DEB))
	cross/deb.sh $(ARCH)

# What make deb has packed, each run beside what the repository holds already: make repo KEY='Your name <you@example.org>'
REPO := $(TARGET)/repo
.PHONY: repo
repo: repo-packages ## an apt repository of the packages made so far, signed with KEY, in REPO: docs/repository.md
	@if [ -z "$(KEY)" ]; then
	  echo "make: whose key? make repo KEY='Your name <you@example.org>'; gpg --quick-generate-key with that name makes one" >&2
	  exit 64
	fi
	packages=("$(TARGET)"/package/porthole_*.deb)
	[ -e "$${packages[0]}" ] || { echo "make: no package yet: make deb ARCH=arm64" >&2; exit 1; }
	cross/repo.sh "$(REPO)" "$(KEY)" "$${packages[@]}"
	if [ -n "$(URL)" ]; then cross/cloud-init.sh "$(REPO)/vendor-data" "$(URL)" "$(REPO)/porthole-archive-keyring.gpg"; fi

# Only the package is new each time; Debian itself is made once.
.PHONY: image
image: override ARCH := arm64
image: image-packages deb ## an SD card image for 64-bit Raspberry Pi boards: docs/image.md
	@as_root=()
	if [ "$$(id -u)" != 0 ]; then as_root=(sudo); echo "make: files that belong to root need root: sudo"; fi
	deb=$$(ls -t $(TARGET)/package/porthole_*_arm64.deb | sed -n 1p)
	"$${as_root[@]}" env PORTHOLE_CACHE="$${PORTHOLE_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/porthole}" \
	  cross/image.sh "$$deb" $(IMAGE)

# For Raspberry Pi Imager: URL is where the folder will be served, nothing for the Imager of this machine.
IMAGER := $(TARGET)/imager
IMAGER_PACKAGES := xz:xz-utils
.PHONY: imager
imager: imager-packages ## a manifest of the card image for Raspberry Pi Imager, and a cloud-init file: docs/image.md
	@[ -e $(IMAGE) ] || { echo "make: there is no $(IMAGE) yet: make image" >&2; exit 1; }
	manifest=$$(cross/imager.sh $(IMAGE) "$(IMAGER)" "$(URL)")
	cross/cloud-init.sh "$(IMAGER)/vendor-data" >/dev/null
	url="$(URL)"
	echo "make: the card image, in Raspberry Pi Imager 2: App Options, Content Repository, and there"
	if [ -n "$$url" ]; then echo "      a custom URL: $${url%/}/$${manifest##*/}"; else echo "      a custom file: $$manifest"; fi
	echo "      or: rpi-imager --repo '$$manifest'"
	echo "make: Raspberry Pi OS instead (Pi 5, cameras on a ribbon cable): flash it, then copy $(IMAGER)/vendor-data and the"
	echo "      package porthole_..._arm64.deb onto its boot partition; with a repository of your own: docs/repository.md"

# What tests play and speak with that was not written here, beside the page's own packages: GStreamer's WHEP players (Debian has no
# package of them) and a broker that knows MQTT 3.1.1 alone. Without them those tests say SKIPPED:.
PLAYERS := $(TARGET)/players
AMQTT := 0.11.4
.PHONY: peers
peers: $(PLAYERS)/gst-launch-1.0 $(TARGET)/amqtt/bin/amqtt

# The package with the one file to link against depends on all of OpenCV's headers: it is unpacked, not installed.
$(PLAYERS)/gst-launch-1.0: $(wildcard tests/players/* tests/players/src/*)
	@echo "make: building GStreamer's WHEP players for the tests (once, some minutes)"
	multiarch=$$(dpkg-architecture --query DEB_HOST_MULTIARCH)
	rm -rf $(PLAYERS)/dev && mkdir -p $(PLAYERS)/dev && cd $(PLAYERS)/dev
	if ! apt-get download --quiet libgstreamer-plugins-bad1.0-dev >/dev/null 2>&1; then
	  # On a machine on which nothing was missing the lists of packages may be missing too.
	  as_root=()
	  if [ "$$(id -u)" != 0 ]; then as_root=(sudo); fi
	  echo "make: the lists of packages are missing, and are fetched now with: $${as_root[*]:+$${as_root[*]} }apt-get update"
	  "$${as_root[@]}" apt-get update --quiet
	  apt-get download --quiet libgstreamer-plugins-bad1.0-dev
	fi
	dpkg --extract libgstreamer-plugins-bad1.0-dev_*.deb .
	sed "s|^libdir=.*|libdir=$$PWD|" "usr/lib/$$multiarch/pkgconfig/gstreamer-webrtc-1.0.pc" >gstreamer-webrtc-1.0.pc
	ln -sf "/usr/lib/$$multiarch/libgstwebrtc-1.0.so.0" libgstwebrtc-1.0.so
	export PKG_CONFIG_PATH=$$PWD
	cd $(CURDIR)
	cargo build --locked --quiet --manifest-path tests/players/Cargo.toml --target-dir $(PLAYERS)/build
	cp $(PLAYERS)/build/debug/gst-players $@

$(TARGET)/amqtt/bin/amqtt: Makefile
	@echo "make: installing a broker for the tests with: pip install amqtt==$(AMQTT) (into $(TARGET)/amqtt)"
	rm -rf $(TARGET)/amqtt
	python3 -m venv $(TARGET)/amqtt
	$(TARGET)/amqtt/bin/pip install --quiet --disable-pip-version-check amqtt==$(AMQTT)
	touch $@

# The program that the tests run, as a package, for the tests of installing it.
.PHONY: test-deb
test-deb: build-packages rust page
	@$(call cargo_tool,deb,$(CARGO_DEB))
	cargo test --locked --no-run --quiet
	cross/deb.sh --debug >/dev/null 2>&1

.PHONY: build release
build: build-packages rust page ## the daemon with its page, for development: target/debug/porthole
	@cargo build --locked
release: build-packages rust page ## the daemon with its page, small and fast: target/release/porthole
	@cargo build --locked --release

.PHONY: viewer page
viewer: build-packages page ## the page alone: viewer/dist
page: viewer/dist/index.html

viewer/dist/index.html: viewer/node_modules/.package-lock.json $(shell find viewer/src viewer/npm -type f) viewer/build.mjs
	@echo "make: building the page"
	cd viewer
	npm run --silent build
	touch dist/index.html

viewer/node_modules/.package-lock.json: viewer/package.json viewer/package-lock.json
	@echo "make: installing the page's own packages with: npm ci (into viewer/node_modules)"
	cd viewer
	npm ci --no-audit --no-fund
	touch node_modules/.package-lock.json

.PHONY: clean
clean: ## removes what was built here
	@rm -rf $(TARGET) viewer/dist viewer/dist-npm viewer/node_modules

.PHONY: build-packages run-packages test-packages lab-packages lint-packages cross-packages image-packages card-packages \
	repo-packages imager-packages
imager-packages:
	@$(call install,$(IMAGER_PACKAGES))
repo-packages:
	@$(call install,$(REPO_PACKAGES))
image-packages:
	@$(call install,$(IMAGE_PACKAGES))
card-packages:
	@$(call install,$(BUILD_PACKAGES) $(NODE_PACKAGES) $(RUN_PACKAGES) $(CARD_PACKAGES))
build-packages:
	@$(call install,$(BUILD_PACKAGES) $(NODE_PACKAGES))
run-packages:
	@$(call install,$(BUILD_PACKAGES) $(NODE_PACKAGES) $(RUN_PACKAGES))
test-packages:
	@$(call install,$(BUILD_PACKAGES) $(NODE_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES) $(PACKAGE_PACKAGES) $(REPO_PACKAGES) $(if $(CAN_LAB),$(LAB_PACKAGES)))
lab-packages:
	@$(call install,$(BUILD_PACKAGES) $(NODE_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES) $(LAB_PACKAGES))
cross-packages:
	@$(call install,$(BUILD_PACKAGES) $(NODE_PACKAGES) $(CROSS_PACKAGES))
lint-packages:
	@$(call install,$(BUILD_PACKAGES) $(NODE_PACKAGES) $(LINT_PACKAGES))

.PHONY: rust
rust:
	@want=$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
	have=$$(rustc --version 2>/dev/null | cut -d' ' -f2) || true
	if [ -z "$$have" ] || ! command -v cargo >/dev/null; then
	  echo "make: Rust is missing. Install it from https://rustup.rs (Debian's own is too old), then run make again." >&2
	  exit 1
	fi
	if [ "$$(printf '%s\n%s\n' "$$want" "$$have" | sort -V | sed -n 1p)" != "$$want" ]; then
	  echo "make: this is Rust $$have, and Porthole needs $$want or newer. Update it with: rustup update stable" >&2
	  echo "      (This one is $$(command -v rustc); Debian's own cannot be updated: install from https://rustup.rs.)" >&2
	  exit 1
	fi
