//! The docs' recipes: what is printed there, and a shell to run it in.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

/// A file of the repository.
pub fn doc(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The section below this heading.
pub fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

/// The commands of the indented blocks, each without its explanation behind three spaces. What is indented further, and what
/// follows a command in the background, belongs to the one before.
pub fn indented(section: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    for line in section.lines().filter_map(|line| line.strip_prefix("    ")) {
        let command = line.trim_start().split("   ").next().unwrap_or_default().trim_end();
        let is_output = command.starts_with('{') || command.is_empty();
        match commands.last_mut() {
            _ if is_output => {}
            Some(before) if line.starts_with(' ') || before.ends_with('&') => {
                before.push('\n');
                before.push_str(command);
            }
            _ => commands.push(command.to_owned()),
        }
    }
    commands
}

/// The blocks in fences of one language.
pub fn fenced(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// A folder to run in, in which `porthole` and `sudo` are ours and a telephone writes what it is told into a file.
pub struct Shell {
    pub dir: tempfile::TempDir,
    path: String,
}

impl Shell {
    pub fn new(further: Option<PathBuf>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let further = further.map(|folder| format!("{}:", folder.display())).unwrap_or_default();
        let path = format!("{}:{further}{path}", dir.path().display());
        let shell = Self { dir, path };
        shell.script("sudo", "exec \"$@\"");
        shell.script("notify-send", "echo \"$@\" >>told");
        shell.porthole("");
        shell
    }

    /// A program of that name, in front of the machine's own.
    pub fn script(&self, name: &str, text: &str) {
        let file = self.dir.path().join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("write");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// `porthole`, with `more` behind its arguments: `--config FILE` where the docs mean the installed one.
    pub fn porthole(&self, more: &str) {
        self.script("porthole", &format!("exec {} \"$@\" {more}", env!("CARGO_BIN_EXE_porthole")));
    }

    /// Runs it for as long as such a recipe needs; those that listen for ever are ended then.
    pub async fn run(&self, command: &str, seconds: u32) -> Output {
        Command::new("timeout")
            .args([&seconds.to_string(), "bash", "-c", command])
            .current_dir(self.dir.path())
            .env("PATH", &self.path)
            // What takes pictures where there is no screen.
            .env("GST_PLUGIN_FEATURE_RANK", "fakevideosink:MAX")
            // Complaints of the players about their network are no fault of ours.
            .env_remove("G_DEBUG")
            .kill_on_drop(true)
            .output()
            .await
            .expect("run timeout and bash")
    }

    /// Runs it, and it must complain of nothing.
    pub async fn well(&self, command: &str, seconds: u32) -> String {
        let done = self.run(command, seconds).await;
        let complaints = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(complaints.is_empty(), "{command}: {complaints}");
        // 124: ended by `timeout`, as what listens for ever is.
        assert!(done.status.success() || done.status.code() == Some(124), "{command}: {:?}", done.status);
        String::from_utf8(done.stdout).expect("UTF-8")
    }
}

/// All files of Markdown in the repository, by their paths in it.
pub fn documents() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let name = entry.file_name().into_string().expect("UTF-8");
            let kind = entry.file_type().expect("its kind");
            let is_ours = !name.starts_with('.')
                && !matches!(name.as_str(), "target" | "node_modules" | "dist" | "dist-npm");
            if kind.is_dir() && is_ours {
                folders.push(entry.path());
            } else if kind.is_file() && entry.path().extension().is_some_and(|kind| kind == "md") {
                let path = entry.path();
                let inside = path.strip_prefix(root).expect("inside");
                found.push(inside.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// A block of code in a document.
pub struct Block {
    /// Of its fence; empty where it is indented.
    pub language: String,
    pub lines: Vec<String>,
}

impl Block {
    /// What a reader would type: after a `$` where there is one, else each line, without what is said about it behind three spaces.
    pub fn commands(&self) -> Vec<String> {
        let typed: Vec<String> =
            self.lines.iter().filter_map(|line| Some(line.strip_prefix("$ ")?.to_owned())).collect();
        let indent = |line: &String| format!("    {line}\n");
        if typed.is_empty() { indented(&self.lines.iter().map(indent).collect::<String>()) } else { typed }
    }

    /// As it stands, without its indent.
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// The blocks of a document; an empty line ends one that is indented.
pub fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut is_fenced, mut is_inside): (Vec<Block>, bool, bool) = (Vec::new(), false, false);
    let begin = |language: &str| Block { language: language.to_owned(), lines: Vec::new() };
    let mut is_after_text = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            is_fenced = !is_fenced;
            is_inside = false;
            if is_fenced {
                blocks.push(begin(language.trim()));
            }
            continue;
        }
        let code = if is_fenced { Some(line) } else { line.strip_prefix("    ").filter(|_| !is_after_text) };
        is_after_text = !is_fenced && code.is_none() && !line.is_empty();
        let Some(code) = code.filter(|code| is_fenced || !code.is_empty()) else {
            is_inside = false;
            continue;
        };
        if !is_fenced && !is_inside {
            blocks.push(begin(""));
            is_inside = true;
        }
        if let Some(block) = blocks.last_mut() {
            block.lines.push(code.to_owned());
        }
    }
    blocks
}

/// Every block of the documentation, with the file that it is in.
pub fn all_blocks() -> Vec<(String, Block)> {
    let of = |file: String| blocks(&doc(&file)).into_iter().map(move |block| (file.clone(), block));
    documents().into_iter().flat_map(of).collect()
}
