//! Verifies client certificates: their issuer, if the policy asks for that, and their names, if these are restricted.
//!
//! That a client has the key of its certificate is always verified.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

/// The policy for client certificates, by the names of Go's `crypto/tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    No,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "" | "NoClientCert" => Some(Self::No),
            "RequestClientCert" => Some(Self::Request),
            "RequireAnyClientCert" | "RequireClientCert" => Some(Self::RequireAny),
            "VerifyClientCertIfGiven" => Some(Self::VerifyIfGiven),
            "RequireAndVerifyClientCert" => Some(Self::RequireAndVerify),
            _ => None,
        }
    }

    /// Returns whether a certificate must be trusted or issued by a trusted one.
    pub(super) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

/// Returns the certificates in a PEM file, and skips everything else, as the format prescribes.
pub(super) fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .filter(|der| Certificate::from_der(der).is_ok())
        .collect()
}

/// Verifies the certificates of clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    auth: ClientAuth,
    trusted: Vec<CertificateDer<'static>>,
    /// Verifies what `trusted` certificates have issued; `None` if there are none.
    issued: Option<Arc<dyn ClientCertVerifier>>,
    hints: Vec<DistinguishedName>,
    allowed_names: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    /// Trusts certificates and what they have issued; with `allowed_names`, a certificate must have one of these.
    pub(super) fn new(
        auth: ClientAuth,
        trusted: Vec<CertificateDer<'static>>,
        allowed_names: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let hints = roots.subjects();
        let issued = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let algorithms = provider.signature_verification_algorithms;
        Self { auth, trusted, issued: issued.build().ok(), hints, allowed_names, algorithms }
    }

    /// Verifies that a certificate is trusted or issued by a trusted one.
    fn verify_trust(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        if self.trusted.contains(end_entity) {
            // webpki accepts no end-entity certificate that is a CA as well, but operators list clients like this.
            return verify_trusted(end_entity, now);
        }
        let Some(issued) = &self.issued else { return Err(CertificateError::UnknownIssuer.into()) };
        issued.verify_client_cert(end_entity, intermediates, now).map(|_| ())
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.auth != ClientAuth::No
    }

    /// A restriction of names makes a certificate necessary.
    fn client_auth_mandatory(&self) -> bool {
        matches!(self.auth, ClientAuth::RequireAny | ClientAuth::RequireAndVerify)
            || self.allowed_names.is_some()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.auth.verifies() {
            self.verify_trust(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_names {
            let names = names(&parse(end_entity)?)?;
            if !names.iter().any(|name| allowed.contains(name)) {
                return Err(CertificateError::NotValidForName.into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn parse(der: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(der).map_err(|_| CertificateError::BadEncoding.into())
}

/// Verifies the validity period and the purpose of a certificate that is trusted itself.
fn verify_trusted(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    // This refuses unknown critical extensions.
    ParsedCertificate::try_from(der)?;
    let certificate = parse(der)?;
    let fields = certificate.tbs_certificate();
    let validity = fields.validity();
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    let usage = fields.get_extension::<ExtendedKeyUsage>().map_err(|_| CertificateError::BadEncoding)?;
    let is_for_clients =
        |usage: &ObjectIdentifier| [ID_KP_CLIENT_AUTH, ANY_EXTENDED_KEY_USAGE].contains(usage);
    if usage.is_some_and(|(_, ExtendedKeyUsage(usages))| !usages.iter().any(is_for_clients)) {
        return Err(CertificateError::InvalidPurpose.into());
    }
    Ok(())
}

/// Returns the subject alternative names of a certificate in the notation of Go.
fn names(certificate: &Certificate) -> Result<Vec<String>, Error> {
    let bad = || Error::from(CertificateError::BadEncoding);
    let found = certificate.tbs_certificate().get_extension::<SubjectAltName>().map_err(|_| bad())?;
    let Some((_, SubjectAltName(found))) = found else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for name in &found {
        match name {
            GeneralName::DnsName(text)
            | GeneralName::Rfc822Name(text)
            | GeneralName::UniformResourceIdentifier(text) => names.push(text.to_string()),
            GeneralName::IpAddress(bytes) => {
                names.push(address(bytes.as_bytes()).ok_or_else(bad)?.to_canonical().to_string());
            }
            _ => {}
        }
    }
    Ok(names)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into())).ok()
}
