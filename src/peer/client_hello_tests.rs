//! A viewer made of one socket: what it sends at the earliest and once only has its effect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtc::crypto::default_provider;
use rtc::stun::attributes::{ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc::stun::textattrs::TextAttribute;
use rtc::stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::connect::negotiation::Negotiation;
use super::connect::offer::VideoOffer;
use super::driver::Connection;
use super::net::demux::{Class, Stun};
use super::net::interfaces::addresses;
use super::receiver::{PacketSink, Received, Receiver};
use super::{Factory, SessionStats};
use crate::base::tasks::TaskGroup;
use crate::config::Ice;
use crate::media::ProfileLevelId;
use crate::signaling::topic::Id;
use crate::stream::Fanout;

/// Far more than an answer takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

struct Nowhere;

impl PacketSink for Nowhere {
    fn packet(&self, _packet: Received<'_>) {}
}

/// The first value of an attribute of SDP.
fn value<'a>(sdp: &'a str, name: &str) -> &'a str {
    sdp.lines().find_map(|line| line.strip_prefix(name)).expect("the attribute").trim_end()
}

/// Made by who knows `password`.
fn signed(message: &mut Message, password: &str) {
    let provider = default_provider().unwrap();
    let integrity =
        MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), provider.crypto());
    integrity.add_to(message).unwrap();
    FINGERPRINT.add_to(message).unwrap();
}

fn check(username: &str, password: &str, nominates: bool) -> Vec<u8> {
    let mut check = Message::new();
    let username = TextAttribute::new(ATTR_USERNAME, username.to_owned());
    check.build(&[Box::new(TransactionId::new()), Box::new(BINDING_REQUEST), Box::new(username)]).unwrap();
    check.add(ATTR_ICE_CONTROLLING, &[7; 8]);
    check.add(ATTR_PRIORITY, &[0x6e, 0, 0, 0xff]);
    if nominates {
        check.add(ATTR_USE_CANDIDATE, &[]);
    }
    signed(&mut check, password);
    check.raw
}

fn answer_to(request: &[u8], from: SocketAddr, password: &str) -> Vec<u8> {
    let mut asked = Message::new();
    asked.raw = request.to_vec();
    asked.decode().unwrap();
    let mut answer = Message::new();
    let seen = XorMappedAddress { ip: from.ip(), port: from.port() };
    answer.build(&[Box::new(asked.transaction_id), Box::new(BINDING_SUCCESS), Box::new(seen)]).unwrap();
    signed(&mut answer, password);
    answer.raw
}

/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 over P-256 (RFC 6347 section 4.2.1), with use_srtp (RFC 5764 section 4.1.1).
fn client_hello() -> Vec<u8> {
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 23][..],
        &[0, 11, 0, 2, 1, 0],
        &[0, 13, 0, 4, 0, 2, 4, 3],
        &[0, 14, 0, 5, 0, 2, 0, 1, 0],
        &[0, 23, 0, 0],
    ]
    .concat();
    let length = u8::try_from(extensions.len()).unwrap();
    let body = [&[254, 253][..], &[7; 32], &[0, 0], &[0, 2, 0xc0, 0x2b], &[1, 0], &[0, length], &extensions]
        .concat();
    let length = u8::try_from(body.len()).unwrap();
    let message = [&[1, 0, 0, length, 0, 0, 0, 0, 0, 0, 0, length][..], &body].concat();
    let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
    [&record[..], &message].concat()
}

/// A device that has answered, and the one socket of its viewer.
struct Wire {
    device: Connection,
    to: SocketAddr,
    socket: UdpSocket,
    /// For the viewer's checks, and for its answers.
    username: String,
    theirs: String,
    ours: String,
}

impl Wire {
    /// `None` without a network.
    async fn new(setup: &str) -> Option<Self> {
        let here = addresses().into_iter().find(std::net::IpAddr::is_ipv4)?;
        let (page, offer) = Receiver::offer(Arc::new(Nowhere)).await.unwrap();
        page.close().await;
        let offer = offer.replace("a=setup:actpass", &format!("a=setup:{setup}"));
        let factory = Factory::new(Ice::default(), Fanout::default(), &TaskGroup::new()).unwrap();
        let profile = ProfileLevelId { profile_idc: 0x42, profile_iop: 0xe0, level_idc: 0x1f };
        let negotiation = Negotiation::new(&VideoOffer::read(&offer).unwrap(), profile, None).unwrap();
        let live = SessionStats::new(Id::new("tab").unwrap(), Id::default_session(), 1, None);
        let mut device = factory.connect(&negotiation.codec, Some(Arc::new(live))).await.unwrap();
        let answer = device.answer(negotiation, false).await.unwrap();
        let candidates = answer.lines().filter_map(|line| line.strip_prefix("a=candidate:"));
        let mut ports = candidates.filter_map(|candidate| {
            let words: Vec<&str> = candidate.split(' ').collect();
            (words[2] == "udp" && words[4] == here.to_string()).then(|| words[5].parse::<u16>().unwrap())
        });
        let to = SocketAddr::new(here, ports.next().expect("the device's address"));
        let [ours, theirs] =
            [&offer, &answer].map(|sdp| (value(sdp, "a=ice-ufrag:"), value(sdp, "a=ice-pwd:")));
        let username = format!("{}:{}", theirs.0, ours.0);
        let socket = UdpSocket::bind((here, 0)).await.unwrap();
        Some(Self { device, to, socket, username, theirs: theirs.1.to_owned(), ours: ours.1.to_owned() })
    }

    async fn check(&self, nominates: bool) {
        self.socket.send_to(&check(&self.username, &self.theirs, nominates), self.to).await.unwrap();
    }

    async fn answer(&self, request: &[u8], from: SocketAddr) {
        self.socket.send_to(&answer_to(request, from, &self.ours), from).await.unwrap();
    }
}

#[tokio::test]
async fn a_handshake_that_begins_before_ice_has_settled_needs_no_repeat() {
    let Some(wire) = Wire::new("active").await else { return };
    wire.check(false).await;
    let (mut is_answered, mut has_answered, mut has_begun) = (false, false, false);
    let mut datagram = [0; 1500];
    let begun = async {
        loop {
            let (length, from) = wire.socket.recv_from(&mut datagram).await.unwrap();
            let datagram = &datagram[..length];
            match Stun::of(datagram).map(|stun| stun.class) {
                Some(Class::Request) => {
                    wire.answer(datagram, from).await;
                    has_answered = true;
                }
                Some(_) => is_answered = true,
                None if datagram[0] == 22 => return,
                None => panic!("no handshake: {datagram:?}"),
            }
            // The address works both ways; only once.
            if is_answered && has_answered && !std::mem::replace(&mut has_begun, true) {
                wire.socket.send_to(&client_hello(), wire.to).await.unwrap();
                wire.check(true).await;
            }
        }
    };
    timeout(LIMIT, begun).await.expect("the device's part of the handshake");
    wire.device.close().await;
}

/// What a viewer sends at first, and of which of the device's checks it answers none: whether each check nominates, and how many
/// answers are lost. It repeats nothing: some viewers do so after half a second only (RFC 8489 section 6.2.1).
const ORDERS: [(&[bool], usize); 5] =
    [(&[true], 0), (&[false, true], 0), (&[true, true], 0), (&[true], 2), (&[false, true], 2)];

#[tokio::test]
async fn a_viewer_that_repeats_no_check_connects() {
    for (checks, lost) in ORDERS {
        let Some(wire) = Wire::new("actpass").await else { return };
        for nominates in checks {
            wire.check(*nominates).await;
        }
        let mut seen = 0;
        let mut datagram = [0; 1500];
        let begun = async {
            loop {
                let (length, from) = wire.socket.recv_from(&mut datagram).await.unwrap();
                let datagram = &datagram[..length];
                match Stun::of(datagram).map(|stun| stun.class) {
                    Some(Class::Request) => {
                        seen += 1;
                        if seen > lost {
                            wire.answer(datagram, from).await;
                        }
                    }
                    Some(_) => {}
                    // The device begins the handshake where it has a path.
                    None => return assert_eq!(datagram[0], 22, "{datagram:?}"),
                }
            }
        };
        timeout(LIMIT, begun).await.unwrap_or_else(|_| panic!("{checks:?}, {lost} lost: no path"));
        wire.device.close().await;
    }
}
