//! The text in a corner of the picture: what may be written, and what it says at a time.

use std::str::FromStr;

use crate::base::text::shown;

/// The longest text that is taken, in characters.
pub const MAX_CHARS: usize = 100;
/// The longest that is drawn, once times and names are filled in.
const MAX_DRAWN: usize = 160;
/// What stands for the device's name.
const NAME: &str = "{name}";
/// What may follow a `%`, as of strftime.
const FIELDS: &str = "%aAbBcCdDeFgGhHIjklmMnpPrRsStTuVwWxXyYzZ";

/// Where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Corner {
    /// The default.
    #[default]
    TopLeft,
    /// Of a picture that is turned, as seen.
    TopRight,
    /// At the lower edge.
    BottomLeft,
    /// At the lower edge.
    BottomRight,
}

impl Corner {
    /// What may be written.
    pub const ALLOWED: &'static str = "\"top-left\", \"top-right\", \"bottom-left\" or \"bottom-right\"";

    /// Whether it is at the right edge.
    pub fn is_right(self) -> bool {
        matches!(self, Self::TopRight | Self::BottomRight)
    }

    /// Whether it is at the lower edge.
    pub fn is_bottom(self) -> bool {
        matches!(self, Self::BottomLeft | Self::BottomRight)
    }
}

impl FromStr for Corner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "top-left" => Ok(Self::TopLeft),
            "top-right" => Ok(Self::TopRight),
            "bottom-left" => Ok(Self::BottomLeft),
            "bottom-right" => Ok(Self::BottomRight),
            _ => Err(format!("write {}", Self::ALLOWED)),
        }
    }
}

/// A text that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    text: String,
}

impl Overlay {
    /// `None` for an empty text.
    pub fn new(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let count = text.chars().count();
        if count > MAX_CHARS {
            return Err(format!("it has {count} characters; write at most {MAX_CHARS}"));
        }
        if text.chars().any(char::is_control) {
            return Err("write one line of text, without control characters".to_owned());
        }
        if let Some(wrong) = wrong_field(text) {
            return Err(format!(
                "\"{}\" stands for nothing; there are {NAME} and the fields of strftime, such as %H:%M:%S (%% for a %)",
                shown(&wrong)
            ));
        }
        Ok(Some(Self { text: text.to_owned() }))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says; `time` fills in the fields of strftime. A name is never taken for one of them.
    pub fn expanded(&self, name: &str, time: impl Fn(&str) -> String) -> String {
        let parts: Vec<String> = self
            .text
            .split(NAME)
            .map(|part| if part.contains('%') { time(part) } else { part.to_owned() })
            .collect();
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        parts.join(name).chars().map(plain).take(MAX_DRAWN).collect()
    }
}

/// The first piece that looks like something to be filled in, and is not.
fn wrong_field(text: &str) -> Option<String> {
    let mut rest = text;
    while let Some(at) = rest.find(['%', '{']) {
        let piece = &rest[at..];
        if let Some(after) = piece.strip_prefix(NAME) {
            rest = after;
            continue;
        }
        let mut letters = piece.chars();
        let (is_field, field) = (letters.next() == Some('%'), letters.next());
        match field {
            Some(field) if is_field && FIELDS.contains(field) => rest = letters.as_str(),
            _ => return Some(piece.chars().take(if is_field { 2 } else { 12 }).collect()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(text: &str) -> Overlay {
        Overlay::new(text).unwrap().unwrap()
    }

    #[test]
    fn name_and_time_are_filled_in() {
        let clock = |text: &str| text.replace("%H", "14").replace("%M", "22");
        assert_eq!(overlay("%H:%M  {name}").expanded("Garden", clock), "14:22  Garden");
        assert_eq!(overlay("{name}{name}").expanded("50 %H", clock), "50 %H50 %H", "a name is no time");
        assert_eq!(overlay("plain").expanded("x", |_| unreachable!()), "plain");
        assert_eq!(overlay("{name}").expanded(&"long ".repeat(99), clock).chars().count(), MAX_DRAWN);
        assert_eq!(overlay("a{name}").expanded("\u{1b}\n", clock), "a  ");
    }

    #[test]
    fn nothing_is_no_overlay() {
        assert_eq!(Overlay::new("  "), Ok(None));
        assert_eq!(Overlay::new(""), Ok(None));
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_in_words() {
        let long = "x".repeat(10_000);
        for (text, part) in [
            (long.as_str(), "10000 characters; write at most 100"),
            ("two\nlines", "one line"),
            ("\u{1b}[2J", "control"),
            ("%", "\"%\""),
            ("%Q", "\"%Q\""),
            ("100 % sure", "\"% \""),
            ("{nme}", "{name}"),
            ("{{ 7 * 7 }}", "\"{{ 7 * 7 }}\""),
        ] {
            let error = Overlay::new(text).unwrap_err();
            assert!(
                error.contains(part) && error.len() < 200 && !error.contains('\n'),
                "{text:.20}: {error}"
            );
        }
        assert!(Overlay::new("100 %%  %Y-%m-%d %H:%M:%S  {name}").is_ok());
        assert!("middle".parse::<Corner>().unwrap_err().contains("bottom-right"));
        assert!("top-right".parse::<Corner>().unwrap().is_right());
    }
}
