//! The apt repository that `make repo` writes, before a real apt with folders of its own: installed from, upgraded, tampered with.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::deb::{later_version, package};
use support::recipes::{doc, indented, section};

const KEY: &str = "Test of packages <packages@example.org>";

/// A repository, whose key it is signed with, and an apt that knows it alone.
struct World {
    dir: tempfile::TempDir,
}

fn skip_without(programs: &[(&str, &str)]) -> bool {
    for (program, package) in programs {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
        if !found.is_ok_and(|found| found.status.success()) {
            eprintln!("SKIPPED: there is no {program}; install the package {package} to run this test");
            return true;
        }
    }
    false
}

fn done(output: &Output) -> String {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

impl World {
    /// `None` where something is missing, which is said.
    fn new() -> Option<Self> {
        let programs =
            [("apt-ftparchive", "apt-utils"), ("apt-get", "apt"), ("gpg", "gnupg"), ("gpgconf", "gnupg")];
        if skip_without(&programs) {
            return None;
        }
        let world = Self { dir: tempfile::tempdir().expect("a folder") };
        let folders = "mkdir -m 700 gpg && mkdir -p etc/apt/sources.list.d etc/apt/apt.conf.d etc/apt/preferences.d \
                       state/lists/partial cache/archives/partial && : >state/status";
        done(
            &Command::new("sh")
                .args(["-ec", folders])
                .current_dir(world.dir.path())
                .output()
                .expect("run sh"),
        );
        world.make_key(KEY);
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", self.path("gpg")).args(["--batch", "--quiet"]);
        command
    }

    fn make_key(&self, name: &str) {
        let made = ["--passphrase", "", "--quick-generate-key", name, "ed25519", "sign", "never"];
        done(&self.gpg().args(made).output().expect("run gpg"));
    }

    /// `make repo` with these packages.
    fn write(&self, key: &str, packages: &[&Path]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cross/repo.sh");
        let mut command = Command::new(script);
        command.env("GNUPGHOME", self.path("gpg")).arg(self.path("repo")).arg(key).args(packages);
        command.output().expect("run repo.sh")
    }

    /// The repository as a source of apt's, trusted by the key that lies in it now: as the documentation prints it.
    fn add_source(&self) {
        let docs = indented(section(&doc("docs/repository.md"), "A device, once"));
        let printed = docs.iter().find(|command| command.starts_with("printf ")).expect("the source");
        let key = self.path("keyring.gpg");
        std::fs::copy(self.path("repo/porthole-archive-keyring.gpg"), &key).expect("the key");
        let meant = printed
            .replace("https://SERVER/porthole", &format!("file:{}", self.path("repo").display()))
            .replace("/etc/apt/keyrings/porthole-archive-keyring.gpg", &key.display().to_string())
            .replace("sudo tee /etc", "tee etc");
        done(
            &Command::new("sh").args(["-ec", &meant]).current_dir(self.dir.path()).output().expect("run sh"),
        );
    }

    /// An apt that has nothing of this machine's but its programs.
    fn apt(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        for (key, folder) in [
            ("Dir::Etc", "etc/apt"),
            ("Dir::State", "state"),
            ("Dir::State::status", "state/status"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg("-o").arg(format!("{key}={}", self.path(folder).display()));
        }
        // Without a user of its own, which could not read this folder.
        command.args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"]);
        command.env("LC_ALL", "C").args(arguments).current_dir(self.path("cache")).output().expect("run apt")
    }

    fn candidate(&self) -> String {
        let said = done(&self.apt("apt-cache", &["policy", "porthole"]));
        let line = said.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        line.unwrap_or_else(|| panic!("no candidate: {said}")).to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Its agent would outlive the test.
        let _ = Command::new("gpgconf").env("GNUPGHOME", self.path("gpg")).args(["--kill", "all"]).output();
    }
}

#[test]
fn apt_installs_from_it_and_upgrades() {
    let Some(world) = World::new() else { return };
    let package = package();
    done(&world.write(KEY, &[&package]));
    world.add_source();
    done(&world.apt("apt-get", &["update"]));
    let first = world.candidate();
    done(&world.apt("apt-get", &["download", "porthole"]));
    let held = |version: &str| {
        let names = std::fs::read_dir(world.path("cache")).expect("its folder").flatten();
        let ours = names.filter(|file| file.file_name().to_string_lossy().starts_with("porthole_"));
        let of_version = ours.filter(|file| file.file_name().to_string_lossy().contains(version));
        of_version.map(|file| std::fs::read(file.path()).expect("the package")).next().expect(version)
    };
    assert_eq!(held(&first), std::fs::read(&package).expect("the package"), "byte for byte");

    let later = later_version(&package, world.dir.path());
    done(&world.write(KEY, &[&later]));
    done(&world.apt("apt-get", &["update"]));
    assert_eq!(world.candidate(), "99.0-1");
    done(&world.apt("apt-get", &["download", "porthole"]));
    assert_eq!(held("99.0-1"), std::fs::read(&later).expect("the package"));
    // Whoever wants to go back finds the older one.
    let said = done(&world.apt("apt-cache", &["madison", "porthole"]));
    assert!(said.contains(&first) && said.contains("99.0-1"), "{said}");
}

/// The package of another processor, as far as apt can tell.
fn package_for(architecture: &str, of: &Path, into: &Path) -> PathBuf {
    let (tree, made) = (into.join(architecture), into.join(format!("{architecture}.deb")));
    let script = "dpkg-deb -R \"$1\" \"$2\" && sed -i \"s/^Architecture: .*/Architecture: $4/\" \"$2/DEBIAN/control\" && \
                  dpkg-deb --root-owner-group -b -Znone \"$2\" \"$3\" && rm -r \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-ec", script, "sh"]).args([of, &tree, &made]).arg(architecture);
    done(&command.output().expect("run sh"));
    made
}

/// One folder serves all boards: each is given the package of its own processor.
#[test]
fn each_architecture_is_given_its_own_package() {
    let Some(world) = World::new() else { return };
    let architectures = ["amd64", "arm64", "armhf"];
    let packages = architectures.map(|architecture| package_for(architecture, &package(), world.dir.path()));
    // One after the other, as `make deb` and `make repo` come: what was there stays.
    for package in &packages {
        done(&world.write(KEY, &[package]));
    }
    world.add_source();
    for (architecture, package) in architectures.iter().zip(&packages) {
        let native = format!("APT::Architecture={architecture}");
        let alone = format!("APT::Architectures={architecture}");
        let apt = |command: &[&str]| {
            done(&world.apt("apt-get", &[&["-o", &native, "-o", &alone], command].concat()))
        };
        apt(&["update"]);
        apt(&["download", "porthole"]);
        let ending = format!("_{architecture}.deb");
        let files = std::fs::read_dir(world.path("cache")).expect("its folder").flatten();
        let got = files.map(|file| file.path()).find(|path| path.to_string_lossy().ends_with(&ending));
        let got = std::fs::read(got.expect("a package of this processor")).expect("the package");
        assert_eq!(got, std::fs::read(package).expect("the package"), "{architecture}");
    }
}

#[test]
fn apt_takes_nothing_that_the_key_has_not_signed() {
    let Some(world) = World::new() else { return };
    let package = package();
    done(&world.write(KEY, &[&package]));
    world.add_source();
    done(&world.apt("apt-get", &["update"]));

    // A list that was changed on its way.
    let lists = world.path("repo/dists/stable/main");
    let tampered =
        "find \"$1\" -type f | while read -r list; do printf '\\nPackage: evil\\n' >>\"$list\"; done";
    let change = Command::new("sh").args(["-ec", tampered, "sh"]).arg(&lists).output().expect("run sh");
    done(&change);
    done(
        &Command::new("sh")
            .args(["-c", "rm -rf state/lists/*; mkdir -p state/lists/partial"])
            .current_dir(world.dir.path())
            .output()
            .expect("run sh"),
    );
    let said = world.apt("apt-get", &["update"]);
    assert!(!said.status.success(), "a list that was changed is taken");

    // All of it, signed anew by somebody else.
    let other = "Somebody else <else@example.org>";
    world.make_key(other);
    done(&world.write(other, &[&package]));
    let said = world.apt("apt-get", &["update"]);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        words.contains("NO_PUBKEY") || words.contains("not signed") || words.contains("signature"),
        "{words}"
    );
    assert!(!said.status.success(), "somebody else's signature is taken: {words}");
}

#[test]
fn what_cannot_be_signed_or_is_no_package_of_ours_is_refused_in_words() {
    let Some(world) = World::new() else { return };
    let package = package();
    let said = world.write("Nobody <nobody@example.org>", &[&package]);
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && words.contains("--quick-generate-key"), "{words}");
    assert!(!world.path("repo/dists/stable").exists());
    let script = world.path("text.deb");
    std::fs::write(&script, "no package").expect("a file");
    assert!(!world.write(KEY, &[&script]).status.success());
    assert!(!world.path("repo/dists/stable").exists());
}
