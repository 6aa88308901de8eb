//! A camera's controls as Home Assistant can show them. Pure.

use serde_json::{Map, Value};

use crate::media::{ControlInfo, ControlType};

/// Menu entries and other texts that are longer are cut for display nowhere, so such a control is left out.
const MAX_STATE_TEXT: usize = 255;

/// Whether there is anything to choose. Drivers report controls with one possible value, and numbers without a step, which Home
/// Assistant takes for errors.
pub(super) fn can_be_shown(control: &ControlInfo) -> bool {
    let is_number =
        control.kind == ControlType::Int || (control.kind == ControlType::Menu && !has_plain_menu(control));
    control.min < control.max && !(is_number && control.step == 0)
}

/// A control's value for people: the text of a menu entry, or the number.
pub(super) fn shown_value(control: &ControlInfo, value: &str) -> String {
    if control.kind != ControlType::Menu || !has_plain_menu(control) {
        return value.to_owned();
    }
    let entries: Map<String, Value> =
        control.menu.iter().map(|(value, text)| (value.to_string(), menu_text(text).into())).collect();
    format!("{}.get({value} | string)", Value::Object(entries))
}

/// A menu entry as it is shown: Home Assistant takes the word "none" for "not known".
pub(super) fn menu_text(text: &str) -> &str {
    if text.eq_ignore_ascii_case("none") { "(none)" } else { text }
}

/// Home Assistant tells entries apart by their texts, and a template must be able to hold them.
pub(super) fn has_plain_menu(control: &ControlInfo) -> bool {
    let texts: Vec<&String> = control.menu.values().collect();
    let plain = |text: &&String| {
        (1..=MAX_STATE_TEXT).contains(&text.len())
            && text.trim() == text.as_str()
            && !text.contains(['{', '}', '"', '\\'])
            && !text.chars().any(char::is_control)
    };
    let distinct: std::collections::BTreeSet<String> =
        texts.iter().map(|text| menu_text(text).to_ascii_lowercase()).collect();
    !texts.is_empty() && texts.iter().all(plain) && distinct.len() == texts.len()
}

/// `power_line_frequency` becomes `Power line frequency`.
pub(super) fn display_name(name: &str) -> String {
    let mut text = name.replace('_', " ");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}
