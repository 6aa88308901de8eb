//! A certificate authority for one test: a CA, the broker's certificate, a client's.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

use super::daemon::Settings;

/// PEM files in a directory of their own, removed on drop.
pub struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    /// Makes a CA, a certificate for `localhost` and 127.0.0.1, and a client certificate.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for certificates");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).expect("write ca.pem");
        for (name, names, usage) in [
            (
                "server",
                vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
                ExtendedKeyUsagePurpose::ServerAuth,
            ),
            ("client", vec!["porthole-client".to_owned()], ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(names).expect("parameters");
            // Without a subject of its own OpenSSL takes it for the CA itself.
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![usage];
            let certificate = params.signed_by(&key, &ca).expect("a certificate");
            std::fs::write(dir.path().join(format!("{name}.pem")), certificate.pem()).expect("write");
            std::fs::write(dir.path().join(format!("{name}.key")), key.serialize_pem()).expect("write");
        }
        Self { dir }
    }

    /// One of `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A daemon with its own broker, all of it behind `https` with the server's certificate.
    pub fn settings(&self) -> Settings {
        Settings::new("embedded")
            .text("broker.listen", "127.0.0.1:0")
            .text("broker.websocket", "127.0.0.1:0")
            .path("http.tls_cert_file", &self.path("server.pem"))
            .path("http.tls_key_file", &self.path("server.key"))
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}
