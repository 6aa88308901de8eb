use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::media::DeviceChoice;
use crate::media::audio::{AudioChoice, SpeakerChoice};

fn load(text: &str) -> Result<Config, ConfigError> {
    load_as(text, Flavour::Run)
}

fn load_as(text: &str, flavour: Flavour) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("porthole.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file), flavour)
}

fn refusal(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

const MINIMAL: &str = "[mqtt]\nurl = \"mqtt://broker\"\n";

#[test]
fn a_broker_is_all_that_is_needed() {
    let config = load(MINIMAL).unwrap();
    assert!(matches!(config.mqtt.broker, BrokerChoice::External(_)));
    assert_eq!(config.mqtt.root, "porthole");
    assert_eq!(config.viewers.max, 8);
    assert_eq!((config.video.min_bitrate.kbps(), config.video.playout_delay_ms), (300, 0));
    assert_eq!(config.media.device, DeviceChoice::Auto);
    assert_eq!(config.http.listen, Some("0.0.0.0:8080".parse().unwrap()));
    assert_eq!(config.device.state_dir, PathBuf::from("/var/lib/porthole"));
}

#[test]
fn every_section_can_be_set_by_variables_too() {
    let unknown = toml::from_str::<RawConfig>("nothing = 1").unwrap_err().to_string();
    let (_, known) = unknown.split_once("expected one of ").unwrap();
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    assert!(known.len() > 10, "{unknown}");
    assert_eq!(known, provider::SECTIONS);
}

#[test]
fn the_demo_needs_nothing() {
    let config = load_as("", Flavour::Demo).unwrap();
    assert_eq!(config.mqtt.broker, BrokerChoice::Embedded);
    assert_eq!(config.media.device, DeviceChoice::AutoOrTest);
}

#[test]
fn run_without_a_broker_says_what_to_write() {
    let text = refusal("");
    assert!(text.contains("mqtt.url") && text.contains("embedded"), "{text}");
}

#[test]
fn a_refusal_names_file_key_value_and_what_is_right() {
    let cases = [
        ("[camera]\nwidth = 641\nheight = 480", "camera.width", "641", "even"),
        ("[camera]\nwidth = 640", "camera.height", "not set", "belong together"),
        ("[camera]\ndevice = \"test\"\nwidth = 320\nheight = 240", "camera.width", "320", "at least 640"),
        ("[device]\nid = \"front/door\"", "device.id", "front/door", "letters"),
        ("[http]\nlisten = \"8080\"", "http.listen", "8080", "ADDRESS:PORT"),
        ("[ice]\nport_range = \"9-2\"", "ice.port_range", "9-2", "FIRST-LAST"),
        ("[ice]\nudp_port = 0", "ice.udp_port", "0", "1 to 65535"),
        ("[ice]\nudp_port = 9\nport_range = \"9-12\"", "ice.udp_port", "9", "ice.port_range"),
        ("[ice]\npublic_ip = \"example.org\"", "ice.public_ip", "example.org", "IP address"),
        ("[ice]\nservers = [{ urls = [\"http://x\"] }]", "ice.servers[0].urls", "http://x", "stun:"),
        ("[ice]\nservers = [{ urls = [\"turn:x\"] }]", "ice.servers[0].urls", "turn:x", "credential_file"),
        ("[viewers]\nmax = 0", "viewers.max", "0", "from 1 to"),
        ("[video]\nencoder = \"nvenc\"", "video.encoder", "nvenc", "x264enc"),
        ("[video]\nbitrate_kbps = 500\nmin_bitrate_kbps = 600", "video.min_bitrate_kbps", "600", "500"),
        ("[video]\ntiers = 3", "video.tiers", "3", "from 1 to 2"),
        ("[access]\nmode = \"closed\"", "access.mode", "closed", "\"grants\" or \"open\""),
        ("[http]\ntls_cert_file = \"/nowhere/x\"", "http.tls_cert_file", "/nowhere/x", "cannot be read"),
        ("[http]\ntls_key_file = \"/proc/version\"", "http.tls_cert_file", "(not set)", "belong together"),
    ];
    for (text, key, value, right) in cases {
        let text = refusal(&format!("{MINIMAL}{text}\n"));
        for part in ["porthole.toml", key, value, right] {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
    }
}

#[test]
fn viewers_private_addresses_are_checked_unless_it_says_otherwise() {
    for (text, expected) in
        [("", false), ("private_addresses = true", false), ("private_addresses = false", true)]
    {
        let config = load(&format!("{MINIMAL}[ice]\n{text}\n")).unwrap();
        assert_eq!(config.ice.skips_private, expected, "{text}");
    }
}

#[test]
fn mqtt_refusals_name_the_key() {
    for (text, part) in [
        ("[mqtt]\nurl = \"http://broker\"", "mqtt.url = http://broker cannot be used"),
        ("[mqtt]\nurl = \"mqtt://b\"\npassword_file = \"/nonexistent\"", "/nonexistent"),
        ("[mqtt]\nurl = \"mqtts://b\"\nca_file = \"/nonexistent.pem\"", "mqtt.ca_file"),
        ("[mqtt]\nurl = \"mqtt://b\"\nroot = \"a/#\"", "mqtt.root"),
    ] {
        let text = refusal(text);
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[test]
fn unknown_keys_and_wrong_types_are_named() {
    let text = refusal("[mqtt]\nurll = \"x\"\n");
    assert!(text.contains("urll") && text.contains("[mqtt]") && text.contains("password_file"), "{text}");
    let text = refusal("[viewers]\nmax = \"many\"\n");
    assert!(text.contains("viewers.max") && text.contains("many"), "{text}");
    let text = refusal("[camra]\n");
    assert!(text.contains("camra") && text.contains("camera"), "{text}");
    let text = refusal("[mqtt\n");
    assert!(text.contains("TOML") && text.contains("line 1"), "{text}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Some(Path::new("/nonexistent/porthole.toml")), Flavour::Run).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/porthole.toml"));
}

#[test]
#[allow(clippy::result_large_err)] // figment's own error, in figment's own closure
fn the_environment_overrides_the_file() {
    figment::Jail::expect_with(|jail| {
        jail.create_file("porthole.toml", MINIMAL)?;
        jail.set_env("PORTHOLE_DEVICE_ID", "12");
        jail.set_env("PORTHOLE_MQTT_ROOT", "cams");
        jail.set_env("PORTHOLE_HTTP_LISTEN", "");
        jail.set_env("PORTHOLE_ICE_PORT_RANGE", "50000-50100");
        jail.set_env("PORTHOLE_ICE_SERVERS", "[{urls=[\"stun:stun.example.org\"]}]");
        jail.set_env("PORTHOLE_LOG", "debug");
        let config = Config::load(Some(Path::new("porthole.toml")), Flavour::Run).unwrap();
        assert_eq!(config.device.id.as_str(), "12");
        assert_eq!(config.mqtt.root, "cams");
        assert_eq!(config.http.listen, None);
        assert_eq!(config.ice.port_range, Some(50000..=50100));
        assert_eq!(config.ice.servers[0].urls, ["stun:stun.example.org"]);
        jail.set_env("PORTHOLE_VIEWERS_MAX", "0");
        let error = Config::load(Some(Path::new("porthole.toml")), Flavour::Run).unwrap_err().to_string();
        assert!(error.contains("PORTHOLE_VIEWERS_MAX"), "{error}");
        Ok(())
    });
}

#[test]
#[allow(clippy::result_large_err)] // figment's own error, in figment's own closure
fn a_bare_name_may_be_a_credential_of_the_service_manager() {
    figment::Jail::expect_with(|jail| {
        let folder = jail.create_dir("credentials")?;
        jail.create_file("credentials/mqtt-password", "hunter2\n")?;
        jail.create_file(
            "porthole.toml",
            &format!("{MINIMAL}username = \"u\"\npassword_file = \"mqtt-password\"\n"),
        )?;
        let load = || Config::load(Some(Path::new("porthole.toml")), Flavour::Run);
        let error = load().unwrap_err().to_string();
        assert!(error.contains("mqtt-password"), "{error}");
        jail.set_env("CREDENTIALS_DIRECTORY", folder.display());
        assert_eq!(load().unwrap().mqtt.password.as_ref().unwrap().expose(), "hunter2");
        Ok(())
    });
}

#[test]
fn secrets_are_read_from_files_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let config =
        load(&format!("[mqtt]\nurl = \"mqtt://b\"\nusername = \"u\"\npassword_file = {file:?}\n")).unwrap();
    assert_eq!(config.mqtt.password.as_ref().unwrap().expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_named_file_without_an_end_is_refused() {
    let text = refusal("[mqtt]\nurl = \"mqtt://broker\"\nusername = \"u\"\npassword_file = \"/dev/zero\"\n");
    assert!(text.contains("mqtt.password_file") && text.contains("1 MiB"), "{text}");
}

#[test]
fn dashboards_are_trusted_as_far_as_access_says() {
    assert_eq!(
        load(&format!("{MINIMAL}[access]\nmode = \"open\"\n")).unwrap().dashboard.commands,
        Commands::All
    );
    assert_eq!(
        load(&format!("{MINIMAL}[access]\nmode = \"grants\"\n")).unwrap().dashboard.commands,
        Commands::Safe
    );
    let both = "[access]\nmode = \"grants\"\n[dashboard]\ncommands = \"all\"\n";
    assert_eq!(load(&format!("{MINIMAL}{both}")).unwrap().dashboard.commands, Commands::All);
}

#[test]
fn snapshots_and_home_assistant_are_checked() {
    let config = load(MINIMAL).unwrap();
    assert_eq!(config.dashboard.snapshots, Snapshots::default());
    assert_eq!(
        config.homeassistant,
        HomeAssistant { discovery: true, prefix: "homeassistant".into(), area: None }
    );
    let text = "[dashboard]\nsnapshots = true\nsnapshot_interval_s = 30\n[homeassistant]\ndiscovery = false\nprefix = \"ha\"\narea = \"Garden\"\n";
    let config = load(&format!("{MINIMAL}{text}")).unwrap();
    assert_eq!(
        config.dashboard.snapshots,
        Snapshots { allowed: true, interval: Some(Duration::from_secs(30)) }
    );
    assert_eq!(
        config.homeassistant,
        HomeAssistant { discovery: false, prefix: "ha".into(), area: Some("Garden".into()) }
    );
    for (text, part) in [
        ("[dashboard]\nsnapshot_interval_s = 5", "snapshots = true"),
        ("[dashboard]\nsnapshots = true\nsnapshot_interval_s = 0", "from 1 to"),
        ("[homeassistant]\nprefix = \"a/#\"", "without wildcards"),
        ("[homeassistant]\narea = \" \"", "the name of an area"),
    ] {
        let text = refusal(&format!("{MINIMAL}{text}\n"));
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

#[test]
fn the_ranges_are_those_of_the_manual_and_both_ends_are_taken() {
    const MANUAL: &str = include_str!("../../systemd/porthole.toml");
    let both = |key: &str, range: RangeInclusive<u32>, text: &str| {
        assert!(MANUAL.contains(&format!("{} to {}", range.start(), range.end())), "{key} in the manual");
        for (value, is_right) in [
            (range.start().wrapping_sub(1), false),
            (*range.start(), true),
            (*range.end(), true),
            (range.end() + 1, false),
        ] {
            if value == u32::MAX {
                continue;
            }
            let text = text.replace("{}", &value.to_string());
            let loaded = load(&format!("{MINIMAL}{text}\n"));
            assert_eq!(loaded.is_ok(), is_right, "{key} = {value}: {:?}", loaded.err());
            if let Ok(config) = loaded {
                assert!(config.media.check().is_ok(), "{key} = {value}: the capture side says otherwise");
            }
        }
    };
    both("camera.fps", MediaConfig::FPS, "[camera]\nfps = {}");
    both("video.bitrate_kbps", MediaConfig::BITRATE_KBPS, "[video]\nbitrate_kbps = {}");
    both("video.min_bitrate_kbps", MediaConfig::BITRATE_KBPS, "[video]\nmin_bitrate_kbps = {}");
    both("video.keyframe_interval_s", MediaConfig::KEYFRAME_INTERVAL_S, "[video]\nkeyframe_interval_s = {}");
    both("video.linger_s", MediaConfig::LINGER_S, "[video]\nlinger_s = {}");
    both("video.playout_delay_ms", Video::PLAYOUT_DELAY_MS, "[video]\nplayout_delay_ms = {}");
    both("audio.bitrate_kbps", AudioConfig::BITRATE_KBPS, "[audio]\nbitrate_kbps = {}");
    both("viewers.max", Viewers::MAX, "[viewers]\nmax = {}");
    let interval = "[dashboard]\nsnapshots = true\nsnapshot_interval_s = {}";
    both("dashboard.snapshot_interval_s", Snapshots::INTERVAL_S, interval);
    // Odd sizes are refused for another reason.
    assert!(MANUAL.contains("64 to 4096"));
    for (side, is_right) in [(62, false), (64, true), (4096, true), (4098, false)] {
        let loaded = load(&format!("{MINIMAL}[camera]\nwidth = {side}\nheight = {side}\n"));
        assert_eq!(loaded.is_ok(), is_right, "{side}");
        let media = MediaConfig { width: Some(side), height: Some(side), ..MediaConfig::default() };
        assert_eq!(media.check().is_ok(), is_right, "{side}: the capture side");
    }
}

#[test]
fn sound_is_off_until_a_card_is_named() {
    let audio = load(MINIMAL).unwrap().audio;
    assert_eq!(audio, AudioConfig::default());
    assert!(!audio.has_microphone() && !audio.has_speaker());
    let text = "[audio]\ndevice = \"hw:1,0\"\nbitrate_kbps = 64\nchannels = 2\ngain_db = -40\nspeaker = \"auto\"\n\
                speaker_gain_db = 40\n";
    let audio = load(&format!("{MINIMAL}{text}")).unwrap().audio;
    let expected = AudioConfig {
        device: AudioChoice::Named("hw:1,0".into()),
        bitrate_kbps: 64,
        channels: 2,
        gain_db: -40,
        speaker: SpeakerChoice::Auto,
        speaker_gain_db: 40,
    };
    assert_eq!(audio, expected);
    for (text, device) in [
        ("", AudioChoice::Off),
        ("auto", AudioChoice::Auto),
        ("test", AudioChoice::Test),
        ("3", AudioChoice::Named("3".into())),
    ] {
        assert_eq!(load(&format!("{MINIMAL}[audio]\ndevice = \"{text}\"\n")).unwrap().audio.device, device);
    }
}

#[test]
fn sound_that_cannot_be_names_its_key_in_one_line() {
    let long = format!("device = \"{}\"", "x".repeat(10_000));
    for (text, key, right) in [
        ("device = \"a\\nb\"", "audio.device", "a card's name"),
        (long.as_str(), "audio.device", "a card's name"),
        ("device = [1]", "audio.device", "stands here"),
        ("speaker = \"\\u001b[2J\"", "audio.speaker", "a card's name"),
        ("bitrate_kbps = \"much\"", "audio.bitrate_kbps", "whole number"),
        ("channels = 0", "audio.channels", "from 1 to 2"),
        ("channels = 3", "audio.channels", "from 1 to 2"),
        ("gain_db = 41", "audio.gain_db", "from -40 to 40"),
        ("speaker_gain_db = -41", "audio.speaker_gain_db", "from -40 to 40"),
        ("microphone = \"auto\"", "microphone", "known here"),
    ] {
        let refused = refusal(&format!("{MINIMAL}[audio]\n{text}\n"));
        assert!(refused.contains(key) && refused.contains(right), "{text:.40}: {refused}");
        assert!(!refused.trim_end().contains('\n') && refused.len() < 700, "{text:.40}: {refused}");
    }
}

#[test]
fn how_the_picture_looks_is_checked() {
    let text = "[camera]\nrotate = 180\nmirror = true\ncrop = [0, 0, 0.5, 0.5]\nmask = [[0, 0, 0.3, 0.2], [0.9, 0.9, 0.1, 0.1]]\n\
                overlay = \"%H:%M  {name}\"\noverlay_corner = \"bottom-left\"\n[camera.scene.night]\ngain = 7\nauto = false\n";
    let config = load(&format!("{MINIMAL}{text}")).unwrap();
    let look = &config.media.look;
    assert_eq!((look.turn().rotation.degrees(), look.mirror, look.masks.len()), (180, Some(true), 2));
    assert_eq!(look.turn().to_seen(look.masks[0]).to_string(), "[0.0, 0.0, 0.3, 0.2]", "as it is seen");
    assert_eq!((look.name.as_str(), look.corner.is_bottom()), (config.device.name.as_str(), true));
    assert_eq!(config.scenes["night"]["auto"], "OFF");
    let none =
        load(&format!("{MINIMAL}[camera]\ncrop = []\nmask = []\noverlay = \"\"\n")).unwrap().media.look;
    assert!(!none.needs_raw() && none.rotation.is_none() && none.mirror.is_none());
}

#[test]
fn a_look_that_cannot_be_names_its_key_in_one_line() {
    let long = format!("overlay = \"{}\"", "x".repeat(10_000));
    for (text, key, right) in [
        ("rotate = 45", "camera.rotate", "0, 90, 180 or 270"),
        ("rotate = -90", "camera.rotate", "0, 90, 180 or 270"),
        ("rotate = \"left\"", "camera.rotate", "0, 90, 180 or 270"),
        ("mirror = 1", "camera.mirror", "true or false"),
        ("mask = [[0.5, 0.5, 0.8, 0.1]]", "camera.mask", "at most 1"),
        ("mask = [[0, 0, 640, 480]]", "camera.mask", "from 0 to 1"),
        ("mask = \"all\"", "camera.mask", "[x, y, width, height]"),
        ("crop = [0, 0, 0, 0]", "camera.crop", "more than 0"),
        ("crop = [0.5]", "camera.crop", "[x, y, width, height]"),
        (long.as_str(), "camera.overlay", "at most 100"),
        ("overlay = \"%Q\"", "camera.overlay", "strftime"),
        ("overlay_corner = \"middle\"", "camera.overlay_corner", "bottom-right"),
        ("scene.night.Gain = 1", "camera.scene.night.Gain", "porthole cameras"),
        ("scene.night = {}", "camera.scene.night", "1 to 64 controls"),
    ] {
        let refused = refusal(&format!("{MINIMAL}[camera]\n{text}\n"));
        assert!(refused.contains(key) && refused.contains(right), "{text:.40}: {refused}");
        assert!(!refused.trim_end().contains('\n') && refused.len() < 700, "{text:.40}: {refused}");
    }
}
