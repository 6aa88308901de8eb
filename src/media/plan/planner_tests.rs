//! Plans without a camera.

use gstreamer as gst;

use super::*;
use crate::media::encode::choice::EncoderChoice;

fn test_config() -> MediaConfig {
    MediaConfig { device: DeviceChoice::Test, ..MediaConfig::default() }
}

#[test]
fn a_configured_encoder_that_does_not_work_is_replaced_by_the_next() {
    gst::init().unwrap();
    // No /dev/video* with a codec here: the hardware encoder cannot work.
    let config = MediaConfig { encoder: EncoderChoice::V4l2H264, ..test_config() };
    let mut planner = Planner::new(config);
    let plan = planner.plan(true).unwrap();
    assert_eq!(plan.encoder.unwrap().name, "x264enc");
    planner.demote(&plan, true, "it failed in use");
    assert_eq!(planner.plan(true).unwrap().encoder.unwrap().name, "openh264enc");
    let mut successor = Planner::new(MediaConfig { encoder: EncoderChoice::X264, ..test_config() });
    successor.learn(planner.learnt());
    assert_eq!(successor.plan(true).unwrap().encoder.unwrap().name, "openh264enc", "it would hang again");
    let plan = planner.plan(true).unwrap();
    planner.demote(&plan, true, "it failed in use");
    // Everything failed once: start over rather than stay dark.
    assert!(planner.plan(true).is_ok());
}

#[test]
fn what_would_follow_is_tried_before_it_is_needed() {
    gst::init().unwrap();
    let mut planner = Planner::new(MediaConfig { encoder: EncoderChoice::X264, ..test_config() });
    let plan = planner.plan(true).unwrap();
    let tried =
        |planner: &Planner, name: &str| planner.encoders.tried.probed.iter().any(|(of, ..)| *of == name);
    assert!(!tried(&planner, "openh264enc"));
    planner.prepare_other(&plan);
    assert!(tried(&planner, "openh264enc"));
    assert_eq!(planner.plan(true).unwrap().encoder, plan.encoder, "it may not come to that");
}

#[test]
fn the_profile_of_a_plan_is_that_of_the_size_to_be_used() {
    gst::init().unwrap();
    for (width, height, fps, profile) in [(640, 480, 30, "42e01e"), (1280, 720, 30, "42e01f")] {
        let config = MediaConfig {
            width: Some(width),
            height: Some(height),
            fps: Some(fps),
            encoder: EncoderChoice::X264,
            ..test_config()
        };
        let plan = Planner::new(config).plan(false).unwrap();
        assert_eq!(plan.profile.unwrap().to_string(), profile);
        assert_eq!((plan.settings.width, plan.settings.height), (width, height));
    }
}

#[test]
fn a_camera_that_is_not_there_is_named() {
    gst::init().unwrap();
    let device = DeviceChoice::Path("/dev/v4l/by-id/usb-none-video-index0".into());
    let mut planner = Planner::new(MediaConfig { device, ..MediaConfig::default() });
    let error = planner.plan(true).unwrap_err();
    assert!(error.to_string().contains("usb-none"), "{error}");
    assert!(planner.encoder().is_some(), "the encoder is known all the same");
}

#[test]
fn a_demo_shows_the_test_picture_where_there_is_no_camera() {
    gst::init().unwrap();
    if find::cameras().unwrap().iter().any(CameraInfo::is_usable) {
        return; // a machine with a camera shows that
    }
    let config = MediaConfig { device: DeviceChoice::AutoOrTest, ..MediaConfig::default() };
    assert_eq!(Planner::new(config).plan(true).unwrap().source, Source::Test);
    let config = MediaConfig { device: DeviceChoice::Auto, ..MediaConfig::default() };
    assert!(matches!(Planner::new(config).plan(true), Err(MediaError::NoCamera)));
}
