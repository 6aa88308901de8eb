//! The certificate of the media connections, kept over restarts. Its fingerprint is in every signed answer.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rtc::crypto::{self, SignatureScheme};
use rtc::dtls::crypto::Certificate;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};

use crate::access::{AccessError, Lock, read_private, write_private};
use crate::peer::error::PeerError;

/// The file in the state directory: the line `expires SECONDS`, then certificate and key as PEM.
const FILE: &str = "dtls.pem";
const REMEDY: &str = "remove it: a new one is made at the next start, and no link depends on it";
/// What a certificate is good for; a new one is made at the first start of its last tenth.
const LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// The certificate that is there, unless it ends soon; else a new one.
///
/// # Errors
/// A file that cannot be read or written, or is damaged.
pub(in crate::peer) fn load_or_make(state_dir: &Path, now: SystemTime) -> Result<RTCCertificate, PeerError> {
    let _lock = Lock::take(state_dir)?;
    let path = state_dir.join(FILE);
    if let Some(text) = read_private(&path)? {
        let found = parse(&text).map_err(|problem| AccessError::Damaged {
            path: path.clone(),
            problem,
            remedy: REMEDY,
        })?;
        if found.expires > now + LIFETIME / 10 {
            return Ok(found);
        }
        tracing::info!("the certificate of the media connections ends soon; a new one takes its place");
    }
    let (certificate, text) = make(now + LIFETIME)?;
    write_private(&path, &text)?;
    Ok(certificate)
}

fn make(expires: SystemTime) -> Result<(RTCCertificate, String), PeerError> {
    let library =
        |error: &dyn std::fmt::Display| PeerError::Library(webrtc::error::Error::Other(error.to_string()));
    let provider = crypto::default_provider().map_err(|error| library(&error))?;
    let mut params = CertificateParams::new(vec!["porthole".to_owned()]).map_err(|error| library(&error))?;
    params.not_after = expires.into();
    let scheme = SignatureScheme::EcdsaP256Sha256;
    let made =
        RTCCertificate::generate(provider.crypto(), scheme, params).map_err(|error| library(&error))?;
    let pem = made.dtls_certificate.serialize_pem().map_err(|error| library(&error))?;
    let seconds = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    // The library's own figure is 48 hours on 32-bit ARM.
    Ok((RTCCertificate::from_existing(made.dtls_certificate, expires), format!("expires {seconds}\n{pem}")))
}

fn parse(text: &str) -> Result<RTCCertificate, String> {
    let (first, pem) = text.split_once('\n').ok_or("it has one line")?;
    let seconds = first.strip_prefix("expires ").and_then(|seconds| seconds.parse().ok());
    let expires = seconds
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
        .ok_or("its first line does not say when it expires")?;
    let provider = crypto::default_provider().map_err(|error| error.to_string())?;
    let certificate = Certificate::from_pem(pem, provider.crypto()).map_err(|error| error.to_string())?;
    Ok(RTCCertificate::from_existing(certificate, expires))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_kept_and_renewed_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let start = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let first = load_or_make(dir.path(), start).unwrap();
        assert!(load_or_make(dir.path(), start + Duration::from_hours(8 * 365 * 24)).unwrap() == first);
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = load_or_make(dir.path(), start + LIFETIME).unwrap();
        assert!(second != first);
        assert!(load_or_make(dir.path(), start + LIFETIME).unwrap() == second);
    }

    #[test]
    fn a_damaged_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make(dir.path(), SystemTime::now()).unwrap();
        let file = dir.path().join(FILE);
        let good = std::fs::read_to_string(&file).unwrap();
        for bad in ["", "expires\n", "expires 9\n", &good[..good.len() / 2], &good.replace("expires", "ends")]
        {
            std::fs::write(&file, bad).unwrap();
            let error = load_or_make(dir.path(), SystemTime::now()).unwrap_err().to_string();
            assert!(error.contains("dtls.pem is damaged"), "{error}");
        }
    }
}
