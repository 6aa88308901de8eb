//! Figures of this process and board, pulled when somebody wants them.
#![cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "reads what the kernel itself holds"))]

use std::fs;
use std::time::{Duration, Instant};

use rustix::param::page_size;
use serde::Serialize;

/// Kernel clock ticks a second in `/proc`; fixed at 100 for user space on Linux.
const TICKS_PER_S: f64 = 100.0;

/// `state.system` of protocol.md section 3.2.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SystemFigures {
    /// Percent of one core since the last reading.
    pub cpu: f64,
    /// Resident memory in bytes.
    pub rss: u64,
    /// Of the processor in °C, where the board tells.
    pub temperature: Option<f64>,
    /// How strong the wireless network is heard, in dBm, where the board is on one.
    pub rssi: Option<f64>,
}

/// Reads [`SystemFigures`]; keeps what a rate needs.
pub struct System {
    started: Instant,
    last: Option<(Instant, f64)>,
}

impl System {
    /// Figures from now on.
    pub fn new() -> Self {
        Self { started: Instant::now(), last: None }
    }

    /// Time since the process got here.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The figures now.
    pub fn read(&mut self) -> SystemFigures {
        let now = Instant::now();
        let used_s = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat));
        let cpu = match (self.last, used_s) {
            (Some((then, before)), Some(used)) if now > then => {
                round1((used - before) / now.duration_since(then).as_secs_f64() * 100.0)
            }
            _ => 0.0,
        };
        if let Some(used) = used_s {
            self.last = Some((now, used));
        }
        SystemFigures { cpu, ..snapshot() }
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

/// What needs no earlier reading: all but `cpu`, which is 0.
pub fn snapshot() -> SystemFigures {
    let rss =
        fs::read_to_string("/proc/self/statm").ok().and_then(|statm| resident_bytes(&statm, page_size()));
    let temperature = fs::read_to_string("/sys/class/thermal/thermal_zone0/temp").ok();
    SystemFigures {
        cpu: 0.0,
        rss: rss.unwrap_or(0),
        temperature: temperature.and_then(|text| text.trim().parse::<f64>().ok()).map(|milli| milli / 1000.0),
        rssi: fs::read_to_string("/proc/net/wireless").ok().and_then(|table| signal_dbm(&table)),
    }
}

/// Processor time that this process has used, in seconds of one core; steps of 10 ms.
pub fn cpu_used_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    cpu_seconds(&stat).unwrap_or_default()
}

/// One decimal is all that people read.
pub fn round1(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// User and system time; the command name before them may hold spaces and brackets (proc(5)).
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let user: f64 = fields.get(11)?.parse().ok()?;
    let system: f64 = fields.get(12)?.parse().ok()?;
    Some((user + system) / TICKS_PER_S)
}

/// The signal level of the first wireless interface that has one. Drivers that know no dBm give positive numbers.
fn signal_dbm(table: &str) -> Option<f64> {
    let level = |line: &str| {
        line.split_once(':')?.1.split_ascii_whitespace().nth(2)?.trim_end_matches('.').parse().ok()
    };
    table.lines().filter_map(level).find(|level: &f64| (-120.0..0.0).contains(level))
}

/// Pages are of 4 KiB on most boards, and of 16 KiB on a Raspberry Pi 5.
fn resident_bytes(statm: &str, page_bytes: usize) -> Option<u64> {
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(page_bytes).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_parsed_past_odd_names() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 4 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nonsense"), None);
        assert_eq!(resident_bytes("100 25 3", 4096), Some(102_400));
        assert_eq!(resident_bytes("100 25 3", 16_384), Some(409_600));
    }

    #[test]
    fn the_wireless_level_is_read_where_there_is_one() {
        let head = "Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE\n \
                    face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22\n";
        let table =
            format!("{head} wlan0: 0000   54.  -56.  -256        0      0      0      0      0        0\n");
        assert_eq!(signal_dbm(&table), Some(-56.0));
        assert_eq!(signal_dbm(head), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(System::new().read().rss > 1_000_000);
    }
}
