//! Whether a camera's own H.264 can be sent to browsers as it is. Pure.

use crate::stream::ProfileLevelId;
use crate::stream::h264;

/// Whether browsers can be sent this H.264 as it is.
pub fn offered_profile(units: &[Vec<u8>]) -> Result<ProfileLevelId, String> {
    let sps = units.iter().find_map(|unit| h264::find_sps(unit));
    let sps = sps.ok_or_else(|| "no parameter set was seen in its first pictures".to_owned())?;
    let profile = sps.profile;
    if !matches!(profile.profile_idc, 66 | 77 | 100) {
        return Err(format!("browsers do not decode its profile {profile}"));
    }
    if sps.chroma_format_idc != 1 || sps.bit_depth != 8 {
        return Err("browsers decode only 8-bit 4:2:0".into());
    }
    // What the SPS allows (reorder_frames) is often more than the camera does: look at the slices.
    if units.iter().any(|unit| h264::has_b_slice(unit)) {
        return Err("it has B frames, which WebRTC does not allow".into());
    }
    Ok(profile.as_offered())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gstreamer as gst;
    use gstreamer::prelude::*;

    use super::*;
    use crate::media::elements;
    use crate::media::encode::encoder;

    fn encoded(encoder: &str, settings: &[(&str, &str)], profile: &str) -> Vec<Vec<u8>> {
        gst::init().unwrap();
        let source = elements::make("videotestsrc", "x").unwrap();
        source.set_property("num-buffers", 20_i32);
        let element = elements::make(encoder, "x").unwrap();
        for (property, value) in settings {
            elements::set(&element, property, value);
        }
        let caps = gst::Caps::builder("video/x-h264").field("profile", profile).build();
        let elements = vec![source, element, elements::filter(caps).unwrap()];
        encoder::capture(elements, 12, Duration::from_secs(20)).unwrap()
    }

    #[test]
    fn streams_that_browsers_take_are_passed_through() {
        let baseline = encoded("x264enc", &[("tune", "zerolatency")], "constrained-baseline");
        assert_eq!(offered_profile(&baseline).unwrap().profile_idc, 0x42);
        let main = encoded("x264enc", &[("tune", "zerolatency"), ("bframes", "0")], "main");
        assert_eq!(offered_profile(&main).unwrap().profile_idc, 0x4d);
    }

    #[test]
    fn streams_with_b_frames_or_strange_chroma_are_not() {
        let b_frames = encoded("x264enc", &[("bframes", "2"), ("b-adapt", "false")], "high");
        assert!(offered_profile(&b_frames).unwrap_err().contains("B frames"));
        let wide = encoded("x264enc", &[("tune", "zerolatency")], "high-4:4:4");
        assert!(offered_profile(&wide).is_err());
        assert!(offered_profile(&[]).is_err());
    }
}
