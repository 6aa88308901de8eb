//! A camera that is pulled out and put back fifty times under two viewers, in the lab machine.
//!
//! Most rounds are as fast as the camera comes back; in each fifth it stays away until words are shown in its place. What is promised
//! (words within 2 s, the camera within 5 s) is printed as figures: the emulated processor is no board and has other work beside, so
//! the median is held, with room. The sessions stay the same ones, their time goes forward, and the daemon does not grow.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::daemon::Settings;
use support::lab::{HOST, Lab, in_namespace};
use support::viewer::Dashboard;
use support::watcher::Watcher;

const ROUNDS: usize = 50;
/// What is promised, and the room that the emulation is given.
const SAID_WITHIN: Duration = Duration::from_secs(2);
const BACK_WITHIN: Duration = Duration::from_secs(5);
const ROOM: u32 = 4;
/// In one of so many rounds the camera stays away until words are shown.
const WORDS_EACH: usize = 5;
/// The daemon's memory may grow by so much from the tenth round to the last: an allocator's play.
const GROWTH_KIB: u64 = 12 * 1024;

/// The daemon's log as it is written, each line with the guest's time.
struct Log {
    follower: Child,
    lines: Receiver<(f64, String)>,
}

impl Log {
    fn follow(lab: &Lab) -> Self {
        let mut follower = lab.started("journalctl -fu porthole -n 1 -o short-unix --no-pager");
        let output = BufReader::new(follower.stdout.take().expect("its output"));
        let (sender, lines) = sync_channel(100_000);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let Some((at, text)) = line.split_once(' ') else { continue };
                let Ok(at) = at.parse() else { continue };
                if sender.send((at, text.to_owned())).is_err() {
                    return;
                }
            }
        });
        // The last line from before: what is written from now on is read.
        assert!(lines.recv_timeout(support::PATIENCE).is_ok(), "the daemon has no log");
        Self { follower, lines }
    }

    /// When the next line with `text` was written.
    fn next(&self, text: &str) -> f64 {
        let deadline = Instant::now() + support::PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (at, line) = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("never logged: {text}"));
            if line.contains(text) {
                return at;
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        Lab::end(&mut self.follower);
    }
}

/// The cable: has the driver's bus lose the camera, or find it. One shell in the guest for all rounds, as beginning another costs as
/// much as a round.
struct Cable {
    shell: Child,
    told: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Cable {
    fn new(lab: &Lab) -> Self {
        let mut shell = lab.told(
            "while read -r what; do echo $EPOCHREALTIME; echo vivid.0 >/sys/bus/platform/drivers/vivid/$what; done",
        );
        let (told, said) = (shell.stdin.take().expect("its input"), shell.stdout.take().expect("its output"));
        Self { shell, told, said: BufReader::new(said) }
    }

    /// Gives the guest's time right before.
    fn is(&mut self, what: &str) -> f64 {
        writeln!(self.told, "{what}").expect("a shell that listens");
        let mut at = String::new();
        self.said.read_line(&mut at).expect("an answer");
        at.trim().parse().expect("a time")
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        Lab::end(&mut self.shell);
    }
}

fn memory_kib(lab: &Lab) -> u64 {
    let status = lab.run("sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$(pidof porthole)/status");
    status.trim().parse().expect("a number")
}

fn sessions(state: &Value) -> Vec<(String, String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let rows = state["viewers"]["sessions"].as_array().cloned().unwrap_or_default();
    let mut rows: Vec<_> =
        rows.iter().map(|row| (text(row, "viewer"), text(row, "session"), text(row, "since"))).collect();
    rows.sort();
    rows
}

/// Median and worst, in ms.
fn figures(mut times: Vec<Duration>) -> (u128, u128) {
    times.sort();
    let at = |index: usize| times.get(index).map_or(0, Duration::as_millis);
    (at(times.len() / 2), at(times.len().saturating_sub(1)))
}

#[test]
fn fifty_times_unplugged_and_plugged_in_again_under_two_viewers() {
    if !in_namespace("fifty_times_unplugged_and_plugged_in_again_under_two_viewers") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut lab = Lab::installed();
        lab.must(&["camera", "on"]);
        lab.start_broker();
        // As little to encode as there can be: how fast that goes is not what is asked.
        let settings = Settings::new(&format!("mqtt://{HOST}:1883")).text("camera.device", "auto");
        let settings = settings.value("camera.height", 180).value("camera.fps", 10);
        lab.configure(&settings.text("http.listen", "0.0.0.0:8080"));
        lab.run("systemctl restart porthole");
        let mut dashboard = Dashboard::open(HOST, 1883).await;
        dashboard.availability("online").await;
        let viewers = [Watcher::join("one").await, Watcher::join("two").await];
        for viewer in &viewers {
            viewer.shows(3, "of the camera").await;
        }
        dashboard.camera("live").await;
        let before = sessions(&dashboard.viewers(2).await);
        let (gaps, returns) = rounds(&lab, &viewers).await;
        let both = |state: &Value| state["viewers"]["count"] == 2;
        assert_eq!(before, sessions(&dashboard.new_state("both viewers", both).await), "they are other sessions");
        for viewer in &viewers {
            viewer.assert_well("after all rounds");
        }
        let ((gap, worst_gap), (back, latest)) = (figures(gaps), figures(returns));
        println!(
            "{ROUNDS} rounds: longest time without a picture, median {gap} ms, worst {worst_gap} ms; the camera is back after, \
             median {back} ms, worst {latest} ms"
        );
        assert!(gap < (SAID_WITHIN * ROOM).as_millis(), "neither camera nor words for {gap} ms");
        assert!(back < (BACK_WITHIN * ROOM).as_millis(), "it came back after {back} ms");
    });
}

/// The longest time without a picture of each round, for both, and the time from the plug to the live camera.
async fn rounds(lab: &Lab, viewers: &[Watcher]) -> (Vec<Duration>, Vec<Duration>) {
    let (log, mut cable) = (Log::follow(lab), Cable::new(lab));
    let (mut gaps, mut returns, mut tenth_kib) = (Vec::new(), Vec::new(), 0);
    // The first is for what the guest loads but once, and no figure counts it.
    for round in 0..=ROUNDS {
        let begun = Instant::now();
        cable.is("unbind");
        log.next("→ lost");
        if round % WORDS_EACH == 0 {
            log.next("a placeholder is shown");
            for viewer in viewers {
                viewer.shows(1, "of words").await;
            }
        }
        let plugged = cable.is("bind");
        let live = log.next("→ live");
        for viewer in viewers {
            viewer.shows(1, "of the camera that is back").await;
        }
        if round > 0 {
            gaps.extend(viewers.iter().map(|viewer| viewer.longest_gap(begun)));
            returns.push(Duration::from_secs_f64((live - plugged).max(0.0)));
        }
        eprintln!("round {round}: {:.1} s", begun.elapsed().as_secs_f32());
        if round == 10 {
            tenth_kib = memory_kib(lab);
        }
    }
    let last_kib = memory_kib(lab);
    println!("memory after ten rounds {tenth_kib} KiB, after all {last_kib} KiB");
    assert!(last_kib < tenth_kib + GROWTH_KIB, "it grows: {tenth_kib} KiB, then {last_kib} KiB");
    (gaps, returns)
}
