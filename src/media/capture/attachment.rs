//! A camera whose node is gone while its hardware is still there: somebody has switched it off in software.
//!
//! That is done by taking its driver away (`unbind`, `rmmod`) or by forbidding its USB device (`authorized`). Only sysfs tells it from a
//! plug that was pulled, and a moment later: the kernel takes the node away first.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::media::error::MediaError;

/// Where the kernel shows its video devices.
const SYSFS: &str = "/sys/class/video4linux";
/// What a device that is pulled out takes to vanish after its node, and more.
const UNPLUGGED_WITHIN: Duration = Duration::from_millis(900);

/// The hardware behind a node.
#[derive(Debug)]
struct Hardware {
    node: PathBuf,
    /// Its folder in sysfs.
    folder: PathBuf,
    /// Of the folder: plugged in anew it has another one.
    inode: u64,
}

impl Hardware {
    fn behind(sysfs: &Path, node: &Path) -> Option<Self> {
        let device = fs::canonicalize(sysfs.join(node.file_name()?).join("device")).ok()?;
        // Of a USB device the node belongs to an interface, which goes with its permission.
        let usb = device.parent().filter(|parent| parent.join("idVendor").exists());
        let folder = usb.map_or_else(|| device.clone(), Path::to_owned);
        let inode = fs::metadata(&folder).ok()?.ino();
        Some(Self { node: node.to_owned(), folder, inode })
    }

    fn is_there(&self) -> bool {
        fs::metadata(&self.folder).is_ok_and(|found| found.ino() == self.inode)
    }
}

/// What is remembered of the camera that was there last.
#[derive(Debug)]
pub struct Attachment {
    sysfs: PathBuf,
    last: Option<Hardware>,
    gone_since: Option<Instant>,
}

impl Default for Attachment {
    fn default() -> Self {
        Self::within(SYSFS.into())
    }
}

impl Attachment {
    fn within(sysfs: PathBuf) -> Self {
        Self { sysfs, last: None, gone_since: None }
    }

    /// A camera was found at `node`, or none is needed.
    pub fn found(&mut self, node: Option<&Path>) {
        self.gone_since = None;
        self.last = node.and_then(|node| Hardware::behind(&self.sysfs, node));
    }

    /// `error`, or what it really is where no camera was found.
    pub fn explain(&mut self, error: MediaError, now: Instant) -> MediaError {
        if !matches!(error, MediaError::NoCamera | MediaError::DeviceMissing { .. }) {
            return error;
        }
        if self.last.as_ref().is_some_and(|hardware| !hardware.is_there()) {
            self.last = None;
        }
        let Some(hardware) = &self.last else { return error };
        let since = *self.gone_since.get_or_insert(now);
        if now.saturating_duration_since(since) < UNPLUGGED_WITHIN {
            return error;
        }
        MediaError::SwitchedOff { device: hardware.node.display().to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const NODE: &str = "/dev/video3";

    /// A camera in a sysfs of its own; its USB device's folder and that of the interface.
    fn machine(is_usb: bool) -> (tempfile::TempDir, Attachment, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("devices/1-2");
        let interface = device.join("1-2:1.0");
        fs::create_dir_all(&interface).unwrap();
        if is_usb {
            fs::write(device.join("idVendor"), "1d6b").unwrap();
        }
        let class = root.path().join("class");
        fs::create_dir_all(class.join("video3")).unwrap();
        symlink(&interface, class.join("video3/device")).unwrap();
        let mut attachment = Attachment::within(class.clone());
        attachment.found(Some(Path::new(NODE)));
        fs::remove_dir_all(class.join("video3")).unwrap();
        (root, attachment, device, interface)
    }

    fn looks(attachment: &mut Attachment, apart: Duration) -> [MediaError; 2] {
        let now = Instant::now();
        [now, now + apart].map(|at| attachment.explain(MediaError::NoCamera, at))
    }

    #[test]
    fn a_driver_that_was_taken_away_and_a_usb_device_that_was_forbidden_are_no_pulled_plug() {
        for forbidden in [false, true] {
            let (_root, mut attachment, _, interface) = machine(true);
            if forbidden {
                fs::remove_dir_all(&interface).unwrap();
            }
            let [first, second] = looks(&mut attachment, Duration::from_secs(1));
            assert!(matches!(first, MediaError::NoCamera), "it may be on its way out: {first}");
            assert!(matches!(&second, MediaError::SwitchedOff { device } if device == NODE), "{second}");
        }
        let (_root, mut attachment, ..) = machine(false);
        assert!(matches!(looks(&mut attachment, Duration::from_secs(1))[1], MediaError::SwitchedOff { .. }));
    }

    #[test]
    fn a_pulled_plug_stays_one_whatever_is_plugged_in_there_later() {
        let (_root, mut attachment, device, _) = machine(true);
        // In its place before the old one goes: a folder never has a number that is in use.
        let successor = device.with_file_name("successor");
        fs::create_dir_all(&successor).unwrap();
        fs::remove_dir_all(&device).unwrap();
        fs::rename(&successor, &device).unwrap();
        let seen = looks(&mut attachment, Duration::from_secs(60));
        assert!(seen.iter().all(|error| matches!(error, MediaError::NoCamera)), "{seen:?}");
    }

    #[test]
    fn looks_in_a_row_and_other_troubles_say_what_they_said() {
        let (_root, mut attachment, ..) = machine(true);
        let [_, second] = looks(&mut attachment, Duration::from_millis(100));
        assert!(matches!(second, MediaError::NoCamera), "{second}");
        let busy = attachment.explain(MediaError::DeviceBusy { device: NODE.into() }, Instant::now());
        assert!(matches!(busy, MediaError::DeviceBusy { .. }));
        let mut never = Attachment::default();
        assert!(matches!(looks(&mut never, Duration::from_secs(9))[1], MediaError::NoCamera));
    }
}
