//! Measuring the test picture and the encoders of this machine.

use super::*;

fn test_config() -> MediaConfig {
    MediaConfig {
        device: DeviceChoice::Test,
        width: Some(640),
        height: Some(480),
        fps: Some(20),
        ..MediaConfig::default()
    }
}

#[test]
fn the_test_picture_is_measured_at_its_own_rate() {
    let outlook = outlook(&test_config(), true).expect("an outlook");
    let chosen = outlook.chosen.expect("x264 or OpenH264");
    assert_eq!((chosen.device(), chosen.format(), chosen.passes_through()), ("test", None, false));
    let rate = measure_source(&chosen, Duration::from_secs(1)).expect("pictures");
    // A busy machine skips some; twice as many it would be nowhere.
    assert!(rate.fps > 0.0 && rate.fps < 40.0 && rate.pictures > 1, "{rate:?}");
}

#[test]
fn encoders_are_measured_by_encoding() {
    let outlook = outlook(&test_config(), true).expect("an outlook");
    let spec = outlook.chosen.expect("an encoder").encoder().expect("an encoder");
    let encoded = measure_encoder(spec, outlook.usual, Duration::from_millis(300), || 0.0).expect("pictures");
    assert!(encoded.pictures > 1 && encoded.fps() > 0.0, "{encoded:?}");
    assert!(encoded.wall < Duration::from_mins(1), "{encoded:?}");
}

/// Whether it hears is no matter of how fast it is: a slow one goes on until the answer can be given.
#[test]
fn a_slow_encoder_is_watched_until_it_has_had_the_time_to_hear() {
    let (second, half) = (Duration::from_secs(1), Duration::from_millis(500));
    assert!(!has_shown(half, second, 500, 5), "its speed is not known yet");
    assert!(has_shown(second, second, HEARD_BY, 1), "it has had the pictures to hear the request");
    assert!(has_shown(second, second, ASK_AFTER + 1, 2), "it has heard");
    assert!(!has_shown(second, second, HEARD_BY - 1, 1), "nobody knows yet whether it hears");
    assert!(!has_shown(second, second, 0, 0), "the first picture may be slow to come");
    assert!(has_shown(FIRST_PICTURE_LIMIT, second, HEARD_BY - 1, 1), "it comes to an end");
}

#[test]
fn a_panic_while_measuring_is_not_taken_for_a_driver_that_hangs() {
    let outlook = outlook(&test_config(), true).expect("an outlook");
    let spec = outlook.chosen.expect("an encoder").encoder().expect("an encoder");
    let clock = || -> f64 { panic!("a clock with a defect") };
    let error = measure_encoder(spec, outlook.usual, Duration::ZERO, clock).unwrap_err().to_string();
    assert!(error.contains("panic: a clock with a defect"), "{error}");
}

#[test]
fn the_load_is_per_picture() {
    let encoded = Encoded { pictures: 200, wall: Duration::from_secs(1), cpu_s: 2.0 };
    assert!((encoded.fps() - 200.0).abs() < 1e-9);
    assert!((encoded.load_percent(30.0) - 30.0).abs() < 1e-9);
}

#[test]
fn a_camera_that_is_not_there_is_said_so() {
    let config = MediaConfig { device: DeviceChoice::Path("/dev/video-none".into()), ..test_config() };
    let outlook = outlook(&config, true).expect("an outlook");
    assert!(matches!(outlook.chosen, Err(MediaError::DeviceMissing { .. })), "{:?}", outlook.chosen);
    assert!(outlook.camera_only.is_none());
}

#[test]
fn what_hangs_is_given_up() {
    let (_held, hold) = std::sync::mpsc::channel::<()>();
    let given_up = on_a_thread("waiting", Duration::from_millis(20), move || Ok(hold.recv().is_ok()));
    assert!(matches!(given_up, Err(MediaError::System { what: "waiting", .. })), "{given_up:?}");
}
