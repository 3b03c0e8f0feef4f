//! Tests of TLS: which clients are accepted, and what is negotiated.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{CipherSuite, HandshakeKind, NamedGroup};

use super::certificates::{Authority, Pair, Wanted, dns};
use super::client::{P521, Tls, connect, get, only_group, only_suites};
use super::files::{GOOD, SOME_CIPHERS, SOME_CURVES};
use super::reloading::{TLS, tls};
use super::requests::ANONYMOUS;
use super::world::{Server, World};
use crate::support::{TIMEOUT, eventually};

type Test = (&'static str, fn(&World));

pub(crate) const TESTS: &[Test] = &[
    ("tls_is_announced_and_metrics_are_served", metrics),
    ("the_certificate_and_the_key_can_be_inline", inline),
    ("plain_http_on_a_tls_listener_is_answered_with_400", plain_http),
    ("silent_clients_do_not_delay_others_and_are_disconnected", silent_clients),
    ("a_stop_completes_the_pending_response_within_5_seconds", stop),
    ("every_policy_accepts_the_right_clients", policies),
    ("a_certificate_without_its_key_is_refused", impostors),
    ("a_client_with_any_allowed_name_is_accepted", names),
    ("changes_of_the_trusted_certificates_apply_without_a_restart", trust_that_changes),
    ("the_key_can_be_inline_if_clients_need_certificates", key_inline),
    ("no_session_is_resumed_if_clients_need_certificates", resumption),
    ("http2_is_negotiated_unless_it_is_disabled_at_the_start", http2),
    ("the_server_chooses_the_cipher", choice_of_cipher),
    ("every_curve_is_offered_unless_the_file_lists_curves", curves),
    ("openssl_negotiates_p_521_and_is_refused_with_tls_1_1", openssl),
];

fn metrics(world: &World) {
    let server = world.start_with(TLS);
    for address in &server.addresses {
        let (response, _) = tls(world).get(address, "/metrics", ANONYMOUS).unwrap();
        assert_eq!(response.status, 200);
        assert!(response.body.contains("\nscrapes_total{"), "{}", response.body);
        let log = server.log_until(&format!("TLS is enabled. http2=true address={address}"));
        assert!(!log.contains("TLS is disabled."), "{log}");
    }
}

fn inline(world: &World) {
    let quoted = |pem: &str| serde_json::Value::from(pem).to_string();
    let (cert, key) = (quoted(&world.certificates.server.cert), quoted(&world.certificates.server.key));
    let server = world.start_with(&format!("tls_server_config: {{ cert: {cert}, key: {key} }}\n"));
    for address in &server.addresses {
        assert_eq!(tls(world).get(address, "/-/healthy", ANONYMOUS).unwrap().0.status, 200);
    }
}

fn plain_http(world: &World) {
    let server = world.start_with(TLS);
    for address in &server.addresses {
        let response = get(address, "/metrics", ANONYMOUS).unwrap();
        assert_eq!(response.status, 400);
        assert_eq!(response.body, "Client sent an HTTP request to an HTTPS server.\n");
    }
}

fn silent_clients(world: &World) {
    let server = world.start_with(TLS);
    let addresses = server.addresses.iter().cycle();
    let mut silent: Vec<_> = addresses.take(50).map(|address| TcpStream::connect(address).unwrap()).collect();
    // Half of the clients of each listener begin a handshake.
    for stream in silent.iter_mut().take(25) {
        stream.write_all(&[22, 3, 1]).unwrap();
    }
    for address in server.addresses.iter().cycle().take(4) {
        assert_eq!(tls(world).get(address, "/metrics", ANONYMOUS).unwrap().0.status, 200);
    }
    // Their connections are still open.
    for stream in &silent {
        stream.set_nonblocking(true).unwrap();
        assert_eq!((&*stream).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    }
    // They are closed at the deadline.
    let mut first = silent.swap_remove(0);
    first.set_nonblocking(false).unwrap();
    first.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert_eq!(first.read(&mut [0]).unwrap(), 0);
}

fn stop(world: &World) {
    let mut server = world.start_with(TLS);
    let address = server.addresses[1].clone();
    let silent = TcpStream::connect(&address).unwrap();
    let idle = tls(world).connect(&address).unwrap();
    let mut scrape = tls(world).connect(&address).unwrap();
    // The second request is incomplete: its last header line is missing.
    let requests = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n";
    scrape.write_all(requests).unwrap();
    scrape.flush().unwrap();
    let mut start = [0; 15];
    scrape.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    server.example.process.terminate();
    eventually("the closing of the listener", || connect(&address).is_err().then_some(()));
    // The connection may be closed after the first response, which must be complete.
    drop(scrape.write_all(b"\r\n").and_then(|()| scrape.flush()));
    let mut rest = Vec::new();
    drop(scrape.read_to_end(&mut rest));
    let text = String::from_utf8_lossy(&rest);
    let (head, body) = text.split_once("\r\n\r\n").expect("a response");
    let length: usize = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
        .expect("a length");
    assert!(body.len() >= length, "{} of {length} bytes arrived", body.len());
    let (status, took) = server.example.process.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "took {took:?}");
    drop((silent, idle));
}

fn attempt(world: &World, server: &Server, client: Option<&Pair>) -> Result<(), String> {
    let tls = Tls::new(world.certificates.authority.der(), client);
    let responses = server.addresses.iter().map(|address| tls.get(address, "/", ANONYMOUS));
    let outcomes: Vec<_> =
        responses.map(|response| response.map(|(response, _)| assert_eq!(response.status, 200))).collect();
    assert_eq!(outcomes[0], outcomes[1], "the listeners disagree");
    outcomes[0].clone()
}

/// Returns a file with a certificate, its key and further keys of the section.
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
    // Only the valid certificates of the file are used.
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let pem = format!("some words\n{broken}{}{}{}", authority.pem(), trusted.concat(), listed.key);
    let server = world.start_with(GOOD);
    std::fs::write(server.path("clients.pem"), pem).unwrap();

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
        server.write(&tls_with(&format!("  client_auth_type: {policy}\n{ca}")));
        for (n, (client, expected)) in clients.into_iter().zip(expected).enumerate() {
            let outcome = attempt(world, &server, client).err();
            let expected = expected.map(|alert| format!("remote error: tls: {alert}"));
            assert_eq!(outcome, expected, "{policy}, client {n}");
        }
    }
    // Without a CA, or with an empty one, no certificate can be verified.
    for ca in ["", "  client_ca: no certificate\n", "  client_ca_file: /dev/null\n"] {
        server.write(&tls_with(&format!("  client_auth_type: RequireAndVerifyClientCert\n{ca}")));
        for client in [&listed, &issued, &stranger] {
            let outcome = attempt(world, &server, Some(client));
            assert_eq!(outcome, Err(format!("remote error: tls: {UNKNOWN}")), "{ca}");
        }
    }
    server.log_until("without client_ca or client_ca_file no certificate of a client is trusted");
    server.log_until("there is no certificate in it, so no certificate of a client is trusted");
}

fn impostors(world: &World) {
    let (shown, own) = (&world.certificates.client, &world.certificates.client2);
    for keys in [
        "  client_auth_type: RequestClientCert\n",
        "  client_auth_type: RequireAnyClientCert\n",
        "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client_selfsigned.pem\n",
    ] {
        for most in ["TLS12", "TLS13"] {
            let server = world.start_with(&tls_with(&format!("{keys}  max_version: {most}\n")));
            attempt(world, &server, Some(shown)).unwrap();
            let impostor = Tls::impostor(world.certificates.authority.der(), shown, own);
            for address in &server.addresses {
                let error = impostor.get(address, "/", ANONYMOUS).map(|_| ()).unwrap_err();
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
    let server = world.start_with(GOOD);
    let policy = |policy: &str, names: &str| {
        server.write(&tls_with(&format!("  client_auth_type: {policy}\n  client_allowed_sans: [{names}]\n")));
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
        assert_eq!(attempt(world, &server, Some(&client)), Ok(()), "{name}");
        let bad = Err("remote error: tls: bad certificate".to_owned());
        assert_eq!(attempt(world, &server, Some(&nameless)), bad, "{name}");
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
        assert_eq!(attempt(world, &server, Some(&client)), bad, "{name}");
    }
    // A list of names makes a certificate necessary.
    policy("RequestClientCert", "Client.example.org");
    assert_eq!(attempt(world, &server, Some(&client)), Ok(()));
    assert_eq!(attempt(world, &server, None), Err(format!("remote error: tls: {REQUIRED}")));
}

fn trust_that_changes(world: &World) {
    let (one, other) = (&world.certificates.client, &world.certificates.client2);
    let required = "  client_auth_type: RequireAndVerifyClientCert\n";
    let server = world.start_with(&tls_with(&format!("{required}  client_ca_file: client_selfsigned.pem\n")));
    let outcome = || [one, other].map(|client| attempt(world, &server, Some(client)).is_ok());
    assert_eq!(outcome(), [true, false]);
    std::fs::write(server.path("client_selfsigned.pem"), &other.cert).unwrap();
    assert_eq!(outcome(), [false, true], "the certificate has changed");
    server.write(&tls_with("  client_auth_type: RequireAnyClientCert\n  client_allowed_sans: [test3]\n"));
    assert_eq!(outcome(), [false, true], "the policy has changed");
    server.write(&tls_with("  client_auth_type: RequireAnyClientCert\n"));
    assert_eq!(outcome(), [true, true]);
    for invalid in [
        tls_with("  client_auth_type: RequireSomeClientCert\n"),
        tls_with(&format!("{required}  client_ca_file: nowhere.pem\n")),
        tls_with("  client_ca_file: client_selfsigned.pem\n"),
        "tls_server_config:\n  cert_file: server.crt\n".to_owned(),
        "tls_server_config:\n".to_owned(),
    ] {
        server.write(&invalid);
        assert_eq!(outcome(), [false, false], "{invalid}");
        assert!(attempt(world, &server, None).is_err(), "{invalid}");
    }
    server.write(&tls_with(""));
    assert_eq!(outcome(), [true, true]);
    let log = server.log_until("The web configuration is valid again");
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
    let server = world.start_with(&world.inline(text));
    attempt(world, &server, Some(&world.certificates.client)).unwrap();
    assert_eq!(attempt(world, &server, None), Err(format!("remote error: tls: {REQUIRED}")));
    let key = world.certificates.server.key.lines().nth(1).unwrap();
    assert!(!server.example.process.stderr.text().contains(key));
}

fn resumption(world: &World) {
    let any = "  client_auth_type: RequireAnyClientCert\n";
    for most in ["TLS12", "TLS13"] {
        for (keys, second) in [(any, HandshakeKind::Full), ("", HandshakeKind::Resumed)] {
            let server = world.start_with(&tls_with(&format!("{keys}  max_version: {most}\n")));
            let tls = Tls::new(world.certificates.authority.der(), Some(&world.certificates.client));
            let kinds = [(); 2].map(|()| tls.get(&server.addresses[0], "/", ANONYMOUS).unwrap().1.kind);
            assert_eq!(kinds, [HandshakeKind::Full, second], "{keys}, {most}");
        }
    }
}

fn http2(world: &World) {
    let off = tls_with("http_server_config:\n  http2: off\n");
    let agreed = |server: &Server, offered: &[&[u8]]| {
        let mut tls = Tls::new(world.certificates.authority.der(), None);
        tls.0.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        server.addresses.iter().map(|address| tls.protocol(address)).collect::<Vec<_>>()
    };
    let (h2, h1) = (Some(b"h2".to_vec()), Some(b"http/1.1".to_vec()));
    let server = world.start_with(&tls_with(""));
    assert_eq!(agreed(&server, &[b"http/1.1", b"h2"]), [h2.clone(), h2.clone()]);
    assert_eq!(agreed(&server, &[b"http/1.1"]), [h1.clone(), h1.clone()]);
    server.log_until("TLS is enabled. http2=true");
    server.write(&off);
    assert_eq!(agreed(&server, &[b"h2"]), [h2.clone(), h2], "the protocols changed after the start");
    server.log_until("http_server_config.http2: counts from the next start on; until then it is as it was");

    let server = world.start_with(&off);
    assert_eq!(agreed(&server, &[b"h2", b"http/1.1"]), [h1.clone(), h1]);
    server.log_until("TLS is enabled. http2=false");
    let log = world.start_with("").log_until("TLS is disabled.");
    assert!(log.contains("TLS is disabled. http2=false"), "{log}");
}

fn choice_of_cipher(world: &World) {
    let (small, large) = (
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    );
    for order in ["", "  prefer_server_cipher_suites: false\n"] {
        let server = world.start_with(&format!("{SOME_CIPHERS}{order}"));
        for (offered, chosen) in [(&[large, small][..], small), (&[small, large], small), (&[large], large)] {
            let tls = Tls::with(world.certificates.authority.der(), None, only_suites(offered));
            for address in &server.addresses {
                assert_eq!(tls.get(address, "/", ANONYMOUS).unwrap().1.suite, chosen);
            }
        }
    }
    // Suites that rustls does not support are reported and ignored.
    let cbc = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
    let server =
        world.start_with(&SOME_CIPHERS.replace("  min_version", &format!("  - {cbc}\n  min_version")));
    server.log_until(&format!("{cbc} is not offered: there are no CBC suites here"));
    // The suites of TLS 1.3 are not configurable.
    let list = "  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n";
    let server = world.start_with(&tls_with(list));
    let tls = Tls::new(world.certificates.authority.der(), None);
    let suite = tls.get(&server.addresses[0], "/", ANONYMOUS).unwrap().1.suite;
    assert_eq!(suite, CipherSuite::TLS13_AES_128_GCM_SHA256);
}

fn curves(world: &World) {
    let ours = default_provider().kx_groups.into_iter().chain([&P521 as _]);
    let server = world.start_with(&tls_with(""));
    let preferring = world.start_with(&tls_with("  curve_preferences: [X25519, CurveP384]\n"));
    let mut offered = Vec::new();
    for group in ours {
        let tls = Tls::with(world.certificates.authority.der(), None, only_group(group));
        let (_, agreed) = tls.get(&server.addresses[0], "/", ANONYMOUS).unwrap();
        assert_eq!(agreed.group, Some(group.name()));
        if tls.get(&preferring.addresses[0], "/", ANONYMOUS).is_ok() {
            offered.push(group.name());
        }
    }
    assert_eq!(offered, [NamedGroup::X25519, NamedGroup::secp384r1]);
}

fn openssl(world: &World) {
    let server = world.start_with(SOME_CURVES);
    let openssl = |options: &[&str]| super::client::openssl(&server.addresses[0], options);
    let Some(output) = openssl(&["-groups", "P-521"]) else { return };
    assert!(output.contains("secp521r1") && output.contains("HTTP/1.1 200 OK"), "{output}");
    let output = openssl(&["-groups", "P-384"]).unwrap();
    assert!(output.contains("alert handshake failure"), "{output}");
    let server = world.start_with(GOOD);
    let old = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"];
    let output = super::client::openssl(&server.addresses[0], &old).unwrap();
    assert!(output.contains("alert protocol version"), "{output}");
}
