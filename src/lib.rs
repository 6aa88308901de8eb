//! Porthole: live video from a V4L2 camera to browsers, over WebRTC, signalled over MQTT.
//!
//! # The house
//!
//! Folders are roles on the data path. Each stands above all that it imports; `tests/architecture/rooms.rs` has the floors as data,
//! and the test beside it fails on an import upwards and on a circle of files.
//!
//! ```text
//! camera ─v4l2→ media (GStreamer) ─AccessUnit→ stream ─Subscription→ peer ─SRTP→ viewer
//!                  ↑ Demand, key-frame request ←──────────┘
//! MQTT ↔ signaling::mqtt ↔ app::gateway ─Offer→ sessions ─AcceptedOffer→ peer ─Down→ sessions ─→ app::gateway ↔ MQTT
//! ```
//!
//! | room, from the ground up | its one sentence |
//! |---|---|
//! | [`base`] | what every floor may use: tasks that are watched over, files that survive a power cut, limits, bit rates, clock, log, figures of the process |
//! | [`signaling`] | the wire contract: topics, messages, the MQTT connection |
//! | [`stream`] | the encoded picture on its way: one publisher of one or two renditions, N subscriptions: bounded, never blocks the camera; beside it the sound, and who may speak |
//! | [`access`] | who may watch, and proof of who answers |
//! | [`media`] | camera to H.264: which camera and mode, which encoder, the pipeline and its life; microphone to Opus, and voices to the speaker |
//! | `adaptation` | what N viewers' paths carry, turned into a bit rate for each rendition and a rendition for each viewer |
//! | [`config`] | the documented configuration, one file for each section, parsed into checked types before anything opens |
//! | [`peer`] | one viewer's peer connection, and the one thread that all of them live on |
//! | `sessions` | the sessions: who gets in, how many, until when |
//! | `dashboard` | what MQTT dashboards see and may ask: documents and parsers, all pure |
//! | [`broker`] | the embedded MQTT broker |
//! | [`http`] | the viewer page, WHEP, and what programs ask over HTTP |
//! | `app` | the daemon, which knows every room above: opens, binds, runs, drains; the gateway between MQTT and the rest |
//! | `first_boot` | what an installer left on the boot partition, taken over or refused in plain words |
//! | `tools` | `watch`, a viewer that counts, and `doctor`, which tries what the daemon would use |
//! | [`cli`] | arguments and exit codes of the subcommands; `grant` holds those about invitations |
//!
//! # One picture, from the camera to the socket
//!
//! 1. `media::capture::find` and `media::capture::camera` say which cameras there are; `media::plan::planner` makes a plan of camera, mode and
//!    encoder; `media::pipeline::running` is GStreamer doing it. `media::life::worker` owns all of that, on a thread that may block.
//! 2. `media::pipeline::fanout_sink` takes each encoded picture from the pipeline as a [`stream::AccessUnit`], and [`stream::Fanout`] gives it to every viewer's
//!    bounded ring.
//! 3. `peer::driver::send_task` waits for it, on the driver's thread. `peer::send::video_sender` decides whether this viewer gets it
//!    (`peer::send::frame_dropper`) and when (`peer::send::pacer`); `peer::send::packetizer` makes its RTP payloads, once for all
//!    viewers.
//! 4. `peer::send::media_sender` has `peer::rtp::rtp_sender` number it, protect it (`peer::rtp::srtp`), keep it for NACK (`peer::rtp::rtx_cache`)
//!    and add parity (`peer::rtp::fec`); `peer::net` sends the batch, a picture a system call.
//! 5. RTCP comes back through `peer::net::udp_port` to `peer::bwe::feedback`; `peer::bwe::estimator` says what the path carries, and
//!    `app::adapt` asks `adaptation` a few times a second what the encoders and viewers are to get.
//!
//! # One sound, from the microphone to the socket, and back
//!
//! 1. `media::audio::microphone` runs while somebody listens: a card, or the test tone, to Opus, ten milliseconds a packet.
//!    `media::audio::packets` gives each its place in RTP's 48 kHz and the moment of its capture, on the pictures' clock.
//! 2. [`stream::AudioFanout`] gives it to every viewer whose offer has sound; of the others none has a subscription, or wakes.
//! 3. `peer::driver::send_task` takes it before any picture. `peer::send::audio_sender` and `peer::rtp::audio_stream` make one packet of it,
//!    with numbers of its own and a place in the path's count; it is neither paced, kept, nor protected by parity. What it takes of the
//!    path, `peer::bwe::estimator` leaves out of what is for pictures. Both streams' sender reports go by one clock.
//! 4. A viewer's voice comes in through `peer::send::media_sender`: `peer::send::voice_receiver` asks for the right, counts and bounds, and
//!    `peer::rtp::srtp` opens what is left. [`stream::Talk`] lets one speak at a time; `media::audio` plays it.
//! 5. `peer::connect::audio` says what of an offer's sound is taken. The WebRTC library is told of none of it.
//!
//! # One offer, to its answer
//!
//! 1. `signaling::mqtt::task` receives it, `app::gateway::router` reads its topic and has [`signaling::message`] parse it into an `Offer`
//!    (over HTTP: `http::whep`).
//! 2. `sessions::table` asks `sessions::sender_check` about the sender: `access::offer_authorizer` (proof) and
//!    `sessions::offer_limits` (rates). Then `sessions::offer_reader` has `peer::connect::offer` read the SDP, once, beside the task that
//!    serves all, while `sessions::in_order` keeps back what came after it; `sessions::places` says how many may watch.
//! 3. `peer::session` runs one session to its end. `peer::factory` makes its connection, `peer::driver` takes it to its thread:
//!    `peer::driver::peer` is the library's state machine, given datagrams and time; `peer::driver::gather` finds our candidates.
//! 4. `peer::connect::negotiation` says what is taken of it and shows the library a small offer of its own; `peer::connect::answer` writes
//!    the answer; `access::identity` signs it; it leaves by `sessions::outbox`, the only way out for
//!    a running session's messages, which is shut when a successor begins.
//!
//! # One request on a data channel, to its answer
//!
//! `peer::driver::channel` reads it from the library, as far as [`peer`]'s bounds allow, and `app::channels` parses it with `dashboard::channel`
//! and looks up the rights of the session's grant. A command goes to `app::gateway::commands`, which carries out what dashboards ask too;
//! its answer goes back by `peer::channel`, where what waits for a slow reader is bounded.
//!
//! # Invariants
//!
//! - Only `media` names gstreamer and v4l; only `peer` names webrtc and rtc; only `signaling::mqtt` names rumqttc; only `broker` names
//!   mqtt5 and its WebSockets.
//! - GStreamer's streaming thread never waits for a viewer: every queue between them is bounded and drops.
//! - No viewer, no open device: the pipeline runs only while something demands it. No loop wakes when nothing is due.
//! - Nothing that arrives from outside can panic the process; every refusal has a code. Where a library fails all the same, it takes one
//!   connection with it (`peer::driver::state`).
//! - Every task has a name and an owner ([`base::tasks`]); one that ends early is an ailment that health, `state` and the watchdog see.
//! - While the daemon runs one task writes files (`app::persist`); nobody who serves viewers waits for a card. `ok` means kept.
//! - On the driver's thread what receives never waits for what sends: each event is done to its end before the next. The locks of
//!   `peer::bwe::feedback` are there for `app::adapt`, which reads rates on another thread.
//! - `state` is made in one place (`app::state`), whoever asks.
//!
//! # Decisions and edges
//!
//! What decides is a pure function of input and time, tested without sleeping: `sessions::table` (who may watch), `adaptation` and
//! `peer::bwe` (how much is sent to whom), `media::life::lifecycle` (when the camera runs), `media::life::placeholder` (when words are
//! shown in its place), `media::life::key_frame_limiter`,
//! `media::plan::rank` (what the camera is asked for), `peer::connect::offer` (what an offer may get), `app::persist::slots` (what is written when),
//! [`signaling::message`] and [`signaling::topic`], `dashboard`. The edges beside them carry out: `sessions`, `media::life::worker`,
//! `peer::driver`, `signaling::mqtt`, `app`.
//!
//! # The other side
//!
//! `porthole watch` is a viewer: `tools::watch` counts, [`peer::receiver`] receives, through the library's own asynchronous form. It shares the
//! message types, the MQTT connection, access links with their proofs, and what looks at DTLS with the daemon; not the sender, the
//! pacer or the estimate.
//!
//! `porthole doctor` tries what the daemon would use. What needs a library that only one folder may name is
//! there: [`media::measure`], [`signaling::mqtt::probe`], [`peer::reach`].

pub mod access;
pub(crate) mod adaptation;
pub(crate) mod app;
pub mod base;
pub mod broker;
pub mod cli;
pub mod config;
pub(crate) mod dashboard;
pub(crate) mod first_boot;
pub mod http;
pub mod media;
pub mod peer;
pub(crate) mod sessions;
pub mod signaling;
pub mod stream;
pub(crate) mod tools;
