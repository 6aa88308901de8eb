//! The default device id: the host name, unless every card of an image has that one.

use std::fs;

use crate::signaling::topic::Id;

/// Host names that many boards share. Two devices with one id throw each other off the broker.
const SHARED_NAMES: [&str; 6] = ["raspberrypi", "raspberry", "debian", "localhost", "porthole", "raspios"];
/// Characters of a serial that tell boards apart: the last ones.
const SERIAL_CHARACTERS: usize = 8;

/// The id of this machine.
pub fn default_id() -> Id {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let serial = ["/proc/device-tree/serial-number", "/etc/machine-id"]
        .iter()
        .find_map(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    choose(&host, &serial)
}

/// The host name with everything that an id may not hold replaced; with the end of the board's (or
/// the system's) serial behind it where the name is one of [`SHARED_NAMES`].
fn choose(host: &str, serial: &str) -> Id {
    let host: String = host
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
        .take(64)
        .collect();
    let serial: Vec<char> = serial.chars().filter(char::is_ascii_alphanumeric).collect();
    let end: String = serial[serial.len().saturating_sub(SERIAL_CHARACTERS)..].iter().collect();
    let is_shared = host.is_empty() || SHARED_NAMES.contains(&host.to_ascii_lowercase().as_str());
    let id = if is_shared && !end.is_empty() { format!("porthole-{end}") } else { host };
    Id::new(&id).unwrap_or_else(|_| Id::new("porthole").unwrap_or_else(|_| Id::default_session()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_its_own_is_the_id() {
        assert_eq!(choose("front-door\n", "10000000abcdef12\0").as_str(), "front-door");
        assert_eq!(choose("küche.local", "1").as_str(), "k-che-local");
    }

    #[test]
    fn cloned_cards_do_not_collide() {
        assert_eq!(choose("raspberrypi\n", "10000000abcdef12\0").as_str(), "porthole-abcdef12");
        assert_eq!(choose("Debian", "6f2d").as_str(), "porthole-6f2d");
        assert_eq!(choose("", "0123456789").as_str(), "porthole-23456789");
    }

    #[test]
    fn without_a_serial_the_name_must_do() {
        assert_eq!(choose("porthole", "").as_str(), "porthole");
        assert_eq!(choose("", "\0\n").as_str(), "porthole");
    }
}
