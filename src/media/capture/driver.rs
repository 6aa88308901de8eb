//! Calls into drivers, and their nodes in messages.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// A path for messages.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Calls into `v4l`, turning a panic of it into an error.
pub(crate) fn guarded<T>(call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|_| Err(io::Error::other("the driver's answer could not be read")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_library_becomes_an_error() {
        let result: io::Result<()> = guarded(|| {
            let steps = std::hint::black_box(0_usize);
            (0..3).step_by(steps).for_each(drop);
            Ok(())
        });
        assert!(result.is_err());
    }
}
