//! Which sound cards there are, as the kernel tells in /proc/asound.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel tells it.
const PROC: &str = "/proc/asound";
/// The kernel numbers 32 cards at most.
const MAX_CARDS: usize = 32;

/// One PCM device of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcmDevice {
    /// ALSA's number of it, on its card.
    pub number: u32,
    /// In its driver's words.
    pub name: String,
    /// It records.
    pub captures: bool,
    /// It plays.
    pub plays: bool,
}

/// A sound card of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundCard {
    /// ALSA's number of it.
    pub number: u32,
    /// ALSA's short name of it, which stays the same over restarts: `hw:CARD=id`.
    pub id: String,
    /// In its driver's words.
    pub name: String,
    /// By number.
    pub devices: Vec<PcmDevice>,
}

/// Where sound goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoundDirection {
    /// From a microphone.
    Capture,
    /// To a speaker.
    Play,
}

impl SoundCard {
    /// The first of its devices that does this.
    pub fn device(&self, direction: SoundDirection) -> Option<&PcmDevice> {
        self.devices.iter().find(|device| match direction {
            SoundDirection::Capture => device.captures,
            SoundDirection::Play => device.plays,
        })
    }
}

/// The cards of this machine; none where the kernel knows no sound.
pub fn cards() -> Vec<SoundCard> {
    let read = |file| fs::read_to_string(Path::new(PROC).join(file)).unwrap_or_default();
    parsed(&read("cards"), &read("pcm"))
}

/// The lines ` 1 [Device         ]: USB-Audio - USB Audio Device` of /proc/asound/cards, each with a second one of no use, and
/// `01-00: USB Audio : USB Audio : playback 1 : capture 1` of /proc/asound/pcm.
fn parsed(cards: &str, pcm: &str) -> Vec<SoundCard> {
    let card = |line: &str| {
        let (number, rest) = line.split_once('[')?;
        let (id, rest) = rest.split_once("]:")?;
        let name = rest.split_once(" - ").map_or(rest, |(_, name)| name).trim();
        let number = number.trim().parse().ok()?;
        Some(SoundCard { number, id: id.trim().to_owned(), name: name.to_owned(), devices: Vec::new() })
    };
    let mut cards: Vec<SoundCard> = cards.lines().filter_map(card).take(MAX_CARDS).collect();
    for line in pcm.lines() {
        let mut fields = line.split(':').map(str::trim);
        let numbers = fields.next().and_then(|numbers| numbers.split_once('-'));
        let Some((of, number)) =
            numbers.and_then(|(of, number)| Some((of.parse::<u32>().ok()?, number.parse::<u32>().ok()?)))
        else {
            continue;
        };
        let Some(card) = cards.iter_mut().find(|card: &&mut SoundCard| card.number == of) else { continue };
        let rest: Vec<&str> = fields.collect();
        let does = |what: &str| rest.iter().any(|field| field.starts_with(what));
        card.devices.push(PcmDevice {
            number,
            name: rest.get(1).or(rest.first()).unwrap_or(&"").to_string(),
            captures: does("capture "),
            plays: does("playback "),
        });
    }
    cards
}

/// One direction of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcmNode {
    /// The card's number.
    pub card: u32,
    /// The device's number.
    pub device: u32,
    /// Whether it records or plays.
    pub direction: SoundDirection,
}

impl PcmNode {
    fn letter(&self) -> char {
        match self.direction {
            SoundDirection::Capture => 'c',
            SoundDirection::Play => 'p',
        }
    }

    /// The file that is opened.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/dev/snd/pcmC{}D{}{}", self.card, self.device, self.letter()))
    }

    /// The process that has it open, which the kernel tells everybody.
    pub fn owner(&self) -> Option<u32> {
        let folder = format!("{PROC}/card{}/pcm{}{}", self.card, self.device, self.letter());
        let streams = fs::read_dir(folder).ok()?.filter_map(Result::ok);
        let mut status = streams.filter_map(|stream| fs::read_to_string(stream.path().join("status")).ok());
        status.find_map(|status| owner_in(&status))
    }
}

/// The line `owner_pid   : 1234` of a stream's status; one that is closed says `closed`.
fn owner_in(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("owner_pid"))?;
    line.trim_start().strip_prefix(':')?.trim().parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const CARDS: &str = " 0 [Loopback       ]: Loopback - Loopback\n                      Loopback 1\n 1 [Device         ]: USB-Audio - USB \
         Audio - Device\n                      C-Media USB Audio Device at usb-0000:00:14.0-1, full speed\n 3 [vc4hdmi        ]: \
         vc4-hdmi - vc4-hdmi\n                      vc4-hdmi\n";
    const PCM: &str = "00-00: Loopback PCM : Loopback PCM : playback 8 : capture 8\n00-01: Loopback PCM : Loopback PCM : playback 8 : \
         capture 8\n01-00: USB Audio : USB Audio : capture 1\n03-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1\n07-00: x\n";

    /// A loopback, a microphone and a screen.
    pub fn three() -> Vec<SoundCard> {
        parsed(CARDS, PCM)
    }

    #[test]
    fn the_kernel_s_lists_are_read() {
        let cards = three();
        let names: Vec<_> =
            cards.iter().map(|card| (card.number, card.id.as_str(), card.name.as_str())).collect();
        assert_eq!(
            names,
            [(0, "Loopback", "Loopback"), (1, "Device", "USB Audio - Device"), (3, "vc4hdmi", "vc4-hdmi")]
        );
        let does = |card: usize| {
            let devices = cards[card].devices.iter();
            devices.map(|device| (device.number, device.captures, device.plays)).collect::<Vec<_>>()
        };
        assert_eq!(does(0), [(0, true, true), (1, true, true)]);
        assert_eq!((does(1), does(2)), (vec![(0, true, false)], vec![(0, false, true)]));
        assert_eq!(cards[1].devices[0].name, "USB Audio");
        assert_eq!(cards[2].device(SoundDirection::Capture), None);
    }

    #[test]
    fn what_is_no_list_gives_no_card() {
        assert_eq!(parsed("--- no soundcards ---\n", ""), []);
        for (cards, pcm) in [("", PCM), (" x [a]: b - c\n 1 [a: \n[]: \n", "00:\n-\n0-0\n99999999999-0: a\n")]
        {
            assert_eq!(parsed(cards, pcm), [], "{cards}");
        }
        let many: Vec<String> = (0..99).map(|n| format!("{n} [a{n}]: b - c")).collect();
        assert_eq!(parsed(&many.join("\n"), "").len(), MAX_CARDS);
    }

    #[test]
    fn who_has_it_open_is_in_the_status() {
        assert_eq!(owner_in("state: RUNNING\nowner_pid   : 1234\ntrigger_time: 1.2\n"), Some(1234));
        assert_eq!(
            (owner_in("closed\n"), owner_in("owner_pid : x"), owner_in("owner_pid")),
            (None, None, None)
        );
        let node = PcmNode { card: 1, device: 0, direction: SoundDirection::Capture };
        assert_eq!(node.path(), Path::new("/dev/snd/pcmC1D0c"));
    }
}
