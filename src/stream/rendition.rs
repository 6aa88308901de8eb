//! Which rendition of the picture one viewer gets, and which it is to get.

use std::sync::atomic::{AtomicU8, Ordering};

/// A rendition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rendition {
    /// As the camera delivers it.
    #[default]
    Full = 0,
    /// Scaled down, for paths that carry far less than the others'.
    Small = 1,
}

impl Rendition {
    /// As `state` writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Small => "small",
        }
    }

    fn of(number: u8) -> Self {
        if number == Self::Small as u8 { Self::Small } else { Self::Full }
    }
}

/// One viewer's place. Two plain values: whoever reads an old one is told the new one a moment later.
#[derive(Debug, Default)]
pub struct ViewerRendition {
    wanted: AtomicU8,
    current: AtomicU8,
}

impl ViewerRendition {
    /// Moves the viewer at the next key frame of `rendition`; returns whether that is news.
    pub fn want(&self, rendition: Rendition) -> bool {
        self.wanted.swap(rendition as u8, Ordering::Relaxed) != rendition as u8
    }

    /// What it is to get.
    pub fn wanted(&self) -> Rendition {
        Rendition::of(self.wanted.load(Ordering::Relaxed))
    }

    /// What it gets.
    pub fn current(&self) -> Rendition {
        Rendition::of(self.current.load(Ordering::Relaxed))
    }

    /// A key frame of `rendition` is on its way.
    pub(super) fn arrived(&self, rendition: Rendition) {
        self.current.store(rendition as u8, Ordering::Relaxed);
    }
}
