//! Where sound comes from, found and ready to be opened.

/// What is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The test tone.
    Test,
}

/// A microphone that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Microphone {
    /// What is opened.
    pub source: Source,
    /// In words for people.
    pub card: String,
}
