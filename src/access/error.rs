//! What goes wrong in the state directory.

/// Why something of the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Reading or writing failed.
    #[error("cannot {what} {}: {reason}; check device.state_dir and who may write there", path.display())]
    File {
        /// `read`, `write`, `lock`.
        what: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// The system's own words.
        reason: std::io::Error,
    },
    /// There is something in it that we did not write.
    #[error("{} is damaged ({problem}); {remedy}", path.display())]
    Damaged {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// There is a grant of that name already.
    #[error("there is a grant `{0}` already; `porthole revoke {0}` first, or choose another name")]
    Exists(crate::signaling::topic::Id),
    /// There is no such grant.
    #[error("there is no grant `{0}`; `porthole grants` lists them")]
    Unknown(crate::signaling::topic::Id),
    /// The list is full.
    #[error("there are {0} grants already; revoke some first")]
    Full(usize),
    /// No random numbers.
    #[error(transparent)]
    NoRandom(#[from] super::proof::NoRandom),
}
