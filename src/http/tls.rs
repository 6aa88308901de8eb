//! The server's certificate: read from files, and read again when they change.
#![cfg_attr(
    room_lint,
    allow(clippy::disallowed_methods, reason = "what waits for a disk here runs in base::tasks::blocking")
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::base::durable_file::FileStamp;
use crate::base::folder_watch::FolderWatch;
use crate::base::tasks::{TaskGroup, blocking};

/// The files are looked at so often where the system does not tell of changes in their folders.
const LOOK_OFTEN: Duration = Duration::from_secs(2);
/// And where it does, should it ever fail to.
const LOOK_SELDOM: Duration = Duration::from_secs(30);
/// Certificate and key are not written in one moment.
const SETTLE: Duration = Duration::from_millis(200);

/// The PEM files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_field_names)] // the configuration's own names
pub struct CertificateFiles {
    /// The certificate, and after it those that signed it.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file is not there, or not readable, or no PEM.
    #[error("cannot read {what} from {}: {reason}; check http.{key}, that the service's user may read it, and that it is PEM", path.display())]
    Unreadable {
        /// What should have been in it.
        what: &'static str,
        /// The key that names it.
        key: &'static str,
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
    /// Certificate and key that do not fit.
    #[error("the certificate {} and the key {} cannot be used together: {reason}", cert.display(), key.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// rustls' own words.
        reason: String,
    },
}

impl CertificateFiles {
    /// Reads them.
    ///
    /// # Errors
    /// A server could not use them.
    pub fn check(&self) -> Result<(), CertificateError> {
        self.load().map(drop)
    }

    /// What a server needs to use them. Blocks.
    fn load(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let unreadable = |what, key, path: &Path, error: &dyn std::fmt::Display| {
            CertificateError::Unreadable { what, key, path: path.to_owned(), reason: error.to_string() }
        };
        let certificate = |error: &dyn std::fmt::Display| {
            unreadable("the certificate", "tls_cert_file", &self.cert_file, error)
        };
        let chain = CertificateDer::pem_file_iter(&self.cert_file).map_err(|error| certificate(&error))?;
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(|error| certificate(&error))?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate { path: self.cert_file.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key_file)
            .map_err(|error| unreadable("the private key", "tls_key_file", &self.key_file, &error))?;
        let mismatch = |error: rustls::Error| CertificateError::Mismatch {
            cert: self.cert_file.clone(),
            key: self.key_file.clone(),
            reason: error.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(mismatch)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(mismatch)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn stamp(&self) -> [Option<FileStamp>; 2] {
        [&self.cert_file, &self.key_file].map(|path| FileStamp::of(path))
    }

    /// The folders in which a change makes other files of them: those of the names, and those that links lead to.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let names = [&self.cert_file, &self.key_file];
        let targets = names.map(|path| path.canonicalize().ok());
        let paths = names.into_iter().cloned().chain(targets.into_iter().flatten());
        paths.filter_map(|path| Some(path.parent()?.to_owned())).collect()
    }
}

/// The certificate in force.
pub(super) struct Certificate {
    pub current: watch::Receiver<Arc<ServerConfig>>,
    follower: AbortHandle,
}

impl Drop for Certificate {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Certificate {
    /// Reads the files, and follows them from then on in a task of `tasks`. What cannot be used leaves the one before in
    /// force.
    pub async fn follow(files: CertificateFiles, tasks: &TaskGroup) -> Result<Self, CertificateError> {
        let to_read = files.clone();
        // The version before the content, so that no change goes unseen.
        let (stamp, config) = blocking(move || (to_read.stamp(), to_read.load())).await;
        let (sender, current) = watch::channel(config?);
        let task = tasks.spawn_loop("certificate", follow(files, stamp, sender));
        Ok(Self { current, follower: task.abort_handle() })
    }
}

/// Never ends.
async fn follow(
    files: CertificateFiles,
    mut stamp: [Option<FileStamp>; 2],
    sender: watch::Sender<Arc<ServerConfig>>,
) {
    loop {
        let to_watch = files.clone();
        let folders = blocking(move || to_watch.folders()).await;
        let mut watch = FolderWatch::new(folders.iter().map(PathBuf::as_path)).ok();
        loop {
            let (to_read, before) = (files.clone(), stamp);
            let (found, loaded) = blocking(move || {
                let found = to_read.stamp();
                (found, (found != before).then(|| to_read.load()))
            })
            .await;
            stamp = found;
            match loaded {
                None => {}
                Some(Ok(config)) => {
                    sender.send_replace(config);
                    tracing::info!(file = %files.cert_file.display(), "the certificate was read again");
                }
                // The next look may find both files new.
                Some(Err(error)) => tracing::warn!(%error, "the certificate in force stays as it is"),
            }
            let Some(watch) = &mut watch else {
                sleep(LOOK_OFTEN).await;
                break;
            };
            match timeout(LOOK_SELDOM, watch.changed()).await {
                Err(_) => {}
                // Links may lead elsewhere now.
                Ok(Ok(Some(_))) => {
                    sleep(SETTLE).await;
                    break;
                }
                // A folder itself was moved or removed.
                Ok(Ok(None) | Err(_)) => {
                    sleep(LOOK_OFTEN).await;
                    break;
                }
            }
        }
    }
}
