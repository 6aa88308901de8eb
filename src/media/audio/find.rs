//! Which of the cards the configuration means. Pure, but for the looking.

use std::env;
use std::path::PathBuf;

use gstreamer as gst;

use super::cards::{PcmNode, SoundCard, SoundDirection, cards};
use super::choice::{AudioChoice, SpeakerChoice};
use super::source::{SoundDevice, SoundSource};
use crate::media::error::MediaError;

/// The Debian package of ALSA's elements.
pub const ALSA: &str = "gstreamer1.0-alsa";
/// And of those for PulseAudio, which PipeWire understands too.
pub const PULSE: &str = "gstreamer1.0-pulseaudio";

/// What is wanted, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted<'a> {
    /// What the machine would take.
    Auto,
    /// See [`AudioChoice::Named`].
    Named(&'a str),
}

/// The configured microphone, as it is now: `current`, where that is meant and still there.
pub fn microphone(choice: &AudioChoice, current: Option<&SoundDevice>) -> Result<SoundDevice, MediaError> {
    if let (AudioChoice::Auto, Some(current)) = (choice, current)
        && is_there(current, &cards())
    {
        return Ok(current.clone());
    }
    match choice {
        AudioChoice::Test => Ok(SoundDevice::test_tone()),
        AudioChoice::Named(name) => look(Wanted::Named(name), SoundDirection::Capture),
        // Nobody asks for one that is off.
        AudioChoice::Auto | AudioChoice::Off => look(Wanted::Auto, SoundDirection::Capture),
    }
}

/// Whether the card is still the same.
fn is_there(device: &SoundDevice, cards: &[SoundCard]) -> bool {
    match (&device.source, &device.node) {
        (SoundSource::Alsa { device: name }, Some(node)) => {
            let found = choose(Wanted::Named(name), node.direction, cards, false);
            found.is_ok_and(|found| found.node.as_ref() == Some(node))
        }
        (SoundSource::Server, _) => has_sound_server(),
        _ => true,
    }
}

/// The configured speaker, as it is now.
pub fn speaker(choice: &SpeakerChoice) -> Result<SoundDevice, MediaError> {
    match choice {
        SpeakerChoice::Named(name) => look(Wanted::Named(name), SoundDirection::Play),
        SpeakerChoice::Auto | SpeakerChoice::Off => look(Wanted::Auto, SoundDirection::Play),
    }
}

fn look(wanted: Wanted<'_>, direction: SoundDirection) -> Result<SoundDevice, MediaError> {
    gst::init().map_err(|error| MediaError::Framework { reason: error.to_string() })?;
    let element = if direction == SoundDirection::Capture { "pulsesrc" } else { "pulsesink" };
    let has_server = has_sound_server() && gst::ElementFactory::find(element).is_some();
    choose(wanted, direction, &cards(), has_server)
}

/// Whether PulseAudio, or PipeWire in its place, runs for this user.
fn has_sound_server() -> bool {
    if env::var_os("PULSE_SERVER").is_some_and(|server| !server.is_empty()) {
        return true;
    }
    let sockets = [
        env::var_os("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("pulse/native")),
        // One for the whole machine.
        Some(PathBuf::from("/run/pulse/native")),
    ];
    sockets.into_iter().flatten().any(|socket| socket.exists())
}

/// The device that is meant.
fn choose(
    wanted: Wanted<'_>,
    direction: SoundDirection,
    cards: &[SoundCard],
    has_server: bool,
) -> Result<SoundDevice, MediaError> {
    let fitting = || cards.iter().filter(|card| card.device(direction).is_some());
    match wanted {
        Wanted::Auto if has_server => {
            Ok(SoundDevice { source: SoundSource::Server, card: "the sound server".to_owned(), node: None })
        }
        Wanted::Auto => {
            let card = fitting().next().ok_or_else(|| no_card(direction))?;
            Ok(of_card(card, direction))
        }
        Wanted::Named(name) if is_alsa(name) => named_by_alsa(name, direction, cards),
        Wanted::Named(name) => {
            let lower = name.to_lowercase();
            let is_called = |card: &&SoundCard| card.id.eq_ignore_ascii_case(name) || card.name == name;
            let holds = |card: &&SoundCard| {
                card.name.to_lowercase().contains(&lower) || card.id.to_lowercase().contains(&lower)
            };
            let card = fitting().find(is_called).or_else(|| fitting().find(holds));
            card.map(|card| of_card(card, direction)).ok_or_else(|| missing(name, direction, cards))
        }
    }
}

/// A device of ALSA's (`hw:1,0`, `plughw:CARD=Device`, `default`) instead of a card's name.
fn is_alsa(name: &str) -> bool {
    name.contains(':') || name == "default"
}

fn of_card(card: &SoundCard, direction: SoundDirection) -> SoundDevice {
    let number = card.device(direction).map_or(0, |device| device.number);
    SoundDevice {
        source: SoundSource::Alsa { device: format!("hw:CARD={},DEV={number}", card.id) },
        card: words(card),
        node: Some(PcmNode { card: card.number, device: number, direction }),
    }
}

/// The name and, where it says something else, ALSA's.
fn words(card: &SoundCard) -> String {
    if card.name == card.id { card.name.clone() } else { format!("{} ({})", card.name, card.id) }
}

fn named_by_alsa(
    name: &str,
    direction: SoundDirection,
    cards: &[SoundCard],
) -> Result<SoundDevice, MediaError> {
    let source = SoundSource::Alsa { device: name.to_owned() };
    let Some((of, number)) = hardware(name) else {
        // ALSA's own configuration says what it is.
        return Ok(SoundDevice { source, card: name.to_owned(), node: None });
    };
    let is_meant = |card: &&SoundCard| card.id == of || card.number.to_string() == of;
    let card = cards.iter().find(is_meant).ok_or_else(|| missing(name, direction, cards))?;
    let node = Some(PcmNode { card: card.number, device: number, direction });
    Ok(SoundDevice { source, card: format!("{name}, {}", words(card)), node })
}

/// Card and device of `hw:1,0`, `plughw:Device` or `hw:CARD=Device,DEV=0,SUBDEV=1`.
fn hardware(name: &str) -> Option<(&str, u32)> {
    let (kind, rest) = name.split_once(':')?;
    if !matches!(kind, "hw" | "plughw") {
        return None;
    }
    let mut fields = rest.split(',');
    let card = fields.next().map(|card| card.strip_prefix("CARD=").unwrap_or(card))?;
    let device = fields.next().map(|device| device.strip_prefix("DEV=").unwrap_or(device));
    Some((card, device.and_then(|device| device.parse().ok()).unwrap_or(0)))
}

fn no_card(direction: SoundDirection) -> MediaError {
    match direction {
        SoundDirection::Capture => MediaError::NoMicrophone,
        SoundDirection::Play => MediaError::NoSpeaker,
    }
}

fn missing(name: &str, direction: SoundDirection, cards: &[SoundCard]) -> MediaError {
    let fitting = cards.iter().filter(|card| card.device(direction).is_some());
    let there: Vec<String> = fitting.map(words).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join("; ") };
    let (setting, does) = match direction {
        SoundDirection::Capture => ("audio.device", "record"),
        SoundDirection::Play => ("audio.speaker", "play"),
    };
    MediaError::AudioMissing { name: name.to_owned(), does, there, setting }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::audio::cards::tests::three;

    fn found(wanted: Wanted<'_>, direction: SoundDirection) -> String {
        match choose(wanted, direction, &three(), false) {
            Ok(SoundDevice { source: SoundSource::Alsa { device }, node, .. }) => {
                let node = node.map(|node| node.path().display().to_string());
                format!("{device} {}", node.unwrap_or_default())
            }
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_card_is_found_by_name_part_id_and_alsa_s_words() {
        let usb = "hw:CARD=Device,DEV=0 /dev/snd/pcmC1D0c";
        for name in ["Device", "device", "usb", "USB Audio - Device"] {
            assert_eq!(found(Wanted::Named(name), SoundDirection::Capture), usb, "{name}");
        }
        for name in ["hw:1,0", "hw:Device", "plughw:CARD=Device,DEV=0", "hw:1"] {
            let expected = format!("{name} /dev/snd/pcmC1D0c");
            assert_eq!(found(Wanted::Named(name), SoundDirection::Capture), expected);
        }
        assert_eq!(found(Wanted::Named("hw:0,1,3"), SoundDirection::Play), "hw:0,1,3 /dev/snd/pcmC0D1p");
        assert_eq!(found(Wanted::Named("dsnoop:mic"), SoundDirection::Capture), "dsnoop:mic ");
        assert_eq!(found(Wanted::Named("default"), SoundDirection::Play), "default ");
        assert_eq!(
            found(Wanted::Named("hdmi"), SoundDirection::Play),
            "hw:CARD=vc4hdmi,DEV=0 /dev/snd/pcmC3D0p"
        );
        let first = found(Wanted::Auto, SoundDirection::Capture);
        assert_eq!(first, "hw:CARD=Loopback,DEV=0 /dev/snd/pcmC0D0c");
        let served = choose(Wanted::Auto, SoundDirection::Capture, &three(), true).unwrap();
        assert_eq!(served.source, SoundSource::Server);
    }

    #[test]
    fn a_card_that_was_taken_is_kept_until_it_is_gone() {
        let second = choose(Wanted::Named("usb"), SoundDirection::Capture, &three(), false).unwrap();
        assert!(is_there(&second, &three()));
        let mut others = three();
        others.remove(1);
        assert!(!is_there(&second, &others));
        // Another one that got its name, elsewhere.
        others[0].id = "Device".into();
        assert!(!is_there(&second, &others));
    }

    #[test]
    fn a_card_that_is_not_there_is_told_with_those_that_are() {
        let error = found(Wanted::Named("Blue"), SoundDirection::Capture);
        assert!(error.contains("Blue") && error.contains("Loopback; USB Audio - Device (Device)"), "{error}");
        assert!(!error.contains("hdmi") && error.contains("audio.device"), "it records nothing: {error}");
        let error = found(Wanted::Named("hw:2,0"), SoundDirection::Play);
        assert!(error.contains("Loopback; vc4-hdmi (vc4hdmi)") && error.contains("audio.speaker"), "{error}");
        let none = choose(Wanted::Auto, SoundDirection::Capture, &[], false).unwrap_err().to_string();
        assert!(none.contains("no sound card"), "{none}");
        let none = choose(Wanted::Named("x"), SoundDirection::Play, &[], false).unwrap_err().to_string();
        assert!(none.contains("none"), "{none}");
    }
}
