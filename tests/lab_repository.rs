//! How a fleet gets the package: Debian's own cloud-init, as Raspberry Pi OS has it, installs it at a board's first start from the
//! repository that `make repo` writes, and apt upgrades it from there. In the lab machine; the repository is served beside it.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::daemon::DEVICE;
use support::deb::{later_version, package};
use support::lab::{HOST, Lab, in_namespace};
use support::viewer::Dashboard;

const KEY: &str = "Test of a fleet <fleet@example.org>";
const PORT: u16 = 8000;

/// A repository with a key of its own, and a web server that has the folder.
struct Repository {
    dir: tempfile::TempDir,
    server: Child,
}

impl Repository {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("repo");
        std::fs::create_dir(&folder).expect("a folder");
        let made = "mkdir -m 700 gpg && gpg --batch --quiet --passphrase '' --quick-generate-key \"$1\" ed25519 sign never";
        let mut gpg = Command::new("sh");
        gpg.args(["-ec", made, "sh", KEY]).current_dir(dir.path()).env("GNUPGHOME", dir.path().join("gpg"));
        assert!(gpg.status().expect("run gpg").success());
        let arguments = ["-m", "http.server", "--bind", HOST, &PORT.to_string()];
        let mut server = Command::new("/usr/bin/python3");
        server.args(arguments).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
        Self { dir, server: server.spawn().expect("run Python's web server") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn script(&self, name: &str, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cross").join(name);
        let mut command = Command::new(script);
        command.args(arguments).env("GNUPGHOME", self.path("gpg"));
        let output = command.output().expect("run the script");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `make repo` with this package, too.
    fn add(&self, package: &Path) {
        let (folder, package) = (self.path("repo"), package.to_str().expect("UTF-8"));
        self.script("repo.sh", &[folder.to_str().expect("UTF-8"), KEY, package]);
    }

    /// The file for a board's boot partition, as `make repo URL=…` writes it.
    fn cloud_init(&self) -> PathBuf {
        let (file, keyring) = (self.path("vendor-data"), self.path("repo/porthole-archive-keyring.gpg"));
        let url = format!("http://{HOST}:{PORT}");
        self.script(
            "cloud-init.sh",
            &[file.to_str().expect("UTF-8"), &url, keyring.to_str().expect("UTF-8")],
        );
        file
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("gpgconf").env("GNUPGHOME", self.path("gpg")).args(["--kill", "all"]).output();
    }
}

/// What Imager writes where somebody fills in its page of settings: each key that it uses but Wi-Fi's is there.
const IMAGERS: &str = "#cloud-config
hostname: front-door
manage_etc_hosts: true
packages:
- kmod
apt:
  conf: |
    Acquire {
      Check-Date \"false\";
    };
timezone: Etc/UTC
users:
- name: visitor
  groups: users,video
  shell: /bin/bash
  lock_passwd: true
  ssh_authorized_keys:
    - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEl4bGFiIGtleSBmb3IgdGVzdHMgb25seSAwMDAwMDAw somebody
  sudo: ALL=(ALL) NOPASSWD:ALL
runcmd:
  - [ touch, /root/imagers-own-command ]
";

#[test]
#[ignore = "minutes of an emulated machine: `make test-long` runs it"]
fn a_board_installs_itself_by_cloud_init_and_upgrades_by_apt() {
    if !in_namespace("a_board_installs_itself_by_cloud_init_and_upgrades_by_apt") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::up();
        lab.start_broker();
        let repository = Repository::new();
        repository.add(&package());
        the_boot_partition_is_prepared(&lab, &repository);
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        cloud_init_installs_the_package(&lab);
        dashboard.availability("online").await;
        dashboard.info("the installer's name", |info| info["name"] == "From the card").await;
        apt_upgrades_it(&lab, &repository);
        dashboard.new_state("the device is back", |state| state["camera"]["state"].is_string()).await;
        nothing_that_others_signed_is_taken(&lab, &repository);
    });
}

/// A folder in place of the partition: Imager's file, ours and the camera's configuration.
fn the_boot_partition_is_prepared(lab: &Lab, repository: &Repository) {
    // Debian's mirrors are out of reach here: the repository is all that apt has.
    lab.run("mkdir -p /boot/firmware && rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*");
    let put = |name: &str, text: &str| {
        let file = repository.path(name);
        std::fs::write(&file, text).expect("write");
        lab.must(&["push", file.to_str().expect("UTF-8"), &format!("/boot/firmware/{name}")]);
    };
    put("user-data", IMAGERS);
    put("meta-data", "instance-id: a-board\n");
    put(
        "porthole.toml",
        &format!(
            "[device]\r\nid = \"{DEVICE}\"\r\nname = \"From the card\"\r\n[mqtt]\r\nurl = \"mqtt://{HOST}:1883\"\r\n"
        ),
    );
    let ours = repository.cloud_init();
    lab.must(&["push", ours.to_str().expect("UTF-8"), "/boot/firmware/vendor-data"]);
    let said = lab.run("cloud-init schema --config-file /boot/firmware/vendor-data 2>&1");
    assert!(said.contains("Valid schema"), "{said}");
}

/// The stages in the order in which a start of the board runs them.
fn cloud_init_installs_the_package(lab: &Lab) {
    assert_eq!(lab.run("command -v porthole || echo none").trim(), "none");
    lab.run("rm /etc/cloud/cloud-init.disabled");
    for stage in ["init --local", "init", "modules --mode=config", "modules --mode=final"] {
        lab.run(&format!("cloud-init {stage} >>/root/cloud-init.log 2>&1 || [ $? = 2 ]"));
    }
    let said = lab.run("cat /root/cloud-init.log; cloud-init query userdata vendordata >/dev/null; cloud-id");
    assert!(said.contains("nocloud"), "{said}");
    let waited = "timeout 280 sh -c 'until [ \"$(systemctl is-enabled porthole-install)\" = disabled ]; do sleep 1; done' || \
                  { journalctl -u porthole-install --no-pager -o cat; exit 1; }";
    lab.run(waited);
    // From the repository, and not from a file.
    let policy = lab.run("apt-cache policy porthole");
    assert!(policy.contains(&format!("http://{HOST}:{PORT} stable/main")), "{policy}");
    assert_eq!(lab.service("ActiveState"), "active");
    assert_eq!(lab.run("ls /boot/firmware | grep porthole").trim(), "porthole.toml.taken");
    // What Imager asked for is done as well.
    assert_eq!(lab.run("hostname; ls /root/imagers-own-command; id -un visitor").lines().count(), 3);
    assert_eq!(lab.run("hostname").trim(), "front-door");
}

fn apt_upgrades_it(lab: &Lab, repository: &Repository) {
    let dir = tempfile::tempdir().expect("a folder");
    let pid = lab.service("MainPID");
    repository.add(&later_version(&package(), dir.path()));
    lab.run(
        "apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get upgrade --quiet=2 --yes 2>&1",
    );
    assert_eq!(lab.run("dpkg-query -W -f '${Version}' porthole"), "99.0-1");
    assert_eq!(lab.service("ActiveState"), "active");
    assert_ne!(lab.service("MainPID"), pid, "the old program still runs");
    assert!(
        lab.run("cat /etc/porthole/porthole.toml").contains("From the card"),
        "the configuration is gone"
    );
    // And back.
    let back = "DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --allow-downgrades \
                porthole=\"$(apt-cache madison porthole | awk 'NR == 2 { print $3 }')\" 2>&1";
    lab.run(back);
    assert_ne!(lab.run("dpkg-query -W -f '${Version}' porthole"), "99.0-1");
    assert_eq!(lab.service("ActiveState"), "active");
}

fn nothing_that_others_signed_is_taken(lab: &Lab, repository: &Repository) {
    let list = repository.path("repo/dists/stable/InRelease");
    let text = std::fs::read_to_string(&list).expect("the list of lists");
    std::fs::write(&list, text.replace("Origin: Porthole", "Origin: Somebody")).expect("write");
    let said = lab.run("apt-get update --error-on=any 2>&1 && echo taken || true");
    assert!(!said.ends_with("taken\n"), "{said}");
}
