//! From what is written to what is meant: a value checked, or a refusal that says what is right.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::base::text;
use crate::media::MediaError;

/// A value that cannot be used.
#[derive(Debug)]
pub(super) struct Unusable {
    pub key: String,
    pub value: String,
    pub expected: String,
}

pub(super) type Checked<T> = Result<T, Unusable>;

#[allow(clippy::needless_pass_by_value)] // callers hand over whatever can be shown
pub(super) fn problem(key: &str, value: impl ToString, expected: impl ToString) -> Unusable {
    // One line, whatever stands in the file.
    let value = text::sentence(&value.to_string());
    Unusable { key: key.to_owned(), value, expected: expected.to_string() }
}

pub(super) fn or_auto(text: Option<&Text>) -> Text {
    text.cloned().unwrap_or_else(|| Text("auto".to_owned()))
}

pub(super) fn parsed<T: FromStr>(key: &str, text: &Text) -> Checked<T>
where
    T::Err: std::fmt::Display,
{
    text.0.parse().map_err(|error| problem(key, &text.0, error))
}

/// The capture side's own words, without repeating the key that is named anyway.
pub(super) fn media_word<T: FromStr<Err = MediaError>>(key: &str, text: &Text) -> Checked<T> {
    text.0.parse().map_err(|error| match error {
        MediaError::UnknownSetting { allowed, .. } => problem(key, &text.0, format!("write {allowed}")),
        other => problem(key, &text.0, other),
    })
}

pub(super) fn parsed_as<T: FromStr>(key: &str, text: &Text, expected: &str) -> Checked<T> {
    text.0.parse().map_err(|_| problem(key, &text.0, expected))
}

pub(super) fn address(key: &str, text: Option<&Text>, default: &str) -> Checked<SocketAddr> {
    let text = text.cloned().unwrap_or_else(|| Text(default.to_owned()));
    parsed_as(key, &text, "write ADDRESS:PORT, such as \"0.0.0.0:8080\" or \"127.0.0.1:8080\"")
}

pub(super) fn optional_address(key: &str, text: Option<&Text>, default: &str) -> Checked<Option<SocketAddr>> {
    if text.is_some_and(|text| text.0.is_empty()) { Ok(None) } else { address(key, text, default).map(Some) }
}

pub(super) fn in_range(key: &str, value: u32, range: RangeInclusive<u32>) -> Checked<u32> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(problem(key, value, format!("write a number from {} to {}", range.start(), range.end())))
    }
}

/// Text that may also be written as a number or a truth value: `PORTHOLE_DEVICE_ID=12` in the
/// environment reaches us as the number 12.
#[derive(Clone, Debug)]
pub(super) struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Text;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("text")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Text, E> {
                Ok(Text(value.to_owned()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}
