//! Which process has a file or a port, from /proc: the answer to "busy".
#![cfg_attr(room_lint, allow(clippy::disallowed_methods, reason = "reads what the kernel itself holds"))]

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// State `LISTEN` in /proc/net/tcp.
const LISTEN: &str = "0A";
/// The state of bound sockets in /proc/net/udp.
const BOUND: &str = "07";

/// A process as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: u32,
    pub name: String,
    /// It is a daemon of this program.
    pub is_porthole: bool,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Who has something open.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    pub processes: Vec<Process>,
    /// Some processes of other users could not be looked into.
    pub hidden: bool,
}

impl Holders {
    /// The daemon of this program among them. Where another user's processes cannot be looked into, a
    /// daemon that runs at all is taken for it.
    pub fn porthole(&self) -> Option<Process> {
        let found = self.processes.iter().find(|process| process.is_porthole).cloned();
        found.or_else(|| if self.hidden && self.processes.is_empty() { daemon() } else { None })
    }

    /// In words, for a sentence: "in use by …".
    pub fn words(&self) -> String {
        let names: Vec<String> = self.processes.iter().map(ToString::to_string).collect();
        match (names.is_empty(), self.hidden) {
            (false, _) => names.join(", "),
            (true, true) => "a process of another user (sudo porthole doctor can name it)".to_owned(),
            (true, false) => "a process that cannot be seen from here".to_owned(),
        }
    }
}

/// Who has this file open.
pub(crate) fn holders_of_file(path: &Path) -> Holders {
    let wanted = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    holders(|target| target == wanted)
}

/// Who listens at this TCP address.
pub(crate) fn holders_of_port(address: SocketAddr) -> Holders {
    holders_of_socket(["/proc/net/tcp", "/proc/net/tcp6"], address.port(), LISTEN)
}

/// Who has this UDP port at any address.
pub(crate) fn holders_of_udp_port(port: u16) -> Holders {
    holders_of_socket(["/proc/net/udp", "/proc/net/udp6"], port, BOUND)
}

fn holders_of_socket(tables: [&str; 2], port: u16, state: &str) -> Holders {
    let inodes: Vec<PathBuf> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes_in(&table, port, state))
        .map(|inode| PathBuf::from(format!("socket:[{inode}]")))
        .collect();
    holders(|target| inodes.iter().any(|inode| inode == target))
}

/// The sockets at `port` in this state, from a table of proc_net(5).
fn inodes_in(table: &str, port: u16, state: &str) -> Vec<u64> {
    let rows = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let listens = |row: &Vec<&str>| {
        let local = row.get(1).and_then(|local| local.rsplit_once(':'));
        let local = local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        local == Some(port) && row.get(3) == Some(&state)
    };
    rows.filter(listens).filter_map(|row| row.get(9)?.parse().ok()).collect()
}

fn holders(is_wanted: impl Fn(&Path) -> bool) -> Holders {
    let mut holders = Holders::default();
    for pid in pids().filter(|pid| *pid != std::process::id()) {
        match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(files) => {
                let mut targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
                if targets.any(|target| is_wanted(&target)) {
                    holders.processes.push(process(pid));
                }
            }
            Err(error) => holders.hidden |= error.kind() == std::io::ErrorKind::PermissionDenied,
        }
    }
    holders
}

/// A running daemon of this program, whoever's it is.
fn daemon() -> Option<Process> {
    pids().filter(|pid| *pid != std::process::id()).map(process).find(|process| process.is_porthole)
}

/// The user that this process acts for, by name where the system has one for the number.
pub(crate) fn own_user() -> String {
    // The owner of /proc/self is the effective user.
    let uid = fs::metadata("/proc/self").map_or_else(|_| String::new(), |process| process.uid().to_string());
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    user_name(&passwd, &uid).unwrap_or(&uid).to_owned()
}

/// The name in the first field, the number in the third (passwd(5)).
fn user_name<'a>(passwd: &'a str, uid: &str) -> Option<&'a str> {
    let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields.get(2) == Some(&uid)).map(|fields| fields[0])
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The process of this number, as far as it can be seen.
pub(crate) fn process(pid: u32) -> Process {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments: Vec<String> =
        line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = if comm.trim().is_empty() { "a process".to_owned() } else { comm.trim().to_owned() };
    Process { pid, is_porthole: is_daemon(&arguments), name }
}

/// `porthole run` or `porthole demo`, wherever the program is.
fn is_daemon(arguments: &[String]) -> bool {
    let program = arguments.first().map(|program| Path::new(program).file_name());
    program.flatten().is_some_and(|name| name == "porthole")
        && arguments.get(1).is_some_and(|command| command == "run" || command == "demo")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_told_apart_from_the_one_that_holds() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut holder = std::process::Command::new("sleep")
            .arg("60")
            .stdin(file.reopen().expect("the file again"))
            .spawn()
            .expect("run sleep");
        let holders = holders_of_file(file.path());
        let _ = holder.kill();
        let _ = holder.wait();
        let pids: Vec<u32> = holders.processes.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [holder.id()], "this process has it open too, and is not meant");
        assert_eq!(holders.words(), format!("sleep (pid {})", holder.id()));
        assert_eq!(holders.porthole(), None);
    }

    #[test]
    fn listening_sockets_are_found_in_the_kernels_table() {
        let table = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:075B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0 100 0
   1: 0100007F:075B 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 43 1 0 100 0
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 44 1 0 100 0
nonsense
";
        assert!(inodes_in(table, 1883, BOUND).is_empty(), "another state");
        assert_eq!(inodes_in(table, 1883, LISTEN), [42]);
        assert_eq!(inodes_in(table, 8080, LISTEN), [44]);
        assert!(inodes_in(table, 1, LISTEN).is_empty());
        let ours = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = ours.local_addr().expect("an address");
        assert!(holders_of_port(address).processes.is_empty(), "this process itself is not meant");
    }

    #[test]
    fn users_have_names() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/none\n";
        assert_eq!((user_name(passwd, "0"), user_name(passwd, "65534")), (Some("root"), Some("nobody")));
        assert_eq!(user_name(passwd, "7"), None);
        assert!(!own_user().is_empty());
    }

    #[test]
    fn a_daemon_is_known_by_its_command_line() {
        let line = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert!(is_daemon(&line(&["/usr/bin/porthole", "run", "--config", "x"])));
        assert!(is_daemon(&line(&["porthole", "demo"])));
        assert!(!is_daemon(&line(&["porthole", "doctor"])));
        assert!(!is_daemon(&line(&["vim", "porthole", "run"])));
        assert!(!is_daemon(&[]));
    }
}
