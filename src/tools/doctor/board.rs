//! The board itself: clock, disk, memory, temperature, throttling.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, access, statvfs};
use tokio::process::Command;
use tokio::time::timeout;

use super::report::Finding;

/// Clocks before it are wrong: this program is younger (20454 days after 1970 is 2026-01-01).
const YOUNGER_THAN: Duration = Duration::from_hours(20_454 * 24);
/// Written by systemd-timesyncd once it has set the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
const TIMEDATECTL_LIMIT: Duration = Duration::from_secs(3);
/// What the daemon keeps is a few bytes; a card this full breaks everything else on the board.
const LOW_DISK_BYTES: u64 = 50 * 1024 * 1024;
/// A daemon with some viewers takes this much.
const LOW_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// Raspberry Pis slow down from 80 °C on (85 °C hard), most other boards later.
const HOT_C: f64 = 80.0;
const MIB: u64 = 1024 * 1024;

/// Everything about the board. `needs_clock`: certificates are checked against it.
pub(super) async fn check(state_dir: &Path, needs_clock: bool) -> Vec<Finding> {
    let mut findings = vec![clock(SystemTime::now(), synchronised().await, needs_clock), disk(state_dir)];
    findings.push(memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default()));
    findings.push(temperature(&temperatures()));
    findings.extend(throttling(Path::new("/sys")));
    findings
}

/// Whether the clock follows a time server; `None` when nobody here knows.
async fn synchronised() -> Option<bool> {
    if Path::new(SYNCHRONISED).exists() {
        return Some(true);
    }
    // It asks the kernel, so that it knows of chrony and ntpd too.
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = timeout(TIMEDATECTL_LIMIT, asked).await.ok()?.ok()?;
    match String::from_utf8_lossy(&answer.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn clock(now: SystemTime, synchronised: Option<bool>, needs_clock: bool) -> Finding {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let shown = humantime::format_rfc3339_seconds(now);
    if since_1970 < YOUNGER_THAN {
        let what = format!("it is not {shown}");
        let next =
            "set the clock (sudo timedatectl set-ntp true); boards without a battery need a time server";
        return if needs_clock {
            Finding::fail("clock", format!("{what}: the broker's certificate will look not yet valid"))
                .next(next)
        } else {
            Finding::warn("clock", format!("{what}; times in `state` and in the log will be wrong"))
                .next(next)
        };
    }
    match synchronised {
        Some(true) => Finding::ok("clock", format!("{shown}, follows a time server")),
        Some(false) => Finding::warn("clock", format!("{shown}, not set by any time server"))
            .next("sudo timedatectl set-ntp true, and see that the network lets NTP through"),
        None => Finding::ok("clock", format!("{shown}; whether a time server keeps it is not known here")),
    }
}

fn disk(state_dir: &Path) -> Finding {
    let existing = nearest_existing(state_dir);
    let shown = state_dir.display();
    let who = "the daemon will forget the privacy switch over a restart";
    if let Err(error) = access(&existing, Access::WRITE_OK | Access::EXEC_OK) {
        return Finding::warn("disk", format!("{shown} cannot be written ({error}): {who}")).next(format!(
            "give the daemon's user the folder (sudo install -d -o porthole {shown}), or change device.state_dir"
        ));
    }
    let made = if existing == state_dir { "" } else { " (made when needed)" };
    match statvfs(&existing) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let words = format!("{shown}{made} can be written, {} MiB free", free / MIB);
            let finding = if free < LOW_DISK_BYTES {
                Finding::warn("disk", words)
                    .next("make room: sudo journalctl --vacuum-size=50M, sudo apt-get clean")
            } else {
                Finding::ok("disk", words)
            };
            finding.figure("free_bytes", free)
        }
        Err(error) => Finding::warn("disk", format!("the free space of {shown} is not known: {error}")),
    }
}

/// `path`, or the folder above it in which it would be made.
fn nearest_existing(path: &Path) -> PathBuf {
    let existing = path.ancestors().find(|folder| folder.exists());
    existing.unwrap_or(Path::new("/")).to_owned()
}

fn memory(meminfo: &str) -> Finding {
    let bytes = |key: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
    };
    let (Some(available), Some(total)) = (bytes("MemAvailable:"), bytes("MemTotal:")) else {
        return Finding::skip("memory", "this kernel does not tell");
    };
    let words = format!("{} of {} MiB available", available / MIB, total / MIB);
    let finding = if available < LOW_MEMORY_BYTES {
        Finding::warn("memory", words)
            .next("stop what else runs, or set a smaller camera.width and camera.height")
    } else {
        Finding::ok("memory", words)
    };
    finding.figure("available_bytes", available)
}

/// All thermal zones that answer, in °C, with their names.
fn temperatures() -> Vec<(String, f64)> {
    let zones = fs::read_dir("/sys/class/thermal").into_iter().flatten().flatten();
    let zone = |path: PathBuf| {
        let milli: f64 = fs::read_to_string(path.join("temp")).ok()?.trim().parse().ok()?;
        let name = fs::read_to_string(path.join("type")).ok()?;
        Some((name.trim().to_owned(), milli / 1000.0))
    };
    zones.filter_map(|entry| zone(entry.path())).collect()
}

fn temperature(zones: &[(String, f64)]) -> Finding {
    let hottest = zones.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let Some((name, celsius)) = hottest else {
        return Finding::skip("temperature", "no sensor here");
    };
    let words = format!("{celsius:.0} °C ({name})");
    let finding = if *celsius >= HOT_C {
        Finding::warn("temperature", format!("{words}: the board slows down to cool off"))
            .next("a heat sink or a fan; less work: a smaller size, a lower camera.fps")
    } else {
        Finding::ok("temperature", words)
    };
    finding.figure("celsius", crate::base::stats::round1(*celsius))
}

/// What a Raspberry Pi's firmware says of its power and pace; nothing on other boards.
fn throttling(sys: &Path) -> Option<Finding> {
    let firmware = sys.join("devices/platform/soc/soc:firmware/get_throttled");
    if let Ok(text) = fs::read_to_string(firmware) {
        return u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok().map(throttled);
    }
    let sensors = fs::read_dir(sys.join("class/hwmon")).into_iter().flatten().flatten();
    let named =
        |path: &PathBuf| fs::read_to_string(path.join("name")).is_ok_and(|name| name.trim() == "rpi_volt");
    let sensor = sensors.map(|entry| entry.path()).find(named)?;
    let alarm = fs::read_to_string(sensor.join("in0_lcrit_alarm")).ok()?;
    Some(throttled(u32::from(alarm.trim() == "1") << 16))
}

/// The firmware's bits: 0 to 3 now, 16 to 19 since the board was started.
fn throttled(bits: u32) -> Finding {
    const MEANINGS: [&str; 4] =
        ["too little voltage", "processor capped", "processor throttled", "soft temperature limit"];
    let named = |shift: u32| {
        let set = MEANINGS.iter().enumerate().filter(|(bit, _)| bits >> shift >> bit & 1 == 1);
        set.map(|(_, meaning)| *meaning).collect::<Vec<_>>().join(", ")
    };
    let (now, before) = (named(0), named(16));
    let advice = if bits & 0x1_0001 != 0 {
        "use the power supply that the board asks for, and a short cable"
    } else {
        "a heat sink or a fan; less work: a smaller size, a lower camera.fps"
    };
    let finding = match (now.is_empty(), before.is_empty()) {
        (true, true) => Finding::ok("throttling", "none since the board was started"),
        (false, _) => Finding::warn("throttling", format!("now: {now}")).next(advice),
        (true, false) => Finding::warn("throttling", format!("since the start: {before}")).next(advice),
    };
    finding.figure("throttled_bits", bits)
}

#[cfg(test)]
mod tests {
    use super::super::report::Severity;
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_board_that_believes_in_1970_cannot_use_certificates() {
        assert_eq!(clock(at(100), None, true).verdict, Severity::Fail);
        assert_eq!(clock(at(100), Some(true), false).verdict, Severity::Warn);
        let (now, know) = (at(1_800_000_000), |known| clock(at(1_800_000_000), known, true).verdict);
        assert_eq!(
            [know(Some(true)), know(Some(false)), know(None)],
            [Severity::Ok, Severity::Warn, Severity::Ok]
        );
        assert!(clock(now, None, true).what.starts_with("2027-01-15T"), "{:?}", clock(now, None, true));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let inside = dir.path().join("made/later");
        let good = disk(&inside);
        assert_eq!(good.verdict, Severity::Ok, "{good:?}");
        assert!(good.what.contains("made when needed") && !inside.exists(), "{good:?}");
        assert!(good.figures["free_bytes"].as_u64() > Some(0), "{good:?}");
        // A file where the folder should be: not even root can write there.
        let file = dir.path().join("file");
        fs::write(&file, "").expect("write");
        let bad = disk(&file.join("state"));
        assert_eq!(bad.verdict, Severity::Warn, "{bad:?}");
        assert!(bad.what.contains("file/state") && bad.next.is_some(), "{bad:?}");
    }

    #[test]
    fn memory_is_read_from_the_kernel() {
        let low = memory("MemTotal:         443064 kB\nMemFree: 1 kB\nMemAvailable:      40000 kB\n");
        assert_eq!((low.verdict, low.what.as_str()), (Severity::Warn, "39 of 432 MiB available"));
        assert_eq!(memory(&fs::read_to_string("/proc/meminfo").expect("/proc")).area, "memory");
        assert_eq!(memory("").verdict, Severity::Skip);
    }

    #[test]
    fn the_hottest_zone_counts() {
        let zones = [("cpu-thermal".to_owned(), 82.3), ("gpu".to_owned(), 50.0)];
        let hot = temperature(&zones);
        assert_eq!(hot.verdict, Severity::Warn);
        assert!(hot.what.starts_with("82 °C (cpu-thermal)"), "{hot:?}");
        assert_eq!(temperature(&zones[1..]).verdict, Severity::Ok);
        assert_eq!(temperature(&[]).verdict, Severity::Skip);
    }

    #[test]
    fn the_firmwares_bits_are_put_into_words() {
        assert_eq!(throttled(0).verdict, Severity::Ok);
        let now = throttled(0x5_0005);
        assert_eq!(now.what, "now: too little voltage, processor throttled");
        assert!(now.next.is_some_and(|next| next.contains("power supply")));
        let before = throttled(0x8_0000);
        assert_eq!(before.what, "since the start: soft temperature limit");
        assert!(before.next.is_some_and(|next| next.contains("fan")));
    }

    #[test]
    fn both_places_where_a_pi_tells_are_read() {
        let sys = tempfile::tempdir().expect("a folder");
        assert_eq!(throttling(sys.path()), None);
        let hwmon = sys.path().join("class/hwmon/hwmon1");
        fs::create_dir_all(&hwmon).expect("a folder");
        fs::write(hwmon.join("name"), "rpi_volt\n").expect("write");
        fs::write(hwmon.join("in0_lcrit_alarm"), "1\n").expect("write");
        let found = throttling(sys.path()).expect("a finding");
        assert_eq!(found.what, "since the start: too little voltage");
        let firmware = sys.path().join("devices/platform/soc/soc:firmware");
        fs::create_dir_all(&firmware).expect("a folder");
        fs::write(firmware.join("get_throttled"), "50005\n").expect("write");
        assert_eq!(throttling(sys.path()).expect("a finding").figures["throttled_bits"], 0x5_0005);
    }
}
