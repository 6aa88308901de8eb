//! The encoders that are installed here, really encoding.

use super::*;
use crate::media::encode::encoder_bitrate::EncoderBitrate;

fn settings(width: u32, height: u32) -> EncodeSettings {
    EncodeSettings {
        width,
        height,
        rate: Rate::whole(30),
        bitrate_kbps: 1000,
        keyframe_interval_s: 10,
        board: BoardClass::Medium,
        cores: 2,
    }
}

fn spec(name: &str) -> &'static EncoderSpec {
    TABLE.iter().find(|spec| spec.name == name).unwrap()
}

#[test]
fn the_configured_encoder_is_tried_first_and_the_others_follow() {
    let names = |choice| order(choice).iter().map(|spec| spec.name).collect::<Vec<_>>();
    assert_eq!(names(EncoderChoice::Auto), ["v4l2h264enc", "x264enc", "openh264enc"]);
    assert_eq!(names(EncoderChoice::OpenH264), ["openh264enc", "v4l2h264enc", "x264enc"]);
}

#[test]
fn a_software_encoder_is_believed_after_it_has_encoded() {
    gst::init().unwrap();
    for (width, height, level) in [(640, 480, 0x1e), (1280, 720, 0x1f), (1920, 1080, 0x28)] {
        let sps = spec("x264enc").probe(settings(width, height)).unwrap().sps;
        assert_eq!((sps.width, sps.height), (width, height));
        assert_eq!(sps.profile.as_offered().to_string(), format!("42e0{level:02x}"));
        assert_eq!(sps.reorder_frames, Some(0));
    }
    let probed = spec("openh264enc").probe(settings(640, 480)).unwrap();
    assert_eq!(probed.bitrate_limits, None, "there is no driver");
    let sps = probed.sps;
    assert_eq!(sps.profile.as_offered().profile_iop, 0xe0);
}

#[test]
fn an_encoder_that_is_not_there_or_does_not_work_says_so() {
    static BROKEN: EncoderSpec = EncoderSpec {
        name: "fakesink",
        kind: EncoderKind::Software,
        package: "x",
        choice: EncoderChoice::X264,
        formats: &[],
    };
    static MISSING: EncoderSpec = EncoderSpec {
        name: "no-such-encoder",
        kind: EncoderKind::Software,
        package: "gstreamer1.0-none",
        choice: EncoderChoice::X264,
        formats: &[],
    };
    gst::init().unwrap();
    assert!(matches!(BROKEN.probe(settings(640, 480)), Err(MediaError::Encoder { .. })));
    let missing = MISSING.probe(settings(640, 480)).unwrap_err().to_string();
    assert!(missing.contains("gstreamer1.0-none"), "{missing}");
}

#[test]
fn figures_follow_size_and_rate() {
    assert_eq!(default_bitrate_kbps(640, 480, Rate::whole(30)), 830);
    assert_eq!(default_bitrate_kbps(1280, 720, Rate::whole(30)), 2490);
    assert_eq!(default_bitrate_kbps(160, 120, Rate::whole(5)), 300);
    assert_eq!(default_bitrate_kbps(8192, 8192, Rate::whole(60)), 8000);
    assert_eq!(settings(1280, 720).keyframe_interval(), 300);
    assert_eq!(settings(1920, 1080).level(), "4");
    assert_eq!(settings(1920, 1200).level(), "4.2");
}

/// kbit/s that come out at a target of 500, and how many of 300 pictures.
fn snow(name: &str, is_halved: bool) -> (usize, usize) {
    let settings = EncodeSettings { bitrate_kbps: 500, ..settings(320, 180) };
    let chain = spec(name).build(&settings).unwrap();
    let bitrate = EncoderBitrate::new(spec(name), chain.encoder.clone());
    bitrate.set(500, is_halved);
    let source = make("videotestsrc", "x").unwrap();
    set(&source, "pattern", "snow");
    source.set_property("num-buffers", 300_i32);
    let mut elements = vec![source, filter(raw_caps(&settings)).unwrap()];
    elements.extend(chain.elements);
    let units = capture(elements, 300, PROBE_TIMEOUT).unwrap();
    let settled: usize = units.iter().skip(units.len() / 2).map(Vec::len).sum();
    (settled * 8 / 5000, units.len())
}

#[test]
fn half_of_the_pictures_get_all_of_the_bits() {
    gst::init().unwrap();
    let ((all_kbps, all), (half_kbps, half)) = (snow("x264enc", false), snow("x264enc", true));
    assert_eq!((all, half), (300, 150));
    assert!((400..600).contains(&all_kbps) && (400..600).contains(&half_kbps), "{all_kbps}, {half_kbps}");
}

#[test]
fn a_panic_of_the_probe_is_not_taken_for_a_driver_that_hangs() {
    gst::init().unwrap();
    let settings = EncodeSettings { rate: Rate { num: 30, den: 0 }, ..settings(640, 480) };
    let error = spec("x264enc").probe(settings).unwrap_err().to_string();
    assert!(error.contains("panic: "), "{error}");
}

#[test]
fn an_encoder_without_a_device_asks_nobody_to_install_what_is_there() {
    gst::init().unwrap();
    let hardware = TABLE.iter().find(|spec| spec.kind == EncoderKind::Hardware).unwrap();
    if gst::ElementFactory::find(hardware.name).is_some()
        || gst::Registry::get().find_plugin(V4L2_PLUGIN).is_none()
    {
        eprintln!("SKIPPED: this machine has such a device, or lacks the plugin");
        return;
    }
    let error = hardware.absent().unwrap().to_string();
    assert!(error.contains(hardware.name) && !error.contains("install"), "{error}");
    let software = TABLE.iter().find(|spec| spec.kind == EncoderKind::Software).unwrap();
    assert!(software.absent().is_none());
}
