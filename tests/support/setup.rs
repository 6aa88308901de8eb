//! `porthole setup` as a process, and what it leaves behind.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::mpsc::{self, Receiver};

use super::daemon::porthole;

/// For messages.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `porthole setup --output FILE` with more arguments, nobody at its stdin.
pub fn setup(file: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["setup", "--output", file.to_str().expect("UTF-8")];
    all.extend(arguments);
    porthole(&all).output().expect("run porthole setup")
}

/// It worked; gives what it printed.
pub fn assert_done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// It ended with this code and said these words.
pub fn assert_refused(output: &Output, code: i32, words: &[&str]) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

/// What `porthole check` says of it, which has to be good.
pub fn checked(file: &Path) -> String {
    let output = porthole(&["check", "--config", file.to_str().expect("UTF-8")]).output().expect("run check");
    assert_done(&output)
}

/// Its permissions.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o777
}

/// What is in a folder.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The viewing link among what was printed.
pub fn link(printed: &str) -> String {
    printed.lines().find(|line| line.starts_with("http://")).expect("a link").to_owned()
}

/// What a process prints, as it comes, so that it can be waited for with a limit.
pub fn pieces(mut output: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (out, pieces) = mpsc::sync_channel(1000);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = output.read(&mut buffer) {
            if out.send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    pieces
}
