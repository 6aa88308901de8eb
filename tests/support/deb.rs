//! The Debian package that `make test` packed, and a later version of it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What `make test` packed: this very build, as a Debian package.
pub fn package() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_porthole"));
    let folder = built.parent().and_then(Path::parent).expect("the target folder").join("package/debug");
    let newest = std::fs::read_dir(&folder)
        .map(|files| files.flatten().map(|file| file.path()).collect::<Vec<_>>())
        .unwrap_or_default();
    let package = newest.into_iter().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let package = package.unwrap_or_else(|| panic!("no package in {}: make test-deb", folder.display()));
    let made = |path: &Path| path.metadata().and_then(|file| file.modified()).expect("its age");
    assert!(made(&package) >= made(built), "the package is older than the build: make test-deb");
    package
}

/// The same package as a later version, which ships another example configuration.
pub fn later_version(of: &Path, into: &Path) -> PathBuf {
    let (tree, later) = (into.join("tree"), into.join("later.deb"));
    let script = "dpkg-deb -R \"$1\" \"$2\" && sed -i 's/^Version: .*/Version: 99.0-1/' \"$2/DEBIAN/control\" && \
                  echo '# a later example' >>\"$2/etc/porthole/porthole.toml\" && \
                  dpkg-deb --root-owner-group -b -Znone \"$2\" \"$3\"";
    let done =
        Command::new("sh").args(["-ec", script, "sh"]).args([of, &tree, &later]).output().expect("run sh");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    later
}
