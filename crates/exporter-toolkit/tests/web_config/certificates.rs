//! Certificates of an authority, of the server and of clients.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_RSA_SHA256, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

impl Pair {
    fn new(cert: &rcgen::Certificate, key: &KeyPair) -> Self {
        let (pem, der) = (cert.pem(), cert.der().clone());
        Self { cert: pem, key: key.serialize_pem(), der, key_der: key.serialize_der() }
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key_der.clone()).unwrap()
    }
}

/// The properties of a certificate.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) names: Vec<SanType>,
    pub(crate) usages: Vec<ExtendedKeyUsagePurpose>,
    /// The years on whose first days its validity begins and ends.
    pub(crate) years: Option<(i32, i32)>,
}

impl Wanted {
    fn params(self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.subject_alt_names = self.names;
        params.extended_key_usages = self.usages;
        if let Some((from, to)) = self.years {
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        }
        params
    }

    /// Creates a certificate that is signed by itself and is a CA, like those of `openssl req -x509`.
    pub(crate) fn self_signed(self) -> Pair {
        let mut params = self.params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Pair::new(&params.self_signed(&key).unwrap(), &key)
    }

    pub(crate) fn signed_by(self, authority: &Authority) -> Pair {
        let key = KeyPair::generate().unwrap();
        Pair::new(&self.params().signed_by(&key, &authority.0).unwrap(), &key)
    }
}

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }
}

pub(crate) fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

/// The certificates beside every web configuration file.
pub(crate) struct Certificates {
    pub(crate) authority: Authority,
    /// The certificate for `localhost`, with an RSA key since the cases name ciphers for RSA.
    pub(crate) server: Pair,
    /// The certificate that the cases call `client_selfsigned`.
    pub(crate) client: Pair,
    /// The certificate that the cases call `client2_selfsigned`, with the name `test3`.
    pub(crate) client2: Pair,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let authority = Authority::new("the server's authority");
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let server = Pair::new(&params.signed_by(&key, &authority.0).unwrap(), &key);
        let client = Wanted::default().self_signed();
        let client2 = Wanted { names: vec![dns("test3")], ..Wanted::default() }.self_signed();
        Self { authority, server, client, client2 }
    }

    pub(crate) fn write(&self, directory: &Path) {
        for (name, text) in [
            ("server.crt", &self.server.cert),
            ("server.key", &self.server.key),
            ("client_selfsigned.pem", &self.client.cert),
            ("client2_selfsigned.pem", &self.client2.cert),
        ] {
            std::fs::write(directory.join(name), text).unwrap();
        }
    }
}
