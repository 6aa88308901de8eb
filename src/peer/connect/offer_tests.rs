//! Offers of every kind, read and judged.

use super::*;

const CONSTRAINED_BASELINE: ProfileLevelId =
    ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f };
/// Bytes of a hash.
const AA: &str =
    "AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA:AA";
const HIGH: ProfileLevelId = ProfileLevelId { profile_idc: 0x64, profile_iop: 0, level_idc: 0x28 };

fn inspect(sdp: &str, stream: ProfileLevelId) -> Result<VideoCodec, Refusal> {
    VideoOffer::read(sdp)?.codec(stream)
}

fn offer(video: &str) -> String {
    format!(
        "v=0\r\no=- 46117317 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 {AA}\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101\r\nc=IN IP4 0.0.0.0\r\n\
         a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=recvonly\r\na=rtcp-mux\r\n{video}"
    )
}

fn chromium() -> String {
    offer(
        "a=rtpmap:96 VP8/90000\r\n\
         a=rtpmap:97 H264/90000\r\na=fmtp:97 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f\r\n\
         a=rtpmap:98 H264/90000\r\na=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n\
         a=rtpmap:99 H264/90000\r\na=fmtp:99 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n\
         a=rtpmap:100 rtx/90000\r\na=fmtp:100 apt=99\r\n\
         a=rtpmap:101 H264/90000\r\na=fmtp:101 packetization-mode=1;profile-level-id=64001f\r\n",
    )
}

#[test]
fn the_closest_profile_in_mode_1_is_chosen_with_its_rtx() {
    let codec = inspect(&chromium(), CONSTRAINED_BASELINE).unwrap();
    assert_eq!((codec.payload_type, codec.rtx_payload_type), (99, Some(100)));
    assert_eq!(codec.fec_payload_type, None);
    assert_eq!(codec.fmtp(), "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f");
}

#[test]
fn repairs_that_come_unasked_are_taken_where_they_are_offered() {
    let sdp = chromium() + "a=rtpmap:96 flexfec-03/90000\r\n";
    assert_eq!(inspect(&sdp, CONSTRAINED_BASELINE).unwrap().fec_payload_type, None, "96 is VP8");
    let sdp = chromium().replace("VP8/90000", "flexfec-03/90000");
    assert_eq!(inspect(&sdp, CONSTRAINED_BASELINE).unwrap().fec_payload_type, Some(96));
}

#[test]
fn the_answer_promises_the_level_that_the_encoder_makes() {
    let codec = inspect(&chromium(), HIGH).unwrap();
    assert_eq!(codec.payload_type, 101);
    assert_eq!(codec.profile.to_string(), "64001f", "without asymmetry there is one level, the lower one");
    assert!(!codec.fmtp().contains("level-asymmetry-allowed"));
    let both = chromium().replace("fmtp:101 ", "fmtp:101 level-asymmetry-allowed=1;");
    let codec = inspect(&both, HIGH).unwrap();
    assert_eq!(codec.fmtp(), "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640028");
}

#[test]
fn a_main_decoder_takes_a_baseline_stream_but_not_the_reverse() {
    let main = offer("a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;profile-level-id=4d001f\r\n");
    assert_eq!(inspect(&main, CONSTRAINED_BASELINE).unwrap().payload_type, 96);
    let refusal = inspect(&main, HIGH).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::NoH264);
    assert!(refusal.message.contains("4d001f") && refusal.message.contains("640028"), "{}", refusal.message);
}

#[test]
fn no_h264_says_what_the_browser_lacks() {
    let none = offer("a=rtpmap:96 VP8/90000\r\n");
    assert_eq!(inspect(&none, CONSTRAINED_BASELINE).unwrap_err().code, ErrorCode::NoH264);
    let mode_0 =
        offer("a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=0;profile-level-id=42e01f\r\n");
    let refusal = inspect(&mode_0, CONSTRAINED_BASELINE).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::NoH264);
    assert!(refusal.message.contains("packetization mode 0"), "{}", refusal.message);
}

#[test]
fn offers_without_a_place_for_video_are_bad() {
    let audio = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
    for sdp in [
        String::new(),
        "hello".to_owned(),
        "v=0\r\n".to_owned(),
        audio.to_owned(),
        chromium().replace("recvonly", "sendonly"),
        chromium().replace("m=video 9", "m=video 0"),
        chromium().replace("a=fingerprint", "a=finger"),
        chromium().replace("a=ice-ufrag", "a=ice"),
        chromium().replace("a=rtcp-mux\r\n", ""),
        chromium().replace("sha-256", "sha-1"),
        chromium().replace("a=recvonly", "a=recvonly\r\na=setup:holdconn"),
        chromium().replace("UDP/TLS/RTP/SAVPF", "udp"),
        chromium().replace("SAVPF 96", &format!("SAVPF {}", "96 ".repeat(129))),
        chromium() + "a=mid:\u{1b}[31m\r\n",
        chromium() + &"a=x\r\n".repeat(5000),
        chromium() + &"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(500),
    ] {
        assert_eq!(
            inspect(&sdp, CONSTRAINED_BASELINE).map_err(|refusal| refusal.code),
            Err(ErrorCode::BadOffer),
            "{sdp:.60}"
        );
    }
}

#[test]
fn odd_parameters_do_not_panic() {
    for fmtp in ["profile-level-id=zzzzzz", "profile-level-id=é€", "profile-level-id=", "=;=", ";;;"] {
        let sdp = offer(&format!("a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;{fmtp}\r\n"));
        assert!(inspect(&sdp, CONSTRAINED_BASELINE).is_ok(), "{fmtp}: default profile is baseline");
    }
}

#[test]
fn the_origin_tells_peer_connections_apart() {
    assert_eq!(origin(&chromium()), Some("46117317"));
    assert_eq!(origin("v=0"), None);
}
