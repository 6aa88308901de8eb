//! Why there is no connection, in words for the person who has to do something about it.
//!
//! The same trouble always gives the same text, so that the log shows it once.

use std::error::Error;
use std::io;

use rumqttc::ConnectReturnCode as Code3;
use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{self, StateError};
use rustls::CertificateError;

use super::version::NoConnAck;
use super::wire::{ConnAckLimits, WireError};
use crate::base::text;
use crate::signaling::broker_url::BrokerUrl;

/// What went wrong, whatever the version.
enum Trouble<'a> {
    Refused(ConnectReturnCode),
    ThrownOut(DisconnectReasonCode),
    NoPong,
    Timeout,
    NotWebSocket,
    /// Hung up.
    Aborted,
    /// What came is none of the version's packets.
    Garbled(&'a (dyn Error + 'static)),
    Other(&'a (dyn Error + 'static)),
}

impl<'a> Trouble<'a> {
    fn of(error: &'a WireError) -> Self {
        match error {
            WireError::Five(error) => Self::of5(error),
            WireError::Three(error) => Self::of3(error),
        }
    }

    fn of5(error: &'a v5::ConnectionError) -> Self {
        use v5::ConnectionError as Failure;
        match error {
            Failure::ConnectionRefused(code) => Self::Refused(*code),
            Failure::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
                Self::ThrownOut(*reason_code)
            }
            Failure::MqttState(StateError::AwaitPingResp) => Self::NoPong,
            Failure::Timeout(_) => Self::Timeout,
            Failure::ResponseValidation(_) => Self::NotWebSocket,
            // Not among its sources.
            Failure::MqttState(StateError::Deserialization(PacketError::Io(io))) => Self::Other(io),
            Failure::MqttState(StateError::ConnectionAborted) => Self::Aborted,
            Failure::MqttState(StateError::Deserialization(_) | StateError::WrongPacket)
            | Failure::NotConnAck(_) => Self::Garbled(error),
            _ => Self::Other(error),
        }
    }

    fn of3(error: &'a rumqttc::ConnectionError) -> Self {
        use rumqttc::{ConnectionError as Failure, StateError as State3};
        match error {
            Failure::ConnectionRefused(code) => Self::Refused(as_code5(*code)),
            Failure::MqttState(State3::AwaitPingResp) => Self::NoPong,
            Failure::NetworkTimeout | Failure::FlushTimeout => Self::Timeout,
            Failure::ResponseValidation(_) => Self::NotWebSocket,
            Failure::MqttState(State3::Io(io)) => Self::Other(io),
            Failure::MqttState(State3::ConnectionAborted) => Self::Aborted,
            Failure::MqttState(State3::Deserialization(_) | State3::WrongPacket) | Failure::NotConnAck(_) => {
                Self::Garbled(error)
            }
            _ => Self::Other(error),
        }
    }
}

fn as_code5(code: Code3) -> ConnectReturnCode {
    match code {
        Code3::Success => ConnectReturnCode::Success,
        Code3::RefusedProtocolVersion => ConnectReturnCode::RefusedProtocolVersion,
        Code3::BadClientId => ConnectReturnCode::BadClientId,
        Code3::ServiceUnavailable => ConnectReturnCode::ServiceUnavailable,
        Code3::BadUserNamePassword => ConnectReturnCode::BadUserNamePassword,
        Code3::NotAuthorized => ConnectReturnCode::NotAuthorized,
    }
}

/// Puts `error` into words. `connacked` tells whether the broker had accepted the connection before.
pub(super) fn explain(error: &WireError, url: &BrokerUrl, client_id: &str, connacked: bool) -> String {
    // It may quote the broker, or a library that does.
    text::sentence(&words(error, url, client_id, connacked))
}

fn words(error: &WireError, url: &BrokerUrl, client_id: &str, connacked: bool) -> String {
    match Trouble::of(error) {
        Trouble::Refused(code) => refused(code, url, client_id),
        Trouble::ThrownOut(code) => thrown_out(code, url, client_id),
        Trouble::NoPong => format!("the broker {url} no longer answers"),
        Trouble::Timeout => {
            format!("the broker {url} does not answer: check the address, the port and firewalls between")
        }
        Trouble::NotWebSocket => {
            format!("{url} answers, but not as an MQTT WebSocket: check the port and the path (often /mqtt)")
        }
        Trouble::Aborted if connacked => closed(url),
        Trouble::Aborted | Trouble::Garbled(_) if !connacked => no_greeting(url),
        Trouble::Aborted => closed(url),
        Trouble::Garbled(error) | Trouble::Other(error) => explain_chain(error, url, connacked),
    }
}

/// Whether the broker closed the connection: without a word, or with one that the library cannot read.
pub(super) fn is_closed(error: &WireError) -> bool {
    match Trouble::of(error) {
        Trouble::Aborted => true,
        Trouble::Other(error) => is_hang_up(error) || error.to_string().contains("bytes remaining on stream"),
        _ => false,
    }
}

/// Words for whoever finds that the device has stopped to connect.
pub(super) fn stays_away(reason: &str, client_id: &str) -> String {
    let guess = if reason.contains("device.id") {
        String::new()
    } else {
        format!(
            ", soon after each greeting: perhaps another client connects with the client id `{client_id}`, as a second device with \
             the same device.id does, or a copied card"
        )
    };
    format!(
        "{reason}{guess}; this one stays away for some minutes, so that the two do not throw each other out for ever"
    )
}

/// Whether it is the user name and password that are not taken.
pub(super) fn is_wrong_login(error: &WireError) -> bool {
    use ConnectReturnCode as Code;
    matches!(
        Trouble::of(error),
        Trouble::Refused(
            Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned | Code::BadAuthenticationMethod
        )
    )
}

/// Whether another client has our id now. A broker of 3.1.1 has no words for that.
pub(super) fn is_taken_over(error: &WireError) -> bool {
    matches!(Trouble::of(error), Trouble::ThrownOut(DisconnectReasonCode::SessionTakenOver))
}

/// What a missing greeting says of the version that the broker speaks.
pub(super) fn no_greeting_because(error: &WireError) -> NoConnAck {
    match Trouble::of(error) {
        Trouble::Refused(
            ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::UnsupportedProtocolVersion,
        )
        | Trouble::Garbled(_) => NoConnAck::OtherVersion,
        Trouble::Timeout => NoConnAck::Mute,
        Trouble::Aborted => NoConnAck::HungUp,
        Trouble::Other(error) if is_hang_up(error) => NoConnAck::HungUp,
        _ => NoConnAck::Unrelated,
    }
}

/// What a broker says in its greeting and cannot mean, in words.
pub(super) fn impossible(connack: &ConnAckLimits, url: &BrokerUrl) -> Option<String> {
    let (what, section) = match connack {
        ConnAckLimits { receive_max: Some(0), .. } => ("a receive maximum", "3.2.2.3.3"),
        ConnAckLimits { max_packet: Some(0), .. } => ("a maximum packet size", "3.2.2.3.6"),
        _ => return None,
    };
    Some(format!(
        "the broker {url} announces {what} of 0, with which nothing can be said to it (MQTT 5 section {section} forbids that): look \
         into its configuration"
    ))
}

fn closed(url: &BrokerUrl) -> String {
    format!("the broker {url} closed the connection")
}

/// What answers here is no broker, or wants TLS, or none.
fn no_greeting(url: &BrokerUrl) -> String {
    let port =
        if url.is_tls() { "that the port is its TLS port" } else { "that the port is not its TLS port" };
    format!(
        "{url} hung up without a greeting: check that a broker of MQTT 5 or 3.1.1 answers there, and {port}"
    )
}

fn refused(code: ConnectReturnCode, url: &BrokerUrl, client_id: &str) -> String {
    use ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword | Code::NotAuthorized | Code::Banned | Code::BadAuthenticationMethod => {
            format!(
                "the broker {url} refuses these credentials: check mqtt.username and the password in mqtt.password_file"
            )
        }
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => {
            format!(
                "the broker {url} speaks neither MQTT 5 nor MQTT 3.1.1: it needs one of them (Mosquitto speaks both)"
            )
        }
        Code::BadClientId | Code::ClientIdentifierNotValid => {
            format!(
                "the broker {url} does not accept the client id `{client_id}`: allow it there, or use another id"
            )
        }
        Code::ServerBusy
        | Code::ServerUnavailable
        | Code::ServiceUnavailable
        | Code::ConnectionRateExceeded
        | Code::QuotaExceeded => format!("the broker {url} is too busy: trying again"),
        other => format!("the broker {url} refuses the connection ({other:?}): look into the broker's log"),
    }
}

fn thrown_out(code: DisconnectReasonCode, url: &BrokerUrl, client_id: &str) -> String {
    match code {
        DisconnectReasonCode::SessionTakenOver => {
            format!(
                "another client connected to {url} with the client id `{client_id}`: perhaps a second device has the same \
                 device.id, or the same card was copied; give each one its own"
            )
        }
        DisconnectReasonCode::ServerShuttingDown => format!("the broker {url} is shutting down"),
        DisconnectReasonCode::NotAuthorized => {
            format!("the broker {url} no longer authorizes `{client_id}`: look at its users and access list")
        }
        other => format!("the broker {url} ended the connection ({other:?}): look into the broker's log"),
    }
}

/// Whether a connection that was there was closed by the other side.
fn is_hang_up(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind as Kind;
    let mut next = Some(error);
    for _ in 0..16 {
        let Some(current) = next else { break };
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return matches!(
                io.kind(),
                Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof
            );
        }
        next = current.source();
    }
    false
}

/// The interesting error is often wrapped several times, in types that cannot be named here.
fn explain_chain(error: &(dyn Error + 'static), url: &BrokerUrl, connacked: bool) -> String {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    for _ in 0..16 {
        let Some(current) = next else { break };
        if let Some(tls) = current.downcast_ref::<rustls::Error>() {
            return explain_tls(tls, url);
        }
        if let Some(io) = current.downcast_ref::<io::Error>() {
            if let Some(inner) = io.get_ref() {
                if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
                    return explain_tls(tls, url);
                }
                if let Some(deeper) = inner.downcast_ref::<io::Error>() {
                    next = Some(deeper);
                    continue;
                }
            }
            return explain_io(io, url, connacked);
        }
        next = current.source();
    }
    // A library's words, which may quote the broker.
    let text = text::shown(&error.to_string());
    if text.contains("HTTP") || text.contains("Websocket") {
        return format!(
            "{url} does not accept a WebSocket ({text}): check the port and the path (often /mqtt)"
        );
    }
    format!("the connection to {url} failed: {text}")
}

fn explain_io(error: &io::Error, url: &BrokerUrl, connacked: bool) -> String {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => {
            format!("nothing listens at {url}: start the broker, or check the address and the port")
        }
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
            format!("there is no way to {url}: check the network")
        }
        Kind::TimedOut => format!("{url} does not answer: check the address and firewalls between"),
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof
            if connacked =>
        {
            closed(url)
        }
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
            no_greeting(url)
        }
        // Half a packet and an end: the shortest form of DISCONNECT, see `takeovers`.
        _ if connacked && error.to_string().contains("bytes remaining on stream") => closed(url),
        _ if error.to_string().contains("lookup") => {
            format!("the host of {url} is not known: check the spelling and the network's name server")
        }
        _ => format!("the connection to {url} failed: {error}"),
    }
}

fn explain_tls(error: &rustls::Error, url: &BrokerUrl) -> String {
    use rustls::Error as Tls;
    match error {
        // A bad signature: a CA of the same name with another key, as when it was made anew.
        Tls::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => format!(
            "the certificate of {url} is signed by nobody this device trusts: put the signer's certificate into mqtt.ca_file"
        ),
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("the certificate of {url} has expired: renew it (or set this device's clock)")
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => {
            format!("the certificate of {url} is not valid yet: set this device's clock")
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate of {url} is for another host: use the name that is in it as the host of mqtt.url"
        ),
        Tls::InvalidCertificate(other) => format!("the certificate of {url} is not acceptable: {other}"),
        Tls::AlertReceived(alert) => format!(
            "{url} refuses our side of TLS ({alert:?}): check mqtt.client_cert_file and mqtt.client_key_file"
        ),
        Tls::InvalidMessage(_) => {
            format!("{url} does not speak TLS: check the port, or write mqtt:// or ws://")
        }
        other => format!("TLS with {url} failed: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::ConnectionError;

    use super::*;

    fn url() -> BrokerUrl {
        "mqtts://user:secret@broker".parse().expect("a url")
    }

    fn words(error: v5::ConnectionError) -> String {
        let text = explain(&WireError::Five(error), &url(), "front-door", false);
        assert!(!text.contains("secret"), "{text}");
        text
    }

    #[test]
    fn refusals_say_what_to_do() {
        let text = words(ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized));
        assert!(text.contains("password_file"), "{text}");
        let text = words(ConnectionError::ConnectionRefused(ConnectReturnCode::UnsupportedProtocolVersion));
        assert!(text.contains("MQTT 5"), "{text}");
        let text = words(ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            reason_string: None,
        }));
        assert!(text.contains("front-door"), "{text}");
    }

    #[test]
    fn wrapped_tls_errors_are_found() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        let text = words(ConnectionError::Io(wrapped));
        assert!(text.contains("mqtt.ca_file"), "{text}");
    }

    #[test]
    fn silence_before_and_after_the_greeting_differ() {
        let aborted = || ConnectionError::MqttState(StateError::ConnectionAborted);
        assert!(words(aborted()).contains("MQTT 5"));
        assert_eq!(
            explain(&WireError::Five(aborted()), &url(), "x", true),
            "the broker mqtts://user:***@broker:8883 closed the connection"
        );
    }

    #[test]
    fn a_broker_without_mqtt_5_is_told_from_one_that_is_away() {
        let because5 = |error: ConnectionError| no_greeting_because(&WireError::Five(error));
        let io = |kind: io::ErrorKind| ConnectionError::Io(io::Error::from(kind));
        let refused = ConnectionError::ConnectionRefused;
        assert_eq!(because5(refused(ConnectReturnCode::RefusedProtocolVersion)), NoConnAck::OtherVersion);
        assert_eq!(because5(refused(ConnectReturnCode::UnsupportedProtocolVersion)), NoConnAck::OtherVersion);
        let garbled = StateError::Deserialization(PacketError::MalformedPacket);
        assert_eq!(because5(ConnectionError::MqttState(garbled)), NoConnAck::OtherVersion);
        assert_eq!(because5(ConnectionError::MqttState(StateError::ConnectionAborted)), NoConnAck::HungUp);
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof, io::ErrorKind::BrokenPipe]
        {
            assert_eq!(because5(io(kind)), NoConnAck::HungUp);
        }
        assert_eq!(because5(io(io::ErrorKind::ConnectionRefused)), NoConnAck::Unrelated);
        assert_eq!(because5(refused(ConnectReturnCode::NotAuthorized)), NoConnAck::Unrelated);
        let refused3 = rumqttc::ConnectionError::ConnectionRefused(Code3::BadUserNamePassword);
        let text = explain(&WireError::Three(refused3), &url(), "x", false);
        assert!(text.contains("mqtt.password_file"), "{text}");
    }

    #[test]
    fn what_a_broker_cannot_mean_is_said() {
        assert_eq!(impossible(&ConnAckLimits::default(), &url()), None);
        for connack in [
            ConnAckLimits { receive_max: Some(0), ..ConnAckLimits::default() },
            ConnAckLimits { max_packet: Some(0), ..ConnAckLimits::default() },
        ] {
            let text = impossible(&connack, &url()).expect("words");
            assert!(text.contains("of 0") && text.contains("MQTT 5 section"), "{text}");
        }
    }
}
