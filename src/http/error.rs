//! Why there is no server.

use std::net::SocketAddr;

use super::tls::CertificateError;

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another program has the address, or it is not one of this machine.
    #[error(
        "the page cannot be served on {address}: {reason}. Choose another http.listen, or \"\" for no page"
    )]
    Address {
        /// The address.
        address: SocketAddr,
        /// The system's own words.
        reason: std::io::Error,
    },
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}
