//! Tests of the rate limit, headers, passwords and health endpoints.

use std::thread;

use super::cases::File;
use super::client::{Login, Response, connect, get, request};
use super::files::USERS;
use super::reloading::{REPAIRED, TLS, tls};
use super::world::{Server, World};

type Test = (&'static str, fn(&World));

pub(crate) const TESTS: &[Test] = &[
    ("with_users_every_path_needs_a_password", everything),
    ("passwords_work_over_tls", passwords_over_tls),
    ("every_response_has_the_configured_headers", headers),
    ("all_listeners_share_one_rate_limit_which_applies_before_headers_and_passwords", limit),
    ("a_changed_rate_limit_applies_from_the_next_start", limit_that_changes),
    ("health_endpoints_need_no_password_only_where_the_file_allows_it", open_health),
    ("three_hundred_concurrent_logins_get_the_right_responses", many_logins),
    ("a_crafted_login_does_not_match_a_cached_one", crafted_logins),
    ("an_invalid_hash_locks_out_only_its_user", invalid_hash),
    ("no_secret_is_logged_or_served_while_the_file_is_repaired", secrets_of_repairs),
    ("no_secret_is_in_any_output", secrets),
];

/// Returns alice and bob with the passwords `sesame` and `mustard`, hashed with the lowest cost of bcrypt.
pub(crate) fn users() -> String {
    let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
    format!("basic_auth_users:\n  alice: {}\n  bob: {}\n", hash("sesame"), hash("mustard"))
}

pub(crate) const ALICE: Login = Login(Some(("alice", "sesame")));
pub(crate) const BOB: Login = Login(Some(("bob", "mustard")));
pub(crate) const ANONYMOUS: Login = Login(None);
const ALICE_WRONG: Login = Login(Some(("alice", "wrong")));
const EVE: Login = Login(Some(("eve", "sesame")));
const HEADER: &str = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n";

fn status(server: &Server, path: &str, login: Login) -> u16 {
    let statuses: Vec<_> =
        server.addresses.iter().map(|address| get(address, path, login).unwrap().status).collect();
    assert_eq!(statuses[0], statuses[1], "the listeners disagree about {path}");
    statuses[0]
}

fn everything(world: &World) {
    let server = world.start_with(&users());
    for address in &server.addresses {
        for path in ["/metrics", "/", "/-/healthy", "/-/ready", "/no-such-path"] {
            let with = |headers| request(connect(address).unwrap(), "GET", path, headers).unwrap();
            let responses = [ANONYMOUS, ALICE_WRONG, EVE].map(|login| get(address, path, login).unwrap());
            for response in responses.into_iter().chain([with("Authorization: Bearer x\r\n")]) {
                assert_eq!((response.status, response.body.as_str()), (401, "Unauthorized\n"), "{path}");
                assert_eq!(response.header("www-authenticate"), Some("Basic"));
                assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
            }
            let expected = if path == "/no-such-path" { 404 } else { 200 };
            assert_eq!(get(address, path, ALICE).unwrap().status, expected, "{path}");
        }
        for (login, status) in [(ANONYMOUS, 401), (ALICE_WRONG, 401), (ALICE, 405)] {
            let stream = connect(address).unwrap();
            assert_eq!(request(stream, "POST", "/metrics", &login.header()).unwrap().status, status);
        }
        assert!(get(address, "/metrics", ALICE).unwrap().body.contains("\nscrapes_total{"));
    }
}

fn passwords_over_tls(world: &World) {
    let server = world.start_with(&format!("{TLS}{}", users()));
    for address in &server.addresses {
        assert_eq!(tls(world).get(address, "/metrics", ANONYMOUS).unwrap().0.status, 401);
        assert_eq!(tls(world).get(address, "/metrics", ALICE).unwrap().0.status, 200);
    }
}

fn headers(world: &World) {
    let headers = [
        ("Strict-Transport-Security", "max-age=31536000; includeSubDomains"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "deny"),
        ("X-XSS-Protection", "1"),
        ("Content-Security-Policy", "default-src 'self'"),
    ];
    let lines = headers.map(|(name, value)| format!("    {name}: {value}\n")).concat();
    let server = world.start_with(&format!("http_server_config:\n  headers:\n{lines}{}", users()));
    for address in &server.addresses {
        for (path, login) in [
            ("/metrics", ALICE),
            ("/", ALICE),
            ("/-/ready", ALICE),
            ("/no-such-path", ALICE),
            ("/metrics", ALICE_WRONG),
            ("/metrics", ANONYMOUS),
        ] {
            let response = get(address, path, login).unwrap();
            for (name, value) in headers {
                assert_eq!(response.header(name), Some(value), "{path}: {}", response.head);
            }
        }
    }
}

fn limit(world: &World) {
    let file = format!("{HEADER}{}rate_limit:\n  interval: 1h\n  burst: 5\n", users());
    let server = world.start_with(&file);
    server.log_until("Rate Limiter is enabled. burst=5 interval=3600s");
    let [one, other] = [&server.addresses[0], &server.addresses[1]];
    // Requests do not count against the limit while the file is invalid.
    server.write("nonsense");
    for _ in 0..10 {
        assert_eq!(get(one, "/", ALICE).unwrap().status, 500);
    }
    server.write(&file);
    let statuses = [(one, ALICE), (other, ANONYMOUS), (one, BOB), (other, ALICE), (one, ANONYMOUS)]
        .map(|(address, login)| get(address, "/", login).unwrap().status);
    assert_eq!(statuses, [200, 401, 200, 200, 401]);
    for address in [one, other] {
        for path in ["/", "/metrics", "/-/healthy", "/nowhere"] {
            let Response { status, head, body } = get(address, path, ALICE).unwrap();
            assert_eq!((status, body.as_str()), (429, "Too Many Requests\n"), "{path}");
            let head = head.to_lowercase();
            assert!(head.contains("x-content-type-options: nosniff"), "{head}");
            assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
            assert!(!head.contains("x-frame-options") && !head.contains("www-authenticate"), "{head}");
        }
    }
}

fn limit_that_changes(world: &World) {
    let server = world.start_with("");
    server.write("rate_limit:\n  interval: 1h\n  burst: 0\n");
    for _ in 0..3 {
        assert_eq!(status(&server, "/", ANONYMOUS), 200);
    }
    server.log_until("rate_limit.burst: is 0, so every request is refused");
    let server = world.start_with("rate_limit:\n  interval: 1h\n  burst: 0\n");
    server.log_until("rate_limit.burst: is 0, so every request is refused");
    assert_eq!(status(&server, "/", ANONYMOUS), 429);
    server.write("");
    assert_eq!(status(&server, "/", ANONYMOUS), 429);
    server.log_until("rate_limit: counts from the next start on; until then it is as it was");
}

fn open_health(world: &World) {
    let (closed, open) = (
        format!("{HEADER}{}", users()),
        format!("{HEADER}{}counter:\n  health_without_authentication: true\n", users()),
    );
    let server = world.start_with(&closed);
    let others =
        ["/", "/metrics", "/-/reload", "/-/healthy/", "/-/Ready", "/-/healthy%20", "//-/healthy", "/x"];
    for (file, expected) in [(&closed, 401), (&open, 200), (&closed, 401), (&open, 200)] {
        server.write(file);
        for path in ["/-/healthy", "/-/ready", "/-/healthy?x=1"] {
            assert_eq!(status(&server, path, ANONYMOUS), expected, "{path}");
            assert_eq!(status(&server, path, ALICE), 200, "{path}");
        }
        let response = get(&server.addresses[0], "/-/healthy", ANONYMOUS).unwrap();
        assert_eq!(response.header("x-frame-options"), Some("deny"), "a response lacks the headers");
        for path in others {
            assert_eq!(status(&server, path, ANONYMOUS), 401, "{path}");
        }
    }
    server.write(&open.replace("true", "maybe"));
    assert_eq!(
        status(&server, "/-/healthy", ANONYMOUS),
        500,
        "a request succeeded while the file is invalid"
    );
}

fn many_logins(world: &World) {
    let server = world.start_with(&users());
    thread::scope(|scope| {
        let all: Vec<_> = (0..300)
            .map(|n| {
                let address = &server.addresses[n % 2];
                scope.spawn(move || {
                    let (login, expected) = match n % 3 {
                        0 => (ALICE, 200),
                        1 => (Login(Some(("alice", "wrong"))), 401),
                        _ => (Login(Some(("nobody", "sesame"))), 401),
                    };
                    assert_eq!(get(address, "/", login).unwrap().status, expected, "login {n}");
                })
            })
            .collect();
        for one in all {
            one.join().unwrap();
        }
    });
}

fn crafted_logins(world: &World) {
    let server = world.start_with(USERS);
    let dave = "$2b$10$Smg/B9O1e/GccAcWzzQciu8dbj.klKTUQ3J8zoaRpX5A/TNR05gFu";
    let unknown_user_hash = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
    // The results are cached.
    assert_eq!(status(&server, "/", Login(Some(("dave", "dave123")))), 200);
    assert_eq!(status(&server, "/", Login(Some(("nobody", "fakepassword")))), 401);
    let crafted = [
        (format!("dave{dave}"), "dave123".to_owned()),
        ("dave".to_owned(), format!("{dave}dave123")),
        ("dav".to_owned(), "edave123".to_owned()),
        ("64617665".to_owned(), "dave123".to_owned()),
        ("eve".to_owned(), "fakepassword".to_owned()),
        (format!("dave{unknown_user_hash}"), "fakepassword".to_owned()),
    ];
    for (user, password) in crafted {
        let login: Login = Login(Some((user.leak(), password.leak())));
        for round in ["first", "cached"] {
            assert_eq!(status(&server, "/", login), 401, "{round}: {:?}", login.0);
        }
    }
    assert_eq!(status(&server, "/", Login(Some(("dave", "dave123")))), 200);
    // The user gets another hash.
    server.write(&USERS.replace(dave, unknown_user_hash));
    assert_eq!(
        status(&server, "/", Login(Some(("dave", "dave123")))),
        401,
        "the old password is still accepted"
    );
    assert_eq!(status(&server, "/", Login(Some(("dave", "fakepassword")))), 200);
    assert_eq!(status(&server, "/", Login(Some(("nobody", "fakepassword")))), 401);
}

fn invalid_hash(world: &World) {
    let file = users();
    let server = world.start_with(&file);
    let bob = file.lines().last().unwrap();
    server.write(&file.replace(bob, "  bob: mustard"));
    assert_eq!(status(&server, "/", BOB), 401);
    assert_eq!(status(&server, "/", ALICE), 200);
    let log = server.log_until("hashedSecret too short to be a bcrypted password");
    assert!(log.contains("basic_auth_users.bob") && !log.contains("mustard"), "{log}");
    server.write(&file);
    assert_eq!(status(&server, "/", BOB), 200);
}

fn secrets_of_repairs(world: &World) {
    let hash = bcrypt::hash("sesame", 4).unwrap();
    let server = world.start_with(&format!("{TLS}basic_auth_users: {{ alice: '{hash}' }}\n"));
    let tls = tls(world);
    let address = &server.addresses[1];
    let mut shown = String::new();
    for path in ["/metrics", "/"] {
        for login in [ALICE, ALICE_WRONG, ANONYMOUS] {
            shown += &tls.get(address, path, login).unwrap().0.body;
        }
    }
    // The error messages could quote the hash.
    for invalid in [
        format!("basic_auth_users: {{ alice: '{hash}', '{hash}': alice, alice: [{hash}] }}\n"),
        format!("basic_auth_users: {{ '{hash}': alice, bob: [{hash}] }}\n"),
    ] {
        server.write(&invalid);
        assert!(tls.connect(address).is_err());
    }
    server.write(TLS);
    assert_eq!(tls.get(address, "/-/healthy", ANONYMOUS).unwrap().0.status, 200);
    shown += &server.log_until(REPAIRED);
    assert_eq!(shown.matches("Unable to parse configuration").count(), 2, "{shown}");
    let secret_line = world.certificates.server.key.lines().nth(1).unwrap();
    for secret in [hash.as_str(), "$2b$", "sesame", "YWxpY2U6c2VzYW1l", secret_line] {
        assert!(!shown.contains(secret), "{secret} leaked in:\n{shown}");
    }
}

fn secrets(world: &World) {
    let key = format!("tls_server_config:\n  cert_file: server.crt\n  key: |\nKEY\n{}", users());
    let file = world.inline(&key);
    let server = world.start_with(&file);
    let tls = tls(world);
    let mut shown = String::new();
    for path in ["/", "/metrics", "/-/ready"] {
        for login in [
            ALICE,
            BOB,
            ANONYMOUS,
            Login(Some(("alice", "wrong-password"))),
            Login(Some(("eve", "open-sesame"))),
        ] {
            let (response, _) = tls.get(&server.addresses[0], path, login).unwrap();
            shown += &response.head;
            shown += &response.body;
        }
    }
    let lines: Vec<&str> = file.lines().collect();
    let (hash, pem) = (lines.last().unwrap().split(' ').next_back().unwrap(), lines[5].trim());
    // The error messages could quote a secret.
    for wrong in [
        format!("{file}  alice: {hash}\n"),
        format!("{file}  {hash}: alice\n  carol: {hash} more\n"),
        format!("{file}  carol: [{hash}]\n"),
        format!("{file} carol: {hash}\n"),
        file.replace("  key: |", "  key:\n    pem: |"),
        file.replace("  key: |", "  client_auth_type: |"),
        file.replace("  key: |", "  min_version: |"),
        file.replace("  key: |", "  cipher_suites:\n    - |"),
        file.replace("BEGIN PRIVATE KEY", "BEGIN PUBLIC KEY"),
        file.replace("  key: |", "  key_file: |"),
        file.replace("basic_auth_users:", "rate_limit:"),
        format!("{file}http_server_config:\n  headers:\n    X-Frame-Options: {hash}\n"),
        format!("{file}http_server_config:\n  headers:\n    {hash}: x\n"),
        format!("{file}rate_limit:\n  interval: {hash}\n"),
    ] {
        server.write(&wrong);
        drop(tls.get(&server.addresses[0], "/", ALICE));
        shown += &world.refusal(File::Text(&wrong));
    }
    server.write(&file);
    assert_eq!(tls.get(&server.addresses[0], "/", ALICE).unwrap().0.status, 200);
    shown += &server.log_until(REPAIRED);
    assert!(shown.contains("Unable to parse configuration"), "{shown}");
    for secret in [hash, "$2b$", pem, "sesame", "mustard", "wrong-password", "YWxpY2U6"] {
        assert!(!shown.contains(secret), "{secret} leaked in:\n{shown}");
    }
}
