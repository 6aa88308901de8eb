//! STUN and TURN servers as `Link` headers (WHEP, "STUN/TURN server configuration"). Pure.

use axum::http::HeaderValue;

use crate::signaling::message::IceServer;

/// One header for each address of each server; what cannot stand in a header is left out.
pub(super) fn links(servers: &[IceServer]) -> impl Iterator<Item = HeaderValue> {
    servers
        .iter()
        .flat_map(|server| server.urls.iter().map(move |url| link(server, url)))
        .filter_map(|link| HeaderValue::from_str(&link).ok())
}

fn link(server: &IceServer, url: &str) -> String {
    let link = format!("<{}>; rel=\"ice-server\"", url.replace('>', "%3E"));
    let (Some(username), Some(credential)) = (&server.username, &server.credential) else { return link };
    let (username, credential) = (quoted(username), quoted(credential));
    format!("{link}; username={username}; credential={credential}; credential-type=\"password\"")
}

/// A quoted-string of RFC 9110 section 5.6.4.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_become_links() {
        let stun = IceServer { urls: vec!["stun:stun.example".into()], username: None, credential: None };
        let turn = IceServer {
            urls: vec!["turn:t.example?transport=udp".into(), "turns:t.example".into()],
            username: Some("u".into()),
            credential: Some("a\"b\\".into()),
        };
        let lines: Vec<HeaderValue> = links(&[stun, turn]).collect();
        let lines: Vec<&str> = lines.iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines[0], "<stun:stun.example>; rel=\"ice-server\"");
        assert_eq!(
            lines[1],
            "<turn:t.example?transport=udp>; rel=\"ice-server\"; username=\"u\"; \
             credential=\"a\\\"b\\\\\"; credential-type=\"password\""
        );
        assert_eq!(lines.len(), 3);
        let odd = IceServer { urls: vec!["stun:a\r\nX: y".into()], username: None, credential: None };
        assert_eq!(links(&[odd]).count(), 0);
    }
}
