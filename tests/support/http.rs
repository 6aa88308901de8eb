//! HTTP spoken by hand, so that tests can send what no library would.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// By their names in small letters; those that come twice are joined with a line break.
    headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts a refusal with this status and code, in words.
    pub fn assert_refused(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|words| words.len() > 10), "{problem}");
        problem
    }

    /// Reads what came until the other side closed the connection.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let all = headers.entry(name.to_ascii_lowercase()).or_default();
            if !all.is_empty() {
                all.push('\n');
            }
            all.push_str(value);
        }
        let body = &bytes[end + 4..];
        let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
        let body = if chunked { joined(body)? } else { body.to_vec() };
        Some(Self { status, headers, body })
    }
}

/// The chunks of RFC 9112 section 7.1.
fn joined(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend(bytes.get(end + 2..end + 2 + length)?);
        bytes = bytes.get(end + 4 + length..)?;
    }
}

/// Somewhere to send requests: `127.0.0.1:8080`.
#[derive(Clone, Debug)]
pub struct Site(pub String);

impl Site {
    /// The site of a page, `http://127.0.0.1:8080/`.
    pub fn of(page: &str) -> Self {
        Self(page.trim_start_matches("http://").trim_end_matches('/').to_owned())
    }

    /// Sends bytes as they are, and reads until the other side has closed the connection.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.0).await.expect("a connection");
        // The other side may refuse before it has read all.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let read =
            timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("an end of the connection");
        // A reset after the answer is the end of a connection whose request was not read to its end.
        let _ = read;
        answer
    }

    /// One request on a connection of its own.
    pub async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.0);
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !body.is_empty() {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        let bytes = self.raw(format!("{head}\r\n{body}").as_bytes()).await;
        Answer::parse(&bytes)
            .unwrap_or_else(|| panic!("{method} {path}: no answer in {:?}", String::from_utf8_lossy(&bytes)))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], "").await
    }

    /// The offer of a WHEP player, with or without a token.
    pub async fn offer(&self, sdp: &str, token: Option<&str>) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("Content-Type", "application/sdp")];
        headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
        self.request("POST", "/whep", &headers, sdp).await
    }
}

/// A proxy that serves `site` below `/front/` alone, as people put several devices behind one name. Where it listens.
pub async fn behind_prefix(site: &Site) -> Site {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let site = site.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let site = site.clone();
            tokio::spawn(async move {
                // A client that hangs up is no matter.
                let _ = pass_on(stream, &site).await;
            });
        }
    });
    Site(address.to_string())
}

async fn pass_on(mut client: TcpStream, site: &Site) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let Some((method, rest)) = head.split_once(" /front/") else {
        return client
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
    };
    // One request for each connection: the next one would be passed on with its prefix.
    let kept = rest.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let kept: Vec<&str> = kept.take_while(|line| !line.is_empty()).collect();
    let mut server = TcpStream::connect(&site.0).await?;
    server
        .write_all(format!("{method} /{}\r\nConnection: close\r\n\r\n", kept.join("\r\n")).as_bytes())
        .await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop)
}
