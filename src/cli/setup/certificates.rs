//! A certificate authority for one broker, and that broker's certificate.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::answers::Host;

/// Apple's devices refuse server certificates that are valid for longer.
const SERVER_DAYS: u64 = 825;
const CA_DAYS: u64 = 20 * 365;
/// Clocks differ, and a board without one may be behind.
const BACKDATED_DAYS: u64 = 2;
/// The beginning of 2026: earlier than that no clock can be right.
const EARLIEST: Duration = Duration::from_hours(20_454 * 24);
const DAY: Duration = Duration::from_hours(24);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum SigningError {
    /// It would be valid in another time.
    #[error(
        "this machine's clock is wrong, so certificates would be valid at the wrong time: set it \
         (`sudo timedatectl set-ntp true`, or `sudo date -s …`) and run setup again"
    )]
    Clock,
    /// The crate's own words.
    #[error("the certificate cannot be made: {0}")]
    Failed(#[from] rcgen::Error),
}

/// PEM texts.
pub(super) struct Authority {
    pub certificate: String,
    pub key: String,
}

/// PEM texts.
pub(super) struct ServerCertificate {
    pub certificate: String,
    pub key: String,
}

/// An authority for the broker on `host`.
pub(super) fn authority(host: &Host, now: SystemTime) -> Result<Authority, SigningError> {
    let mut params = authority_params(host);
    limit(&mut params, now, CA_DAYS)?;
    let key = KeyPair::generate()?;
    Ok(Authority { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// A certificate for the broker on `host` (and `localhost`, for the machine itself), signed with the
/// authority's key.
pub(super) fn server(
    host: &Host,
    authority_key: &str,
    now: SystemTime,
) -> Result<ServerCertificate, SigningError> {
    let issuer = Issuer::new(authority_params(host), KeyPair::from_pem(authority_key)?);
    let mut names = vec![host.as_str()];
    names.extend(["localhost", "127.0.0.1"].into_iter().filter(|name| *name != host.as_str()));
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names)?;
    // Without a subject of its own OpenSSL takes it for the authority itself.
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common_name("", host));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    limit(&mut params, now, SERVER_DAYS)?;
    let key = KeyPair::generate()?;
    Ok(ServerCertificate { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
}

/// The same for the same host, so that a renewed certificate fits the old authority.
fn authority_params(host: &Host) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common_name("Porthole CA for ", host));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// At most 64 characters, says X.520.
fn common_name(before: &str, host: &Host) -> String {
    format!("{before}{}", host.as_str()).chars().take(64).collect()
}

/// Valid from a little before `now`, for so many days in all.
fn limit(params: &mut CertificateParams, now: SystemTime, days: u64) -> Result<(), SigningError> {
    let now = now.duration_since(UNIX_EPOCH).map_err(|_| SigningError::Clock)?;
    if now < EARLIEST {
        return Err(SigningError::Clock);
    }
    let whole = |days: u64| Duration::from_secs(days * DAY.as_secs());
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(whole(BACKDATED_DAYS));
    params.not_after = params.not_before + whole(days);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::new(text).expect("a host")
    }

    #[test]
    fn a_wrong_clock_is_noticed() {
        let error = authority(&host("broker"), UNIX_EPOCH + Duration::from_hours(365 * 24)).err();
        assert!(error.expect("refused").to_string().contains("clock"));
    }

    #[test]
    fn long_names_and_addresses_are_no_trouble() {
        let long = format!("{}.example", "very-long-label-".repeat(3).repeat(3));
        for name in [long.as_str(), "192.0.2.1", "::1", "localhost"] {
            let authority = authority(&host(name), SystemTime::now()).expect(name);
            let server = server(&host(name), &authority.key, SystemTime::now()).expect(name);
            assert!(server.certificate.starts_with("-----BEGIN CERTIFICATE-----"), "{name}");
            assert_ne!(server.key, authority.key);
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        assert!(server(&host("broker"), "no key", SystemTime::now()).is_err());
    }
}
