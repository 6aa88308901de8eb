//! Tries STUN and TURN servers and gathers candidates, for `porthole doctor`.
//!
//! Gathering alone does not tell why a candidate is missing, so each server is also asked directly:
//! one binding (RFC 8489), or one allocation (RFC 8656) that is given back at once.

use std::net::SocketAddr;
use std::time::Duration;

use rtc::crypto::default_provider;
use rtc::stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use rtc::stun::error_code::ErrorCodeAttribute;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    BINDING_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, Message, MessageType, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;
use rtc::turn::proto::lifetime::Lifetime;
use rtc::turn::proto::relayaddr::RelayedAddress;
use rtc::turn::proto::reqtrans::RequestedTransport;
use rtc::turn::proto::{PROTO_UDP, allocate_request, refresh_request};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::connect::offer::VideoCodec;
use super::driver::PeerEvent;
use super::error::PeerError;
use super::factory::Factory;
use super::net::server_url::ServerUrl;
use crate::base::tasks::TaskGroup;
use crate::config::Ice;
use crate::media::ProfileLevelId;
use crate::signaling::message::{Candidate, IceServer};
use crate::stream::Fanout;

/// When a request is sent, and sent again; the last one waits as long as the one before.
const RESENDS_MS: [u64; 4] = [0, 300, 900, 2000];
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// The first request learns realm and nonce, the second is the real one; a nonce may go stale once.
const ATTEMPTS: usize = 3;
/// RFC 8489 section 14.8 and RFC 8656 section 18.
const UNAUTHENTICATED: u16 = 401;
const STALE_NONCE: u16 = 438;
const WRONG_CREDENTIALS: u16 = 441;
const QUOTA_REACHED: u16 = 486;
const NO_CAPACITY: u16 = 508;
const MAX_DATAGRAM_BYTES: usize = 1500;

/// What a server gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// STUN: this machine's address as the server sees it.
    Reflexive(SocketAddr),
    /// TURN: the address at the server that would be relayed.
    Relayed(SocketAddr),
}

/// Why a server is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// This version does not use servers of this kind.
    #[error("it is not used by the device: only TURN over UDP is (viewers are told of it all the same)")]
    NotUsed,
    /// It is no address.
    #[error("it is no address of a server; write for example stun:stun.example.org:3478")]
    NoAddress,
    /// The name is not known.
    #[error("the name {host} is not known: check the spelling and the network's name server")]
    UnknownHost {
        /// The host.
        host: String,
    },
    /// The machine says that nothing is there.
    #[error("nothing listens at {address}: check the address and that the server runs")]
    NothingListens {
        /// Where.
        address: SocketAddr,
    },
    /// No answer.
    #[error("no answer from {address} over UDP: check that the server runs, and firewalls between")]
    Silent {
        /// Where.
        address: SocketAddr,
    },
    /// User name or password.
    #[error("{address} refuses the credentials: check username and the password in credential_file")]
    Credentials {
        /// Where.
        address: SocketAddr,
    },
    /// Any other refusal.
    #[error("{address} refuses ({code} {reason}): look into the server's log")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// STUN's number.
        code: u16,
        /// The server's words, or ours for those that everybody meets.
        reason: String,
    },
    /// The answer is none that the protocol knows.
    #[error("{address} answers, but not as a STUN or TURN server: check the port")]
    Nonsense {
        /// Where.
        address: SocketAddr,
    },
    /// This machine's own trouble.
    #[error("there is no way to {address}: {reason}")]
    NoWay {
        /// Where.
        address: SocketAddr,
        /// The system's words.
        reason: std::io::Error,
    },
}

/// Asks one address (`url`) of `server` for what it is there for.
pub async fn reach(url: &str, server: &IceServer) -> Result<Reached, ReachError> {
    let parsed = ServerUrl::parse(url).ok_or(ReachError::NoAddress)?;
    if !parsed.udp {
        return Err(ReachError::NotUsed);
    }
    let found = parsed.resolve().await;
    let address = *found.first().ok_or_else(|| ReachError::UnknownHost { host: parsed.host.clone() })?;
    let asking = Asking::new(address).await?;
    if parsed.turn { asking.allocate(server).await } else { asking.bind().await }
}

/// A socket to one server.
struct Asking {
    socket: UdpSocket,
    address: SocketAddr,
}

/// What a TURN server wants repeated.
#[derive(Clone)]
struct Challenge {
    realm: String,
    nonce: String,
}

impl Asking {
    async fn new(address: SocketAddr) -> Result<Self, ReachError> {
        let no_way = |reason| ReachError::NoWay { address, reason };
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await.map_err(no_way)?;
        socket.connect(address).await.map_err(no_way)?;
        Ok(Self { socket, address })
    }

    async fn bind(&self) -> Result<Reached, ReachError> {
        let request = self.build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)])?;
        let answer = self.ask(&request).await?;
        if answer.typ.class != CLASS_SUCCESS_RESPONSE {
            return Err(self.refusal(&answer).1);
        }
        let mut seen = XorMappedAddress::default();
        seen.get_from(&answer).map_err(|_| self.nonsense())?;
        Ok(Reached::Reflexive(SocketAddr::new(seen.ip, seen.port)))
    }

    async fn allocate(&self, server: &IceServer) -> Result<Reached, ReachError> {
        let mut challenge: Option<Challenge> = None;
        for _ in 0..ATTEMPTS {
            let transport: Box<dyn Setter> = Box::new(RequestedTransport { protocol: PROTO_UDP });
            let request = self.turn(allocate_request(), transport, server, challenge.as_ref())?;
            let answer = self.ask(&request).await?;
            if answer.typ.class == CLASS_SUCCESS_RESPONSE {
                let mut relayed = RelayedAddress::default();
                relayed.get_from(&answer).map_err(|_| self.nonsense())?;
                self.give_back(server, challenge.as_ref()).await;
                return Ok(Reached::Relayed(SocketAddr::new(relayed.ip, relayed.port)));
            }
            let (code, refusal) = self.refusal(&answer);
            let text = |attribute| TextAttribute::get_from_as(&answer, attribute).map(|found| found.text);
            match (code, text(ATTR_REALM), text(ATTR_NONCE)) {
                (UNAUTHENTICATED, Ok(realm), Ok(nonce)) if challenge.is_none() => {
                    challenge = Some(Challenge { realm, nonce });
                }
                (STALE_NONCE, Ok(realm), Ok(nonce)) => challenge = Some(Challenge { realm, nonce }),
                _ => return Err(refusal),
            }
        }
        Err(ReachError::Credentials { address: self.address })
    }

    /// An allocation would otherwise stay for ten minutes, and servers count them. Once is enough: the
    /// server forgets by itself if this is lost.
    async fn give_back(&self, server: &IceServer, challenge: Option<&Challenge>) {
        let nothing: Box<dyn Setter> = Box::new(Lifetime(Duration::ZERO));
        if let Ok(request) = self.turn(refresh_request(), nothing, server, challenge) {
            let _ = self.socket.send(&request.raw).await;
        }
    }

    /// A request of TURN, signed once there is something to sign with.
    fn turn(
        &self,
        kind: MessageType,
        what: Box<dyn Setter>,
        server: &IceServer,
        challenge: Option<&Challenge>,
    ) -> Result<Message, ReachError> {
        let Some(Challenge { realm, nonce }) = challenge else {
            return self.build(&[Box::new(TransactionId::new()), Box::new(kind), what]);
        };
        let user = server.username.clone().unwrap_or_default();
        let password = server.credential.clone().unwrap_or_default();
        // Only a build without any cryptography has no provider.
        let provider = default_provider().map_err(|_| self.nonsense())?;
        let signature = MessageIntegrity::new_long_term_integrity_with_provider(
            user.clone(),
            realm.clone(),
            password,
            provider.crypto(),
        );
        self.build(&[
            Box::new(TransactionId::new()),
            Box::new(kind),
            what,
            Box::new(TextAttribute::new(ATTR_USERNAME, user)),
            Box::new(TextAttribute::new(ATTR_REALM, realm.clone())),
            Box::new(TextAttribute::new(ATTR_NONCE, nonce.clone())),
            Box::new(signature.map_err(|_| self.nonsense())?),
        ])
    }

    fn build(&self, parts: &[Box<dyn Setter + '_>]) -> Result<Message, ReachError> {
        let mut message = Message::new();
        // Fails for a user name beyond the protocol's 513 bytes.
        message.build(parts).map_err(|_| ReachError::Credentials { address: self.address })?;
        Ok(message)
    }

    /// Sends, and again where nothing comes; gives the answer to this request.
    async fn ask(&self, request: &Message) -> Result<Message, ReachError> {
        let started = Instant::now();
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        for (at, resend) in RESENDS_MS.iter().enumerate() {
            let until = RESENDS_MS.get(at + 1).map_or(ANSWER_LIMIT, |next| Duration::from_millis(*next));
            debug_assert!(Duration::from_millis(*resend) < until, "each is sent after the one before");
            // What the system says of an earlier datagram shows up here too; receiving tells.
            let _ = self.socket.send(&request.raw).await;
            while let Ok(received) = timeout_at(started + until, self.socket.recv(&mut buffer)).await {
                let length = received.map_err(|error| match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => {
                        ReachError::NothingListens { address: self.address }
                    }
                    _ => ReachError::NoWay { address: self.address, reason: error },
                })?;
                let mut answer = Message::new();
                answer.raw = buffer[..length].to_vec();
                answer.decode().map_err(|_| self.nonsense())?;
                if answer.transaction_id == request.transaction_id {
                    return Ok(answer);
                }
            }
        }
        Err(ReachError::Silent { address: self.address })
    }

    fn refusal(&self, answer: &Message) -> (u16, ReachError) {
        let address = self.address;
        let mut error = ErrorCodeAttribute::default();
        if error.get_from(answer).is_err() {
            return (0, self.nonsense());
        }
        let code = error.code.0;
        let refusal = match code {
            UNAUTHENTICATED | WRONG_CREDENTIALS => ReachError::Credentials { address },
            QUOTA_REACHED => {
                ReachError::Refused { address, code, reason: "this user's quota is used up".into() }
            }
            NO_CAPACITY => ReachError::Refused { address, code, reason: "the server is full".into() },
            _ => {
                let reason = String::from_utf8_lossy(&error.reason).into_owned();
                ReachError::Refused { address, code, reason }
            }
        };
        (code, refusal)
    }

    fn nonsense(&self) -> ReachError {
        ReachError::Nonsense { address: self.address }
    }
}

/// What a viewer would be told to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// `host`, `srflx` or `relay`.
    pub kind: String,
    /// As it stands in the candidate.
    pub address: String,
}

/// Gathers candidates as for a viewer, with these settings; the TCP port is left to whoever has it.
/// Ends when all are known, or after `limit` with those that are.
pub async fn gather(ice: &Ice, limit: Duration) -> Result<Vec<Gathered>, PeerError> {
    let factory = Factory::new(Ice { tcp_port: None, ..ice.clone() }, Fanout::default(), &TaskGroup::new())?;
    let profile = ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f };
    let codec = VideoCodec {
        payload_type: 102,
        rtx_payload_type: None,
        fec_payload_type: None,
        profile,
        level_asymmetry: true,
    };
    let mut connection = factory.connect(&codec, None).await?;
    let offered = connection.offer().await;
    let mut found = Vec::new();
    let deadline = Instant::now() + limit;
    while offered.is_ok()
        && let Ok(Some(event)) = timeout_at(deadline, connection.next_event()).await
    {
        match event {
            PeerEvent::Candidate(candidate) => found.extend(gathered(&candidate)),
            PeerEvent::GatheringComplete => break,
            PeerEvent::Connected | PeerEvent::Ended | PeerEvent::Failed => {}
        }
    }
    connection.close().await;
    offered?;
    Ok(found)
}

fn gathered(candidate: &Candidate) -> Option<Gathered> {
    let mut words = candidate.candidate.split_ascii_whitespace().skip(4);
    let address = words.next()?;
    let address = address.to_owned();
    let kind = words.skip_while(|word| *word != "typ").nth(1)?.to_owned();
    Some(Gathered { kind, address })
}

#[cfg(test)]
#[path = "reach_tests.rs"]
mod tests;
