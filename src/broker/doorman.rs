//! Asks the rules for one connection, on behalf of the MQTT library.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mqtt5::broker::{AuthProvider, AuthResult, BrokerEventHandler, ClientPublishEvent, PublishAction};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::packet::publish::PublishPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use ring::digest::{SHA256, digest};
use tokio::sync::Notify;

use super::gate::{Gatekeeper, Names, Role, Rules};
use super::limits;
use crate::base::limits::TokenBucket;
use crate::config::Secret;
use crate::signaling::topic::{Id, Topics};

/// What the library calls the device's own connection; it tells it to whoever receives its messages.
const DEVICE_USER: &str = "device";

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// With what the device enters its own broker: made anew by each process, never written anywhere.
#[derive(Clone, Debug)]
pub struct OwnCredentials {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// What all connections have in common.
pub(super) struct Gate {
    pub rules: Rules,
    pub own: OwnCredentials,
    pub gatekeeper: Arc<dyn Gatekeeper>,
    names: Mutex<Names>,
}

impl Gate {
    pub fn new(rules: Rules, own: OwnCredentials, gatekeeper: Arc<dyn Gatekeeper>) -> Self {
        Self { rules, own, gatekeeper, names: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // Whole after every statement, so nothing is broken if a holder panicked.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn role(&self, user: Option<&str>, password: Option<&[u8]>) -> Option<Role> {
        if user == Some(self.own.username.as_str()) {
            // Hashes are compared, so that the time it takes tells nothing of the password.
            let hash = |secret: &[u8]| digest(&SHA256, secret).as_ref().to_owned();
            let same = hash(password.unwrap_or_default()) == hash(self.own.password.expose().as_bytes());
            return same.then_some(Role::Device);
        }
        self.gatekeeper.admit(user, password).map(Role::Client)
    }
}

/// Who came in over this connection.
struct Seat {
    client_id: String,
    user: Option<String>,
    password: Option<Vec<u8>>,
    role: Role,
    generation: u64,
}

/// Stands between one connection and the topics.
pub(super) struct Doorman {
    gate: Arc<Gate>,
    seat: Mutex<Option<Seat>>,
    pace: tokio::sync::Mutex<TokenBucket>,
    /// Told when the connection has to end.
    pub shown_out: Notify,
}

impl Doorman {
    pub fn new(gate: Arc<Gate>) -> Self {
        let pace = tokio::sync::Mutex::new(limits::messages(Instant::now()));
        Self { gate, seat: Mutex::default(), pace, shown_out: Notify::new() }
    }

    fn seat(&self) -> MutexGuard<'_, Option<Seat>> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under which client id it came in.
    pub fn client_id(&self) -> Option<String> {
        self.seat().as_ref().map(|seat| seat.client_id.clone())
    }

    fn let_in(&self, connect: &ConnectPacket) -> Result<Role, ReasonCode> {
        let (gate, client_id) = (&self.gate, connect.client_id.as_str());
        let generation = gate.gatekeeper.generation();
        let role = gate
            .role(connect.username.as_deref(), connect.password.as_deref())
            .ok_or(ReasonCode::BadUsernameOrPassword)?;
        if let Some(will) = &connect.will
            && !gate.rules.may_leave(&role, client_id, &will.topic, will.retain)
        {
            return Err(ReasonCode::NotAuthorized);
        }
        let mut seat = self.seat();
        let free = seat.is_none() && gate.rules.may_be_called(&role, client_id);
        if !free || !gate.names().enter(Instant::now(), client_id, &role) {
            return Err(ReasonCode::ClientIdentifierNotValid);
        }
        *seat = Some(Seat {
            client_id: client_id.to_owned(),
            user: connect.username.clone(),
            password: connect.password.clone(),
            role: role.clone(),
            generation,
        });
        Ok(role)
    }

    /// Asks again who this is if that may have changed, or if `anyway`: rights may also run out. `None`,
    /// and the end of the connection, once it is nobody; a connection that has not come in yet is nobody
    /// too, and may stay.
    pub fn ask_again(&self, anyway: bool) -> Option<Role> {
        let mut seat = self.seat();
        let seat = seat.as_mut()?;
        let generation = self.gate.gatekeeper.generation();
        if seat.role != Role::Device && (anyway || generation != seat.generation) {
            let role = self.gate.role(seat.user.as_deref(), seat.password.as_deref());
            let Some(role) = role.filter(|role| role.continues_as(&seat.role)) else {
                self.shown_out.notify_one();
                return None;
            };
            seat.role = role;
            seat.generation = generation;
        }
        Some(seat.role.clone())
    }

    /// Who asks, after the wait that its rate imposes.
    async fn asked(&self) -> Option<Role> {
        if self.ask_again(false)? != Role::Device {
            let wait = self.pace.lock().await.take_in_advance(Instant::now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        self.ask_again(false)
    }
}

impl Drop for Doorman {
    fn drop(&mut self) {
        if let Some(client_id) = self.client_id() {
            self.gate.names().leave(Instant::now(), &client_id);
        }
    }
}

/// As the library wants to own it.
pub(super) struct Provider(pub Arc<Doorman>);

impl AuthProvider for Provider {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        address: SocketAddr,
    ) -> Answer<'a, mqtt5::error::Result<AuthResult>> {
        let result = match self.0.let_in(connect) {
            Ok(Role::Device) => AuthResult::success_with_user(DEVICE_USER),
            Ok(Role::Client(_)) => AuthResult::success(),
            Err(reason) => {
                tracing::debug!(%address, client_id = connect.client_id, ?reason, "the built-in broker refuses a client");
                AuthResult::fail(reason)
            }
        };
        Box::pin(std::future::ready(Ok(result)))
    }

    fn authorize_publish<'a>(
        &'a self,
        client_id: &str,
        _user: Option<&'a str>,
        topic: &'a str,
    ) -> Answer<'a, bool> {
        let client_id = client_id.to_owned();
        Box::pin(async move {
            let role = self.0.asked().await;
            role.is_some_and(|role| self.0.gate.rules.may_publish(&role, &client_id, topic))
        })
    }

    fn authorize_subscribe<'a>(
        &'a self,
        client_id: &str,
        _user: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        let client_id = client_id.to_owned();
        Box::pin(async move {
            let role = self.0.asked().await;
            role.is_some_and(|role| self.0.gate.rules.may_subscribe(&role, &client_id, filter))
        })
    }
}

/// Takes from clients' messages what only the device may ask of the broker: to keep them, and to have the
/// device answer on somebody else's topic.
pub(super) struct Plain(pub Topics);

impl Plain {
    fn may_be_answered_at(&self, client_id: &str, topic: &str) -> bool {
        Id::new(client_id).is_ok_and(|viewer| self.0.down(&viewer) == topic)
    }
}

impl BrokerEventHandler for Plain {
    fn on_client_publish(&self, event: ClientPublishEvent) -> Answer<'_, PublishAction> {
        let answer_at =
            event.response_topic.as_deref().filter(|topic| self.may_be_answered_at(&event.client_id, topic));
        let is_plain = !event.retain && answer_at.is_some() == event.response_topic.is_some();
        if is_plain || event.user_id.as_deref() == Some(DEVICE_USER) {
            return Box::pin(std::future::ready(PublishAction::Continue));
        }
        let mut publish = PublishPacket::new(event.topic.to_string(), event.payload, event.qos);
        publish.packet_id = event.packet_id;
        if let Some(topic) = answer_at {
            publish.properties.set_response_topic(topic.to_owned());
            if let Some(data) = event.correlation_data {
                publish.properties.set_correlation_data(data);
            }
        }
        Box::pin(std::future::ready(PublishAction::Transform(publish)))
    }
}

#[cfg(test)]
mod tests {
    use mqtt5::{PropertyId, PropertyValue};

    use super::*;

    async fn passed_on(user: Option<&str>, retain: bool, answer_at: Option<&str>) -> Option<PublishPacket> {
        let plain = Plain(Topics::new("porthole", &Id::new("cam").unwrap()));
        let event = ClientPublishEvent {
            client_id: "tab".into(),
            user_id: user.map(Into::into),
            topic: "porthole/cam/do/keyframe".into(),
            payload: "{}".into(),
            qos: mqtt5::QoS::AtLeastOnce,
            retain,
            packet_id: Some(7),
            response_topic: answer_at.map(Into::into),
            correlation_data: Some("mine".into()),
        };
        match plain.on_client_publish(event).await {
            PublishAction::Continue => None,
            PublishAction::Transform(publish) => Some(publish),
            PublishAction::Handled => panic!("the message is gone"),
        }
    }

    #[tokio::test]
    async fn answers_go_to_who_asked_and_nothing_is_kept() {
        let own = "porthole/cam/signal/tab/down";
        assert!(passed_on(None, false, Some(own)).await.is_none(), "as it came");
        assert!(passed_on(None, false, None).await.is_none(), "as it came");
        for elsewhere in
            ["porthole/cam/signal/other/down", "porthole/cam/state", "porthole/cam/signal/tab/up"]
        {
            let publish = passed_on(None, false, Some(elsewhere)).await.expect("a plain message");
            assert_eq!(publish.properties.get(PropertyId::ResponseTopic), None, "{elsewhere}");
            assert_eq!((&*publish.payload, publish.packet_id), (&b"{}"[..], Some(7)));
        }
        let publish = passed_on(None, true, Some(own)).await.expect("a plain message");
        assert!(!publish.retain);
        let topic = PropertyValue::Utf8String(own.to_owned());
        assert_eq!(publish.properties.get(PropertyId::ResponseTopic), Some(&topic));
        let data = PropertyValue::BinaryData("mine".into());
        assert_eq!(publish.properties.get(PropertyId::CorrelationData), Some(&data));
        assert!(passed_on(Some(DEVICE_USER), true, None).await.is_none(), "the device's are kept");
    }
}
