//! From what is written to what is meant: every value checked, every refusal says what is right.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::raw::{RawConfig, RawIce, RawIceServer, RawMqtt, Text};
use super::{Broker, BrokerChoice, Config, Device, Flavour, Ice, Moved, Mqtt, Secret};
use super::{dashboard, device_id};
use crate::access::gate::Mode;
use crate::media::{DeviceChoice, MediaConfig, MediaError};
use crate::signaling::message::IceServer;
use crate::signaling::topic::Id;

/// Keys, certificates and passwords are far smaller.
const LONGEST_FILE_BYTES: u64 = 1 << 20;

/// A value that cannot be used.
#[derive(Debug)]
pub(super) struct Problem {
    pub key: String,
    pub value: String,
    pub expected: String,
}

pub(super) type Checked<T> = Result<T, Problem>;

#[allow(clippy::needless_pass_by_value)] // callers hand over whatever can be shown
pub(super) fn problem(key: &str, value: impl ToString, expected: impl ToString) -> Problem {
    Problem { key: key.to_owned(), value: value.to_string(), expected: expected.to_string() }
}

pub(super) fn checked(raw: RawConfig, flavour: Flavour, moved: &Moved) -> Checked<Config> {
    let device = device(&raw, flavour)?;
    let media = media(&raw, flavour)?;
    let playout_delay_ms =
        in_range("video.playout_delay_ms", raw.video.playout_delay_ms.unwrap_or(0), 0..=10_000)?;
    let max_viewers = in_range("viewers.max", raw.viewers.max.unwrap_or(8), 1..=1000)? as usize;
    let access = access(raw.access.mode.as_ref())?;
    Ok(Config {
        device,
        media,
        playout_delay_ms,
        max_viewers,
        access,
        mqtt: mqtt(raw.mqtt, flavour, moved)?,
        http_listen: optional_address("http.listen", raw.http.listen.as_ref(), "0.0.0.0:8080")?,
        http_tls: http_tls(raw.http.tls_cert_file, raw.http.tls_key_file, moved)?,
        metrics: raw.http.metrics.unwrap_or(true),
        ice: ice(raw.ice, moved)?,
        commands: dashboard::commands(raw.dashboard.commands.as_ref(), access)?,
        snapshots: dashboard::snapshots(&raw.dashboard)?,
        homeassistant: dashboard::homeassistant(&raw.homeassistant)?,
        broker: Broker {
            listen: address("broker.listen", raw.broker.listen.as_ref(), "0.0.0.0:1883")?,
            websocket: address("broker.websocket", raw.broker.websocket.as_ref(), "0.0.0.0:9001")?,
        },
        written: BTreeMap::new(),
    })
}

fn device(raw: &RawConfig, flavour: Flavour) -> Checked<Device> {
    let id = match &raw.device.id {
        Some(id) => Id::new(&id.0).map_err(|error| problem("device.id", &id.0, error))?,
        None => device_id::default_id(),
    };
    let name = raw.device.name.as_ref().map_or_else(|| id.to_string(), |name| name.0.trim().to_owned());
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(problem("device.name", &name, "write 1 to 100 printable characters"));
    }
    let state_dir = match &raw.device.state_dir {
        Some(dir) => PathBuf::from(&dir.0),
        None if flavour == Flavour::Demo => std::env::temp_dir().join(format!("porthole-demo-{id}")),
        None => PathBuf::from("/var/lib/porthole"),
    };
    Ok(Device { id, name, state_dir })
}

fn mqtt(raw: RawMqtt, flavour: Flavour, moved: &Moved) -> Checked<Mqtt> {
    let broker = match (&raw.url, flavour) {
        (Some(url), _) if url.0 == "embedded" => BrokerChoice::Embedded,
        (Some(url), _) => BrokerChoice::External(parsed("mqtt.url", url)?),
        (None, Flavour::Demo) => BrokerChoice::Embedded,
        (None, Flavour::Run) => {
            return Err(problem(
                "mqtt.url",
                "(not set)",
                "name your broker, for example \"mqtt://broker.local:1883\", or \"embedded\" for the built-in one",
            ));
        }
    };
    let password = match &raw.password_file {
        Some(file) => {
            let text = read("mqtt.password_file", Path::new(&file.0), moved)?;
            Some(Secret::new(text.trim_end_matches(['\r', '\n'])))
        }
        None => None,
    };
    if password.is_some() && raw.username.is_none() {
        return Err(problem(
            "mqtt.username",
            "(not set)",
            "mqtt.password_file is set, so a user name is needed too",
        ));
    }
    let client_cert_file = existing("mqtt.client_cert_file", raw.client_cert_file, moved)?;
    let client_key_file = existing("mqtt.client_key_file", raw.client_key_file, moved)?;
    if client_cert_file.is_some() != client_key_file.is_some() {
        let missing =
            if client_cert_file.is_some() { "mqtt.client_key_file" } else { "mqtt.client_cert_file" };
        return Err(problem(missing, "(not set)", "client_cert_file and client_key_file belong together"));
    }
    let root = raw.root.map_or_else(|| "porthole".to_owned(), |root| root.0);
    if root.is_empty()
        || root.starts_with('/')
        || root.ends_with('/')
        || root.contains(['+', '#', '\0'])
        || root.len() > 128
    {
        return Err(problem("mqtt.root", root, "write a topic without wildcards and without / at its ends"));
    }
    Ok(Mqtt {
        broker,
        username: raw.username.map(|name| name.0),
        password,
        ca_file: existing("mqtt.ca_file", raw.ca_file, moved)?,
        client_cert_file,
        client_key_file,
        root,
    })
}

fn http_tls(cert: Option<Text>, key: Option<Text>, moved: &Moved) -> Checked<Option<(PathBuf, PathBuf)>> {
    let cert = existing("http.tls_cert_file", cert, moved)?;
    let key = existing("http.tls_key_file", key, moved)?;
    let alone = |missing| problem(missing, "(not set)", "tls_cert_file and tls_key_file belong together");
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(alone("http.tls_key_file")),
        (None, Some(_)) => Err(alone("http.tls_cert_file")),
    }
}

fn media(raw: &RawConfig, flavour: Flavour) -> Checked<MediaConfig> {
    let camera = &raw.camera;
    let video = &raw.video;
    let device = match &camera.device {
        Some(device) => media_word("camera.device", device)?,
        None if flavour == Flavour::Demo => DeviceChoice::AutoOrTest,
        None => DeviceChoice::Auto,
    };
    if camera.width.is_some() != camera.height.is_some() {
        let missing = if camera.width.is_some() { "camera.height" } else { "camera.width" };
        return Err(problem(missing, "(not set)", "width and height belong together"));
    }
    for (key, value) in [("camera.width", camera.width), ("camera.height", camera.height)] {
        if let Some(value) = value {
            in_range(key, value, 64..=4096)?;
            if value % 2 != 0 {
                return Err(problem(key, value, "write an even number (4:2:0 video has no half pixels)"));
            }
        }
    }
    if device == DeviceChoice::Test && camera.width.is_some_and(|width| width < 640) {
        let width = camera.width.unwrap_or_default();
        return Err(problem(
            "camera.width",
            width,
            "write at least 640: the test picture carries its time in 640 pixels",
        ));
    }
    if let Some(fps) = camera.fps {
        in_range("camera.fps", fps, 1..=240)?;
    }
    let bitrate_kbps =
        video.bitrate_kbps.map(|kbps| in_range("video.bitrate_kbps", kbps, 50..=50_000)).transpose()?;
    let min_bitrate_kbps = video
        .min_bitrate_kbps
        .map(|kbps| in_range("video.min_bitrate_kbps", kbps, 50..=50_000))
        .transpose()?;
    if let (Some(min), Some(max)) = (min_bitrate_kbps, bitrate_kbps)
        && min > max
    {
        return Err(problem(
            "video.min_bitrate_kbps",
            min,
            format!("write at most video.bitrate_kbps, which is {max}"),
        ));
    }
    Ok(MediaConfig {
        device,
        width: camera.width,
        height: camera.height,
        fps: camera.fps,
        format: media_word("camera.format", &or_auto(camera.format.as_ref()))?,
        encoder: media_word("video.encoder", &or_auto(video.encoder.as_ref()))?,
        bitrate_kbps,
        min_bitrate_kbps,
        tiers: in_range("video.tiers", video.tiers.unwrap_or(1), 1..=2)?,
        keyframe_interval_s: in_range(
            "video.keyframe_interval_s",
            video.keyframe_interval_s.unwrap_or(10),
            1..=600,
        )?,
        linger: Duration::from_secs(
            in_range("video.linger_s", video.linger_s.unwrap_or(5), 0..=86_400)?.into(),
        ),
    })
}

fn ice(raw: RawIce, moved: &Moved) -> Checked<Ice> {
    let servers = raw.servers.into_iter().enumerate().map(|(at, server)| ice_server(at, server, moved));
    Ok(Ice {
        servers: servers.collect::<Checked<_>>()?,
        port_range: udp_ports(raw.udp_port, raw.port_range.as_ref())?,
        tcp_port: port("ice.tcp_port", raw.tcp_port, "write 1 to 65535, or leave the key out for no TCP")?,
        public_ip: raw
            .public_ip
            .map(|ip| {
                parsed_as::<IpAddr>("ice.public_ip", &ip, "write an IP address such as \"203.0.113.7\"")
            })
            .transpose()?,
    })
}

fn ice_server(at: usize, raw: RawIceServer, moved: &Moved) -> Checked<IceServer> {
    let key = format!("ice.servers[{at}].urls");
    if raw.urls.is_empty() {
        return Err(problem(&key, "[]", "name at least one address, such as \"stun:stun.example.org:3478\""));
    }
    for url in &raw.urls {
        let known = ["stun:", "turn:", "turns:"].iter().any(|scheme| {
            url.0.strip_prefix(scheme).is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
        });
        if !known {
            return Err(problem(
                &key,
                &url.0,
                "write stun:HOST[:PORT], turn:HOST[:PORT] or turns:HOST[:PORT]",
            ));
        }
        if !url.0.starts_with("stun:") && (raw.username.is_none() || raw.credential_file.is_none()) {
            return Err(problem(&key, &url.0, "a TURN server needs username and credential_file"));
        }
    }
    let credential = raw
        .credential_file
        .map(|file| read(&format!("ice.servers[{at}].credential_file"), Path::new(&file.0), moved))
        .transpose()?;
    Ok(IceServer {
        urls: raw.urls.into_iter().map(|url| url.0).collect(),
        username: raw.username.map(|name| name.0),
        credential: credential.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
    })
}

fn port(key: &str, port: Option<u16>, hint: &str) -> Checked<Option<u16>> {
    if port == Some(0) { Err(problem(key, 0, hint)) } else { Ok(port) }
}

fn udp_ports(one: Option<u16>, range: Option<&Text>) -> Checked<Option<RangeInclusive<u16>>> {
    let one = port("ice.udp_port", one, "write 1 to 65535, or leave the key out for any port")?;
    match (one, range) {
        (Some(port), Some(_)) => {
            Err(problem("ice.udp_port", port, "leave out either this key or ice.port_range"))
        }
        (Some(port), None) => Ok(Some(port..=port)),
        (None, range) => range.map(|range| port_range(&range.0)).transpose(),
    }
}

fn port_range(text: &str) -> Checked<RangeInclusive<u16>> {
    let wrong =
        || problem("ice.port_range", text, "write FIRST-LAST, such as \"50000-50100\", first not above last");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let first: u16 = first.trim().parse().map_err(|_| wrong())?;
    let last: u16 = last.trim().parse().map_err(|_| wrong())?;
    if first == 0 || first > last { Err(wrong()) } else { Ok(first..=last) }
}

fn access(mode: Option<&Text>) -> Checked<Mode> {
    match mode.map(|mode| mode.0.as_str()) {
        None | Some("grants") => Ok(Mode::Grants),
        Some("open") => Ok(Mode::Open),
        Some(other) => Err(problem("access.mode", other, "write \"grants\" or \"open\"")),
    }
}

fn or_auto(text: Option<&Text>) -> Text {
    text.cloned().unwrap_or_else(|| Text("auto".to_owned()))
}

fn parsed<T: FromStr>(key: &str, text: &Text) -> Checked<T>
where
    T::Err: std::fmt::Display,
{
    text.0.parse().map_err(|error| problem(key, &text.0, error))
}

/// The capture side's own words, without repeating the key that is named anyway.
fn media_word<T: FromStr<Err = MediaError>>(key: &str, text: &Text) -> Checked<T> {
    text.0.parse().map_err(|error| match error {
        MediaError::UnknownSetting { allowed, .. } => problem(key, &text.0, format!("write {allowed}")),
        other => problem(key, &text.0, other),
    })
}

fn parsed_as<T: FromStr>(key: &str, text: &Text, expected: &str) -> Checked<T> {
    text.0.parse().map_err(|_| problem(key, &text.0, expected))
}

fn address(key: &str, text: Option<&Text>, default: &str) -> Checked<SocketAddr> {
    let text = text.cloned().unwrap_or_else(|| Text(default.to_owned()));
    parsed_as(key, &text, "write ADDRESS:PORT, such as \"0.0.0.0:8080\" or \"127.0.0.1:8080\"")
}

fn optional_address(key: &str, text: Option<&Text>, default: &str) -> Checked<Option<SocketAddr>> {
    if text.is_some_and(|text| text.0.is_empty()) { Ok(None) } else { address(key, text, default).map(Some) }
}

pub(super) fn in_range(key: &str, value: u32, range: RangeInclusive<u32>) -> Checked<u32> {
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(problem(key, value, format!("write a number from {} to {}", range.start(), range.end())))
    }
}

/// Where a file is that the configuration names. A name without a folder may be a systemd credential
/// (`LoadCredential=` in systemd.exec(5)).
fn located(file: &Path, moved: &Moved) -> PathBuf {
    if let Some(now) = moved.get(file) {
        return now.clone();
    }
    let is_name = file.components().count() == 1 && file.file_name().is_some();
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(file));
    credential.filter(|path| is_name && path.is_file()).unwrap_or_else(|| file.to_owned())
}

fn read(key: &str, file: &Path, moved: &Moved) -> Checked<String> {
    let unreadable = |error| problem(key, file.display(), format!("the file cannot be read: {error}"));
    let mut text = String::new();
    // One byte more than may be there: a device file has no end.
    std::fs::File::open(located(file, moved))
        .and_then(|file| file.take(LONGEST_FILE_BYTES + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > LONGEST_FILE_BYTES {
        return Err(problem(key, file.display(), "a file of at most 1 MiB"));
    }
    if text.trim().is_empty() { Err(problem(key, file.display(), "the file is empty")) } else { Ok(text) }
}

fn existing(key: &str, file: Option<Text>, moved: &Moved) -> Checked<Option<PathBuf>> {
    let Some(file) = file else { return Ok(None) };
    let file = Path::new(&file.0);
    read(key, file, moved).map(|_| Some(located(file, moved)))
}
