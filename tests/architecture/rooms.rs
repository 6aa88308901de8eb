//! The plan of the house as data: the rooms in the order of their floors, and who may know what.

/// A top room of `src/` and the rooms below whose names it may use. Its own floor is its place in [`ROOMS`].
pub struct Room {
    pub name: &'static str,
    pub may_import: &'static [&'static str],
}

const fn room(name: &'static str, may_import: &'static [&'static str]) -> Room {
    Room { name, may_import }
}

/// From the ground floor up. A room may import only from rooms above its own line, and of those only the ones it lists.
pub const ROOMS: &[Room] = &[
    room("base", &[]),
    room("signaling", &["base"]),
    room("stream", &[]),
    room("access", &["base", "signaling"]),
    room("media", &["base", "stream"]),
    room("adaptation", &["base", "stream"]),
    room("config", &["base", "signaling", "access", "media"]),
    room("peer", &["base", "signaling", "stream", "access", "media", "config"]),
    room("sessions", &["base", "signaling", "stream", "access", "media", "config", "peer"]),
    room("dashboard", &["base", "signaling", "stream", "media", "config", "peer", "sessions"]),
    room("broker", &["base", "signaling", "access", "config"]),
    room("http", &["base", "signaling", "access", "media", "config", "peer", "sessions"]),
    room(
        "app",
        &[
            "base",
            "signaling",
            "stream",
            "access",
            "media",
            "adaptation",
            "config",
            "peer",
            "sessions",
            "dashboard",
            "broker",
            "http",
        ],
    ),
    room("first_boot", &["base", "config"]),
    room("tools", &["base", "signaling", "access", "media", "config", "peer", "broker", "app"]),
    room(
        "cli",
        &[
            "base",
            "signaling",
            "access",
            "media",
            "config",
            "dashboard",
            "broker",
            "http",
            "app",
            "first_boot",
            "tools",
        ],
    ),
];

/// Inside a top room, folders that know less than the room may: (folder, what alone it may import).
/// A prefix stands for everything below it, and a folder always knows itself.
pub const INNER: &[(&str, &[&str])] = &[
    ("media::look", &["base"]),
    ("media::capture", &["base", "media::error", "media::elements"]),
    ("media::encode", ENCODE),
    ("media::plan", PLAN),
    ("media::pipeline", PIPELINE),
    ("media::still", &["base", "media::error", "media::elements", "media::look", "media::encode"]),
    ("media::test_picture", &["base", "media::error", "media::capture"]),
    ("media::life", LIFE),
    ("peer::net", &["base", "peer::error"]),
    ("peer::bwe", &["base", "stream"]),
    ("peer::rtp", &["base", "stream", "peer::error", "peer::net", "peer::bwe"]),
    ("peer::send", SEND),
    ("peer::connect", CONNECT),
    ("peer::channel", &["peer::stats", "signaling::topic"]),
    ("peer::driver", DRIVER),
    (
        "broker",
        &[
            "base",
            "access::grant",
            "access::permissions",
            "config::broker",
            "config::secret",
            "signaling::topic",
        ],
    ),
];

const ENCODE: &[&str] = &[
    "base",
    "stream",
    "media::error",
    "media::elements",
    "media::helper_thread",
    "media::board",
    "media::capture",
];
/// What is probed before a plan is made stands below it: cameras and encoders.
const PLAN: &[&str] = &[
    "base",
    "stream",
    "media::error",
    "media::look",
    "media::elements",
    "media::helper_thread",
    "media::board",
    "media::capture",
    "media::encode",
    "media::test_picture",
];
const PIPELINE: &[&str] = &[
    "base",
    "stream",
    "media::error",
    "media::look",
    "media::elements",
    "media::board",
    "media::capture",
    "media::encode",
    "media::latency",
    "media::plan",
    "media::still",
    "media::test_picture",
];
/// The worker and what it decides: all of the room but its handle, which is made of it.
const LIFE: &[&str] = &[
    "base",
    "stream",
    "media::error",
    "media::look",
    "media::status",
    "media::board",
    "media::glib_messages",
    "media::capture",
    "media::encode",
    "media::pipeline",
    "media::plan",
    "media::still",
    "media::test_picture",
];
const CONNECT: &[&str] =
    &["base", "signaling::message", "access", "media", "peer::error", "peer::channel", "peer::rtp"];
/// The thread of all connections, which knows neither sessions nor the viewer of `porthole watch`.
const DRIVER: &[&str] = &[
    "base",
    "stream",
    "signaling::message",
    "config",
    "peer::error",
    "peer::stats",
    "peer::sound",
    "peer::channel",
    "peer::net",
    "peer::bwe",
    "peer::rtp",
    "peer::send",
    "peer::connect",
];
const SEND: &[&str] = &[
    "base",
    "stream",
    "signaling::topic",
    "peer::error",
    "peer::stats",
    "peer::sound",
    "peer::net",
    "peer::bwe",
    "peer::rtp",
];

/// An arrow that the plan forbids and that stays: (from, to, why).
pub const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// A crate, the rooms where alone it may be named.
pub const CRATES: &[(&str, &[&str])] = &[
    ("gstreamer", &["media"]),
    ("gstreamer_app", &["media"]),
    ("gstreamer_video", &["media"]),
    ("embedded_graphics", &["media::look"]),
    ("v4l", &["media::capture"]),
    ("inotify", &["base::folder_watch", "media"]),
    ("libc", &["base::memory"]),
    ("webrtc", &["peer"]),
    ("rtc", &["peer"]),
    ("rumqttc", &["signaling::mqtt"]),
    ("mqtt5", &["broker"]),
    ("tokio_tungstenite", &["broker"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("tokio_rustls", &["http"]),
    ("prometheus_client", &["http"]),
    ("figment", &["config"]),
    ("clap", &["cli"]),
    ("sd_notify", &["base::systemd"]),
];

/// The one line without the compiler's guard.
pub const UNSAFE: &[&str] = &["base::memory"];

/// Queues without a bound, by whole path or by last name.
pub const UNBOUNDED: &[&str] =
    &["std::sync::mpsc::channel", "unbounded", "unbounded_channel", "UnboundedSender", "UnboundedReceiver"];

/// What starts a task that nobody owns. `spawn_blocking` is not among them: its closure ends by itself, and who awaits it
/// hears of a panic.
pub const BARE_SPAWN: &[&str] = &["tokio::spawn", "tokio::task::spawn", "tokio::task::spawn_local"];

/// Where tasks are started for all others.
pub const TASKS: &str = "base::tasks";

/// Lines a source file may have.
pub const LONGEST_FILE: usize = 450;

/// Lines a function may have, blank ones and comments not counted.
pub const LONGEST_FUNCTION: usize = 75;
