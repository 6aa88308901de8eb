//! The broker: is it there, does it let the device in, and may the device use every topic it needs?

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::report::Finding;
use crate::access::offer_authorizer::AccessMode;
use crate::app::address::from_here;
use crate::base::processes::holders_of_port;
use crate::base::tasks::TaskGroup;
use crate::broker::{EmbeddedBroker, OpenAccess, OwnCredentials};
use crate::config::{Broker, BrokerChoice, Config};
use crate::signaling::broker_url::BrokerUrl;
use crate::signaling::mqtt::probe::{Probed, TopicOutcome, Tried, Use, probe};
use crate::signaling::mqtt::{MqttClientConfig, TlsFiles};
use crate::signaling::topic::{Id, Topics};

const AREA: &str = "broker";
/// A connection within this machine.
const LOCAL_LIMIT: Duration = Duration::from_secs(2);

/// What the checks found, and where the daemon's broker is if there is one now.
pub(super) struct BrokerFindings {
    pub findings: Vec<Finding>,
    /// Where a running daemon of this configuration would be spoken to.
    pub url: Option<BrokerUrl>,
}

/// Tries the configured broker. Takes half a minute at most.
pub(super) async fn check(config: &Config) -> BrokerFindings {
    match &config.mqtt.broker {
        BrokerChoice::External(url) => {
            let findings = visit(config, url, &url.to_string()).await.0;
            BrokerFindings { findings, url: Some(url.clone()) }
        }
        BrokerChoice::Embedded => Box::pin(embedded(config)).await,
    }
}

/// How the device speaks to the broker at `url`, under another client id: two clients with one id
/// throw each other out, and a daemon may be running.
pub(super) fn client_config(config: &Config, url: &BrokerUrl, client_id: &Id) -> MqttClientConfig {
    MqttClientConfig {
        username: config.mqtt.username.clone(),
        password: config.mqtt.password.as_ref().map(|secret| secret.expose().to_owned()),
        tls: tls(config),
        ..MqttClientConfig::new(url.clone(), client_id.as_str())
    }
}

/// The files of an encrypted connection.
pub(super) fn tls(config: &Config) -> TlsFiles {
    TlsFiles {
        ca_file: config.mqtt.ca_file.clone(),
        client_cert_file: config.mqtt.client_cert_file.clone(),
        client_key_file: config.mqtt.client_key_file.clone(),
    }
}

/// One visit to a broker; true if it was let in.
async fn visit(config: &Config, url: &BrokerUrl, name: &str) -> (Vec<Finding>, bool) {
    visit_as(config, url, name, None).await
}

/// The same; `own` is for a broker inside this process.
async fn visit_as(
    config: &Config,
    url: &BrokerUrl,
    name: &str,
    own: Option<&OwnCredentials>,
) -> (Vec<Finding>, bool) {
    let me = Id::new(&format!("doctor-{:08x}", rand::random::<u32>()));
    let me = me.unwrap_or_else(|_| Id::default_session());
    let topics = Topics::new(&config.mqtt.root, &config.device.id);
    let mut mqtt = client_config(config, url, &me);
    if let Some(own) = own {
        mqtt.username = Some(own.username.clone());
        mqtt.password = Some(own.password.expose().to_owned());
    }
    match probe(&mqtt, &topics, &me).await {
        Ok(probed) => (findings(config, url, name, &probed, &me), true),
        Err(error) => (vec![Finding::fail(AREA, error.to_string()).explained()], false),
    }
}

fn findings(config: &Config, url: &BrokerUrl, name: &str, probed: &Probed, me: &Id) -> Vec<Finding> {
    let user = config.mqtt.username.as_deref().or(url.username());
    let user = user.map_or_else(|| "without a user name".to_owned(), |user| format!("as {user}"));
    let tls = match (url.is_tls(), &config.mqtt.ca_file) {
        (false, _) => String::new(),
        (true, Some(file)) => format!("TLS, its certificate signed by {}; ", file.display()),
        (true, None) => "TLS, its certificate trusted by the system; ".to_owned(),
    };
    let greeting_ms = probed.connack.as_millis();
    let presence = match probed.availability.as_deref() {
        Some("online") => "; a daemon with this id is online",
        _ => "",
    };
    let entered = Finding::ok(AREA, format!("{name}: {tls}let in {user} after {greeting_ms} ms{presence}"))
        .figure("greeting_ms", u64::try_from(greeting_ms).unwrap_or(u64::MAX))
        .figure("availability", probed.availability.clone());
    let mut findings = vec![entered];
    if !probed.keeps_messages {
        findings.push(
            Finding::fail(AREA, "this broker keeps no messages for later subscribers (retained messages)")
                .next("allow retained messages there (Mosquitto: retain_available true)"),
        );
    }
    let base = topics_base(config);
    findings.extend(probed.topics.iter().filter_map(|tried| denied(tried, config, me)));
    let passed = probed.topics.iter().filter(|tried| tried.outcome == TopicOutcome::Passed).count();
    let all = probed.topics.len();
    let words = if passed == all {
        format!("a message made the round trip through each of the {all} topics under {base}")
    } else {
        format!("a message made the round trip through {passed} of {all} topics under {base}")
    };
    // The denied ones have lines of their own above.
    let summary = if passed == 0 { Finding::skip(AREA, words) } else { Finding::ok(AREA, words) };
    findings.push(summary.figure("topics_passed", passed).figure("topics", all));
    findings
}

fn topics_base(config: &Config) -> String {
    format!("{}/{}/", config.mqtt.root, config.device.id)
}

/// A topic that did not make it.
fn denied(tried: &Tried, config: &Config, me: &Id) -> Option<Finding> {
    let Tried { topic, usage, outcome } = tried;
    let user = config.mqtt.username.as_deref().unwrap_or("this user");
    let words = match (outcome, usage) {
        (TopicOutcome::Passed, _) => return None,
        (TopicOutcome::SubscribeRefused, Use::Reads) => format!("the broker refuses to subscribe {topic}"),
        (TopicOutcome::NoEcho, Use::Reads) => format!("what is published on {topic} does not arrive"),
        (TopicOutcome::PublishRefused, Use::Writes) => format!("the broker refuses to publish on {topic}"),
        (TopicOutcome::NoAnswer, _) => format!("the broker did not acknowledge a message on {topic}"),
        (TopicOutcome::PublishRefused, Use::Reads) => {
            format!("{topic}: subscribed, but {user} may not publish there, so that it arrives was not tried")
        }
        (TopicOutcome::NoEcho | TopicOutcome::SubscribeRefused, Use::Writes) => {
            format!("{topic}: published, but {user} may not read it, so that it went through was not seen")
        }
    };
    let right = if *usage == Use::Reads { "read" } else { "write" };
    let finding = match outcome.usable(*usage) {
        Some(_) => Finding::fail(AREA, words).next(format!(
            "allow {user} to {right} {topic} in the broker's access list; docs/protocol.md has the whole list. \
             (Rules by client id: the daemon comes as {}, this was {me}.)",
            config.device.id
        )),
        None => Finding::skip(AREA, words),
    };
    Some(finding.figure("topic", topic.as_str()))
}

/// The built-in broker: the running daemon's, or one of our own to try it with.
async fn embedded(config: &Config) -> BrokerFindings {
    let listen = from_here(config.broker.listen);
    let url: Option<BrokerUrl> = format!("mqtt://{listen}").parse().ok();
    if let (Some(url), true) = (&url, is_open(listen).await) {
        let holders = holders_of_port(listen);
        if holders.porthole().is_some() && config.access == AccessMode::Grants {
            let what = "the built-in broker of the running daemon lets in only who was invited";
            return BrokerFindings { findings: vec![Finding::skip(AREA, what)], url: Some(url.clone()) };
        }
        if holders.porthole().is_some() {
            let mut findings = visit(config, url, "the built-in broker of the running daemon").await.0;
            // Whether it was let in. Its topics are for the daemon's own connection, which no other can be.
            findings.truncate(1);
            return BrokerFindings { findings, url: Some(url.clone()) };
        }
        // Told by the line about ports.
        let what = format!(
            "the built-in broker cannot be tried at {listen}, which is in use by {}",
            holders.words()
        );
        return BrokerFindings { findings: vec![Finding::skip(AREA, what)], url: None };
    }
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let addresses = Broker { listen: loopback, websocket: loopback };
    let (root, device) = (&config.mqtt.root, &config.device.id);
    let broker =
        match EmbeddedBroker::start(addresses, root, device, Arc::new(OpenAccess), &TaskGroup::new()).await {
            Ok(broker) => broker,
            Err(error) => {
                return BrokerFindings { findings: vec![Finding::fail(AREA, error.to_string())], url: None };
            }
        };
    let findings = match format!("mqtt://{}", broker.tcp).parse() {
        Ok(url) => {
            let name = "the built-in broker, on a port of its own";
            visit_as(config, &url, name, Some(&broker.own)).await.0
        }
        Err(_) => Vec::new(),
    };
    BrokerFindings { findings, url: None }
}

async fn is_open(address: SocketAddr) -> bool {
    matches!(timeout(LOCAL_LIMIT, TcpStream::connect(address)).await, Ok(Ok(_)))
}
