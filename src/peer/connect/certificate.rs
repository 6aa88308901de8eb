//! The certificate of the media connections, kept over restarts. Its fingerprint is in every signed answer, so neither its age nor
//! whether it is a new one matters to anybody; nor may a clock that is not set, or a file that is lost, keep the daemon from starting.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rtc::crypto::{self, SignatureScheme};
use rtc::dtls::crypto::Certificate;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};

use crate::access::{Lock, read_private, write_private};
use crate::peer::error::PeerError;

/// The file in the state directory: the line `expires SECONDS`, then certificate and key as PEM.
const FILE: &str = "dtls.pem";
/// The end of a certificate that has none (RFC 5280 section 4.1.2.5): 9999-12-31 23:59:59 UTC, in seconds since 1970. A board
/// without a battery starts in 1970, or whenever, and jumps: the certificate is good before and after.
const NO_END_S: u64 = 253_402_300_799;

/// The certificate that is there; else a new one, which is kept where that is possible.
///
/// # Errors
/// The library makes none.
pub(in crate::peer) fn load_or_make(state_dir: &Path) -> Result<RTCCertificate, PeerError> {
    let path = state_dir.join(FILE);
    match read_private(&path).map(|text| text.map(|text| parse(&text))) {
        Ok(None) => {}
        Ok(Some(Ok(found))) if found.expires >= no_end() => return Ok(found),
        Ok(Some(Ok(_))) => {
            tracing::info!("the certificate of the media connections had an end; a new one has none");
        }
        Ok(Some(Err(problem))) => {
            let file = path.display();
            tracing::warn!(%file, problem, "the certificate of the media connections is damaged; a new one takes its place");
        }
        Err(error) => tracing::warn!(%error, "a new certificate of the media connections is made"),
    }
    let (certificate, text) = make(no_end())?;
    let kept = Lock::take(state_dir).and_then(|_lock| write_private(&path, &text));
    if let Err(error) = kept {
        tracing::warn!(%error, "the certificate of the media connections is good until the next start only");
    }
    Ok(certificate)
}

fn no_end() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(NO_END_S)
}

fn make(expires: SystemTime) -> Result<(RTCCertificate, String), PeerError> {
    let library =
        |error: &dyn std::fmt::Display| PeerError::Library(webrtc::error::Error::Other(error.to_string()));
    let provider = crypto::default_provider().map_err(|error| library(&error))?;
    let mut params = CertificateParams::new(vec!["porthole".to_owned()]).map_err(|error| library(&error))?;
    params.not_before = SystemTime::UNIX_EPOCH.into();
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
    fn it_is_kept_and_good_at_any_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path()).unwrap();
        assert!(first.expires >= no_end(), "whenever it is looked at");
        assert!(load_or_make(dir.path()).unwrap() == first);
        let mode = std::fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // One of an earlier version, which would end.
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        let ends = text.replace(&NO_END_S.to_string(), "1900000000");
        std::fs::write(dir.path().join(FILE), ends).unwrap();
        let second = load_or_make(dir.path()).unwrap();
        assert!(second != first && second.expires >= no_end());
    }

    #[test]
    fn a_damaged_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        load_or_make(dir.path()).unwrap();
        let file = dir.path().join(FILE);
        let good = std::fs::read_to_string(&file).unwrap();
        for bad in ["", "expires\n", "expires 9\n", &good[..good.len() / 2], &good.replace("expires", "ends")]
        {
            std::fs::write(&file, bad).unwrap();
            let made = load_or_make(dir.path()).unwrap();
            assert!(load_or_make(dir.path()).unwrap() == made, "{bad:?}: it is kept");
        }
        std::fs::write(&file, [0xff; 40]).unwrap();
        load_or_make(dir.path()).unwrap();
    }

    #[test]
    fn where_nothing_can_be_kept_it_is_made_for_this_start() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_make(dir.path()).unwrap();
        // As on a read-only card: whatever has to be made fails.
        std::fs::remove_file(dir.path().join("access.lock")).unwrap();
        std::fs::create_dir(dir.path().join("access.lock")).unwrap();
        assert!(load_or_make(dir.path()).unwrap() == first, "one that is there needs no lock");
        std::fs::remove_file(dir.path().join(FILE)).unwrap();
        std::fs::create_dir(dir.path().join(FILE)).unwrap();
        assert!(load_or_make(dir.path()).unwrap() != first);
        assert!(load_or_make(Path::new("/dev/null/state")).is_ok());
    }
}
