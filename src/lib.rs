//! Porthole: live video from a V4L2 camera to browsers, over WebRTC, signalled over MQTT.
//!
//! # The house
//!
//! Folders are roles on the data path, in its order.
//!
//! ```text
//! camera ─v4l2→ media (GStreamer) ─AccessUnit→ stream ─Subscription→ peer ─SRTP→ viewer
//!                  ↑ start/stop, key frame ←───── Demand ──┘
//! MQTT ↔ signaling::mqtt ─Request→ sessions (table, cap, expiry) ─offer→ peer ─Down→ signaling::mqtt ↔ MQTT
//! ```
//!
//! | module | its one sentence |
//! |---|---|
//! | [`config`] | the documented configuration, parsed into checked types before anything opens |
//! | [`media`] | camera to H.264: which camera and mode, which encoder, the pipeline and its life |
//! | [`stream`] | the encoded picture on its way: one publisher of one or two renditions, N subscriptions: bounded, never blocks the camera |
//! | [`peer`] | one viewer: its peer connection, its sender, its feedback; all of them on one UDP port and one thread |
//! | [`adaptation`] | what N viewers' paths carry, turned into a bit rate for each rendition and a rendition for each viewer |
//! | [`sessions`] | the table of sessions: cap, expiry, routing |
//! | [`access`] | who may watch, and proof of who answers |
//! | [`signaling`] | the wire contract: topics, messages, the MQTT connection |
//! | [`dashboard`] | what MQTT dashboards see and may ask |
//! | [`http`] | the viewer page, and what programs ask over HTTP |
//! | [`broker`] | the embedded MQTT broker |
//! | [`app`] | the only module that knows every other: builds, runs, drains |
//! | [`first_boot`] | what an installer left on the boot partition, taken over or refused in plain words |
//! | [`tools`] | `watch`, a viewer that counts, and `doctor`, which tries what the daemon would use |
//! | [`cli`] | arguments and exit codes, one file per subcommand |
//! | [`base`] | what every floor may use: tasks that are watched over, files that survive a power cut, limits, figures of the process, what its allocator keeps, where log lines go, what the service manager is told |
//!
//! The WebRTC library connects and nothing more: offers and answers, ICE, DTLS. A viewer's pictures are packetised once for all, numbered,
//! protected with the keys of its handshake and sent by `peer::send::media_sender`, a picture a system call; RTCP comes back to it from
//! the socket. One thread owns all of that (`peer::driver`): the library is a state machine there, which is given datagrams and time, and
//! tells what to send and which path ICE has chosen.
//!
//! # Invariants
//!
//! - Only `media` names gstreamer and v4l; only `peer` names webrtc and rtc; only `signaling::mqtt`
//!   names rumqttc; only `broker` names mqtt5 and its WebSockets. `tests/architecture.rs` reads the sources and holds this.
//! - The camera thread never waits for a viewer: every queue between them is bounded and drops.
//! - No viewer, no open device: the pipeline runs only while something demands it.
//! - Nothing that arrives from outside can panic the process; every refusal has a code.
//! - Control plane and data plane meet in one place: where a session is made.
//! - Media never passes the WebRTC library (`peer::driver::peer`): its packets would use numbers of ours under the same key.
//!
//! # Decisions and edges
//!
//! What decides is a pure function of input and time, tested without sleeping: [`sessions::table`]
//! (who may watch), [`adaptation`] and `peer::bwe` (how much is sent to whom), `media::life::lifecycle` (when the camera runs), `media::life::key_frame_limiter`,
//! `media::plan::rank` (what the camera is asked for), [`peer::offer`] (what an offer may get),
//! [`signaling::message`] and [`signaling::topic`], [`dashboard`]. The edges beside them carry out:
//! `sessions`, `media::life::worker`, `peer::session`, `signaling::mqtt`, `app`.
//!
//! # The other side
//!
//! `porthole watch` is a viewer: [`tools::watch`] counts, [`peer::viewer`] receives. It shares the
//! message types and the MQTT link with the daemon, and nothing else.
//!
//! `porthole doctor` tries what the daemon would use. What needs a library that only one folder may name is
//! there: [`media::measure`], [`signaling::mqtt::probe`], [`peer::reach`].

pub mod access;
pub mod adaptation;
pub mod app;
pub mod base;
pub mod broker;
pub mod cli;
pub mod config;
pub mod dashboard;
pub mod first_boot;
pub mod http;
pub mod media;
pub mod peer;
pub mod sessions;
pub mod signaling;
pub mod stream;
pub mod tools;
