//! A viewer who cannot play what the camera itself encodes (the High profile in a Firefox, say): it is encoded here instead. Pure.

use super::connect::offer::VideoOffer;
use crate::media::{CameraState, MediaStatus, ProfileLevelId, USUAL_PROFILE};
use crate::signaling::message::Refusal;

/// Whether a viewer with this offer can be shown the camera, as it is encoded now or would be instead.
///
/// # Errors
/// `no-h264`, with what is missing in words.
pub(crate) fn can_be_shown(video: &VideoOffer, media: &MediaStatus) -> Result<(), Refusal> {
    let has_placeholder =
        matches!(media.state, CameraState::Lost | CameraState::Error) && media.has_placeholder;
    let is_known = media.ready || has_placeholder;
    if !is_known || needs_encoding(video, media) {
        return Ok(());
    }
    video.codec(media.profile).map(|_| ())
}

/// Whether a viewer with this offer can play what our encoders make, and not what the camera gives.
pub(super) fn needs_encoding(video: &VideoOffer, media: &MediaStatus) -> bool {
    media.could_be_encoded_instead()
        && video.codec(media.profile).is_err()
        && video.codec(USUAL_PROFILE).is_ok()
}

/// What a viewer with this offer is promised: words in our own encoders' profile, where what it cannot play is to be encoded and no
/// camera is there yet to be asked for that.
pub(super) fn promised(video: &VideoOffer, media: &MediaStatus) -> ProfileLevelId {
    if needs_encoding(video, media) { USUAL_PROFILE } else { media.profile }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{EncoderKind, EncoderStatus};
    use crate::signaling::message::ErrorCode;

    const HIGH: ProfileLevelId = ProfileLevelId { profile_idc: 0x64, profile_iop: 0, level_idc: 0x28 };

    fn offer(profiles: &[&str]) -> VideoOffer {
        let formats: Vec<String> = (96..).take(profiles.len()).map(|format: u8| format.to_string()).collect();
        let described = formats.iter().zip(profiles).map(|(format, profile)| {
            format!(
                "a=rtpmap:{format} H264/90000\r\n\
                 a=fmtp:{format} level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={profile}\r\n"
            )
        });
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF {}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\n\
             a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\n\
             a=fingerprint:sha-256 {}\r\n{}",
            formats.join(" "),
            ["AB"; 32].join(":"),
            described.collect::<String>(),
        );
        VideoOffer::read(&sdp).expect("an offer")
    }

    fn camera(kind: EncoderKind, could_encode: bool) -> MediaStatus {
        let encoder = Some(EncoderStatus { name: "camera".to_owned(), kind });
        MediaStatus { encoder, could_encode, profile: HIGH, ..MediaStatus::sample(CameraState::Live) }
    }

    #[test]
    fn the_cameras_own_h264_is_encoded_for_who_cannot_play_it_and_for_nobody_else() {
        let (firefox, chromium, neither) =
            (offer(&["42e01f"]), offer(&["42e01f", "64001f"]), offer(&["f4001f"]));
        let own = camera(EncoderKind::Passthrough, true);
        assert!(needs_encoding(&firefox, &own) && can_be_shown(&firefox, &own).is_ok());
        assert!(!needs_encoding(&chromium, &own) && can_be_shown(&chromium, &own).is_ok());
        let refusal = can_be_shown(&neither, &own).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::NoH264, "what we would make is as little use to it");
    }

    #[test]
    fn who_cannot_play_a_camera_that_is_gone_is_promised_what_comes_in_its_place() {
        let lost = MediaStatus {
            state: CameraState::Lost,
            ready: false,
            has_placeholder: true,
            ..camera(EncoderKind::Passthrough, true)
        };
        let (firefox, chromium) = (offer(&["42e01f"]), offer(&["42e01f", "64001f"]));
        assert_eq!(promised(&firefox, &lost), USUAL_PROFILE);
        assert!(firefox.codec(promised(&firefox, &lost)).is_ok(), "it sees the words, and then the camera");
        assert_eq!(promised(&chromium, &lost), HIGH);
        // One that joined while nothing was known of the camera, and sees it come.
        assert!(needs_encoding(&firefox, &camera(EncoderKind::Passthrough, true)));
    }

    #[test]
    fn where_nothing_else_can_be_had_it_is_refused_at_once() {
        let firefox = offer(&["42e01f"]);
        for media in [camera(EncoderKind::Passthrough, false), camera(EncoderKind::Hardware, true)] {
            assert!(!needs_encoding(&firefox, &media));
            assert_eq!(can_be_shown(&firefox, &media).unwrap_err().code, ErrorCode::NoH264);
            let unknown = MediaStatus { ready: false, ..media };
            assert!(can_be_shown(&firefox, &unknown).is_ok(), "nobody knows yet what it will be");
        }
    }
}
