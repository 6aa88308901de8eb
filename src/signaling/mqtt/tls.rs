//! The TLS side of a client: files in, one rustls configuration out, before anything opens.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "read once, before the connection is begun")
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The PEM files of an encrypted connection; none means the system's own certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_field_names)] // the configuration's own names
pub struct TlsFiles {
    /// Certificates that may have signed the broker's, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate that shows the broker who we are.
    pub client_cert_file: Option<PathBuf>,
    /// The key of that certificate.
    pub client_key_file: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads them.
    ///
    /// # Errors
    /// No connection could be made with them.
    pub fn check(&self) -> Result<(), TlsFileError> {
        client_config(self).map(drop)
    }

    pub(super) fn first(&self) -> Option<&Path> {
        [&self.ca_file, &self.client_cert_file, &self.client_key_file]
            .into_iter()
            .flatten()
            .next()
            .map(PathBuf::as_path)
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// The file is not there, or not readable, or no PEM.
    #[error("cannot read {what} from {}: {reason}; check the path, that the service's user may read it, and that it is PEM", path.display())]
    Unreadable {
        /// What should have been in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's or the parser's own words.
        reason: String,
    },
    /// A PEM file without a certificate.
    #[error("{} holds no certificate: it should contain a block that begins with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// Only one of the two client files.
    #[error(
        "mqtt.client_cert_file and mqtt.client_key_file belong together: {given} is set, set the other one too"
    )]
    HalfAClient {
        /// The one that is there.
        given: &'static str,
    },
    /// Certificate and key that do not fit.
    #[error("the client certificate {} and the key {} cannot be used together: {reason}", cert.display(), key.display())]
    ClientMismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// rustls' own words.
        reason: String,
    },
    /// A system without certificates.
    #[error(
        "this system has no trusted certificates ({reason}): install the package ca-certificates, or set mqtt.ca_file"
    )]
    NoSystemRoots {
        /// What was found instead.
        reason: String,
    },
    /// rustls refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Makes ring the process's crypto provider. Harmless when one is already there.
pub(super) fn install_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Reads the files and builds the configuration.
pub(super) fn client_config(files: &TlsFiles) -> Result<Arc<ClientConfig>, TlsFileError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(match &files.ca_file {
            Some(path) => own_roots(path)?,
            None => system_roots()?,
        });
    let config = match (&files.client_cert_file, &files.client_key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) => return Err(TlsFileError::HalfAClient { given: "mqtt.client_cert_file" }),
        (None, Some(_)) => return Err(TlsFileError::HalfAClient { given: "mqtt.client_key_file" }),
        (Some(cert), Some(key)) => {
            let chain = certificates("the client certificate", cert)?;
            let secret =
                PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("the client key", key, &e))?;
            builder.with_client_auth_cert(chain, secret).map_err(|e| TlsFileError::ClientMismatch {
                cert: cert.clone(),
                key: key.clone(),
                reason: e.to_string(),
            })?
        }
    };
    Ok(Arc::new(config))
}

fn own_roots(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("the broker's CA certificate", path)? {
        roots.add(certificate).map_err(|e| TlsFileError::Unreadable {
            what: "the broker's CA certificate",
            path: path.to_owned(),
            reason: e.to_string(),
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsFileError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry the odd certificate that no library reads; only none at all is a problem.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(TlsFileError::NoSystemRoots { reason });
    }
    Ok(roots)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unreadable(what, path, &e))?;
    if certificates.is_empty() {
        return Err(TlsFileError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

fn unreadable(what: &'static str, path: &Path, error: &rustls::pki_types::pem::Error) -> TlsFileError {
    TlsFileError::Unreadable { what, path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ca(path: &Path) -> TlsFiles {
        TlsFiles { ca_file: Some(path.to_owned()), ..TlsFiles::default() }
    }

    #[test]
    fn errors_name_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("missing.pem");
        let text = client_config(&with_ca(&missing)).expect_err("missing").to_string();
        assert!(text.contains("missing.pem") && text.contains("check the path"), "{text}");

        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "hello").expect("write");
        let text = client_config(&with_ca(&empty)).expect_err("empty").to_string();
        assert!(text.contains("empty.pem") && text.contains("BEGIN CERTIFICATE"), "{text}");
    }

    #[test]
    fn half_a_client_is_refused() {
        let cert = tempfile::NamedTempFile::new().expect("a file");
        let pem = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("a certificate").cert.pem();
        std::fs::write(cert.path(), pem).expect("write");
        let files = TlsFiles { client_cert_file: Some(cert.path().to_owned()), ..with_ca(cert.path()) };
        let text = client_config(&files).expect_err("half").to_string();
        assert!(text.contains("client_key_file"), "{text}");
    }
}
