//! The Debian package, in the lab machine: installed, looked at, hung, upgraded, removed, purged.

mod support;

use std::process::Command;
use std::time::Instant;

use support::browser::Browser;
use support::daemon::DEVICE;
use support::deb::{later_version, package};
use support::lab::{GUEST, HOST, Lab, assert_colour_bars_in_motion, in_namespace};
use support::viewer::Dashboard;

/// A line by which an installer's own file is known again.
const MARK: &str = "# edited by the installer";

#[test]
fn lintian_finds_no_error() {
    let Ok(output) =
        Command::new("lintian").args(["--allow-root", "--fail-on", "error"]).arg(package()).output()
    else {
        eprintln!(
            "SKIPPED: there is no lintian on this machine; install the package lintian to run this test"
        );
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_installed_package_from_first_picture_to_purge() {
    if !in_namespace("an_installed_package_from_first_picture_to_purge") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::up();
        lab.must(&["camera", "on"]);
        lab.start_broker();
        lab.install(&package());
        the_service_is_locked_up_and_well(&lab);
        a_picture_comes_without_any_configuration(&lab).await;
        let mut dashboard = an_installer_names_a_broker(&lab).await;
        a_daemon_that_hangs_is_brought_back(&lab, &mut dashboard).await;
        an_upgrade_keeps_what_was_edited(&lab, &mut dashboard).await;
        the_boot_partition_is_taken_over(&lab, &mut dashboard).await;
        removing_keeps_the_configuration_and_purging_nothing(&lab);
    });
}

fn the_service_is_locked_up_and_well(lab: &Lab) {
    assert_eq!((lab.service("ActiveState").as_str(), lab.service("NRestarts").as_str()), ("active", "0"));
    let status = lab.service("StatusText");
    assert!(status.contains("nobody watches"), "{status}");
    assert_eq!(
        lab.run("systemctl is-system-running || systemctl --failed --no-legend --plain").trim(),
        "running"
    );
    assert_eq!(lab.service("UnitFileState"), "enabled");
    let owner = lab.run("stat -c '%U:%G %a' /etc/porthole /var/lib/porthole");
    assert_eq!(owner, "root:porthole 750\nporthole:porthole 750\n");
    let verdict = lab.run("systemd-analyze security --no-pager porthole.service | tail -n 1");
    let exposure = verdict.split_whitespace().find_map(|word| word.parse::<f64>().ok());
    assert!(exposure.is_some_and(|exposure| exposure <= 2.0), "{verdict}");
    eprintln!("{}", verdict.trim());
}

/// The second command after the package's installation, and the last: its link opens the picture.
async fn a_picture_comes_without_any_configuration(lab: &Lab) {
    let printed = lab.run("porthole grant me 2>/dev/null");
    let link = printed.lines().next().expect("a link").to_owned();
    assert!(
        link.starts_with(&format!("http://{GUEST}:8080/#broker=ws://{GUEST}:9001/mqtt&device=")),
        "{link}"
    );
    // Root made it, and the daemon's user has to read it.
    let owners = lab.run("cd /var/lib/porthole && stat -c '%U %a %n' identity grants.json access.lock");
    assert_eq!(owners, "porthole 600 identity\nporthole 600 grants.json\nporthole 600 access.lock\n");
    let Some(browser) = Browser::start().await else { return };
    browser.open(&format!("http://{GUEST}:8080/")).await;
    browser.phase("refused").await;
    let words = browser.words().await;
    assert!(words.contains("sudo porthole grant NAME"), "{words}");
    browser.open(&link).await;
    browser.phase("live").await;
    browser.frames_advance(20).await;
    assert_colour_bars_in_motion(&browser).await;
    browser.close().await;
    let journal = lab.run("journalctl -u porthole --no-pager -o cat");
    assert!(journal.contains("vivid"), "it was another camera: {journal}");
}

async fn an_installer_names_a_broker(lab: &Lab) -> Dashboard {
    lab.run(&format!(
        "cd /etc/porthole && sed -i -e 's|^url = .*|url = \"mqtt://{HOST}:1883\"|' \
         -e 's|^#id = .*|id = \"{DEVICE}\"|' porthole.toml && echo '{MARK}' >>porthole.toml && porthole check"
    ));
    let mut dashboard = Dashboard::open(HOST, 1883).await;
    let started = Instant::now();
    lab.run("systemctl restart porthole");
    dashboard.availability("online").await;
    eprintln!("from `systemctl restart` to `online`: {:.1} s", started.elapsed().as_secs_f32());
    dashboard
}

/// Stopped like by a kernel bug: it neither answers nor dies.
async fn a_daemon_that_hangs_is_brought_back(lab: &Lab, dashboard: &mut Dashboard) {
    lab.run(
        "mkdir -p /run/systemd/system/porthole.service.d && \
         printf '[Service]\\nWatchdogSec=6\\n' >/run/systemd/system/porthole.service.d/20-test.conf && \
         systemctl daemon-reload && systemctl restart porthole",
    );
    let pid = lab.service("MainPID");
    lab.run(&format!("kill -STOP {pid}"));
    lab.run(
        "timeout 120 sh -c 'until [ \"$(systemctl show porthole -P NRestarts)\" = 1 ] && \
         systemctl --quiet is-active porthole; do sleep 1; done'",
    );
    let journal = lab.run("journalctl -u porthole --no-pager -o cat");
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    assert_ne!(lab.service("MainPID"), pid);
    dashboard.new_state("the device is back", |state| state["camera"]["state"] == "idle").await;
    dashboard.availability("online").await;
    lab.run("rm -r /run/systemd/system/porthole.service.d && systemctl daemon-reload");
}

async fn an_upgrade_keeps_what_was_edited(lab: &Lab, dashboard: &mut Dashboard) {
    let dir = tempfile::tempdir().expect("a directory for the package");
    let pid = lab.service("MainPID");
    lab.must(&["push", later_version(&package(), dir.path()).to_str().expect("UTF-8"), "/root/later.deb"]);
    lab.run("dpkg --force-confdef --force-confold -i /root/later.deb </dev/null 2>&1");
    assert_eq!(lab.run("dpkg-query -W -f '${Version}' porthole"), "99.0-1");
    assert!(lab.run("cat /etc/porthole/porthole.toml").contains(MARK), "the edited configuration is gone");
    assert!(lab.run("cat /etc/porthole/porthole.toml.dpkg-dist").contains("a later example"));
    assert_eq!(lab.service("ActiveState"), "active");
    assert_ne!(lab.service("MainPID"), pid, "the old program still runs");
    dashboard.new_state("the device is back", |state| state["camera"]["state"] == "idle").await;
    dashboard.availability("online").await;
}

/// What the unit does at each start of a board, with a folder in place of the partition: first a mistake, then none,
/// both as Windows saves a file.
async fn the_boot_partition_is_taken_over(lab: &Lab, dashboard: &mut Dashboard) {
    assert_eq!(lab.run("systemctl is-enabled porthole-firstboot").trim(), "enabled");
    lab.run("systemctl start porthole-firstboot && mkdir -p /boot/firmware");
    assert_eq!(
        lab.run("systemctl is-system-running").trim(),
        "running",
        "nothing to take over is no failure"
    );
    let left = |fps: &str| {
        format!(
            "printf '\\357\\273\\277{MARK}\\r\\n[device]\\r\\nid = \"{DEVICE}\"\\r\\nname = \"From the card\"\\r\\n[mqtt]\\r\\n\
             url = \"mqtt://{HOST}:1883\"\\r\\n[camera]\\r\\nfps = {fps}\\r\\n' >/boot/firmware/porthole.toml; "
        )
    };
    let said = lab.run(&format!(
        "{} systemctl start porthole-firstboot 2>&1 || true; cat /boot/firmware/porthole-error.txt",
        left("0")
    ));
    assert!(said.contains("camera.fps") && said.contains("\r\n"), "{said:?}");
    assert!(
        !lab.run("cat /etc/porthole/porthole.toml").contains("From the card"),
        "a wrong file was taken over"
    );
    lab.run(&format!("{} systemctl start porthole-firstboot", left("15")));
    assert_eq!(lab.run("cd /boot/firmware && ls porthole*").trim(), "porthole.toml.taken");
    lab.run("systemctl restart porthole");
    dashboard.info("the name from the card", |info| info["name"] == "From the card").await;
    assert_eq!(lab.run("systemctl is-system-running").trim(), "running");
    lab.run("rm -r /boot/firmware");
}

fn removing_keeps_the_configuration_and_purging_nothing(lab: &Lab) {
    lab.run("dpkg -r porthole 2>&1");
    assert_eq!(lab.run("pidof porthole || echo none").trim(), "none");
    assert!(lab.run("cat /etc/porthole/porthole.toml").contains(MARK), "the configuration is gone");
    assert_eq!(lab.run("command -v porthole || echo none").trim(), "none");
    lab.run("dpkg -P porthole 2>&1");
    let left =
        lab.run("find / -xdev -name '*porthole*' ! -path '/proc/*' ! -path '/root/*' ! -path '/sys/*'");
    assert_eq!(left, "", "purging left something");
    assert_eq!(lab.run("systemctl is-system-running").trim(), "running");
}
