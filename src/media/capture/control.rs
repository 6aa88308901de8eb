//! One control of a camera (V4L2): what it is, and which values it takes.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use v4l::Device;
use v4l::control::{Description, Flags, MenuItem, Type, Value};

use crate::media::capture::driver::guarded;
use crate::media::error::MediaError;

/// How a control is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlType {
    /// A number between `min` and `max`.
    Int,
    /// 0 or 1.
    Bool,
    /// One of the entries of `menu`.
    Menu,
}

/// One control with its current value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ControlInfo {
    /// The kernel's number of it.
    #[serde(skip)]
    pub id: u32,
    /// As `v4l2-ctl` writes it, e.g. `power_line_frequency`.
    pub name: String,
    /// How it is shown.
    #[serde(rename = "type")]
    pub kind: ControlType,
    /// Smallest value.
    pub min: i64,
    /// Largest value.
    pub max: i64,
    /// Distance between values.
    pub step: u64,
    /// The value after a reset.
    pub default: i64,
    /// The value when the camera was looked at; `None` when it cannot be read.
    pub value: Option<i64>,
    /// A menu's entries by value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "with_text_keys")]
    pub menu: BTreeMap<i64, String>,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether another control currently overrides it (exposure while automatic exposure is on).
    pub inactive: bool,
}

fn with_text_keys<S: Serializer>(menu: &BTreeMap<i64, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(menu.iter().map(|(value, text)| (value.to_string(), text)))
}

/// All numbers, switches and menus of a device; buttons, texts and matrices are left out.
pub(crate) fn list(device: &Device) -> Vec<ControlInfo> {
    let descriptions = guarded(|| device.query_controls()).unwrap_or_default();
    descriptions.into_iter().filter_map(|found| describe(found, device)).collect()
}

fn describe(found: Description, device: &Device) -> Option<ControlInfo> {
    let mut info = describe_without_value(found)?;
    if let Ok(control) = guarded(|| device.control(info.id)) {
        info.value = match control.value {
            Value::Integer(value) => Some(value),
            Value::Boolean(on) => Some(i64::from(on)),
            _ => None,
        };
    }
    Some(info)
}

fn describe_without_value(found: Description) -> Option<ControlInfo> {
    let kind = match found.typ {
        Type::Integer | Type::Integer64 => ControlType::Int,
        Type::Boolean => ControlType::Bool,
        Type::Menu | Type::IntegerMenu => ControlType::Menu,
        _ => return None,
    };
    // Matrices of numbers have the type of their elements.
    if found.flags.intersects(Flags::DISABLED | Flags::HAS_PAYLOAD | Flags::WRITE_ONLY) {
        return None;
    }
    let text = |item: MenuItem| match item {
        MenuItem::Name(name) => name,
        MenuItem::Value(value) => value.to_string(),
    };
    let menu = found.items.unwrap_or_default();
    Some(ControlInfo {
        id: found.id,
        name: slug(&found.name),
        kind,
        min: found.minimum,
        max: found.maximum,
        step: found.step,
        default: found.default,
        value: None,
        menu: menu.into_iter().map(|(value, item)| (i64::from(value), text(item))).collect(),
        read_only: found.flags.intersects(Flags::READ_ONLY),
        inactive: found.flags.intersects(Flags::INACTIVE),
    })
}

/// `White Balance, Automatic` becomes `white_balance_automatic`, as `v4l2-ctl` does it.
fn slug(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.trim_end_matches('_').to_owned()
}

/// What a dashboard wrote for a control, as the number the driver takes: a number, `ON`/`OFF`,
/// or the text of a menu entry.
pub fn control_value(control: &ControlInfo, text: &str) -> Result<i64, MediaError> {
    let refuse = |reason: String| MediaError::Control { control: control.name.clone(), reason };
    if control.read_only {
        return Err(refuse("it can only be read".into()));
    }
    let text = text.trim();
    let by_menu = control.menu.iter().find(|(_, entry)| entry.eq_ignore_ascii_case(text));
    let value = match (control.kind, by_menu) {
        (ControlType::Menu, Some((value, _))) => *value,
        (ControlType::Bool, _) if text.eq_ignore_ascii_case("on") => 1,
        (ControlType::Bool, _) if text.eq_ignore_ascii_case("off") => 0,
        _ => text.parse().map_err(|_| refuse(format!("{text:?} is not one of its values")))?,
    };
    if !(control.min..=control.max).contains(&value) {
        let (min, max) = (control.min, control.max);
        return Err(refuse(format!("{value} is not between {min} and {max}")));
    }
    if control.kind == ControlType::Menu && !control.menu.contains_key(&value) {
        return Err(refuse(format!("{value} is not one of its entries")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(typ: Type, name: &str, flags: Flags) -> Description {
        Description {
            id: 1,
            typ,
            name: name.into(),
            minimum: 0,
            maximum: 2,
            step: 0,
            default: 1,
            flags,
            items: (typ == Type::Menu)
                .then(|| vec![(0, MenuItem::Name("Disabled".into())), (2, MenuItem::Name("60 Hz".into()))]),
        }
    }

    #[test]
    fn controls_are_named_and_shown_as_the_contract_says() {
        let menu = description(Type::Menu, "Power Line Frequency", Flags::INACTIVE);
        let info = describe_without_value(menu).unwrap();
        let json = serde_json::to_value(&info).unwrap();
        let expected = serde_json::json!({
            "name": "power_line_frequency", "type": "menu", "min": 0, "max": 2, "step": 0,
            "default": 1, "value": null, "menu": {"0": "Disabled", "2": "60 Hz"},
            "read_only": false, "inactive": true,
        });
        assert_eq!(json, expected);
        assert_eq!(slug("White Balance, Automatic"), "white_balance_automatic");
        assert_eq!(slug("Exposure (Absolute)"), "exposure_absolute");
    }

    #[test]
    fn what_nobody_can_set_is_left_out() {
        for typ in [Type::Button, Type::CtrlClass, Type::String, Type::U8, Type::Bitmask] {
            assert!(describe_without_value(description(typ, "x", Flags::empty())).is_none());
        }
        let matrix = description(Type::Integer, "x", Flags::HAS_PAYLOAD);
        assert!(describe_without_value(matrix).is_none());
    }

    #[test]
    fn values_are_numbers_switches_or_menu_texts() {
        let of = |typ| describe_without_value(description(typ, "x", Flags::empty())).unwrap();
        let (int, switch, menu) = (of(Type::Integer), of(Type::Boolean), of(Type::Menu));
        assert_eq!(control_value(&int, " 2 ").unwrap(), 2);
        assert!(control_value(&int, "3").is_err());
        assert!(control_value(&int, "bright").is_err());
        assert_eq!(control_value(&switch, "ON").unwrap(), 1);
        assert_eq!(control_value(&switch, "0").unwrap(), 0);
        assert_eq!(control_value(&menu, "60 hz").unwrap(), 2);
        assert!(control_value(&menu, "1").is_err());
        let fixed = describe_without_value(description(Type::Integer, "x", Flags::READ_ONLY));
        assert!(control_value(&fixed.unwrap(), "1").is_err());
    }
}
