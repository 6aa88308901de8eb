//! What is wrong with a file, in words for the person who wrote it on a PC.

use std::fmt;

use toml::de::{DeTable, DeValue};

use crate::config::ConfigError;

/// Why a file was not taken over: where, what, and what would be right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardRefusal {
    /// The file's name.
    file: String,
    /// From 1.
    line: Option<usize>,
    /// That line as it was written.
    quote: Option<String>,
    /// `section.key` and its value.
    key: Option<(String, String)>,
    wrong: String,
    right: String,
}

impl CardRefusal {
    /// Something about the whole file.
    pub(super) fn of_file(file: &str, wrong: &str, right: &str) -> Self {
        Self { file: file.to_owned(), wrong: wrong.to_owned(), right: right.to_owned(), ..Self::default() }
    }

    pub(super) fn at_line(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }

    pub(super) fn quoting(self, line: &str) -> Self {
        Self { quote: Some(without_password(line.trim())), ..self }
    }

    /// From the configuration's own check of `texts`: `porthole.toml` first, then `porthole.env`.
    pub(super) fn of_configuration(
        error: ConfigError,
        toml: (&str, &str),
        env: Option<(&str, &str)>,
    ) -> Self {
        match error {
            ConfigError::Malformed { key, .. } if key.is_empty() && !toml_is_fine(toml.1) => not_toml(toml),
            ConfigError::Malformed { origin, key, problem } => {
                let source = source_of(&origin, toml, env);
                let wrong = problem.strip_prefix(&format!("{key}: ")).unwrap_or(&problem).to_owned();
                let place = place_of(&key, source, toml);
                Self { key: None, wrong, right: String::new(), ..place }.named(&key)
            }
            ConfigError::Invalid { origin, key, value, expected } => {
                let place = place_of(&key, source_of(&origin, toml, env), toml);
                let value = without_password(&value);
                Self {
                    key: Some((key, value)),
                    wrong: "this cannot be used".to_owned(),
                    right: expected,
                    ..place
                }
            }
            ConfigError::Unreadable { file, reason } => {
                Self::of_file(&file.display().to_string(), &format!("this cannot be read: {reason}"), "")
            }
        }
    }

    fn named(self, key: &str) -> Self {
        if key.is_empty() { self } else { Self { key: Some((key.to_owned(), String::new())), ..self } }
    }
}

impl fmt::Display for CardRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not taken over.\n\n", self.file)?;
        match (self.line, &self.quote) {
            (Some(line), Some(quote)) => writeln!(f, "  Line {line}:  {quote}")?,
            (Some(line), None) => writeln!(f, "  Line {line}")?,
            (None, _) => {}
        }
        match &self.key {
            Some((key, value)) if value.is_empty() => writeln!(f, "  Key:     {key}")?,
            Some((key, value)) => writeln!(f, "  Key:     {key}\n  Value:   {value}")?,
            None => {}
        }
        writeln!(f, "  Wrong:   {}", indented(&self.wrong))?;
        if self.right.is_empty() { Ok(()) } else { writeln!(f, "  Right:   {}", indented(&self.right)) }
    }
}

/// The number of the line, from 1, in which the byte `at` is.
pub(super) fn line_at(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

fn indented(text: &str) -> String {
    text.trim().replace('\n', "\n           ")
}

/// The configuration names the file or the variable it has a value from.
fn source_of<'a>(
    origin: &str,
    toml: (&'a str, &'a str),
    env: Option<(&'a str, &'a str)>,
) -> (&'a str, Option<&'a str>, String) {
    match env {
        Some((file, text)) if origin.starts_with("PORTHOLE_") => (file, Some(text), origin.to_owned()),
        _ => (toml.0, None, String::new()),
    }
}

fn place_of(key: &str, source: (&str, Option<&str>, String), toml: (&str, &str)) -> CardRefusal {
    let (file, env, variable) = source;
    let (text, line) = match env {
        Some(text) => {
            let sets =
                |line: &str| line.trim().strip_prefix(&variable).is_some_and(|rest| rest.starts_with('='));
            (text, text.lines().position(sets).map(|at| at + 1))
        }
        None => (toml.1, line_of(toml.1, key)),
    };
    let place = CardRefusal::of_file(file, "", "");
    match line {
        Some(line) => place.at_line(line).quoting(text.lines().nth(line - 1).unwrap_or_default()),
        None => place,
    }
}

fn toml_is_fine(text: &str) -> bool {
    DeTable::parse(text).is_ok()
}

fn not_toml((file, text): (&str, &str)) -> CardRefusal {
    let Err(error) = DeTable::parse(text) else { return CardRefusal::of_file(file, "this is not TOML", "") };
    let line = error.span().map(|span| line_at(text, span.start));
    let quote = line.and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
    let right = if quote.contains(['“', '”', '„', '‘', '’', '«', '»']) {
        "write plain quotes (\") instead of typographic ones"
    } else if quote.trim_start().starts_with("PORTHOLE_") {
        "variables belong in porthole.env; here write [section] and, below it, key = value"
    } else {
        "write key = value, with text in quotes: url = \"mqtt://broker.local\""
    };
    let refusal = CardRefusal::of_file(file, &format!("this line is not TOML: {}", error.message()), right);
    match line {
        Some(line) => refusal.at_line(line).quoting(quote),
        None => refusal,
    }
}

/// The line of `section.key` or `section.list[0].key`; `None` where nothing of that name is written.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut place = None;
    let mut here: Option<&DeValue> = None;
    for part in key.split('.') {
        let (name, index) = part
            .split_once('[')
            .map_or((part, None), |(name, index)| (name, index.trim_end_matches(']').parse::<usize>().ok()));
        let table = match here {
            None => document.get_ref(),
            Some(value) => value.as_table()?,
        };
        let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
        place = Some(key.span().start);
        here = Some(value.get_ref());
        if let Some(element) = index.and_then(|index| here?.as_array()?.get(index)) {
            place = Some(element.span().start);
            here = Some(element.get_ref());
        }
    }
    place.map(|at| line_at(text, at))
}

/// `mqtt://user:password@host` with the password hidden: this is shown on a screen and kept in the journal.
pub(super) fn without_password(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
            Some((Some((user, _)), host)) => {
                out.push_str(user);
                out.push_str(":***@");
                out.push_str(host);
            }
            _ => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn refusal(toml: &str, variables: &[(&str, &str)]) -> String {
        let lines: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let env = lines.join("\n");
        let variables: Vec<_> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let error =
            Config::rehearse(Path::new("porthole.toml"), toml, &variables, &BTreeMap::new()).unwrap_err();
        CardRefusal::of_configuration(error, ("porthole.toml", toml), Some(("porthole.env", &env)))
            .to_string()
    }

    #[test]
    fn line_key_value_and_what_is_right() {
        for (toml, parts) in [
            (
                "[mqtt]\nurl = \"embedded\"\n[camera]\nfps = 500\n",
                &["Line 4:  fps = 500", "camera.fps", "Value:   500", "from 1 to 240"][..],
            ),
            ("[mqtt]\nurl = embedded\n", &["Line 2:  url = embedded", "not TOML", "text in quotes"]),
            ("[mqtt]\nurl = “embedded”\n", &["Line 2:", "plain quotes"]),
            ("PORTHOLE_MQTT_URL=mqtt://b\n", &["Line 1:", "porthole.env"]),
            (
                "[mqtt]\nurl = \"embedded\"\n[camera]\nfsp = 5\n",
                &["Line 4:  fsp = 5", "`fsp` is not a key of [camera]", "fps"],
            ),
            ("[mqtt]\nurl = \"embedded\"\n[camra]\nfps = 5\n", &["Line 3:  [camra]", "camra"]),
            (
                "[mqtt]\nurl = \"embedded\"\n[camera]\n\nfps = \"many\"\n",
                &["Line 5:  fps = \"many\"", "camera.fps", "\"many\" stands here", "a whole number"],
            ),
            ("# nothing\n", &["mqtt.url", "not set", "embedded"]),
            (
                "[mqtt]\nurl = \"embedded\"\n[ice]\nservers = [\n  { urls = [\"stun:a\"] },\n  { urls = [\"x\"] },\n]\n",
                &["Line 6:", "ice.servers[1].urls", "stun:HOST"],
            ),
        ] {
            let text = refusal(toml, &[]);
            for part in parts.iter().chain(&["porthole.toml was not taken over"]) {
                assert!(text.contains(part), "{part:?} is missing in:\n{text}");
            }
        }
    }

    #[test]
    fn a_variable_is_found_in_its_own_file() {
        let toml = "[mqtt]\nurl = \"embedded\"\n[camera]\nfps = 5\n";
        let text = refusal(toml, &[("PORTHOLE_LOG", "debug"), ("PORTHOLE_CAMERA_FPS", "500")]);
        for part in ["porthole.env was not taken over", "Line 2:  PORTHOLE_CAMERA_FPS=500", "camera.fps"] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        let text = refusal(toml, &[("PORTHOLE_CAMERA_FSP", "5")]);
        for part in ["porthole.env was not", "Line 1:  PORTHOLE_CAMERA_FSP=5", "`fsp` is not a key"] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn passwords_are_not_repeated() {
        for (text, shown) in [
            ("url = \"mqtt://a:b:c@h:1/p\"", "url = \"mqtt://a:***@h:1/p\""),
            ("x ws://u:pw@h y wss://u@h z", "x ws://u:***@h y wss://u@h z"),
            ("no url: a@b", "no url: a@b"),
            ("mqtt://", "mqtt://"),
        ] {
            assert_eq!(without_password(text), shown);
        }
        let text = refusal("[mqtt]\nurl = \"http://u:hunter2@b\"\n", &[]);
        assert!(!text.contains("hunter2") && text.contains("u:***@b"), "{text}");
    }
}
