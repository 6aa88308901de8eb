//! A daemon that asks for invitations, guests with links, and a broker that changes what they say.

use std::sync::Arc;

use porthole::access::link::ViewingLink;
use porthole::access::proof::{KeyPair, Nonce, Parties, offer_text};
use porthole::signaling::topic::Id;
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::client::Client;
use super::daemon::{DEVICE, Daemon, Settings, porthole};
use super::mosquitto::Mosquitto;
use super::viewer::Dashboard;

/// A device with `access.mode = "grants"` on a broker of its own.
pub struct World {
    pub broker: Mosquitto,
    pub daemon: Daemon,
    pub dashboard: Dashboard,
}

impl World {
    /// `None` without a broker to test with.
    pub async fn new() -> Option<Self> {
        Some(Self::on(Mosquitto::start()?).await)
    }

    /// One on this broker.
    pub async fn on(broker: Mosquitto) -> Self {
        let daemon = Daemon::run(Settings::new(&broker.url()).text("access.mode", "grants"));
        let mut dashboard = Dashboard::connect(broker.port()).await;
        dashboard.state("a daemon", |_| true).await;
        Self { broker, daemon, dashboard }
    }

    /// The same as [`command`], with this daemon's configuration.
    pub fn command(&self, arguments: &[&str]) -> Result<String, String> {
        command(&self.daemon, arguments)
    }

    /// The same as [`grant`], by this daemon.
    pub async fn grant(&self, name: &str, more: &[&str]) -> ViewingLink {
        grant(&self.daemon, name, more).await
    }
}

/// Runs a command with the daemon's configuration: what it printed, or what it complained of.
pub fn command(daemon: &Daemon, arguments: &[&str]) -> Result<String, String> {
    let config = daemon.config_file();
    let config = ["--config", config.to_str().expect("UTF-8")];
    let done = porthole(&[arguments, &config].concat()).output().expect("run porthole");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    if done.status.success() { Ok(text(done.stdout)) } else { Err(text(done.stderr)) }
}

/// Grants, and waits until the daemon knows.
pub async fn grant(daemon: &Daemon, name: &str, more: &[&str]) -> ViewingLink {
    let before = daemon.count("the grants were read again");
    let printed = command(daemon, &[&["grant", name], more].concat()).expect("a grant");
    let again = |log: &str| (log.matches("the grants were read again").count() > before).then_some(());
    daemon.find("the new grant", again).await;
    printed.lines().next().expect("a link").parse().expect("a link")
}

/// The `auth` of an offer, as the link's owner signs it for these parties.
pub fn auth(link: &ViewingLink, device: &str, viewer: &str, session: &str, sdp: &str) -> Value {
    auth_with(link, &Nonce::random().expect("random numbers"), device, viewer, session, sdp)
}

/// The same with a nonce that may have been used before.
pub fn auth_with(
    link: &ViewingLink,
    nonce: &Nonce,
    device: &str,
    viewer: &str,
    session: &str,
    sdp: &str,
) -> Value {
    let id = |text: &str| Id::new(text).expect("an id");
    let (device, viewer, session) = (id(device), id(viewer), id(session));
    let parties = Parties { device: &device, viewer: &viewer, session: &session };
    let (name, seed) = link.grant.as_ref().expect("a grant");
    let sig = KeyPair::of(seed).expect("a key").sign(&offer_text(parties, nonce, sdp));
    json!({"grant": name, "nonce": nonce.encode(), "sig": sig.encode()})
}

/// What `porthole watch --link` found, over this port's broker.
pub async fn watch(link: &ViewingLink, port: u16, seconds: u32) -> Value {
    let (link, broker) = (link.to_string(), format!("mqtt://127.0.0.1:{port}"));
    let run = tokio::task::spawn_blocking(move || {
        let seconds = seconds.to_string();
        let arguments = ["watch", "--link", &link, "--broker", &broker, "--seconds", &seconds, "--json"];
        porthole(&arguments).output().expect("run porthole watch")
    });
    let done = run.await.expect("a run");
    serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&done.stderr)))
}

/// Changes a message on its way: true for the viewer's, which go up. Returns the messages to pass on.
pub type Change = dyn FnMut(bool, Value) -> Vec<Value> + Send;

/// Two brokers that look like one, with somebody between them: the device at one, viewers at the other.
pub struct Hostile {
    pub viewers: Mosquitto,
    task: AbortHandle,
}

impl Hostile {
    /// Passes all signal messages on through `change`; viewer `from` seems to be viewer `to` to the device.
    pub async fn between(device_port: u16, as_viewer: Option<&str>, mut change: Box<Change>) -> Self {
        let viewers = Mosquitto::start().expect("there was one before");
        let listen = |leaf: &str| [format!("porthole/{DEVICE}/signal/+/{leaf}")];
        // Ids of its own: an earlier one may not be quite gone yet, and two clients with one id throw each other out.
        let own: u32 = rand::random();
        let mut below = Client::connect(viewers.port(), &format!("below-{own:08x}"), &listen("up")).await;
        let mut above = Client::connect(device_port, &format!("above-{own:08x}"), &listen("down")).await;
        let as_viewer: Option<Arc<str>> = as_viewer.map(Into::into);
        let task = tokio::spawn(async move {
            let mut real = String::new();
            loop {
                let (up, message) = tokio::select! {
                    message = below.next("a viewer") => (true, message),
                    message = above.next("the device") => (false, message),
                };
                let mut topic = message.topic.clone();
                if let Some(other) = &as_viewer {
                    let viewer = topic.split('/').nth(3).expect("a viewer").to_owned();
                    if up {
                        real.clone_from(&viewer);
                    }
                    topic = topic.replace(&viewer, if up { other } else { &real });
                }
                for changed in change(up, message.json()) {
                    let to = if up { &above } else { &below };
                    to.publish(&topic, changed.to_string()).await;
                }
            }
        });
        Self { viewers, task: task.abort_handle() }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}
