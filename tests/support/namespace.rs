//! A network of a test's own: the test runs again in a namespace with one bridge, where it may drop packets.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Set in the copy of this program that runs inside the namespace.
const INSIDE: &str = "NETWORK_TEST_INSIDE";
/// The machine's address in the namespace's only network, on the bridge `br0`.
pub const HOST: &str = "10.78.0.1";
/// Another one of it.
pub const SECOND: &str = "10.78.0.2";

/// Runs `test` again in a namespace with a network of its own. True where the test itself is to run.
pub fn inside(test: &str, programs: &[(&str, &str)]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run("ip link set lo up");
        run("ip link add br0 type bridge");
        run("ip link set br0 up");
        for address in [HOST, SECOND] {
            run(&format!("ip address add {address}/24 dev br0"));
        }
        return true;
    }
    for (program, package) in programs.iter().chain(&[("unshare", "util-linux"), ("ip", "iproute2")]) {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        if !found.is_ok_and(|found| found.status.success()) {
            eprintln!("SKIPPED: there is no {program}; install the package {package} to run this test");
            return false;
        }
    }
    let can = Command::new("unshare").args(["--net", "true"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: only root may make the network namespace that this test needs");
        return false;
    }
    let this = std::env::current_exe().expect("this program");
    let status = Command::new("unshare")
        .args(["--net", "--"])
        .arg(this)
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status();
    assert!(status.expect("run unshare").success(), "the test failed inside its namespace");
    false
}

/// Runs a shell command that has to succeed.
pub fn run(command: &str) {
    let done = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).status();
    assert!(done.expect("run a shell").success(), "{command}");
}

/// A second machine: a namespace of its own with one link to the bridge. Gone on drop.
pub struct Neighbour {
    /// A process that keeps it until its input is closed, also by the end of this program.
    keeper: Child,
    /// The bridge's end of its link.
    link: String,
}

impl Neighbour {
    /// Joins the network with this address.
    pub fn join(address: &str) -> Self {
        let mut keeper = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run unshare");
        let mut ready = String::new();
        let output = keeper.stdout.as_mut().expect("its output");
        BufReader::new(output).read_line(&mut ready).expect("a namespace");
        let (pid, link) = (keeper.id(), format!("to-{}", keeper.id()));
        run(&format!("ip link add {link} type veth peer name eth0 netns {pid}"));
        run(&format!("ip link set {link} master br0 up"));
        let neighbour = Self { keeper, link };
        for command in [
            "link set lo up".to_owned(),
            format!("address add {address}/24 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("route add default via {HOST}"),
        ] {
            let done = neighbour.command(Command::new("ip").args(command.split(' '))).status();
            assert!(done.expect("run nsenter").success(), "ip {command}");
        }
        neighbour
    }

    /// The same command, to be run there.
    pub fn command(&self, command: &Command) -> Command {
        let mut there = Command::new("nsenter");
        there.arg(format!("--net=/proc/{}/ns/net", self.keeper.id())).arg("--");
        there.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }

    /// Pulls its cable: no word of farewell gets out, and nothing comes in any more.
    pub fn unplug(&self) {
        run(&format!("ip link set {} down", self.link));
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Drops what comes in and fits `rule`, and counts it.
pub fn drop_incoming(rule: &str) {
    run("nft add table inet test");
    run("nft 'add chain inet test in { type filter hook input priority 0; }'");
    run(&format!("nft 'add rule inet test in {rule} counter drop'"));
}

/// How many [`drop_incoming`] has dropped.
pub fn dropped() -> u64 {
    let output =
        Command::new("nft").args(["--json", "list", "table", "inet", "test"]).output().expect("run nft");
    let rules: Value = serde_json::from_slice(&output.stdout).expect("nft speaks JSON");
    let counters = rules["nftables"].as_array().into_iter().flatten();
    counters
        .flat_map(|entry| entry["rule"]["expr"].as_array().cloned().unwrap_or_default())
        .find_map(|expression| expression["counter"]["packets"].as_u64())
        .expect("a counter")
}
