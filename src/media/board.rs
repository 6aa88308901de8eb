//! What this machine is, and how much video work its processor carries.

use std::fs;

/// How much encoding on the processor a board carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardClass {
    /// One or few slow cores: Raspberry Pi Zero, 1 and 2.
    Weak,
    /// Small picture sizes: Raspberry Pi 3 and 4, most ARM boards.
    Medium,
    /// 1280x720 at 30 in software: Raspberry Pi 5 and 400's successors, PCs.
    Strong,
}

/// This board's name for people: the device tree's model, else the PC's product name.
pub fn board() -> String {
    let sources = [
        "/proc/device-tree/model",
        "/sys/devices/virtual/dmi/id/product_name",
        "/sys/devices/virtual/dmi/id/board_name",
    ];
    let read = |path: &&str| {
        let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
        // The device tree's strings end with a NUL.
        let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned();
        (!text.is_empty()).then_some(text)
    };
    sources.iter().find_map(read).unwrap_or_else(|| format!("{} computer", std::env::consts::ARCH))
}

/// Number of processor cores this process may use, at least one.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Classifies a board by its model text, processor architecture and number of cores.
pub fn classify(model: &str, arch: &str, cores: usize) -> BoardClass {
    if model.starts_with("Raspberry Pi") {
        let rest = model.trim_start_matches("Raspberry Pi").trim_start();
        return match rest {
            rest if rest.starts_with("Zero 2") => BoardClass::Medium,
            rest if rest.starts_with("Zero") || rest.starts_with('2') => BoardClass::Weak,
            rest if rest.starts_with("Model") || rest.starts_with("Compute Module Rev") => BoardClass::Weak,
            rest if rest.starts_with('5') || rest.starts_with("Compute Module 5") => BoardClass::Strong,
            _ => BoardClass::Medium,
        };
    }
    match (arch, cores) {
        (_, 1) | ("arm", _) => BoardClass::Weak,
        ("x86_64", _) => BoardClass::Strong,
        (_, cores) if cores >= 8 => BoardClass::Strong,
        _ => BoardClass::Medium,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boards_are_classified() {
        for (model, arch, cores, class) in [
            ("Raspberry Pi Zero W Rev 1.1", "arm", 1, BoardClass::Weak),
            ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", 4, BoardClass::Medium),
            ("Raspberry Pi Model B Plus Rev 1.2", "arm", 1, BoardClass::Weak),
            ("Raspberry Pi 2 Model B Rev 1.1", "arm", 4, BoardClass::Weak),
            ("Raspberry Pi 3 Model B Rev 1.2", "aarch64", 4, BoardClass::Medium),
            ("Raspberry Pi 4 Model B Rev 1.4", "aarch64", 4, BoardClass::Medium),
            ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", 4, BoardClass::Strong),
            ("Standard PC (Q35 + ICH9, 2009)", "x86_64", 2, BoardClass::Strong),
            ("QEMU", "x86_64", 1, BoardClass::Weak),
            ("linux,dummy-virt", "aarch64", 4, BoardClass::Medium),
        ] {
            assert_eq!(classify(model, arch, cores), class, "{model}");
        }
    }

    #[test]
    fn this_machine_has_a_name() {
        let name = board();
        assert!(!name.is_empty() && !name.contains('\0'));
        assert!(cores() >= 1);
    }
}
