//! The configuration's text: the shipped file, which is the manual, with values filled in. Pure.

use std::path::{Path, PathBuf};

use super::answers::{Answers, BrokerSetup, Password};
use super::secrets::fingerprint;
use crate::media::{DeviceChoice, EncoderChoice, Proposal};

/// The file that the package installs.
pub(super) const SHIPPED: &str = include_str!("../../../systemd/porthole.toml");
/// The last line of a file that setup wrote; a fingerprint of all before it follows.
const SEAL: &str = "# Written by `porthole setup`, which may replace this file until somebody edits it: ";

/// A key with its value, as TOML.
pub(super) struct Setting {
    section: &'static str,
    key: &'static str,
    value: String,
}

fn text(section: &'static str, key: &'static str, text: &str) -> Setting {
    Setting { section, key, value: toml::Value::from(text).to_string() }
}

fn path(section: &'static str, key: &'static str, path: &Path) -> Setting {
    text(section, key, &path.to_string_lossy())
}

fn number(section: &'static str, key: &'static str, number: u32) -> Setting {
    Setting { section, key, value: number.to_string() }
}

/// Where the camera's side keeps what it needs for the broker.
pub(super) struct ConfigPlaces {
    /// The device's password.
    pub password: PathBuf,
    /// The authority that signed the broker's certificate.
    pub ca: PathBuf,
    /// Where the daemon keeps its state, unless that is the usual place.
    pub state: Option<PathBuf>,
}

/// The camera as it will stand in the file: a name that lasts, and what was found to work with it.
pub(super) struct CameraSettings {
    pub device: DeviceChoice,
    pub proposal: Option<Proposal>,
}

/// What the answers mean as keys.
pub(super) fn settings(answers: &Answers, camera: &CameraSettings, places: &ConfigPlaces) -> Vec<Setting> {
    let mut settings = vec![text("device", "id", answers.id.as_str())];
    settings.extend(answers.name.as_deref().map(|name| text("device", "name", name)));
    settings.extend(places.state.as_deref().map(|state| path("device", "state_dir", state)));
    settings.extend(broker(answers, places));
    if answers.is_open {
        settings.push(text("access", "mode", "open"));
    }
    if answers.root != "porthole" {
        settings.push(text("mqtt", "root", &answers.root));
    }
    match &camera.device {
        DeviceChoice::Auto | DeviceChoice::AutoOrTest => {}
        DeviceChoice::Test | DeviceChoice::Libcamera(_) => {
            settings.push(text("camera", "device", &camera.device.to_string()));
        }
        DeviceChoice::Path(device) => settings.push(path("camera", "device", device)),
    }
    if let Some(proposal) = &camera.proposal {
        settings.push(number("camera", "width", proposal.width));
        settings.push(number("camera", "height", proposal.height));
        settings.push(number("camera", "fps", proposal.fps));
        if proposal.encoder != EncoderChoice::Auto {
            settings.push(text("video", "encoder", &proposal.encoder.to_string()));
        }
    }
    settings
}

fn broker(answers: &Answers, places: &ConfigPlaces) -> Vec<Setting> {
    match &answers.broker {
        BrokerSetup::Embedded => vec![text("mqtt", "url", "embedded")],
        BrokerSetup::Existing { url, login, ca_file, .. } => {
            let mut settings = vec![text("mqtt", "url", &url.address())];
            if let Some(login) = login {
                settings.push(text("mqtt", "username", &login.username));
                settings.push(match &login.password {
                    Password::File(file) => path("mqtt", "password_file", file),
                    Password::Typed(_) => path("mqtt", "password_file", &places.password),
                });
            }
            settings.extend(ca_file.as_deref().map(|file| path("mqtt", "ca_file", file)));
            settings
        }
        BrokerSetup::Mosquitto { host, .. } => vec![
            text("mqtt", "url", &format!("mqtts://{}:{}", host.in_url(), super::answers::MQTTS_PORT)),
            text("mqtt", "username", answers.id.as_str()),
            path("mqtt", "password_file", &places.password),
            path("mqtt", "ca_file", &places.ca),
        ],
    }
}

/// The shipped file with these values, sealed.
pub(super) fn write(settings: &[Setting]) -> String {
    let mut lines: Vec<String> = SHIPPED.lines().map(str::to_owned).collect();
    for setting in settings {
        fill(&mut lines, setting);
    }
    let mut body = lines.join("\n").trim_end().to_owned();
    body.push_str("\n\n");
    let seal = fingerprint(&body);
    format!("{body}{SEAL}{seal}\n")
}

/// Puts the value where the key stands, commented or not; behind the section's heading if it stands nowhere.
fn fill(lines: &mut Vec<String>, setting: &Setting) {
    let Setting { section, key, value } = setting;
    let line = format!("{key} = {value}");
    let heading = format!("[{section}]");
    let Some(start) = lines.iter().position(|line| line.trim() == heading) else {
        lines.extend([String::new(), heading, line]);
        return;
    };
    let is_key = |line: &str| {
        let line = line.strip_prefix('#').unwrap_or(line);
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let section_lines = lines[start + 1..].iter().take_while(|line| !line.starts_with('['));
    let at = section_lines.enumerate().find(|(_, line)| is_key(line)).map(|(at, _)| start + 1 + at);
    match at {
        Some(at) => lines[at] = line,
        None => lines.insert(start + 1, line),
    }
}

/// Whether a person has changed this text since the package or setup wrote it.
pub(super) fn is_edited(text: &str) -> bool {
    let sealed = text.rsplit_once(SEAL).is_some_and(|(body, seal)| seal.trim_end() == fingerprint(body));
    !sealed && text != SHIPPED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::setup::answers::{Host, Login, existing_url, usual_websocket};
    use crate::config::Secret;

    fn places() -> ConfigPlaces {
        ConfigPlaces {
            password: "/etc/porthole/mqtt-password".into(),
            ca: "/etc/porthole/ca.pem".into(),
            state: None,
        }
    }

    fn answers(broker: BrokerSetup) -> Answers {
        Answers {
            id: "front-door".parse().expect("an id"),
            name: Some("Haustür \"vorn\" \\ \u{1f6aa}".into()),
            root: "porthole".into(),
            broker,
            camera: DeviceChoice::Auto,
            is_open: false,
        }
    }

    fn written(answers: &Answers, camera: &CameraSettings) -> (String, toml::Table) {
        let text = write(&settings(answers, camera, &places()));
        let table = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        (text, table)
    }

    fn at<'a>(table: &'a toml::Table, section: &str, key: &str) -> Option<&'a toml::Value> {
        table.get(section)?.get(key)
    }

    #[test]
    fn values_stand_where_their_comments_are() {
        let camera = CameraSettings {
            device: DeviceChoice::Path("/dev/v4l/by-id/usb-Cam-index0".into()),
            proposal: Some(Proposal { width: 640, height: 480, fps: 15, encoder: EncoderChoice::X264 }),
        };
        let (text, table) = written(&answers(BrokerSetup::Embedded), &camera);
        assert_eq!(at(&table, "mqtt", "url").and_then(toml::Value::as_str), Some("embedded"));
        let name = at(&table, "device", "name").and_then(toml::Value::as_str);
        assert_eq!(name, Some("Haustür \"vorn\" \\ \u{1f6aa}"));
        assert_eq!(at(&table, "camera", "fps").and_then(toml::Value::as_integer), Some(15));
        assert_eq!(at(&table, "video", "encoder").and_then(toml::Value::as_str), Some("x264enc"));
        assert_eq!(at(&table, "camera", "format"), None, "what was not chosen stays a comment");
        // Every line of the shipped file is there, but for those that a value took the place of.
        let lost = SHIPPED.lines().filter(|line| !text.contains(*line)).count();
        assert_eq!(lost, 7, "id, name, device, width, height, fps and encoder");
    }

    #[test]
    fn what_cannot_be_known_stays_auto() {
        let camera = CameraSettings { device: DeviceChoice::Auto, proposal: None };
        let (text, table) = written(&answers(BrokerSetup::Embedded), &camera);
        assert_eq!(table.get("camera"), Some(&toml::Value::Table(toml::Table::new())));
        assert!(text.contains("\n#device = \"auto\"\n"));
    }

    #[test]
    fn a_broker_of_ones_own_is_named_with_all_that_it_asks_for() {
        let camera = CameraSettings { device: DeviceChoice::Test, proposal: None };
        let host = Host::new("::1").expect("a host");
        let (_, table) = written(&answers(BrokerSetup::Mosquitto { host, secure_websocket: true }), &camera);
        let mqtt = |key| at(&table, "mqtt", key).and_then(toml::Value::as_str);
        assert_eq!(mqtt("url"), Some("mqtts://[::1]:8883"));
        assert_eq!(mqtt("username"), Some("front-door"));
        assert_eq!(mqtt("password_file"), Some("/etc/porthole/mqtt-password"));
        assert_eq!(mqtt("ca_file"), Some("/etc/porthole/ca.pem"));
    }

    #[test]
    fn a_typed_password_is_only_named() {
        let (url, _) = existing_url("ws://broker/mqtt").expect("a url");
        let login = Some(Login { username: "cam".into(), password: Password::Typed(Secret::new("s3cret")) });
        let websocket = usual_websocket(&url).expect("itself");
        let broker =
            BrokerSetup::Existing { url, login, ca_file: None, websocket, websocket_is_guessed: false };
        let camera = CameraSettings { device: DeviceChoice::Auto, proposal: None };
        let (text, table) = written(&answers(broker), &camera);
        assert!(!text.contains("s3cret"));
        assert_eq!(at(&table, "mqtt", "url").and_then(toml::Value::as_str), Some("ws://broker:80/mqtt"));
    }

    #[test]
    fn an_edit_is_noticed() {
        let camera = CameraSettings { device: DeviceChoice::Auto, proposal: None };
        let (text, _) = written(&answers(BrokerSetup::Embedded), &camera);
        assert!(!is_edited(SHIPPED));
        assert!(!is_edited(&text));
        assert!(is_edited(&text.replace("embedded", "mqtt://mine")));
        assert!(is_edited(&format!("{text}[viewers]\nmax = 2\n")));
        assert!(is_edited(""));
    }

    #[test]
    fn a_key_that_the_shipped_file_lacks_is_added() {
        let mut lines: Vec<String> = vec!["[a]".into(), "#x = 1".into(), "[b]".into(), "#y = 1".into()];
        fill(&mut lines, &number("a", "y", 2));
        fill(&mut lines, &number("c", "z", 3));
        assert_eq!(lines, ["[a]", "y = 2", "#x = 1", "[b]", "#y = 1", "", "[c]", "z = 3"]);
    }
}
