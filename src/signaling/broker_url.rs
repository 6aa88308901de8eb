//! Where the broker is: `mqtt://host`, `mqtts://host:8883`, `ws://host/path`, `wss://…`, parsed once.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::base::text;

/// How the broker is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `mqtt://`: TCP, port 1883.
    Mqtt,
    /// `mqtts://`: TLS, port 8883.
    Mqtts,
    /// `ws://`: WebSocket, port 80.
    Ws,
    /// `wss://`: WebSocket over TLS, port 443.
    Wss,
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "mqtt" => Some(Self::Mqtt),
            "mqtts" => Some(Self::Mqtts),
            "ws" => Some(Self::Ws),
            "wss" => Some(Self::Wss),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Mqtt => 1883,
            Self::Mqtts => 8883,
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// A checked broker URL. `Display` and `Debug` never show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    path: String,
    username: Option<String>,
    password: Option<String>,
}

/// Why a text is no broker URL. No variant repeats the text itself: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerUrlError {
    /// Nothing there.
    #[error("the broker URL is empty: write for example mqtt://192.168.1.10 or mqtts://broker.example:8883")]
    Empty,
    /// `host:1883` and the like.
    #[error("the broker URL has no scheme: write mqtt:// (or mqtts://, ws://, wss://) in front of the host")]
    NoScheme,
    /// `http://`, `tcp://` and the like.
    #[error(
        "the broker URL begins with {scheme}://, which is none of mqtt://, mqtts://, ws://, wss://{hint}"
    )]
    UnknownScheme {
        /// What was there instead.
        scheme: String,
        /// The scheme that was probably meant, as a clause.
        hint: &'static str,
    },
    /// `mqtt://` or `mqtt://:1883`.
    #[error("the broker URL names no host: write {scheme}://HOST, for example {scheme}://192.168.1.10")]
    NoHost {
        /// The scheme that was given.
        scheme: &'static str,
    },
    /// A host or a port that cannot be one.
    #[error("the broker URL cannot be read ({reason}): it should look like mqtt://host:1883")]
    Malformed {
        /// The parser's own words.
        reason: String,
    },
    /// A path where only WebSocket has one.
    #[error(
        "the broker URL has a path, which only ws:// and wss:// have: leave out everything after the port"
    )]
    PathWithoutWebSocket,
    /// `#…`, or `?…` outside WebSocket.
    #[error(
        "the broker URL has a ? or # part that means nothing to a broker: leave it out (or write %3F, %23 in a password)"
    )]
    Extra,
    /// `%zz` or bytes that are no text.
    #[error(
        "the broker URL's user or password has a % that is not followed by two hex digits of UTF-8: write %25 for a plain %"
    )]
    BadEscape,
}

impl FromStr for BrokerUrl {
    type Err = BrokerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BrokerUrlError::Empty);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BrokerUrlError::NoScheme)?;
        let scheme = scheme.to_ascii_lowercase();
        let scheme = Scheme::parse(&scheme)
            .ok_or_else(|| BrokerUrlError::UnknownScheme { hint: scheme_hint(&scheme), scheme })?;
        // A host that is not there is an error of the parser for ws:// and an empty host for mqtt://.
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let after_user = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if after_user.is_empty() || after_user.starts_with(':') {
            return Err(BrokerUrlError::NoHost { scheme: scheme.name() });
        }
        let url = Url::parse(&format!("{}://{rest}", scheme.name()))
            .map_err(|e| BrokerUrlError::Malformed { reason: e.to_string() })?;
        Self::from_url(scheme, &url)
    }
}

impl BrokerUrl {
    fn from_url(scheme: Scheme, url: &Url) -> Result<Self, BrokerUrlError> {
        let web = matches!(scheme, Scheme::Ws | Scheme::Wss);
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Domain(name)) if is_host_name(name) => name.to_owned(),
            Some(Host::Domain(_)) => {
                return Err(BrokerUrlError::Malformed { reason: "invalid host name".to_owned() });
            }
            None => return Err(BrokerUrlError::NoHost { scheme: scheme.name() }),
        };
        if url.port() == Some(0) {
            return Err(BrokerUrlError::Malformed { reason: "port 0 cannot be connected to".to_owned() });
        }
        if url.fragment().is_some() || (url.query().is_some() && !web) {
            return Err(BrokerUrlError::Extra);
        }
        if !web && !matches!(url.path(), "" | "/") {
            return Err(BrokerUrlError::PathWithoutWebSocket);
        }
        let path = match url.query() {
            _ if !web => String::new(),
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let username = (!url.username().is_empty()).then(|| unescape(url.username())).transpose()?;
        let password = url.password().map(unescape).transpose()?;
        let port = url.port().unwrap_or(scheme.default_port());
        Ok(Self { scheme, host, port, path, username, password })
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own when none was written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user name in front of the `@`.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password in front of the `@`.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        matches!(self.scheme, Scheme::Mqtts | Scheme::Wss)
    }

    /// The URL without user and password, the port written out: what a WebSocket client opens.
    pub fn address(&self) -> String {
        format!("{}://{}:{}{}", self.scheme.name(), self.bracketed_host(), self.port, self.path)
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

/// For people. It may be somebody else's, out of a link.
impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = match (&self.username, &self.password) {
            (Some(user), Some(_)) => format!("{user}:***@"),
            (Some(user), None) => format!("{user}@"),
            (None, Some(_)) => ":***@".to_owned(),
            (None, None) => String::new(),
        };
        let (scheme, host) = (self.scheme.name(), self.bracketed_host());
        f.write_str(&text::shown(&format!("{scheme}://{login}{host}:{}{}", self.port, self.path)))
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerUrl({self})")
    }
}

fn scheme_hint(scheme: &str) -> &'static str {
    match scheme {
        "tcp" => ": for plain TCP write mqtt://",
        "ssl" | "tls" => ": for TLS write mqtts://",
        "http" => ": for MQTT over WebSocket write ws://",
        "https" => ": for MQTT over a secure WebSocket write wss://",
        _ => "",
    }
}

/// Non-special URL schemes let almost any host through, so what DNS cannot know is refused here.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

fn unescape(text: &str) -> Result<String, BrokerUrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let [high, low, after @ ..] = tail else { return Err(BrokerUrlError::BadEscape) };
            let digit = |b: u8| char::from(b).to_digit(16).ok_or(BrokerUrlError::BadEscape);
            let value = digit(*high)? * 16 + digit(*low)?;
            bytes.push(u8::try_from(value).map_err(|_| BrokerUrlError::BadEscape)?);
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| BrokerUrlError::BadEscape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> BrokerUrl {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn refusal(text: &str) -> String {
        text.parse::<BrokerUrl>().expect_err(text).to_string()
    }

    #[test]
    fn ports_default_by_scheme() {
        for (text, scheme, port) in [
            ("mqtt://broker", Scheme::Mqtt, 1883),
            ("mqtts://broker", Scheme::Mqtts, 8883),
            ("ws://broker", Scheme::Ws, 80),
            ("wss://broker", Scheme::Wss, 443),
            ("MQTT://broker:1884/", Scheme::Mqtt, 1884),
        ] {
            let url = parse(text);
            assert_eq!((url.scheme(), url.host(), url.port()), (scheme, "broker", port), "{text}");
        }
    }

    #[test]
    fn ipv6_literals_lose_and_regain_their_brackets() {
        let url = parse("mqtt://[::1]:1884");
        assert_eq!((url.host(), url.port()), ("::1", 1884));
        assert_eq!(url.to_string(), "mqtt://[::1]:1884");
        assert_eq!(parse("wss://[fe80::2]/mqtt").address(), "wss://[fe80::2]:443/mqtt");
    }

    #[test]
    fn user_and_password_are_unescaped_and_the_password_is_never_shown() {
        let url = parse("mqtts://cam%40home:p%3Aw%20%25@broker");
        assert_eq!((url.username(), url.password()), (Some("cam@home"), Some("p:w %")));
        assert_eq!(url.to_string(), "mqtts://cam@home:***@broker:8883");
        assert!(!format!("{url:?}").contains("p:w"));
        assert!(!url.address().contains("cam"));
    }

    #[test]
    fn a_websocket_keeps_its_path_and_query() {
        assert_eq!(parse("ws://broker:9001/mqtt?x=1").address(), "ws://broker:9001/mqtt?x=1");
        assert_eq!(parse("ws://broker:9001").address(), "ws://broker:9001/");
    }

    #[test]
    fn nonsense_is_told_what_would_be_right() {
        for (text, part) in [
            ("", "mqtt://192.168.1.10"),
            ("broker:1883", "in front of the host"),
            ("tcp://broker", "write mqtt://"),
            ("https://broker", "write wss://"),
            ("ssl://broker", "write mqtts://"),
            ("ftp://broker", "none of mqtt://"),
            ("mqtt://", "names no host"),
            ("ws://", "names no host"),
            ("mqtt://user@:1883", "names no host"),
            ("mqtt://broker:99999", "port"),
            ("mqtt://broker:0", "port 0"),
            ("mqtt://[::1", "cannot be read"),
            ("mqtt://bro ker", "cannot be read"),
            ("mqtt://brok!er", "cannot be read"),
            ("mqtt://broker/topic", "path"),
            ("mqtt://broker?x=1", "? or #"),
            ("ws://broker/#x", "? or #"),
            ("mqtt://a:%zz@broker", "%25"),
            ("mqtt://a:%ff@broker", "%25"),
        ] {
            assert!(refusal(text).contains(part), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn no_refusal_repeats_a_password() {
        for text in
            ["mqtt://u:s3cret@broker:99999", "tcp://u:s3cret@broker", "u:s3cret@broker", "mqtt://u:s3cret@"]
        {
            assert!(!refusal(text).contains("s3cret"), "{}", refusal(text));
        }
    }
}
