//! Our own tests of TLS: who is let in, and what is agreed upon.

use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{CipherSuite, HandshakeKind, NamedGroup};

use super::certificates::{Authority, Pair, Wanted, dns};
use super::client::{Login, P521, Tls, only_group, only_suites};
use super::files::{GOOD, SOME_CIPHERS, SOME_CURVES};
use super::world::{Guarded, World};

type Test = (&'static str, fn(&World));

pub(crate) const TESTS: &[Test] = &[
    ("every_policy_lets_in_whom_it_should_and_no_one_else", policies),
    ("whoever_has_no_key_for_a_certificate_has_no_use_for_it", impostors),
    ("a_client_is_known_by_any_of_its_names_written_as_in_the_list", names),
    ("who_is_trusted_changes_with_the_file_and_its_certificates", trust_that_changes),
    ("the_key_may_be_inline_where_clients_need_certificates", key_inline),
    ("no_session_is_resumed_where_clients_need_certificates", resumption),
    ("http2_is_agreed_upon_unless_it_was_switched_off_at_the_start", http2),
    ("the_program_chooses_among_the_ciphers", choice_of_cipher),
    ("every_curve_is_spoken_unless_others_are_preferred", curves),
    ("openssl_agrees_on_p_521_and_is_told_that_tls_1_1_is_not_spoken", openssl),
];

fn attempt(world: &World, guarded: &Guarded, client: Option<&Pair>) -> Result<(), String> {
    let tls = Tls::new(world.certificates.authority.der(), client);
    let answers = guarded.addresses.iter().map(|address| tls.get(address, "/", Login(None)));
    let outcomes: Vec<_> =
        answers.map(|answer| answer.map(|(answer, _)| assert_eq!(answer.status, 200))).collect();
    assert_eq!(outcomes[0], outcomes[1], "the listeners disagree");
    outcomes[0].clone()
}

/// The section with these keys besides certificate and key.
fn tls_with(keys: &str) -> String {
    format!("tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n{keys}")
}

const REQUIRED: &str = "certificate required";
const UNKNOWN: &str = "unknown certificate authority";

fn policies(world: &World) {
    let authority = Authority::new("the clients' authority");
    let for_servers = || vec![ExtendedKeyUsagePurpose::ServerAuth];
    let for_clients = || vec![ExtendedKeyUsagePurpose::ClientAuth];
    let wanted = |usages, years| Wanted { usages, years, names: vec![dns("client")] };
    let issued = wanted(for_clients(), None).signed_by(&authority);
    let listed = wanted(Vec::new(), None).self_signed();
    let listed_for_servers = wanted(for_servers(), None).self_signed();
    let listed_expired = wanted(Vec::new(), Some((2001, 2002))).self_signed();
    let listed_early = wanted(Vec::new(), Some((3001, 3002))).self_signed();
    let issued_for_servers = wanted(for_servers(), None).signed_by(&authority);
    let issued_expired = wanted(for_clients(), Some((2001, 2002))).signed_by(&authority);
    let stranger = wanted(for_clients(), None).signed_by(&Authority::new("a stranger"));

    let trusted =
        [&listed, &listed_for_servers, &listed_expired, &listed_early].map(|pair| pair.cert.clone());
    // What is no certificate is passed over.
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pem = format!("some words\n{broken}{}{}{}", authority.pem(), trusted.concat(), listed.key);
    let guarded = world.start_with(GOOD);
    std::fs::write(guarded.path("clients.pem"), pem).unwrap();

    let clients = [
        None,
        Some(&listed),
        Some(&issued),
        Some(&stranger),
        Some(&listed_for_servers),
        Some(&listed_expired),
        Some(&listed_early),
        Some(&issued_for_servers),
        Some(&issued_expired),
    ];
    let bad = [
        "UnsupportedCertificate",
        "CertificateExpired",
        "CertificateExpired",
        "UnsupportedCertificate",
        "CertificateExpired",
    ];
    let [wrong, late, early, wrong_too, late_too] = bad.map(Some);
    let verified = [None, None, None, Some(UNKNOWN), wrong, late, early, wrong_too, late_too];
    let mut required = verified;
    required[0] = Some(REQUIRED);
    let mut any = [None; 9];
    any[0] = Some(REQUIRED);
    for (policy, with_ca, expected) in [
        ("NoClientCert", false, [None; 9]),
        ("RequestClientCert", true, [None; 9]),
        ("RequireAnyClientCert", true, any),
        ("RequireClientCert", false, any),
        ("VerifyClientCertIfGiven", true, verified),
        ("RequireAndVerifyClientCert", true, required),
    ] {
        let ca = if with_ca { "  client_ca_file: clients.pem\n" } else { "" };
        guarded.write(&tls_with(&format!("  client_auth_type: {policy}\n{ca}")));
        for (n, (client, expected)) in clients.into_iter().zip(expected).enumerate() {
            let outcome = attempt(world, &guarded, client).err();
            let expected = expected.map(|alert| format!("remote error: tls: {alert}"));
            assert_eq!(outcome, expected, "{policy}, client {n}");
        }
    }
    // Without an authority nobody can be verified, and with an empty one neither.
    for ca in ["", "  client_ca: no certificate\n", "  client_ca_file: /dev/null\n"] {
        guarded.write(&tls_with(&format!("  client_auth_type: RequireAndVerifyClientCert\n{ca}")));
        for client in [&listed, &issued, &stranger] {
            let outcome = attempt(world, &guarded, Some(client));
            assert_eq!(outcome, Err(format!("remote error: tls: {UNKNOWN}")), "{ca}");
        }
    }
    guarded.log_until("without client_ca or client_ca_file no certificate of a client is trusted");
    guarded.log_until("there is no certificate in it, so no certificate of a client is trusted");
}

fn impostors(world: &World) {
    let (shown, own) = (&world.certificates.client, &world.certificates.client2);
    for keys in [
        "  client_auth_type: RequestClientCert\n",
        "  client_auth_type: RequireAnyClientCert\n",
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client_selfsigned.pem\n",
    ] {
        for most in ["TLS12", "TLS13"] {
            let guarded = world.start_with(&tls_with(&format!("{keys}  max_version: {most}\n")));
            attempt(world, &guarded, Some(shown)).unwrap();
            let impostor = Tls::impostor(world.certificates.authority.der(), shown, own);
            for address in &guarded.addresses {
                let error = impostor.get(address, "/", Login(None)).map(|_| ()).unwrap_err();
                assert_eq!(error, "remote error: tls: DecryptError", "{keys}, {most}");
            }
        }
    }
}

fn names(world: &World) {
    let ia5 = |text: &str| text.try_into().unwrap();
    let client = Wanted {
        names: vec![
            dns("Client.example.org"),
            dns("other.example.org"),
            SanType::Rfc822Name(ia5("client@example.org")),
            SanType::URI(ia5("spiffe://example.org/client")),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
            SanType::IpAddress("::ffff:198.51.100.7".parse().unwrap()),
        ],
        ..Wanted::default()
    }
    .self_signed();
    let nameless = Wanted::default().self_signed();
    let guarded = world.start_with(GOOD);
    let policy = |policy: &str, names: &str| {
        guarded
            .write(&tls_with(&format!("  client_auth_type: {policy}\n  client_allowed_sans: [{names}]\n")));
    };
    for name in [
        "Client.example.org",
        "other.example.org",
        "client@example.org",
        "spiffe://example.org/client",
        "192.0.2.7",
        "'2001:db8::7'",
        "198.51.100.7",
        "one, two, other.example.org",
    ] {
        policy("RequireAnyClientCert", name);
        assert_eq!(attempt(world, &guarded, Some(&client)), Ok(()), "{name}");
        let bad = Err("remote error: tls: bad certificate".to_owned());
        assert_eq!(attempt(world, &guarded, Some(&nameless)), bad, "{name}");
    }
    for name in [
        "client.example.org",
        "example.org",
        "'*.example.org'",
        "CLIENT@example.org",
        "spiffe://example.org/client/",
        "192.0.2.70",
        "'2001:0db8::7'",
        "'::ffff:198.51.100.7'",
        "",
    ] {
        policy("RequireAnyClientCert", name);
        let bad = Err("remote error: tls: bad certificate".to_owned());
        assert_eq!(attempt(world, &guarded, Some(&client)), bad, "{name}");
    }
    // Where a certificate may be left out, the list of names would be of no use.
    policy("RequestClientCert", "Client.example.org");
    assert_eq!(attempt(world, &guarded, Some(&client)), Ok(()));
    assert_eq!(attempt(world, &guarded, None), Err(format!("remote error: tls: {REQUIRED}")));
}

fn trust_that_changes(world: &World) {
    let (one, other) = (&world.certificates.client, &world.certificates.client2);
    let required = "  client_auth_type: RequireAndVerifyClientCert\n";
    let guarded =
        world.start_with(&tls_with(&format!("{required}  client_ca_file: client_selfsigned.pem\n")));
    let outcome = || [one, other].map(|client| attempt(world, &guarded, Some(client)).is_ok());
    assert_eq!(outcome(), [true, false]);
    std::fs::write(guarded.path("client_selfsigned.pem"), &other.cert).unwrap();
    assert_eq!(outcome(), [false, true], "the certificate has changed");
    guarded.write(&tls_with("  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [test3]\n"));
    assert_eq!(outcome(), [false, true], "the policy has changed");
    guarded.write(&tls_with("  client_auth_type: RequireAnyClientCert\n"));
    assert_eq!(outcome(), [true, true]);
    for invalid in [
        tls_with("  client_auth_type: RequireSomeClientCert\n"),
        tls_with(&format!("{required}  client_ca_file: nowhere.pem\n")),
        tls_with("  client_ca_file: client_selfsigned.pem\n"),
        "tls_server_config:\n  cert_file: server.crt\n".to_owned(),
        "tls_server_config:\n".to_owned(),
    ] {
        guarded.write(&invalid);
        assert_eq!(outcome(), [false, false], "{invalid}");
        assert!(attempt(world, &guarded, None).is_err(), "{invalid}");
    }
    guarded.write(&tls_with(""));
    assert_eq!(outcome(), [true, true]);
    let log = guarded.log_until("The web configuration is valid again");
    for problem in [
        "invalid ClientAuth: RequireSomeClientCert",
        "nowhere.pem: no such file or directory",
        "client CA's have been configured without a Client Auth Policy",
        "missing one of key or key_file",
        "TLS cannot be turned off while the program runs",
    ] {
        assert!(log.contains(problem), "{problem} is not in\n{log}");
    }
}

fn key_inline(world: &World) {
    let text = "tls_server_config:\n  cert_file: server.crt\n  key: |\nKEY\n  client_auth_type: RequireAnyClientCert\n";
    let guarded = world.start_with(&world.inline(text));
    attempt(world, &guarded, Some(&world.certificates.client)).unwrap();
    assert_eq!(attempt(world, &guarded, None), Err(format!("remote error: tls: {REQUIRED}")));
    let key = world.certificates.server.key.lines().nth(1).unwrap();
    assert!(!guarded.exporter.process.stderr.text().contains(key));
}

fn resumption(world: &World) {
    let any = "  client_auth_type: RequireAnyClientCert\n";
    for most in ["TLS12", "TLS13"] {
        for (keys, second) in [(any, HandshakeKind::Full), ("", HandshakeKind::Resumed)] {
            let guarded = world.start_with(&tls_with(&format!("{keys}  max_version: {most}\n")));
            let tls = Tls::new(world.certificates.authority.der(), Some(&world.certificates.client));
            let kinds = [(); 2].map(|()| tls.get(&guarded.addresses[0], "/", Login(None)).unwrap().1.kind);
            assert_eq!(kinds, [HandshakeKind::Full, second], "{keys}, {most}");
        }
    }
}

fn http2(world: &World) {
    let off = tls_with("http_server_config:\n  http2: off\n");
    let agreed = |guarded: &Guarded, offered: &[&[u8]]| {
        let mut tls = Tls::new(world.certificates.authority.der(), None);
        tls.0.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        guarded.addresses.iter().map(|address| tls.protocol(address)).collect::<Vec<_>>()
    };
    let (h2, h1) = (Some(b"h2".to_vec()), Some(b"http/1.1".to_vec()));
    let guarded = world.start_with(&tls_with(""));
    assert_eq!(agreed(&guarded, &[b"http/1.1", b"h2"]), [h2.clone(), h2.clone()]);
    assert_eq!(agreed(&guarded, &[b"http/1.1"]), [h1.clone(), h1.clone()]);
    guarded.log_until("msg=\"TLS is enabled.\" http2=true");
    guarded.write(&off);
    assert_eq!(agreed(&guarded, &[b"h2"]), [h2.clone(), h2], "it is fixed at the start");
    guarded.log_until("http_server_config.http2: counts from the next start on; until then it is as it was");

    let guarded = world.start_with(&off);
    assert_eq!(agreed(&guarded, &[b"h2", b"http/1.1"]), [h1.clone(), h1]);
    guarded.log_until("msg=\"TLS is enabled.\" http2=false");
    let log = world.start_with("").log_until("TLS is disabled.");
    assert!(log.contains("msg=\"TLS is disabled.\" http2=false"), "{log}");
}

fn choice_of_cipher(world: &World) {
    let (small, large) = (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    );
    for order in ["", "  prefer_server_cipher_suites: false\n"] {
        let guarded = world.start_with(&format!("{SOME_CIPHERS}{order}"));
        for (offered, chosen) in [(&[large, small][..], small), (&[small, large], small), (&[large], large)] {
            let tls = Tls::with(world.certificates.authority.der(), None, only_suites(offered));
            for address in &guarded.addresses {
                assert_eq!(tls.get(address, "/", Login(None)).unwrap().1.suite, chosen);
            }
        }
    }
    // Names that rustls does not have are said at the start, and cost nothing else.
    let cbc = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
    let guarded =
        world.start_with(&SOME_CIPHERS.replace("  min_version", &format!("  - {cbc}\n  min_version")));
    guarded.log_until(&format!("{cbc} is not offered: there are no CBC suites here"));
    // Those of TLS 1.3 cannot be chosen among.
    let list = "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n";
    let guarded = world.start_with(&tls_with(list));
    let tls = Tls::new(world.certificates.authority.der(), None);
    let suite = tls.get(&guarded.addresses[0], "/", Login(None)).unwrap().1.suite;
    assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
}

fn curves(world: &World) {
    let ours = default_provider().kx_groups.into_iter().chain([&P521 as _]);
    let guarded = world.start_with(&tls_with(""));
    let preferring = world.start_with(&tls_with("  curve_preferences: [X25519, CurveP384]\n"));
    let mut spoken = Vec::new();
    for group in ours {
        let tls = Tls::with(world.certificates.authority.der(), None, only_group(group));
        let (_, agreed) = tls.get(&guarded.addresses[0], "/", Login(None)).unwrap();
        assert_eq!(agreed.group, Some(group.name()));
        if tls.get(&preferring.addresses[0], "/", Login(None)).is_ok() {
            spoken.push(group.name());
        }
    }
    assert_eq!(spoken, [NamedGroup::X25519, NamedGroup::secp384r1]);
}

fn openssl(world: &World) {
    let guarded = world.start_with(SOME_CURVES);
    let ask = |options: &[&str]| super::client::openssl(&guarded.addresses[0], options);
    let Some(said) = ask(&["-groups", "P-521"]) else { return };
    assert!(said.contains("secp521r1") && said.contains("HTTP/1.1 200 OK"), "{said}");
    let said = ask(&["-groups", "P-384"]).unwrap();
    assert!(said.contains("alert handshake failure"), "{said}");
    let guarded = world.start_with(GOOD);
    let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    let said = super::client::openssl(&guarded.addresses[0], &old).unwrap();
    assert!(said.contains("alert protocol version"), "{said}");
}
