//! What the placeholder says, for people who only watch: what is wrong, and what follows. Pure.

use crate::media::error::CameraTrouble;
use crate::media::status::CameraState;
use crate::media::test_picture::notice::Notice;

/// Characters of a program's name.
const MAX_NAME: usize = 24;

/// The words. `holder` is the program that has the camera, where it is known.
pub fn notice(camera: CameraState, trouble: Option<&CameraTrouble>, holder: Option<&str>) -> Notice {
    let (headline, detail) = match (camera, trouble) {
        // Until there is a picture: that something else starts in its place is no other news.
        (CameraState::Lost | CameraState::Error | CameraState::Starting, Some(trouble)) => {
            explain(trouble, holder)
        }
        (CameraState::Starting | CameraState::Idle, _) => {
            ("The camera is starting".into(), "Its picture comes in a moment.")
        }
        _ => silent(),
    };
    Notice { headline, detail: detail.into() }
}

fn explain(trouble: &CameraTrouble, holder: Option<&str>) -> (String, &'static str) {
    match trouble {
        CameraTrouble::Missing => {
            ("The camera is unplugged".into(), "The picture comes back once it is plugged in.")
        }
        CameraTrouble::Shuttered => (
            "The camera's own privacy switch is on".into(),
            "The picture comes back once its shutter is opened.",
        ),
        CameraTrouble::SwitchedOff => (
            "The camera is switched off".into(),
            "Somebody took it from the system. The picture comes back once it is given back.",
        ),
        CameraTrouble::Busy { .. } => {
            let name: Option<String> = holder.map(|name| name.chars().take(MAX_NAME).collect());
            let headline = match name {
                Some(name) => format!("The camera is held by {name}"),
                None => "Another program holds the camera".into(),
            };
            (headline, "The picture comes back once that program lets go of it.")
        }
        CameraTrouble::Unusable => {
            ("The camera cannot be used".into(), "Its owner has to look: porthole doctor says what is wrong.")
        }
        CameraTrouble::Encoder => {
            ("The encoder is started anew".into(), "It had stopped. The picture comes back by itself.")
        }
        CameraTrouble::Hung => {
            ("The camera does not answer".into(), "It is started anew. The picture comes back by itself.")
        }
        CameraTrouble::Silent => silent(),
    }
}

fn silent() -> (String, &'static str) {
    ("The camera gives no picture".into(), "It is started anew where that helps. Please wait.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::error::MediaError;

    #[test]
    fn each_trouble_is_said_in_words_of_its_own_without_paths() {
        let device = || "/dev/video0".to_owned();
        let reason = || "GStreamer's words".to_owned();
        let errors = [
            MediaError::DeviceMissing { device: device() },
            MediaError::SwitchedOff { device: device() },
            MediaError::Shuttered { device: device() },
            MediaError::DeviceBusy { device: device() },
            MediaError::DeviceDenied { device: device() },
            MediaError::Encoder { encoder: "x264enc", reason: reason() },
            MediaError::Hung { what: "its start" },
            MediaError::Pipeline { device: device(), reason: reason() },
        ];
        let say = |error: &MediaError| notice(CameraState::Error, Some(&error.trouble()), None);
        let mut headlines: Vec<String> = errors.iter().map(|error| say(error).headline).collect();
        headlines.push(notice(CameraState::Starting, None, None).headline);
        assert!(headlines.iter().all(|headline| !headline.contains('/')), "{headlines:?}");
        headlines.sort();
        headlines.dedup();
        assert_eq!(headlines.len(), errors.len() + 1, "{headlines:?}");
    }

    #[test]
    fn the_program_that_holds_the_camera_is_named_where_it_is_known() {
        let busy = CameraTrouble::Busy { device: "/dev/video0".into() };
        let say = |holder| notice(CameraState::Error, Some(&busy), holder).headline;
        assert_eq!(say(Some("ffmpeg")), "The camera is held by ffmpeg");
        assert_eq!(say(None), "Another program holds the camera");
        assert!(say(Some(&"x".repeat(10_000))).len() < 60);
    }

    #[test]
    fn what_takes_over_from_something_that_failed_is_no_news_of_its_own() {
        let say = |trouble: Option<&CameraTrouble>| notice(CameraState::Starting, trouble, None).headline;
        assert_eq!(say(Some(&CameraTrouble::Encoder)), "The encoder is started anew");
        assert_eq!(say(None), "The camera is starting");
    }

    #[test]
    fn a_camera_that_falls_silent_unnoticed_is_said_to_be_so() {
        assert_eq!(notice(CameraState::Live, None, None).headline, "The camera gives no picture");
    }
}
