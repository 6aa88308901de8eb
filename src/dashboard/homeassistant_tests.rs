use std::sync::Arc;

use super::*;
use crate::media::mode::{CameraMode, Rate};
use crate::media::{CameraInfo, CaptureApi};
use crate::signaling::topic::Id;

fn control(name: &str, kind: ControlType, range: (i64, i64), menu: &[(i64, &str)]) -> ControlInfo {
    ControlInfo {
        id: 1,
        name: name.into(),
        kind,
        min: range.0,
        max: range.1,
        step: 1,
        default: 0,
        value: Some(0),
        menu: menu.iter().map(|(value, text)| (*value, (*text).to_owned())).collect(),
        read_only: false,
        inactive: false,
    }
}

fn media(controls: Vec<ControlInfo>) -> MediaStatus {
    let mode = |format: &str, width, height| CameraMode {
        format: format.into(),
        width,
        height,
        rates: vec![Rate::whole(30)],
    };
    let camera = CameraInfo {
        api: CaptureApi::V4l2,
        path: "/dev/video0".into(),
        by_id: None,
        by_path: None,
        card: "Camera".into(),
        driver: "uvcvideo".into(),
        bus_info: "usb-1".into(),
        modes: vec![mode("YUYV", 320, 240), mode("MJPG", 1280, 720), mode("YUYV", 1280, 720)],
        controls,
    };
    MediaStatus {
        camera: Some(Arc::new(camera)),
        device: Some("/dev/video0".into()),
        ..MediaStatus::sample(CameraState::Idle)
    }
}

fn announce(media: &MediaStatus, commands: bool, snapshots: bool, before: &Announced) -> (Value, Announced) {
    let device = DeviceInfo {
        id: "cam".into(),
        name: "Front door".into(),
        model: "Board".into(),
        root: "porthole".into(),
        key: "k".into(),
        access: "open",
        scenes: vec!["night".into()],
        has_microphone: true,
        has_speaker: false,
        whep: Some("http://192.0.2.7:8080/whep".into()),
    };
    let topics = Topics::new("porthole", &Id::new("cam").unwrap());
    let facts = DiscoveryFacts {
        device: &device,
        topics: &topics,
        media,
        commands,
        snapshots,
        system: &SystemFigures { cpu: 0.0, rss: 1, temperature: Some(40.0), rssi: Some(-60.0) },
    };
    announcement(&facts, Some("Garden"), before)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

#[test]
fn every_entity_of_the_camera_is_announced_once() {
    let (message, announced) = announce(&media(Vec::new()), true, true, &Announced::new());
    let expected = "audio bitrate bitrate_now camera camera_state encoder fps image keyframe latency_encode latency_send mirror overlay \
                    problem resolution restart rotate rssi scene streaming take_snapshot temperature uptime version viewers warm watched";
    assert_eq!(keys(&message["components"]).join(" "), expected);
    assert_eq!(announced.len(), expected.split(' ').count());
    let ids: std::collections::BTreeSet<&str> = message["components"]
        .as_object()
        .unwrap()
        .values()
        .map(|entity| entity["unique_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), announced.len());
    assert_eq!(message["availability"][0]["topic"], "porthole/cam/availability");
    assert_eq!(message["device"]["configuration_url"], "http://192.0.2.7:8080/");
    assert_eq!(message["device"]["suggested_area"], "Garden");
    assert_eq!(discovery_topic("homeassistant", "cam"), "homeassistant/device/cam/config");
}

#[test]
fn controls_become_what_they_are() {
    let mut fixed = control("firmware", ControlType::Int, (0, 9), &[]);
    fixed.read_only = true;
    let odd = control("odd", ControlType::Menu, (0, 1), &[(0, "a"), (1, "A")]);
    let (message, _) = announce(
        &media(vec![
            control("brightness", ControlType::Int, (0, 255), &[]),
            control("power_line_frequency", ControlType::Menu, (0, 2), &[(0, "Disabled"), (2, "60 Hz")]),
            control("auto_gain", ControlType::Bool, (0, 1), &[]),
            control("constant", ControlType::Int, (3, 3), &[]),
            control("constant", ControlType::Bool, (1, 1), &[]),
            control("constant", ControlType::Menu, (2, 2), &[(2, "only")]),
            ControlInfo { step: 0, ..control("stepless", ControlType::Int, (0, 9), &[]) },
            ControlInfo { step: 0, read_only: true, ..control("stepless", ControlType::Int, (0, 9), &[]) },
            ControlInfo {
                step: 0,
                ..control("menu_without_a_step", ControlType::Menu, (0, 1), &[(0, "x"), (1, "y")])
            },
            fixed,
            odd,
        ]),
        true,
        false,
        &Announced::new(),
    );
    let entities = &message["components"];
    let number = &entities["number_brightness"];
    assert_eq!((&number["min"], &number["max"], &number["step"]), (&json!(0), &json!(255), &json!(1)));
    assert_eq!(number["command_topic"], "porthole/cam/set/control/brightness");
    assert_eq!(entities["select_power_line_frequency"]["options"], json!(["Disabled", "60 Hz"]));
    assert_eq!(entities["select_power_line_frequency"]["name"], "Power line frequency");
    assert_eq!(entities["switch_auto_gain"]["platform"], "switch");
    assert_eq!(entities["sensor_firmware"]["command_topic"], Value::Null);
    assert_eq!(entities["number_odd"]["max"], 1, "texts that cannot be told apart: chosen by number");
    assert!(!keys(entities).iter().any(|key| key.ends_with("constant") || key.ends_with("stepless")));
    assert_eq!(entities["select_menu_without_a_step"]["options"], json!(["x", "y"]));
    assert!(!keys(entities).contains(&"camera"), "no snapshots, no camera");
}

#[test]
fn what_is_gone_is_removed_by_name() {
    let with = media(vec![control("brightness", ControlType::Int, (0, 255), &[])]);
    let (_, before) = announce(&with, true, true, &Announced::new());
    let (message, after) = announce(&media(Vec::new()), true, true, &before);
    assert_eq!(message["components"]["number_brightness"], json!({ "platform": "number" }));
    assert!(!after.contains_key("number_brightness"));
    let nothing = MediaStatus { ready: false, ..media(Vec::new()) };
    let (message, _) = announce(&nothing, true, true, &before);
    assert_eq!(message["components"]["number_brightness"], Value::Null, "not known yet is not gone");
}

#[test]
fn without_commands_it_only_looks() {
    let with = media(vec![control("brightness", ControlType::Int, (0, 255), &[])]);
    let (message, _) = announce(&with, false, false, &Announced::new());
    assert!(!message.to_string().contains("command_topic"));
    assert_eq!(message["components"]["sensor_brightness"]["platform"], "sensor");
}

#[test]
fn sizes_are_listed_once_with_the_one_in_use() {
    assert_eq!(sizes(&media(Vec::new())), ["1280x720", "320x240", "640x480"]);
}

#[test]
fn a_driver_with_very_many_controls_stays_bounded() {
    let many = (0..500).map(|n| control(&format!("control_{n}"), ControlType::Int, (0, 9), &[])).collect();
    let (message, announced) = announce(&media(many), true, true, &Announced::new());
    assert!(announced.len() < 100);
    assert!(message.to_string().len() < 128 * 1024);
}
