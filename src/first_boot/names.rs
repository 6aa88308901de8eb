//! Names of the files.

/// The configuration, on the card and where the daemon looks.
pub(super) const TOML: &str = "porthole.toml";
/// Variables for the daemon's service, which win over the configuration.
pub(super) const ENV: &str = "porthole.env";
/// Where the card says what is wrong.
pub const ERROR_FILE: &str = "porthole-error.txt";
