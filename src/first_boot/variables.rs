//! `porthole.env`: variables, one a line, as the service manager reads them (systemd.exec(5), `EnvironmentFile=`).

use super::refusal::CardRefusal;
use crate::config::is_variable;

/// Variables that begin with PORTHOLE_ and set no key.
const OTHERS: [&str; 2] = ["PORTHOLE_LOG", "PORTHOLE_CACHE"];

/// The variables of a file, in order. Stricter than the service manager, which passes over what it
/// does not understand: a camera that ignores a line of its configuration is worse than one that says so.
///
/// # Errors
/// The first line that is none of `NAME=VALUE`, `# comment` and empty.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<(String, String)>, Box<CardRefusal>> {
    let mut variables = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let wrong = |what: &str, right: &str| {
            Box::new(CardRefusal::of_file(file, what, right).at_line(at + 1).quoting(line))
        };
        let Some((name, value)) = line.split_once('=') else {
            return Err(wrong("this line sets nothing", "write NAME=VALUE, or # before a remark"));
        };
        if !is_name(name) {
            return Err(wrong(
                "what stands before the = is no name of a variable",
                "write a name such as PORTHOLE_MQTT_URL, without spaces and without export",
            ));
        }
        if name.starts_with("PORTHOLE_") && !is_variable(name) && !OTHERS.contains(&name) {
            return Err(wrong(
                "no section of the configuration has that name",
                "write PORTHOLE_SECTION_KEY; [mqtt] url is PORTHOLE_MQTT_URL",
            ));
        }
        let value = unquoted(value.trim()).ok_or_else(|| {
            wrong(
                "quotes or a backslash in the value would not be read as they are written",
                "write the value alone or within one pair of \", and no backslash",
            )
        })?;
        variables.push((name.to_owned(), value.to_owned()));
    }
    Ok(variables)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn unquoted(value: &str) -> Option<&str> {
    if value.contains('\\') {
        return None;
    }
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.strip_suffix(quote).filter(|inner| !inner.contains(quote));
        }
    }
    // A quote in the middle is a part of a list (`[{ urls = ["stun:…"] }]`) and stays as it is; one that
    // opens at the beginning has to close at the end.
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_variables() {
        let text = "# remark\n; remark\n\nPORTHOLE_MQTT_URL=mqtt://broker\nPORTHOLE_DEVICE_NAME = x\n";
        assert!(parse("porthole.env", text).unwrap_err().to_string().contains("Line 5"));
        let text = "PORTHOLE_DEVICE_NAME=\"Front door\"\nPORTHOLE_LOG=debug\nGST_DEBUG='2'\nA=\nPORTHOLE_CAMERA_FPS=15 \n";
        let read = parse("porthole.env", text).unwrap();
        let read: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            read,
            [
                ("PORTHOLE_DEVICE_NAME", "Front door"),
                ("PORTHOLE_LOG", "debug"),
                ("GST_DEBUG", "2"),
                ("A", ""),
                ("PORTHOLE_CAMERA_FPS", "15"),
            ]
        );
    }

    #[test]
    fn a_line_that_would_be_ignored_is_refused() {
        for (line, words) in [
            ("PORTHOLE_MQTT_URL", "sets nothing"),
            ("export PORTHOLE_MQTT_URL=x", "without export"),
            ("PORTHOLE_MQT_URL=x", "no section"),
            ("PORTHOLE_DEVICE_NAME=\"Front", "quotes"),
            ("PORTHOLE_DEVICE_NAME=\"Front\" door\"", "quotes"),
            ("PORTHOLE_DEVICE_NAME=C:\\x", "backslash"),
            ("=x", "no name"),
            ("1A=x", "no name"),
        ] {
            let refusal = parse("porthole.env", line).unwrap_err().to_string();
            assert!(refusal.contains(words) && refusal.contains("Line 1"), "{line}: {refusal}");
        }
    }
}
