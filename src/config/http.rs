//! `[http]`

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::file::{Moved, existing};
use super::value::{Checked, Text, optional_address, problem};

/// How the page and what programs ask are served.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where; `None` when switched off.
    pub listen: Option<SocketAddr>,
    /// `tls_cert_file` and `tls_key_file`: with TLS, by this certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether figures for Prometheus are served.
    pub metrics: bool,
}

impl Http {
    /// How addresses of the page begin.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawHttp {
    listen: Option<Text>,
    tls_cert_file: Option<Text>,
    tls_key_file: Option<Text>,
    metrics: Option<bool>,
}

pub(super) fn checked(raw: RawHttp, moved: &Moved) -> Checked<Http> {
    Ok(Http {
        listen: optional_address("http.listen", raw.listen.as_ref(), "0.0.0.0:8080")?,
        tls: tls(raw.tls_cert_file, raw.tls_key_file, moved)?,
        metrics: raw.metrics.unwrap_or(true),
    })
}

fn tls(cert: Option<Text>, key: Option<Text>, moved: &Moved) -> Checked<Option<(PathBuf, PathBuf)>> {
    let cert = existing("http.tls_cert_file", cert, moved)?;
    let key = existing("http.tls_key_file", key, moved)?;
    let alone = |missing| problem(missing, "(not set)", "tls_cert_file and tls_key_file belong together");
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(alone("http.tls_key_file")),
        (None, Some(_)) => Err(alone("http.tls_cert_file")),
    }
}
