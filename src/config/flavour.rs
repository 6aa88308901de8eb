//! What a configuration is for.

/// Which defaults apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `porthole run`: a broker must be named.
    Run,
    /// `porthole demo`: embedded broker, a camera or the test picture.
    Demo,
}
