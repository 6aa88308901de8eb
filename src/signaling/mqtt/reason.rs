//! Why there is no connection, in words for the person who has to do something about it.
//!
//! The same trouble always gives the same text, so that the log shows it once.

use std::error::Error;
use std::io;

use rumqttc::v5::mqttbytes::Error as PacketError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode};
use rumqttc::v5::{ConnectionError, StateError};
use rustls::CertificateError;

use crate::base::text;
use crate::signaling::broker_url::BrokerUrl;

/// Puts `error` into words. `greeted` tells whether the broker had accepted the connection before.
pub(super) fn explain(error: &ConnectionError, url: &BrokerUrl, client_id: &str, greeted: bool) -> String {
    text::sentence(&words(error, url, client_id, greeted))
}

fn words(error: &ConnectionError, url: &BrokerUrl, client_id: &str, greeted: bool) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => refused(*code, url, client_id),
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => {
            thrown_out(*reason_code, url, client_id)
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            format!("the broker {url} no longer answers")
        }
        ConnectionError::Timeout(_) => {
            format!("the broker {url} does not answer: check the address, the port and firewalls between")
        }
        ConnectionError::ResponseValidation(_) => {
            format!("{url} answers, but not as an MQTT WebSocket: check the port and the path (often /mqtt)")
        }
        // Not among its sources.
        ConnectionError::MqttState(StateError::Deserialization(PacketError::Io(io))) => {
            explain_chain(io, url, greeted)
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) if greeted => closed(url),
        ConnectionError::MqttState(StateError::ConnectionAborted | StateError::Deserialization(_))
            if !greeted =>
        {
            no_greeting(url)
        }
        other => explain_chain(other, url, greeted),
    }
}

fn closed(url: &BrokerUrl) -> String {
    format!("the broker {url} closed the connection")
}

/// A broker that knows only MQTT 3.1.1 refuses with bytes that are no MQTT 5, or just hangs up.
fn no_greeting(url: &BrokerUrl) -> String {
    let port =
        if url.is_tls() { "that the port is its TLS port" } else { "that the port is not its TLS port" };
    format!(
        "{url} hung up without a greeting: check that the broker speaks MQTT 5 \
         (Mosquitto 1.6 or newer does; MQTT 3.1.1 alone is not enough), and {port}"
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
            format!("the broker {url} does not speak MQTT 5, which is needed (Mosquitto 1.6 or newer does)")
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
                "another client connected to {url} with the client id `{client_id}`: give each one its own id"
            )
        }
        DisconnectReasonCode::ServerShuttingDown => format!("the broker {url} is shutting down"),
        DisconnectReasonCode::NotAuthorized => {
            format!("the broker {url} no longer authorizes `{client_id}`: look at its users and access list")
        }
        other => format!("the broker {url} ended the connection ({other:?}): look into the broker's log"),
    }
}

/// The interesting error is often wrapped several times, in types that cannot be named here.
fn explain_chain(error: &(dyn Error + 'static), url: &BrokerUrl, greeted: bool) -> String {
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
            return explain_io(io, url, greeted);
        }
        next = current.source();
    }
    let text = error.to_string();
    if text.contains("HTTP") || text.contains("Websocket") {
        return format!(
            "{url} does not accept a WebSocket ({text}): check the port and the path (often /mqtt)"
        );
    }
    format!("the connection to {url} failed: {text}")
}

fn explain_io(error: &io::Error, url: &BrokerUrl, greeted: bool) -> String {
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
            if greeted =>
        {
            closed(url)
        }
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
            no_greeting(url)
        }
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
    use super::*;

    fn url() -> BrokerUrl {
        "mqtts://user:secret@broker".parse().expect("a url")
    }

    fn words(error: &ConnectionError) -> String {
        let text = explain(error, &url(), "front-door", false);
        assert!(!text.contains("secret"), "{text}");
        text
    }

    #[test]
    fn refusals_say_what_to_do() {
        let text = words(&ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized));
        assert!(text.contains("password_file"), "{text}");
        let text = words(&ConnectionError::ConnectionRefused(ConnectReturnCode::UnsupportedProtocolVersion));
        assert!(text.contains("MQTT 5"), "{text}");
        let text = words(&ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            reason_string: None,
        }));
        assert!(text.contains("front-door"), "{text}");
    }

    #[test]
    fn wrapped_tls_errors_are_found() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, tls));
        let text = words(&ConnectionError::Io(wrapped));
        assert!(text.contains("mqtt.ca_file"), "{text}");
    }

    #[test]
    fn silence_before_and_after_the_greeting_differ() {
        let aborted = || ConnectionError::MqttState(StateError::ConnectionAborted);
        assert!(words(&aborted()).contains("MQTT 5"));
        assert_eq!(
            explain(&aborted(), &url(), "x", true),
            "the broker mqtts://user:***@broker:8883 closed the connection"
        );
    }
}
