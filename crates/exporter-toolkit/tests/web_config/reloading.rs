//! Tests of files that change while the example runs.

use std::time::Duration;

use tokio::time::Instant;

use super::certificates::{Authority, Pair, Wanted, dns};
use super::client::{Login, Tls, get, request};
use super::requests::{ALICE, ANONYMOUS, BOB, users};
use super::world::{Server, World};

type Test = (&'static str, fn(&World));

pub(crate) const TESTS: &[Test] = &[
    ("changes_of_the_tls_versions_apply_without_a_restart", versions),
    ("a_changed_certificate_applies_to_the_next_connection", certificate_that_changes),
    ("new_connections_are_refused_while_the_key_is_of_another_certificate", key_of_another_certificate),
    ("tls_cannot_be_turned_on_or_off_while_the_program_runs", tls_is_fixed),
    ("changes_of_the_users_apply_without_a_restart", users_that_change),
    ("every_request_is_refused_while_the_file_is_invalid", invalid_file),
    ("authentication_that_vanishes_is_logged_once", authentication_that_vanishes),
    ("a_pipe_in_the_place_of_the_file_is_refused_at_once", pipe),
    (
        "a_file_of_certificates_that_is_a_pipe_refuses_new_connections_at_once_and_no_open_one",
        pipe_of_authorities,
    ),
];

/// A certificate and a key beside the file.
pub(crate) const TLS: &str = "tls_server_config: { cert_file: server.crt, key_file: server.key }\n";
/// The log message after a repair.
pub(crate) const REPAIRED: &str = "The web configuration is valid again";

/// Returns a client that trusts the server of all tests.
pub(crate) fn tls(world: &World) -> Tls {
    Tls::new(world.certificates.authority.der(), None)
}

/// Returns a certificate for `localhost` and its authority.
fn another_certificate() -> (Pair, Authority) {
    let authority = Authority::new("another authority");
    let wanted = Wanted { names: vec![dns("localhost")], ..Wanted::default() };
    (wanted.signed_by(&authority), authority)
}

fn versions(world: &World) {
    let server = world.start_with(&TLS.replace(" }", ", min_version: TLS13 }"));
    let supports = |version: &'static rustls::SupportedProtocolVersion| {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let cipher_suites = provider.cipher_suites.iter().filter(|suite| suite.version() == version);
        let cipher_suites = cipher_suites.copied().collect();
        let provider = rustls::crypto::CryptoProvider { cipher_suites, ..provider };
        let client = Tls::with(world.certificates.authority.der(), None, provider);
        let outcomes = server.addresses.iter().map(|address| client.connect(address).map(drop));
        outcomes.collect::<std::io::Result<()>>()
    };
    let refused = supports(&rustls::version::TLS12).unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    assert!(supports(&rustls::version::TLS13).is_ok());
    server.write(&TLS.replace(" }", ", max_version: TLS12 }"));
    assert!(supports(&rustls::version::TLS13).is_err());
    assert!(supports(&rustls::version::TLS12).is_ok());
}

fn certificate_that_changes(world: &World) {
    let server = world.start_with(TLS);
    for address in &server.addresses {
        let mut open = tls(world).connect(address).unwrap();
        let (new, authority) = another_certificate();
        std::fs::write(server.path("server.crt"), &new.cert).unwrap();
        std::fs::write(server.path("server.key"), &new.key).unwrap();
        let after = Tls::new(authority.der(), None).connect(address).unwrap();
        assert_eq!(after.conn.peer_certificates().unwrap(), [new.der]);
        assert!(tls(world).connect(address).is_err());
        let response = request(&mut open, "GET", "/-/healthy", "").unwrap();
        assert_eq!(response.status, 200, "an open connection does not work with the old certificate");
        world.certificates.write(&server.path(""));
    }
}

fn key_of_another_certificate(world: &World) {
    let server = world.start_with(TLS);
    let mut open = tls(world).connect(&server.addresses[0]).unwrap();
    let key = std::fs::read(server.path("server.key")).unwrap();
    std::fs::write(server.path("server.key"), another_certificate().0.key).unwrap();
    for _ in 0..3 {
        for address in &server.addresses {
            assert!(tls(world).connect(address).is_err());
        }
    }
    assert_eq!(request(&mut open, "GET", "/-/healthy", "").unwrap().status, 200);
    std::fs::write(server.path("server.key"), key).unwrap();
    for address in &server.addresses {
        assert_eq!(tls(world).get(address, "/-/healthy", ANONYMOUS).unwrap().0.status, 200);
    }
    let log = server.log_until(REPAIRED);
    assert_eq!(log.matches("Unable to parse configuration").count(), 1, "not logged once per change:\n{log}");
    assert!(log.contains("the private key is not that of the certificate"), "{log}");
    assert!(!log.contains("PRIVATE"), "{log}");
}

fn tls_is_fixed(world: &World) {
    let encrypted = world.start_with(TLS);
    encrypted.write("");
    for address in &encrypted.addresses {
        assert!(tls(world).connect(address).is_err());
        assert_eq!(get(address, "/metrics", ANONYMOUS).unwrap().status, 400);
    }
    encrypted.log_until("TLS cannot be turned off while the program runs");

    let plain = world.start_with("");
    plain.log_until("TLS is disabled.");
    plain.write(TLS);
    for address in &plain.addresses {
        assert_eq!(get(address, "/metrics", ANONYMOUS).unwrap().status, 200);
    }
    plain.log_until("tls_server_config: counts from the next start on; until then it is as it was");
}

/// Asserts the status of `/metrics` on every listener.
fn assert_status(server: &Server, login: Login, status: u16) {
    for address in &server.addresses {
        assert_eq!(get(address, "/metrics", login).unwrap().status, status, "{login:?} at {address}");
    }
}

fn users_that_change(world: &World) {
    let server = world.start_with("");
    assert_status(&server, ANONYMOUS, 200);
    let all = users();
    let without = |name: &str| {
        let lines =
            all.lines().filter(|line| !line.trim_start().starts_with(name)).map(|line| format!("{line}\n"));
        lines.collect::<String>()
    };
    server.write(&without("bob"));
    assert_status(&server, ANONYMOUS, 401);
    assert_status(&server, ALICE, 200);
    server.write(&without("alice"));
    assert_status(&server, ALICE, 401);
    assert_status(&server, BOB, 200);
}

fn invalid_file(world: &World) {
    let valid = users();
    let server = world.start_with(&valid);
    let assert_refused = || {
        for path in ["/metrics", "/-/healthy", "/no-such-path"] {
            for address in &server.addresses {
                let response = get(address, path, ALICE).unwrap();
                let (status, body) = (response.status, response.body.as_str());
                assert_eq!((status, body), (500, "Internal Server Error\n"), "{path}");
            }
        }
    };
    assert_status(&server, ALICE, 200);
    server.write("basic_auth_users: { alice: [clear] }\n");
    assert_refused();
    assert_refused();
    server.remove_file();
    assert_refused();
    server.write(&valid);
    assert_status(&server, ALICE, 200);
    let log = server.log_until(REPAIRED);
    assert_eq!(log.matches("Unable to parse configuration").count(), 2, "not logged once per change:\n{log}");
    assert!(!log.contains("clear") && !log.contains("$2"), "{log}");
}

fn authentication_that_vanishes(world: &World) {
    let server = world.start_with(&users());
    let (gone, back) = (
        "basic_auth_users: no longer asks for a password, so clients without one are served",
        "basic_auth_users: asks for a password from now on",
    );
    // The second time it is invalid before.
    for (round, invalid) in [(1, None), (2, Some("nonsense"))] {
        if let Some(invalid) = invalid {
            server.write(invalid);
            assert_status(&server, ALICE, 500);
        }
        server.write("basic_auth_users: {}\n");
        for _ in 0..3 {
            assert_status(&server, ANONYMOUS, 200);
        }
        server.write("# another file without users\n");
        assert_status(&server, ANONYMOUS, 200);
        server.write(&users());
        assert_status(&server, ANONYMOUS, 401);
        assert_status(&server, ALICE, 200);
        let log = server.log_until_times(back, round);
        assert_eq!((log.matches(gone).count(), log.matches(back).count()), (round, round), "{log}");
    }

    let with = |policy: &str| {
        TLS.replace(" }", &format!(", client_ca_file: server.crt, client_auth_type: {policy} }}"))
    };
    let server = world.start_with(&with("RequireAndVerifyClientCert"));
    server.write(&with("VerifyClientCertIfGiven"));
    for address in &server.addresses {
        assert_eq!(tls(world).get(address, "/metrics", ANONYMOUS).unwrap().0.status, 200);
    }
    let log = server.log_until("client_auth_type: no longer asks for a trusted client certificate");
    assert_eq!(log.matches("no longer asks for").count(), 1, "{log}");
}

fn make_fifo(path: &std::path::Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

fn pipe(world: &World) {
    let server = world.start_with(&users());
    make_fifo(&server.path("pipe"));
    server.replace_by("pipe");
    let began = Instant::now();
    for _ in 0..3 {
        assert_status(&server, ALICE, 500);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    server.log_until("this is a pipe, not a regular file");
    server.write(&users());
    assert_status(&server, ALICE, 200);
}

fn pipe_of_authorities(world: &World) {
    let file = TLS.replace(" }", ", client_ca_file: ca.pem, client_auth_type: VerifyClientCertIfGiven }");
    let server = world.start_with(TLS);
    std::fs::copy(server.path("server.crt"), server.path("ca.pem")).unwrap();
    server.write(&file);
    let address = &server.addresses[0];
    let open: Vec<_> = (0..20).map(|_| tls(world).connect(address).unwrap()).collect();
    make_fifo(&server.path("pipe"));
    std::fs::rename(server.path("pipe"), server.path("ca.pem")).unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| assert!(tls(world).connect(address).is_err()));
        }
        for mut open in open {
            let asked = Instant::now();
            assert_eq!(request(&mut open, "GET", "/metrics", "").unwrap().status, 200);
            assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        }
    });
    // Nobody waits for the other end of the pipe.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    server.log_until("ca.pem: this is a pipe, not a regular file");
    std::fs::copy(server.path("server.crt"), server.path("new.pem")).unwrap();
    std::fs::rename(server.path("new.pem"), server.path("ca.pem")).unwrap();
    crate::support::eventually("a connection", || tls(world).connect(address).ok());
}
