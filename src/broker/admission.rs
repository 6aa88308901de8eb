//! Asks the rules for one connection, on behalf of the MQTT library.

use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mqtt5::broker::{AuthProvider, AuthResult, BrokerEventHandler, ClientPublishEvent, PublishAction};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::packet::publish::PublishPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use ring::digest::{SHA256, digest};
use tokio::sync::{Notify, watch};

use super::limits;
use super::topic_acl::{AuthFailure, ClientAuthenticator, ClientIds, Role, TopicAcl};
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

/// By what all connections are let in.
pub(super) struct AdmissionPolicy {
    pub acl: TopicAcl,
    pub own: OwnCredentials,
    pub authenticator: Arc<dyn ClientAuthenticator>,
    client_ids: Mutex<ClientIds>,
}

impl AdmissionPolicy {
    pub fn new(acl: TopicAcl, own: OwnCredentials, authenticator: Arc<dyn ClientAuthenticator>) -> Self {
        Self { acl, own, authenticator, client_ids: Mutex::default() }
    }

    fn client_ids(&self) -> MutexGuard<'_, ClientIds> {
        // Whole after every statement, so nothing is broken if a holder panicked.
        self.client_ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn role(&self, user: Option<&str>, password: Option<&[u8]>) -> Option<Role> {
        if user == Some(self.own.username.as_str()) {
            // Hashes are compared, so that the time it takes tells nothing of the password.
            let hash = |secret: &[u8]| digest(&SHA256, secret).as_ref().to_owned();
            let same = hash(password.unwrap_or_default()) == hash(self.own.password.expose().as_bytes());
            return same.then_some(Role::Device);
        }
        self.authenticator.admit(user, password).map(Role::Client)
    }
}

/// Who came in over this connection.
struct AdmittedClient {
    client_id: String,
    user: Option<String>,
    password: Option<Vec<u8>>,
    role: Role,
    generation: u64,
}

/// Whether one connection may come in, and what it may do then.
pub(super) struct ConnectionAdmission {
    policy: Arc<AdmissionPolicy>,
    client: Mutex<Option<AdmittedClient>>,
    /// Other rights may be in force with each new number.
    generation: Option<watch::Receiver<u64>>,
    message_rate: tokio::sync::Mutex<TokenBucket>,
    /// Told when the connection has to end because its rights are gone.
    pub revoked: Notify,
    /// Told when it has come in.
    pub admitted: Notify,
}

impl ConnectionAdmission {
    pub fn new(policy: Arc<AdmissionPolicy>) -> Self {
        let message_rate = tokio::sync::Mutex::new(limits::messages(Instant::now()));
        let generation = policy.authenticator.generation();
        Self {
            policy,
            client: Mutex::default(),
            generation,
            message_rate,
            revoked: Notify::new(),
            admitted: Notify::new(),
        }
    }

    fn client(&self) -> MutexGuard<'_, Option<AdmittedClient>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn generation(&self) -> u64 {
        self.generation.as_ref().map_or(0, |generation| *generation.borrow())
    }

    /// Resolves when it is time to ask again who this is: other rights are in force, or `ask_every` has passed for one whose
    /// rights run out.
    pub async fn may_have_changed(&self, ask_every: Duration) {
        let Some((seen, ends)) = self.watched() else { return pending().await };
        tokio::select! {
            () = tokio::time::sleep(ask_every), if ends => {}
            () = is_other(self.generation.clone(), seen) => {}
        }
    }

    /// The number that a client's rights are of, and whether they run out. The device's own never change.
    fn watched(&self) -> Option<(u64, bool)> {
        let client = self.client();
        let client = client.as_ref()?;
        match &client.role {
            Role::Device => None,
            Role::Client(rights) => Some((client.generation, rights.ends)),
        }
    }

    /// Under which client id it came in.
    pub fn client_id(&self) -> Option<String> {
        self.client().as_ref().map(|client| client.client_id.clone())
    }

    fn admit_connection(&self, connect: &ConnectPacket) -> Result<Role, (ReasonCode, String)> {
        let (policy, client_id) = (&self.policy, connect.client_id.as_str());
        let generation = self.generation();
        let role = policy
            .role(connect.username.as_deref(), connect.password.as_deref())
            .ok_or_else(|| self.turned_away(connect))?;
        if let Some(will) = &connect.will
            && !policy.acl.may_leave_will(&role, client_id, &will.topic, will.retain)
        {
            return Err((ReasonCode::NotAuthorized, "this will is not the client's own".to_owned()));
        }
        let mut client = self.client();
        let free = client.is_none() && policy.acl.may_use_client_id(&role, client_id);
        if !free || !policy.client_ids().enter(Instant::now(), client_id, &role) {
            let words = "this client id is the device's, or another grant's";
            return Err((ReasonCode::ClientIdentifierNotValid, words.to_owned()));
        }
        *client = Some(AdmittedClient {
            client_id: client_id.to_owned(),
            user: connect.username.clone(),
            password: connect.password.clone(),
            role: role.clone(),
            generation,
        });
        self.admitted.notify_one();
        Ok(role)
    }

    /// The code and the words of a refusal (MQTT 5 section 3.2.2.2): whose grant has ended, or cannot be judged yet, is told so.
    fn turned_away(&self, connect: &ConnectPacket) -> (ReasonCode, String) {
        match self.policy.authenticator.reason(connect.username.as_deref(), connect.password.as_deref()) {
            AuthFailure::Unknown => {
                let words = "there is no such grant on this device, or it was revoked; ask for a new link";
                (ReasonCode::BadUsernameOrPassword, words.to_owned())
            }
            AuthFailure::Ended(words) => (ReasonCode::NotAuthorized, words),
            AuthFailure::NotYet(words) => (ReasonCode::ServerUnavailable, words),
        }
    }

    /// Asks again who this is if that may have changed, or if `anyway`: rights may also run out. `None`,
    /// and the end of the connection, once it is nobody; a connection that has not come in yet is nobody
    /// too, and may stay.
    pub fn reauthenticate(&self, anyway: bool) -> Option<Role> {
        // Before the rights: whoever sees the new number finds the new ones.
        let generation = self.generation();
        let mut client = self.client();
        let client = client.as_mut()?;
        if client.role != Role::Device && (anyway || generation != client.generation) {
            let role = self.policy.role(client.user.as_deref(), client.password.as_deref());
            let Some(role) = role.filter(|role| role.continues_as(&client.role)) else {
                self.revoked.notify_one();
                return None;
            };
            client.role = role;
            client.generation = generation;
        }
        Some(client.role.clone())
    }

    /// Who asks, after the wait that its rate imposes.
    async fn current_role(&self) -> Option<Role> {
        if self.reauthenticate(false)? != Role::Device {
            let wait = self.message_rate.lock().await.take_in_advance(Instant::now());
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        self.reauthenticate(false)
    }
}

/// Resolves when the number is another one than `seen`.
async fn is_other(generation: Option<watch::Receiver<u64>>, seen: u64) {
    if let Some(mut generation) = generation
        && generation.wait_for(|generation| *generation != seen).await.is_ok()
    {
        return;
    }
    pending::<()>().await;
}

impl Drop for ConnectionAdmission {
    fn drop(&mut self) {
        if let Some(client_id) = self.client_id() {
            self.policy.client_ids().leave(Instant::now(), &client_id);
        }
    }
}

/// The same, as the library wants to own it.
pub(super) struct AuthAdapter(pub Arc<ConnectionAdmission>);

impl AuthProvider for AuthAdapter {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        address: SocketAddr,
    ) -> Answer<'a, mqtt5::error::Result<AuthResult>> {
        let result = match self.0.admit_connection(connect) {
            Ok(Role::Device) => AuthResult::success_with_user(DEVICE_USER),
            Ok(Role::Client(_)) => AuthResult::success(),
            Err((reason, words)) => {
                tracing::debug!(%address, client_id = connect.client_id, ?reason, "the built-in broker refuses a client");
                AuthResult::fail_with_reason(reason, words)
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
            let role = self.0.current_role().await;
            role.is_some_and(|role| self.0.policy.acl.may_publish(&role, &client_id, topic))
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
            let role = self.0.current_role().await;
            role.is_some_and(|role| self.0.policy.acl.may_subscribe(&role, &client_id, filter))
        })
    }
}

/// Takes from clients' messages what only the device may ask of the broker: to keep them, and to have the
/// device answer on somebody else's topic.
pub(super) struct PublishFilter(pub Topics);

impl PublishFilter {
    fn may_be_answered_at(&self, client_id: &str, topic: &str) -> bool {
        Id::new(client_id).is_ok_and(|viewer| self.0.down(&viewer) == topic)
    }
}

impl BrokerEventHandler for PublishFilter {
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
        let plain = PublishFilter(Topics::new("porthole", &Id::new("cam").unwrap()));
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
