//! The cameras that the choice of a mode was made for, as tables.

use super::*;
use crate::media::capture::mode::offers;

fn mode(format: &str, width: u32, height: u32, fps: &[u32]) -> CameraMode {
    let rates = fps.iter().map(|&fps| Rate::whole(fps)).collect();
    CameraMode { format: format.to_owned(), width, height, rates }
}

fn silent(width: u32, height: u32, fps: u32) -> Wish {
    Wish { width, height, size_is_explicit: false, fps, format: FormatChoice::Auto }
}

fn explicit(width: u32, height: u32, fps: u32) -> Wish {
    Wish { size_is_explicit: true, ..silent(width, height, fps) }
}

fn best(modes: &[CameraMode], wish: &Wish) -> String {
    rank(modes, wish).first().map_or_else(|| "none".to_owned(), ToString::to_string)
}

/// A common USB 2 webcam: raw is fast only when small, JPEG reaches everything.
fn webcam() -> Vec<CameraMode> {
    vec![
        mode("YUYV", 640, 480, &[30, 25, 20, 15, 10, 5]),
        mode("YUYV", 1280, 720, &[10, 5]),
        mode("YUYV", 1920, 1080, &[5]),
        mode("MJPG", 640, 480, &[30, 15]),
        mode("MJPG", 1280, 720, &[30, 15]),
        mode("MJPG", 1920, 1080, &[30, 15]),
    ]
}

/// A webcam with its own encoder.
fn h264_webcam() -> Vec<CameraMode> {
    let mut modes = webcam();
    modes.push(mode("H264", 640, 480, &[30]));
    modes.push(mode("H264", 1280, 720, &[30]));
    modes.push(mode("H264", 1920, 1080, &[30]));
    modes
}

/// vivid on kernel 6.1: many formats, 640x480 ends at 25.
fn vivid() -> Vec<CameraMode> {
    let odd = ["422P", "YM16", "Y444", "XR24", "RGBP", "HSV3", "Y16 ", "NV24"];
    let usable = ["YUYV", "UYVY", "NV12", "YU12", "RGB3"];
    let sizes: [(u32, u32, &[u32]); 4] = [
        (320, 180, &[1, 15, 25, 30]),
        (640, 360, &[1, 15, 25, 30]),
        (640, 480, &[1, 15, 25]),
        (1280, 720, &[1, 10]),
    ];
    odd.iter()
        .chain(&usable)
        .flat_map(|format| sizes.iter().map(move |(w, h, fps)| mode(format, *w, *h, fps)))
        .collect()
}

/// The old driver of the Raspberry Pi's own camera: any size, everything in hardware.
fn pi_csi() -> Vec<CameraMode> {
    ["YU12", "YUYV", "RGB3", "JPEG", "H264", "MJPG", "NV12"]
        .iter()
        .flat_map(|f| [(640, 480), (1280, 720), (1920, 1080)].map(|(w, h)| mode(f, w, h, &[15, 30])))
        .collect()
}

#[test]
fn the_mode_that_needs_least_work_is_chosen() {
    let cases: Vec<(&str, Vec<CameraMode>, Wish, &str)> = vec![
        ("raw when it reaches size and rate", webcam(), silent(640, 480, 30), "YUYV 640x480@30"),
        ("JPEG when only it does", webcam(), silent(1280, 720, 30), "MJPG 1280x720@30"),
        ("raw when it is slow enough", webcam(), explicit(1280, 720, 10), "YUYV 1280x720@10"),
        ("full HD by JPEG", webcam(), explicit(1920, 1080, 30), "MJPG 1920x1080@30"),
        ("own H.264", h264_webcam(), silent(1280, 720, 30), "H264 1280x720@30"),
        ("own H.264, small", h264_webcam(), explicit(640, 480, 30), "H264 640x480@30"),
        (
            "own H.264 even where only another size has it",
            [webcam(), vec![mode("H264", 1920, 1080, &[30])]].concat(),
            silent(640, 480, 30),
            "H264 1920x1080@30",
        ),
        (
            "but not against a chosen size",
            [webcam(), vec![mode("H264", 1920, 1080, &[30])]].concat(),
            explicit(640, 480, 30),
            "YUYV 640x480@30",
        ),
        ("Pi's own camera", pi_csi(), silent(1280, 720, 30), "H264 1280x720@30"),
        ("vivid, chosen size", vivid(), explicit(640, 480, 30), "NV12 640x480@25"),
        ("vivid, free size", vivid(), silent(640, 480, 30), "NV12 640x360@30"),
        ("vivid, HD", vivid(), silent(1280, 720, 30), "NV12 640x360@30"),
        (
            "a larger picture before a postage stamp at full rate",
            vec![mode("YUYV", 640, 480, &[20]), mode("YUYV", 160, 120, &[30])],
            silent(640, 480, 30),
            "YUYV 640x480@20",
        ),
        (
            "a rate just above before one far above",
            vec![mode("YUYV", 640, 480, &[120, 60, 5])],
            silent(640, 480, 30),
            "YUYV 640x480@60",
        ),
        (
            "NTSC's 29.97 is 30",
            vec![CameraMode {
                rates: vec![Rate { num: 30000, den: 1001 }, Rate::whole(60)],
                ..mode("UYVY", 720, 480, &[])
            }],
            silent(640, 480, 30),
            "UYVY 720x480@29.97",
        ),
        ("unknown rates", vec![mode("YUYV", 640, 480, &[])], silent(640, 480, 30), "YUYV 640x480"),
        ("odd sizes", vec![mode("YUYV", 641, 481, &[30])], silent(640, 480, 30), "none"),
        ("odd formats", vec![mode("BA81", 640, 480, &[30])], silent(640, 480, 30), "none"),
        ("nothing", vec![], silent(640, 480, 30), "none"),
    ];
    for (name, modes, wish, expected) in cases {
        assert_eq!(best(&modes, &wish), expected, "{name}");
    }
}

#[test]
fn a_configured_format_is_kept_to() {
    let only = |format: &str| Wish { format: format.parse().unwrap(), ..silent(1280, 720, 30) };
    assert_eq!(best(&h264_webcam(), &only("mjpeg")), "MJPG 1280x720@30");
    assert!(best(&h264_webcam(), &only("raw")).starts_with("YUYV"));
    assert_eq!(best(&webcam(), &only("h264")), "none");
    assert!(best(&[mode("JPEG", 640, 480, &[30])], &only("mjpeg")).starts_with("JPEG"));
}

#[test]
fn the_next_best_mode_follows_when_pass_through_does_not_fit() {
    let ranked = rank(&h264_webcam(), &silent(1280, 720, 30));
    let next = ranked.iter().find(|choice| choice.handling != Handling::PassThrough).unwrap();
    assert_eq!(next.to_string(), "MJPG 1280x720@30");
}

#[test]
fn the_default_size_follows_board_and_encoder() {
    use BoardClass::{Medium, Strong, Weak};
    use EncoderKind::{Hardware, Software};
    assert_eq!(default_wish(Weak, Hardware), (1280, 720, 30));
    assert_eq!(default_wish(Strong, Software), (1280, 720, 30));
    assert_eq!(default_wish(Medium, Software), (640, 480, 30));
    assert_eq!(default_wish(Weak, Software), (640, 480, 15));
}

#[test]
fn rates_are_plain_numbers_in_json() {
    let modes = [CameraMode { rates: vec![Rate { num: 30000, den: 1001 }], ..mode("YUYV", 2, 2, &[]) }];
    let json = serde_json::to_string(&modes).unwrap();
    assert_eq!(json, r#"[{"format":"YUYV","width":2,"height":2,"fps":[29.97]}]"#);
}

#[test]
fn only_what_is_listed_and_usable_is_on_offer() {
    let mode = |format: &str, width, height, rates: &[Rate]| CameraMode {
        format: format.into(),
        width,
        height,
        rates: rates.to_vec(),
    };
    let modes = [
        mode("YUYV", 640, 480, &[Rate { num: 30000, den: 1001 }, Rate::whole(15)]),
        mode("NV12", 1280, 720, &[]),
        mode("XXXX", 800, 600, &[]),
    ];
    assert!(offers(&modes, (640, 480), None) && offers(&modes, (640, 480), Some(30)));
    assert!(!offers(&modes, (640, 480), Some(60)) && !offers(&modes, (320, 240), None));
    assert!(offers(&modes, (1280, 720), Some(17)), "it names no rates, so it takes any");
    assert!(!offers(&modes, (800, 600), None), "nobody can use that format");
}
