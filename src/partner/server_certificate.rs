//! What a server's TLS certificate says, for `doctor`.

use jiff::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::name::Name;

use super::redaction::Redactor;

/// A trusted server certificate.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    /// The subject, which is often empty, because host names are in an extension.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// The end of the validity period.
    pub not_after: Timestamp,
}

impl ServerCertificate {
    pub(super) fn from_der(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let fields = certificate.tbs_certificate();
        let line = |name: &Name| Redactor::default().one_line(&name.to_string());
        let end = fields.validity().not_after.to_unix_duration().as_secs();
        Some(Self {
            subject: line(fields.subject()),
            issuer: line(fields.issuer()),
            not_after: Timestamp::from_second(end.try_into().ok()?).unwrap_or(Timestamp::MAX),
        })
    }
}
