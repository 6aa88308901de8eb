//! Writes the man pages and the completions of the shells into a folder: what the package carries of clap's
//! knowledge, without the daemon having to carry the generators.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap_complete::Shell;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: manual FOLDER");
        return ExitCode::from(64);
    };
    match write(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: cannot write into {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(porthole::cli::command(), folder)?;
    for (shell, name) in
        [(Shell::Bash, "porthole.bash"), (Shell::Zsh, "_porthole"), (Shell::Fish, "porthole.fish")]
    {
        let mut file = File::create(folder.join(name))?;
        clap_complete::generate(shell, &mut porthole::cli::command(), "porthole", &mut file);
    }
    Ok(())
}
