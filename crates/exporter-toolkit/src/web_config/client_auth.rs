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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
        ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType, date_time_ymd,
    };
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn authority(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// The first second of 2030 and that of 2031.
    const VALIDITY: (u64, u64) = (1_893_456_000, 1_924_992_000);

    /// A certificate for clients that is valid in 2030.
    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2031, 1, 1));
        params
    }

    /// A certificate that is signed by itself and is a CA, like those of `openssl req -x509`.
    fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = params();
        change(&mut params);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn issued_by(authority: &Authority, params: &CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&KeyPair::generate().unwrap(), authority).unwrap().der().clone()
    }

    fn verifier(
        auth: ClientAuth,
        trusted: &[CertificateDer<'static>],
        names: Option<&[&str]>,
    ) -> ClientVerifier {
        let names = names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        ClientVerifier::new(auth, trusted.to_vec(), names, &Arc::new(default_provider()))
    }

    fn verify_at(
        verifier: &ClientVerifier,
        certificate: &CertificateDer<'_>,
        seconds: u64,
    ) -> Result<(), Error> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        verifier.verify_client_cert(certificate, &[], now).map(|_| ())
    }

    fn verify(verifier: &ClientVerifier, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        verify_at(verifier, certificate, VALIDITY.0 + 3600)
    }

    fn refused(error: CertificateError) -> Result<(), Error> {
        Err(Error::InvalidCertificate(error))
    }

    #[test]
    fn a_policy_decides_whether_a_certificate_is_requested_required_and_verified() {
        let trusted = self_signed(|_| ());
        let stranger = self_signed(|_| ());
        for (name, policy, offered, required, verified) in [
            ("", ClientAuth::No, false, false, false),
            ("NoClientCert", ClientAuth::No, false, false, false),
            ("RequestClientCert", ClientAuth::Request, true, false, false),
            ("RequireAnyClientCert", ClientAuth::RequireAny, true, true, false),
            ("RequireClientCert", ClientAuth::RequireAny, true, true, false),
            ("VerifyClientCertIfGiven", ClientAuth::VerifyIfGiven, true, false, true),
            ("RequireAndVerifyClientCert", ClientAuth::RequireAndVerify, true, true, true),
        ] {
            assert_eq!(ClientAuth::named(name), Some(policy), "{name}");
            let verifier = verifier(policy, std::slice::from_ref(&trusted), None);
            assert_eq!(verifier.offer_client_auth(), offered, "{name}");
            assert_eq!(verifier.client_auth_mandatory(), required, "{name}");
            assert_eq!(verify(&verifier, &stranger).is_err(), verified, "{name}");
            assert_eq!(verify(&verifier, &trusted), Ok(()), "{name}");
        }
        assert_eq!(ClientAuth::named("requireandverifyclientcert"), None);
    }

    #[test]
    fn a_restriction_of_names_makes_a_certificate_necessary() {
        for auth in [ClientAuth::Request, ClientAuth::VerifyIfGiven, ClientAuth::RequireAny] {
            assert!(verifier(auth, &[], Some(&["a"])).client_auth_mandatory(), "{auth:?}");
        }
    }

    #[test]
    fn what_a_trusted_authority_issued_is_accepted_and_what_another_issued_is_not() {
        let (ours, other) = (authority("ours"), authority("other"));
        let verifier = verifier(ClientAuth::RequireAndVerify, &[ours.der().clone()], None);
        assert_eq!(verify(&verifier, &issued_by(&ours, &params())), Ok(()));
        let unknown = verify(&verifier, &issued_by(&other, &params()));
        assert_eq!(unknown, refused(CertificateError::UnknownIssuer));
        let expected = verifier.root_hint_subjects();
        assert_eq!(expected.len(), 1);
        assert!(expected[0].as_ref().windows(4).any(|part| part == b"ours"), "{expected:?}");
    }

    #[test]
    fn without_a_trusted_certificate_no_certificate_is_accepted() {
        let verifier = verifier(ClientAuth::VerifyIfGiven, &[], None);
        assert_eq!(verify(&verifier, &self_signed(|_| ())), refused(CertificateError::UnknownIssuer));
    }

    #[test]
    fn a_trusted_certificate_is_accepted_from_the_first_to_the_last_second_of_its_validity() {
        let client = self_signed(|_| ());
        let verifier = verifier(ClientAuth::RequireAndVerify, std::slice::from_ref(&client), None);
        let (first, last) = VALIDITY;
        for (seconds, expected) in [
            (first - 1, refused(CertificateError::NotValidYet)),
            (first, Ok(())),
            (last, Ok(())),
            (last + 1, refused(CertificateError::Expired)),
        ] {
            assert_eq!(verify_at(&verifier, &client, seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn a_trusted_certificate_for_servers_only_is_refused() {
        use ExtendedKeyUsagePurpose::{Any, ClientAuth as Client, ServerAuth as Server};
        for (usages, expected) in [
            (vec![], Ok(())),
            (vec![Client], Ok(())),
            (vec![Any], Ok(())),
            (vec![Server, Client], Ok(())),
            (vec![Server], refused(CertificateError::InvalidPurpose)),
        ] {
            let what = format!("{usages:?}");
            let client = self_signed(|params| params.extended_key_usages = usages);
            let verifier = verifier(ClientAuth::RequireAndVerify, std::slice::from_ref(&client), None);
            assert_eq!(verify(&verifier, &client), expected, "{what}");
        }
    }

    #[test]
    fn a_trusted_certificate_with_an_unknown_critical_extension_is_refused() {
        let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
        unknown.set_criticality(true);
        let client = self_signed(|params| params.custom_extensions = vec![unknown]);
        let verifier = verifier(ClientAuth::RequireAndVerify, std::slice::from_ref(&client), None);
        assert!(verify(&verifier, &client).is_err());
    }

    #[test]
    fn a_certificate_must_have_one_of_the_allowed_names_in_the_notation_of_go() {
        let client = |name: Option<SanType>| {
            self_signed(|params| params.subject_alt_names = name.into_iter().collect())
        };
        let ip = |text: &str| SanType::IpAddress(text.parse().unwrap());
        for (name, text) in [
            (SanType::DnsName("scraper.example".try_into().unwrap()), "scraper.example"),
            (SanType::Rfc822Name("ops@example".try_into().unwrap()), "ops@example"),
            (SanType::URI("spiffe://example/prometheus".try_into().unwrap()), "spiffe://example/prometheus"),
            (ip("192.0.2.1"), "192.0.2.1"),
            (ip("2001:db8::1"), "2001:db8::1"),
            (ip("::ffff:192.0.2.1"), "192.0.2.1"),
        ] {
            let client = client(Some(name));
            let check = |names: &[&str]| verify(&verifier(ClientAuth::RequireAny, &[], Some(names)), &client);
            assert_eq!(check(&["other", text]), Ok(()), "{text}");
            assert_eq!(check(&["other"]), refused(CertificateError::NotValidForName), "{text}");
            assert_eq!(check(&[]), refused(CertificateError::NotValidForName), "{text}");
        }
        let nameless = verify(&verifier(ClientAuth::RequireAny, &[], Some(&["", "a"])), &client(None));
        assert_eq!(nameless, refused(CertificateError::NotValidForName));
    }

    #[test]
    fn an_address_of_another_length_is_no_valid_name() {
        // SubjectAltName (2.5.29.17): a sequence of one address with three bytes.
        let names = CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 5, 0x87, 3, 192, 0, 2]);
        let client = self_signed(|params| params.custom_extensions = vec![names]);
        let verifier = verifier(ClientAuth::RequireAny, &[], Some(&["192.0.2.0"]));
        assert_eq!(verify(&verifier, &client), refused(CertificateError::BadEncoding));
    }

    #[test]
    fn what_is_no_certificate_is_skipped_in_a_file_of_trusted_certificates() {
        let ours = authority("ours");
        let key = KeyPair::generate().unwrap().serialize_pem();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let pem = format!("words\n{key}{broken}{}", ours.pem());
        assert_eq!(certificates(pem.as_bytes()), [ours.der().clone()]);
        assert_eq!(certificates(b""), []);
    }

    #[test]
    fn the_signature_schemes_of_the_provider_are_offered() {
        let expected = default_provider().signature_verification_algorithms.supported_schemes();
        assert_eq!(verifier(ClientAuth::Request, &[], None).supported_verify_schemes(), expected);
        assert!(expected.len() > 1);
    }
}
