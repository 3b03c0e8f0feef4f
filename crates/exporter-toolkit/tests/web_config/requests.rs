//! Our own tests of what happens to a request: limit, headers, passwords, and the paths that may be open to all.

use std::thread;

use super::client::{Answer, Login, Tls, get};
use super::files::USERS;
use super::world::{Guarded, World};

type Test = (&'static str, fn(&World));

pub(crate) const TESTS: &[Test] = &[
    ("one_limit_holds_for_all_listeners_and_comes_before_headers_and_passwords", limit),
    ("a_limit_that_changes_in_the_file_is_that_of_the_next_start", limit_that_changes),
    ("health_is_open_to_all_only_where_the_file_says_so", open_health),
    ("three_hundred_logins_at_once_get_each_their_own_answer", many_logins),
    ("a_crafted_login_never_passes_for_one_that_is_remembered", crafted_logins),
    ("a_hash_that_became_useless_keeps_out_its_user_only", useless_hash),
    ("nothing_that_is_secret_is_in_any_output", secrets),
];

/// alice and bob, with the passwords `sesame` and `mustard`, at the least cost that bcrypt has.
fn users() -> String {
    let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
    format!("basic_auth_users:\n  alice: {}\n  bob: {}\n", hash("sesame"), hash("mustard"))
}

const ALICE: Login = Login(Some(("alice", "sesame")));
const BOB: Login = Login(Some(("bob", "mustard")));
const NOBODY: Login = Login(None);
const HEADER: &str = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n";

fn status(guarded: &Guarded, path: &str, login: Login) -> u16 {
    let statuses: Vec<_> =
        guarded.addresses.iter().map(|address| get(address, path, login).unwrap().status).collect();
    assert_eq!(statuses[0], statuses[1], "the listeners disagree about {path}");
    statuses[0]
}

fn limit(world: &World) {
    let file = format!("{HEADER}{}rate_limit:\n  interval: 1h\n  burst: 5\n", users());
    let guarded = world.start_with(&file);
    guarded.log_until("msg=\"Rate Limiter is enabled.\" burst=5 interval=3600s");
    let [one, other] = [&guarded.addresses[0], &guarded.addresses[1]];
    // While the file is invalid nothing is counted.
    guarded.write("nonsense");
    for _ in 0..10 {
        assert_eq!(get(one, "/", ALICE).unwrap().status, 500);
    }
    guarded.write(&file);
    let statuses = [(one, ALICE), (other, NOBODY), (one, BOB), (other, ALICE), (one, NOBODY)]
        .map(|(address, login)| get(address, "/", login).unwrap().status);
    assert_eq!(statuses, [200, 401, 200, 200, 401]);
    for address in [one, other] {
        for path in ["/", "/metrics", "/-/healthy", "/nowhere"] {
            let Answer { status, head, body } = get(address, path, ALICE).unwrap();
            assert_eq!((status, body.as_str()), (429, "Too Many Requests\n"), "{path}");
            let head = head.to_lowercase();
            assert!(head.contains("x-content-type-options: nosniff"), "{head}");
            assert!(head.contains("content-type: text/plain; charset=utf-8"), "{head}");
            assert!(!head.contains("x-frame-options") && !head.contains("www-authenticate"), "{head}");
        }
    }
}

fn limit_that_changes(world: &World) {
    let guarded = world.start_with("");
    guarded.write("rate_limit:\n  interval: 1h\n  burst: 0\n");
    for _ in 0..3 {
        assert_eq!(status(&guarded, "/", NOBODY), 200);
    }
    guarded.log_until("rate_limit.burst: is 0, so every request is refused");
    let guarded = world.start_with("rate_limit:\n  interval: 1h\n  burst: 0\n");
    guarded.log_until("rate_limit.burst: is 0, so every request is refused");
    assert_eq!(status(&guarded, "/", NOBODY), 429);
    guarded.write("");
    assert_eq!(status(&guarded, "/", NOBODY), 429);
    guarded.log_until("rate_limit: counts from the next start on; until then it is as it was");
}

fn open_health(world: &World) {
    let (closed, open) = (
        format!("{HEADER}{}", users()),
        format!("{HEADER}{}partner_license_exporter:\n  health_without_authentication: true\n", users()),
    );
    let guarded = world.start_with(&closed);
    guarded.exporter.process.stderr.wait_for("end of the poll", |line| line.contains("poll").then_some(()));
    let others =
        ["/", "/metrics", "/-/reload", "/-/healthy/", "/-/Ready", "/-/healthy%20", "//-/healthy", "/x"];
    for (file, expected) in [(&closed, 401), (&open, 200), (&closed, 401), (&open, 200)] {
        guarded.write(file);
        for path in ["/-/healthy", "/-/ready", "/-/healthy?x=1"] {
            // Ready or not, it is an answer.
            let found = status(&guarded, path, NOBODY);
            assert!(found == expected || (expected == 200 && found == 503), "{path}: {found}");
            assert_ne!(status(&guarded, path, ALICE), 401, "{path}");
        }
        let answer = get(&guarded.addresses[0], "/-/healthy", NOBODY).unwrap();
        assert_eq!(answer.header("x-frame-options"), Some("deny"), "headers are for every answer");
        for path in others {
            assert_eq!(status(&guarded, path, NOBODY), 401, "{path}");
        }
    }
    guarded.write(&open.replace("true", "maybe"));
    assert_eq!(status(&guarded, "/-/healthy", NOBODY), 500, "nobody is let in while the file is invalid");
}

fn many_logins(world: &World) {
    let guarded = world.start_with(&users());
    thread::scope(|scope| {
        let all: Vec<_> = (0..300)
            .map(|n| {
                let address = &guarded.addresses[n % 2];
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
    let guarded = world.start_with(USERS);
    let dave = "$2b$10$Smg/B9O1e/GccAcWzzQciu8dbj.klKTUQ3J8zoaRpX5A/TNR05gFu";
    let stands_in = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";
    // Whatever comes of these is remembered.
    assert_eq!(status(&guarded, "/", Login(Some(("dave", "dave123")))), 200);
    assert_eq!(status(&guarded, "/", Login(Some(("nobody", "fakepassword")))), 401);
    let crafted = [
        (format!("dave{dave}"), "dave123".to_owned()),
        ("dave".to_owned(), format!("{dave}dave123")),
        ("dav".to_owned(), "edave123".to_owned()),
        ("64617665".to_owned(), "dave123".to_owned()),
        ("eve".to_owned(), "fakepassword".to_owned()),
        (format!("dave{stands_in}"), "fakepassword".to_owned()),
    ];
    for (user, password) in crafted {
        let login: Login = Login(Some((user.leak(), password.leak())));
        for round in ["first", "remembered"] {
            assert_eq!(status(&guarded, "/", login), 401, "{round}: {:?}", login.0);
        }
    }
    assert_eq!(status(&guarded, "/", Login(Some(("dave", "dave123")))), 200);
    // A hash and a password that bcrypt cannot work with are refused, and so is a user of the same name.
    guarded.write(&USERS.replace(dave, stands_in));
    assert_eq!(status(&guarded, "/", Login(Some(("dave", "dave123")))), 401, "it is another hash");
    assert_eq!(status(&guarded, "/", Login(Some(("dave", "fakepassword")))), 200);
    assert_eq!(status(&guarded, "/", Login(Some(("nobody", "fakepassword")))), 401);
}

fn useless_hash(world: &World) {
    let file = users();
    let guarded = world.start_with(&file);
    let bob = file.lines().last().unwrap();
    guarded.write(&file.replace(bob, "  bob: mustard"));
    assert_eq!(status(&guarded, "/", BOB), 401);
    assert_eq!(status(&guarded, "/", ALICE), 200);
    let log = guarded.log_until("hashedSecret too short to be a bcrypted password");
    assert!(log.contains("basic_auth_users.bob") && !log.contains("mustard"), "{log}");
    guarded.write(&file);
    assert_eq!(status(&guarded, "/", BOB), 200);
}

fn secrets(world: &World) {
    let key = format!("tls_server_config:\n  cert_file: server.crt\n  key: |\nKEY\n{}", users());
    let file = world.inline(&key);
    let guarded = world.start_with(&file);
    let tls = Tls::new(world.certificates.authority.der(), None);
    let mut shown = String::new();
    for path in ["/", "/metrics", "/-/ready"] {
        for login in [
            ALICE,
            BOB,
            NOBODY,
            Login(Some(("alice", "wrong-password"))),
            Login(Some(("eve", "open-sesame"))),
        ] {
            let (answer, _) = tls.get(&guarded.addresses[0], path, login).unwrap();
            shown += &answer.head;
            shown += &answer.body;
        }
    }
    let lines: Vec<&str> = file.lines().collect();
    let (hash, pem) = (lines.last().unwrap().split(' ').next_back().unwrap(), lines[5].trim());
    // Wrong in every way whose report could quote what is near.
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
        guarded.write(&wrong);
        drop(tls.get(&guarded.addresses[0], "/", ALICE));
        let [started, checked] = world.refusals_of(&wrong);
        shown += &started;
        shown += &checked;
    }
    guarded.write(&file);
    assert_eq!(tls.get(&guarded.addresses[0], "/", ALICE).unwrap().0.status, 200);
    shown += &guarded.log_until("The web configuration is valid again");
    assert!(shown.contains("Unable to parse configuration"), "{shown}");
    for secret in [hash, "$2b$", pem, "sesame", "mustard", "wrong-password", "YWxpY2U6"] {
        assert!(!shown.contains(secret), "{secret} is shown in:\n{shown}");
    }
}
