//! What can go wrong between a camera and H.264, in words for the person who has to act on it.

/// Why a camera gives no picture, as far as somebody who watches can make use of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CameraTrouble {
    /// It is not plugged in.
    Missing,
    /// Another program has it.
    Busy {
        /// The device's path.
        device: String,
    },
    /// Its own privacy switch is on: a shutter, or a button.
    Shuttered,
    /// Somebody has switched it off on this machine.
    SwitchedOff,
    /// Its owner has something to set right.
    Unusable,
    /// The encoder failed.
    Encoder,
    /// A driver or an encoder does not answer.
    Hung,
    /// It is there, and gives no picture.
    Silent,
}

/// Everything this folder can fail with. Each message names the thing and the next step.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MediaError {
    /// A word in the configuration that this folder does not know.
    #[error("{setting} = {value:?} is not known; use {allowed}")]
    UnknownSetting {
        /// The configuration key.
        setting: &'static str,
        /// What was written there.
        value: String,
        /// What may be written there.
        allowed: &'static str,
    },
    /// The test picture cannot carry its time blocks at this size.
    #[error(
        "the test picture cannot be {width}x{height}: it needs a width of 640 to 4096 that is a \
         multiple of 8 and an even height of 160 to 2304; change camera.width and camera.height"
    )]
    TestPictureSize {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A number in the configuration that makes no sense.
    #[error("{setting} = {value} is out of range; use {from} to {to}")]
    OutOfRange {
        /// The configuration key.
        setting: &'static str,
        /// What was written there.
        value: u32,
        /// The least that may be written there.
        from: u32,
        /// And the most.
        to: u32,
    },
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {reason}; reinstall libgstreamer1.0-0 and its plugins")]
    Framework {
        /// GStreamer's words.
        reason: String,
    },
    /// A GStreamer element is not installed.
    #[error("the GStreamer element {element} is missing; install {package}")]
    MissingElement {
        /// The element's name.
        element: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// An element of GStreamer is installed, and there is no device for it.
    #[error(
        "this machine has no device for {element}: an encoder of H.264 on the board, as Raspberry Pi models before the 5 have"
    )]
    NoSuchDevice {
        /// The element's name.
        element: String,
    },
    /// An encoder is installed but did not encode.
    #[error("the encoder {encoder} does not work: {reason}")]
    Encoder {
        /// The element's name.
        encoder: &'static str,
        /// What it said.
        reason: String,
    },
    /// The second, smaller rendition of the picture cannot be made.
    #[error("the small rendition (video.tiers = 2) cannot be made: {reason}")]
    Small {
        /// Why.
        reason: String,
    },
    /// No encoder of the table works.
    #[error(
        "no H.264 encoder works ({tried}); install gstreamer1.0-plugins-ugly for x264enc or \
         gstreamer1.0-plugins-bad for openh264enc"
    )]
    NoEncoder {
        /// Each encoder with its reason.
        tried: String,
    },
    /// There is no camera at all.
    #[error("no camera found; plug one in, or set camera.device = \"test\" for the test picture")]
    NoCamera,
    /// There is a camera, but the kernel gives only the raw data of its sensor.
    #[error(
        "{device} gives only the raw data of a sensor, as CSI cameras do: libcamera makes pictures of it; \
         install gstreamer1.0-libcamera"
    )]
    BareSensor {
        /// The device's path.
        device: String,
    },
    /// The configured camera is not there.
    #[error("the camera {device} is not there; plug it in or change camera.device")]
    DeviceMissing {
        /// The configured path.
        device: String,
    },
    /// It is attached, and somebody has taken it from the system.
    #[error(
        "the camera {device} is attached, but somebody has switched it off on this machine: its driver was taken away, or its USB \
         device is not allowed; load or bind the driver again, or write 1 to `authorized` of the USB device"
    )]
    SwitchedOff {
        /// Where its node was.
        device: String,
    },
    /// The camera's own privacy switch is on.
    #[error(
        "the privacy switch of the camera {device} itself is on; open its shutter, press its button, or set its control `privacy` \
         to OFF"
    )]
    Shuttered {
        /// The device's path.
        device: String,
    },
    /// The device is there but does not answer as a camera.
    #[error("{device} cannot be used as a camera: {reason}; `porthole cameras` lists what can be used")]
    NotACamera {
        /// The device's path.
        device: String,
        /// Why.
        reason: String,
    },
    /// The device is there, and its driver gives an error where it is opened.
    #[error(
        "the camera {device} does not open: {reason}; it is tried again, and should that not help, plug it out and in, or try \
         another port or cable"
    )]
    DeviceFails {
        /// The device's path.
        device: String,
        /// The system's words.
        reason: String,
    },
    /// Another program has the device.
    #[error("the camera {device} is in use by another program; `fuser -v {device}` names it")]
    DeviceBusy {
        /// The device's path.
        device: String,
    },
    /// The process may not open the device.
    #[error(
        "no permission to open the camera {device}; run the service with the group `video` \
         (SupplementaryGroups=video)"
    )]
    DeviceDenied {
        /// The device's path.
        device: String,
    },
    /// Nothing that the camera offers can be used.
    #[error(
        "the camera {device} offers no mode for camera.format = {wanted} (it has: {offered}); set \
         camera.format = \"auto\" or use another camera"
    )]
    NoMode {
        /// The device's path.
        device: String,
        /// The configured format.
        wanted: String,
        /// The formats it has.
        offered: String,
    },
    /// The camera's own H.264 cannot be sent to browsers as it is.
    #[error("the H.264 of {device} cannot be passed through: {reason}")]
    PassThroughUnfit {
        /// The device's path.
        device: String,
        /// Why.
        reason: String,
    },
    /// The pipeline stopped.
    #[error("the pipeline on {device} stopped: {reason}")]
    Pipeline {
        /// The device's path, or `test`.
        device: String,
        /// GStreamer's words.
        reason: String,
    },
    /// A driver or an encoder hangs.
    #[error(
        "the camera's driver or the encoder does not come back from {what}; it is left alone, and the camera started anew: should \
         that not help, take the camera out and in, or start the board anew"
    )]
    Hung {
        /// What was asked of it.
        what: &'static str,
    },
    /// The operating system refused something.
    #[error("{what} failed: {reason}; the system may be out of memory or of file descriptors")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's words.
        reason: String,
    },
    /// A privacy mask is set, and the camera's pictures cannot be drawn into.
    #[error(
        "{device} gives only H.264, into which no privacy mask can be drawn, so no picture is shown; set camera.format to \
         \"raw\" or \"mjpeg\" if it has that, take another camera, or remove the masks"
    )]
    Unmaskable {
        /// The device's path.
        device: String,
    },
    /// A privacy mask could not be drawn into a picture.
    #[error(
        "a privacy mask cannot be drawn, so no picture is shown: {reason}; set camera.format to another one"
    )]
    Mask {
        /// Why.
        reason: String,
    },
    /// Sound stopped, or does not start.
    #[error("the sound card {card} gives nothing: {reason}; it is tried again")]
    Audio {
        /// The card.
        card: String,
        /// What GStreamer says.
        reason: String,
    },
    /// No card records.
    #[error(
        "there is no sound card that records; plug a microphone in, or set audio.device = \"test\" for a tone"
    )]
    NoMicrophone,
    /// No card plays.
    #[error("there is no sound card that plays; plug a speaker in, or set audio.speaker = \"\" for none")]
    NoSpeaker,
    /// The configured sound card is not there.
    #[error("the sound card {name} is not there; those that {does}: {there}; plug it in or change {setting}")]
    AudioMissing {
        /// As configured.
        name: String,
        /// What it is wanted for: record, or play.
        does: &'static str,
        /// Those that are there.
        there: String,
        /// The configuration key.
        setting: &'static str,
    },
    /// It was there just now.
    #[error("the sound card {card} is gone; plug it in again")]
    AudioGone {
        /// The card.
        card: String,
    },
    /// Another program has it.
    #[error("the sound card {card} is in use by {by}; end that, or choose another card")]
    AudioBusy {
        /// The card.
        card: String,
        /// The process, as far as it can be seen.
        by: String,
    },
    /// The process may not open it.
    #[error(
        "no permission to open the sound card {card}; run the service with the group `audio` (SupplementaryGroups=audio)"
    )]
    AudioDenied {
        /// The card.
        card: String,
    },
    /// It gives nothing that can be made into 48 kHz.
    #[error("the sound card {card} has no format that can be used as it is; ALSA's conversion is tried")]
    AudioFormat {
        /// The card.
        card: String,
    },
    /// A sound card's driver hangs.
    #[error(
        "the driver of the sound card {card} does not come back from {what}; it is left alone and tried again: should that not help, \
         plug the card out and in, or start the board anew"
    )]
    AudioHung {
        /// The card.
        card: String,
        /// What was asked of it.
        what: &'static str,
    },
    /// A V4L2 control that the camera does not have or does not accept.
    #[error("the camera control {control} cannot be set: {reason}")]
    Control {
        /// The control's name.
        control: String,
        /// Why.
        reason: String,
    },
    /// A still picture could not be made.
    #[error("no snapshot: {reason}")]
    Snapshot {
        /// Why, and what to do.
        reason: String,
    },
    /// More snapshots are wanted at once than are worth keeping anybody waiting for.
    #[error("too many snapshots are being asked for at once; try again in a second")]
    SnapshotBusy,
    /// The privacy switch is off.
    #[error("the privacy switch is off; no picture is taken until it is turned on")]
    Private,
}

impl MediaError {
    /// Whether another mode of the camera, or another encoder, would do no better: it cannot be opened.
    pub fn is_of_any_mode(&self) -> bool {
        matches!(self, Self::DeviceBusy { .. } | Self::DeviceDenied { .. } | Self::DeviceFails { .. })
    }

    /// The same for those who watch.
    pub fn trouble(&self) -> CameraTrouble {
        match self {
            Self::NoCamera | Self::DeviceMissing { .. } => CameraTrouble::Missing,
            Self::SwitchedOff { .. } => CameraTrouble::SwitchedOff,
            Self::Shuttered { .. } => CameraTrouble::Shuttered,
            Self::DeviceBusy { device } => CameraTrouble::Busy { device: device.clone() },
            Self::Encoder { .. } | Self::NoEncoder { .. } => CameraTrouble::Encoder,
            Self::Hung { .. } => CameraTrouble::Hung,
            Self::Pipeline { .. } | Self::DeviceFails { .. } => CameraTrouble::Silent,
            _ => CameraTrouble::Unusable,
        }
    }
}
