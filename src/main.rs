//! The `porthole` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    porthole::cli::main()
}
