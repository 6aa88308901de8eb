//! One viewer's session: to the broker, to the device, and back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use super::count::{CountedPacket, Counter};
use super::proof::{Proof, SentOffer};
use super::report::{Row, Trouble};
use crate::access::proof::Parties;
use crate::base::tasks::TaskGroup;
use crate::base::text;
use crate::peer::receiver::{PacketSink, Received, Receiver, ReceiverEvent};
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::message::{Auth, Candidate};
use crate::signaling::mqtt::{
    Incoming, MqttClient, MqttClientConfig, MqttError, MqttEvent, Outgoing, TlsFiles, connect,
};
use crate::signaling::topic::{Id, Topics};

/// Each viewer has one peer connection.
const SESSION: &str = "watch";
const BROKER_LIMIT: Duration = Duration::from_secs(10);
const DISCONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How much later than the end of the connection the device's reason for it may come.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(100);
/// Without a key frame for this long the viewer asks for one, and again.
const KEY_FRAME_PATIENCE: Duration = Duration::from_secs(2);
/// The same once packets come: then one was lost. Browsers wait as long.
const LOST_KEY_FRAME_PATIENCE: Duration = Duration::from_millis(200);

/// What all viewers of one run have in common.
pub(super) struct WatchPlan {
    pub url: BrokerUrl,
    pub topics: Topics,
    pub device: Id,
    /// Signs and verifies, where a link said with what.
    pub proof: Option<Proof>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub tls: TlsFiles,
    pub watch_for: Duration,
    /// The first whole key frame is all that is wanted.
    pub first_picture_only: bool,
    /// Under which the connection's task runs.
    pub tasks: TaskGroup,
}

/// A message from the device, as far as a viewer that only counts needs it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Down {
    Answer { sdp: String, identity: Option<AnswerIdentity> },
    Candidate { candidate: Option<RemoteCandidate> },
    Bye { reason: Option<String> },
    Error { code: String, message: Option<String> },
}

#[derive(Deserialize)]
struct AnswerIdentity {
    key: String,
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RemoteCandidate {
    candidate: String,
    sdp_mid: Option<String>,
    #[serde(rename = "sdpMLineIndex")]
    sdp_mline_index: Option<u16>,
    username_fragment: Option<String>,
}

/// The counter, fed by the connection's own task.
#[derive(Default)]
struct Sink(Mutex<Counter>);

impl Sink {
    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PacketSink for Sink {
    fn packet(&self, packet: Received<'_>) {
        let Received { sequence, timestamp, marker, payload } = packet;
        self.counter().packet(Instant::now(), CountedPacket { sequence, timestamp, marker, payload });
    }
}

/// Watches once. Everything that goes wrong after the start is in the row.
pub(super) async fn watch(
    plan: &WatchPlan,
    id: &str,
    stopped: watch::Receiver<bool>,
) -> Result<Row, MqttError> {
    let mut config = MqttClientConfig::new(plan.url.clone(), id);
    config.username.clone_from(&plan.username);
    config.password.clone_from(&plan.password);
    config.tls = plan.tls.clone();
    let signal = format!("signal/{id}");
    let (up, down) = (plan.topics.leaf(&format!("{signal}/up")), plan.topics.leaf(&format!("{signal}/down")));
    config.will =
        Some(Outgoing::signal(up.clone(), message("bye", json!({"reason": "the viewer vanished"}))));
    // `availability` only serves to say that a device is offline; a broker may refuse it.
    config.subscriptions = vec![down.clone(), plan.topics.leaf("availability")];
    let (mqtt, events) = connect(config, &plan.tasks)?;
    let mut session = WatchSession {
        id: id.to_owned(),
        mqtt,
        events,
        up,
        down,
        sink: Arc::default(),
        offered: None,
        answered: false,
        connected: false,
        device_offline: false,
        early: Vec::new(),
        sent: None,
        asked: None,
        trouble: Vec::new(),
    };
    session.run(plan, stopped).await;
    session.say("bye", json!({"reason": "watched long enough"}));
    session.mqtt.close(DISCONNECT_LIMIT).await;
    Ok(session.row())
}

struct WatchSession {
    id: String,
    mqtt: MqttClient,
    events: mpsc::Receiver<MqttEvent>,
    up: String,
    down: String,
    sink: Arc<Sink>,
    offered: Option<Instant>,
    answered: bool,
    connected: bool,
    device_offline: bool,
    /// Candidates that overtook the answer.
    early: Vec<Candidate>,
    /// The offer as it was signed.
    sent: Option<SentOffer>,
    /// When a key frame was last asked for.
    asked: Option<Instant>,
    trouble: Vec<Trouble>,
}

/// Whether to go on.
type Next = std::ops::ControlFlow<()>;

impl WatchSession {
    async fn run(&mut self, plan: &WatchPlan, mut stopped: watch::Receiver<bool>) {
        let reached = tokio::select! {
            reached = self.reach_broker() => reached,
            () = stop(&mut stopped) => return,
        };
        if !reached {
            return;
        }
        let sink: Arc<dyn PacketSink> = Arc::clone(&self.sink) as Arc<dyn PacketSink>;
        let (mut receiver, sdp) = match Receiver::offer(sink).await {
            Ok(made) => made,
            Err(error) => return self.fail("peer", &error.to_string()),
        };
        let fields = match self.signed(plan, &sdp) {
            Ok(fields) => fields,
            Err(problem) => return self.fail("peer", &problem),
        };
        self.offered = Some(Instant::now());
        self.say("offer", fields);
        self.drive(&mut receiver, plan, stopped).await;
        self.conclude(plan);
        receiver.close().await;
    }

    /// The fields of the offer, signed where a link says with what.
    fn signed(&mut self, plan: &WatchPlan, sdp: &str) -> Result<Value, String> {
        let mut fields = json!({ "sdp": sdp });
        let Some(proof) = &plan.proof else { return Ok(fields) };
        let (viewer, session) = self.names()?;
        let parties = Parties { device: &plan.device, viewer: &viewer, session: &session };
        let (auth, sent) = proof.sign(parties, sdp).map_err(|error| error.to_string())?;
        self.sent = Some(sent);
        if let Some(Auth { grant, nonce, sig }) = auth {
            fields["auth"] = json!({ "grant": grant, "nonce": nonce, "sig": sig });
        }
        Ok(fields)
    }

    /// Refuses an answer that the link's device did not give to this offer.
    fn verify(&self, plan: &WatchPlan, sdp: &str, identity: Option<&AnswerIdentity>) -> Result<(), String> {
        let (Some(proof), Some(sent)) = (&plan.proof, &self.sent) else { return Ok(()) };
        let (viewer, session) = self.names()?;
        let parties = Parties { device: &plan.device, viewer: &viewer, session: &session };
        let identity = identity.map(|identity| (identity.key.as_str(), identity.sig.as_str()));
        proof.verify(parties, sent, sdp, identity).map_err(str::to_owned)
    }

    fn names(&self) -> Result<(Id, Id), String> {
        let id = |text: &str| Id::new(text).map_err(|error| error.to_string());
        Ok((id(&self.id)?, id(SESSION)?))
    }

    /// Waits for the broker. Its last complaint is the trouble if it is not reached in time.
    async fn reach_broker(&mut self) -> bool {
        let mut complaint = "the broker was not reached in time".to_owned();
        let reached = timeout(BROKER_LIMIT, async {
            while let Some(event) = self.events.recv().await {
                match event {
                    MqttEvent::Connected => return true,
                    MqttEvent::Disconnected { reason } => complaint = reason,
                    MqttEvent::Message(_) => {}
                }
            }
            false
        })
        .await;
        if reached != Ok(true) {
            self.fail("broker", &complaint);
        }
        reached == Ok(true)
    }

    async fn drive(&mut self, receiver: &mut Receiver, plan: &WatchPlan, mut stopped: watch::Receiver<bool>) {
        let end = tokio::time::Instant::now() + plan.watch_for;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let next = tokio::select! {
                () = sleep_until(end) => return,
                () = stop(&mut stopped) => return,
                event = self.events.recv() => match event {
                    Some(event) => self.mqtt_event(plan, receiver, event).await,
                    None => return,
                },
                event = receiver.next() => match event {
                    Some(ReceiverEvent::Ended) => return self.last_words(plan, receiver).await,
                    Some(event) => self.receiver_event(event),
                    None => return,
                },
                _ = tick.tick() => {
                    self.tick(receiver).await;
                    let seen = self.sink.counter().first_key_frame().is_some();
                    if seen && plan.first_picture_only { Next::Break(()) } else { Next::Continue(()) }
                }
            };
            if next.is_break() {
                return;
            }
        }
    }

    async fn mqtt_event(&mut self, plan: &WatchPlan, receiver: &Receiver, event: MqttEvent) -> Next {
        match event {
            MqttEvent::Message(message) if message.topic == self.down => {
                self.device_says(plan, receiver, &message).await
            }
            MqttEvent::Message(message) => {
                self.device_offline = &message.payload[..] == b"offline";
                Next::Continue(())
            }
            // Media does not need the broker, so watching goes on; but it is told.
            MqttEvent::Disconnected { reason } => {
                self.fail("broker", &reason);
                Next::Continue(())
            }
            MqttEvent::Connected => Next::Continue(()),
        }
    }

    async fn device_says(&mut self, plan: &WatchPlan, receiver: &Receiver, message: &Incoming) -> Next {
        let Ok(said) = serde_json::from_slice::<Down>(&message.payload) else {
            let shown =
                String::from_utf8_lossy(&message.payload[..message.payload.len().min(80)]).into_owned();
            self.fail("bad-message", &format!("the device said what is not in the protocol: {shown}"));
            return Next::Continue(());
        };
        match said {
            // QoS 1 repeats.
            Down::Answer { .. } if self.answered => {}
            Down::Answer { sdp, identity } => {
                // Before anything of it is used: what it names may be somebody else's.
                if let Err(problem) = self.verify(plan, &sdp, identity.as_ref()) {
                    self.fail("wrong-device", &problem);
                    return Next::Break(());
                }
                if let Err(error) = receiver.accept(sdp).await {
                    let error = text::shown(&error.to_string());
                    self.fail("bad-answer", &format!("the answer cannot be used: {error}"));
                    return Next::Break(());
                }
                self.answered = true;
                for candidate in std::mem::take(&mut self.early) {
                    self.add(receiver, candidate).await;
                }
            }
            Down::Candidate { candidate } => {
                if let Some(candidate) = candidate.filter(|c| !c.candidate.is_empty()) {
                    self.remote_candidate(receiver, candidate).await;
                }
            }
            Down::Bye { reason } => {
                let said = reason.map(|reason| text::shown(&reason));
                self.fail("bye", &said.unwrap_or_else(|| "the device ended the session".to_owned()));
                return Next::Break(());
            }
            Down::Error { code, message } => {
                self.fail(&code, &text::shown(&message.unwrap_or_default()));
                // Refused before there was anything; later errors leave the session as it is.
                if !self.answered {
                    return Next::Break(());
                }
            }
        }
        Next::Continue(())
    }

    async fn remote_candidate(&mut self, receiver: &Receiver, remote: RemoteCandidate) {
        let candidate = Candidate {
            candidate: remote.candidate,
            sdp_mid: remote.sdp_mid,
            sdp_mline_index: remote.sdp_mline_index,
            username_fragment: remote.username_fragment,
        };
        if self.answered {
            self.add(receiver, candidate).await;
        } else if self.early.len() < 32 {
            self.early.push(candidate);
        }
    }

    async fn add(&mut self, receiver: &Receiver, candidate: Candidate) {
        // One that cannot be used is no trouble as long as another one works.
        if let Err(error) = receiver.add_candidate(candidate).await {
            tracing::debug!(viewer = self.id, %error, "a candidate of the device was not usable");
        }
    }

    fn receiver_event(&mut self, event: ReceiverEvent) -> Next {
        match event {
            ReceiverEvent::Candidate(candidate) => self.say("candidate", json!({ "candidate": candidate })),
            ReceiverEvent::Connected => {
                self.connected = true;
                self.asked = Some(Instant::now());
            }
            ReceiverEvent::Ended => return Next::Break(()),
        }
        Next::Continue(())
    }

    /// The connection has ended. The device's reason takes another way, and may come a little later.
    async fn last_words(&mut self, plan: &WatchPlan, receiver: &Receiver) {
        let heard = timeout(LAST_WORDS_LIMIT, async {
            while let Some(event) = self.events.recv().await {
                if self.mqtt_event(plan, receiver, event).await.is_break() {
                    return true;
                }
            }
            false
        });
        if heard.await != Ok(true) {
            self.fail("connection", "the connection to the device failed or was closed by it");
        }
    }

    async fn tick(&mut self, receiver: &Receiver) {
        let now = Instant::now();
        let (waiting, patience) = {
            let mut counter = self.sink.counter();
            counter.tick(now);
            let patience = if counter.has_packets() { LOST_KEY_FRAME_PATIENCE } else { KEY_FRAME_PATIENCE };
            (counter.first_key_frame().is_none(), patience)
        };
        if waiting && self.asked.is_some_and(|asked| now - asked >= patience) {
            self.asked = Some(now);
            receiver.request_key_frame().await;
        }
    }

    /// Names what was missing, if nothing else has been said about it.
    fn conclude(&mut self, plan: &WatchPlan) {
        if !self.trouble.is_empty() || self.sink.counter().first_key_frame().is_some() {
            return;
        }
        let device = &plan.device;
        if !self.answered && self.device_offline {
            self.fail("no-answer", &format!("the device `{device}` is offline, says the broker"));
        } else if !self.answered {
            self.fail(
                "no-answer",
                &format!("no answer from the device `{device}`: check its id, that it runs, and --root"),
            );
        } else if !self.connected {
            self.fail("no-connection", "the device answered, but no UDP path to it was found");
        } else if self.sink.counter().has_packets() {
            self.fail("no-key-frame", "video came, but no whole key frame");
        } else {
            self.fail("no-video", "connected, but no video came");
        }
    }

    fn fail(&mut self, code: &str, message: &str) {
        // The device says the code, or a broker in its place.
        let (code, message) = (text::shown(code), text::sentence(message));
        self.trouble.push(Trouble { viewer: self.id.clone(), code, message });
    }

    fn say(&self, kind: &str, fields: Value) {
        // Refused only when the broker has been away for long, which is told elsewhere.
        self.mqtt.publish(Outgoing::signal(self.up.clone(), message(kind, fields)));
    }

    fn row(self) -> Row {
        let figures = self.sink.counter().finish(Instant::now());
        let first_frame = self
            .offered
            .zip(figures.first_key_frame)
            .map(|(offered, first)| first.saturating_duration_since(offered));
        Row { viewer: self.id, connected: self.connected, first_frame, figures, trouble: self.trouble }
    }
}

/// Waits for the word to end.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    // Without its sender nobody can say it any more, which is the same.
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn message(kind: &str, fields: Value) -> Vec<u8> {
    let mut message = json!({ "v": 1, "type": kind, "session": SESSION });
    if let (Some(message), Value::Object(fields)) = (message.as_object_mut(), fields) {
        message.extend(fields);
    }
    message.to_string().into_bytes()
}

#[cfg(test)]
#[path = "viewer_tests.rs"]
mod tests;
