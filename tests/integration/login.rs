//! `login`: a person signs in at a real terminal, and a running exporter uses the new refresh token.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use partner_center_simulator::{CLIENT_ID, CLIENT_SECRET};
use partner_license_exporter::config::ClientCertificate;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support;
use crate::support::terminal::{Screen, Terminal};
use crate::support::{
    Exporter, OTHER_TENANT, Simulator, TENANT, agent, eventually, program, run, write_config,
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/client-certificates");
const WAITING: &str = "Waiting for the sign-in, ";

/// A simulator, and a directory with a configuration for it.
struct Setup {
    simulator: Simulator,
    directory: Arc<tempfile::TempDir>,
    config: String,
}

impl Setup {
    /// Configures one account with a client secret and without a refresh token.
    fn new(scenario: &str) -> Self {
        Self::with(scenario, &format!("client_secret: {CLIENT_SECRET}"))
    }

    /// Configures one account with this credential and without a refresh token.
    fn with(scenario: &str, credential: &str) -> Self {
        let simulator = Simulator::start(scenario);
        let config =
            format!("poll_interval: 6h\naccounts:\n{}", item(None, TENANT, &simulator.url, credential));
        let directory = Arc::new(tempfile::tempdir().unwrap());
        write_config(directory.path(), &config);
        Self { simulator, directory, config }
    }

    fn configure(&mut self, config: String) {
        write_config(self.directory.path(), &config);
        self.config = config;
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    fn command(&self, flags: &[&str]) -> Command {
        let mut command = program(&["login", "--config.file", self.file().to_str().unwrap()]);
        // Without these variables `login` opens no browser.
        command.args(flags).env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY");
        command
    }

    fn login(&self, flags: &[&str]) -> Terminal {
        Terminal::start(&self.command(flags))
    }

    fn exporter(&self) -> Exporter {
        Exporter::start_in(Arc::clone(&self.directory), &self.config, &[])
    }

    /// Returns the refresh token of a tenant in the state directory.
    fn stored(&self, tenant: &str) -> Option<String> {
        let content = fs::read(self.token_file(tenant)).ok()?;
        let record: Value = serde_json::from_slice(&content).unwrap();
        Some(record["refresh_token"].as_str().unwrap().to_owned())
    }

    fn token_file(&self, tenant: &str) -> PathBuf {
        self.directory.path().join(format!("state/refresh-token-{tenant}-{CLIENT_ID}.json"))
    }

    /// Returns the number of requests with this grant that the simulator answered with this status.
    fn grants(&self, grant: &str, status: u16) -> usize {
        let requests = self.simulator.requests();
        let requests = requests["requests"].as_array().unwrap();
        requests.iter().filter(|request| request["grant"] == grant && request["status"] == status).count()
    }
}

/// Returns an account without a refresh token, as an item of `accounts`.
fn item(name: Option<&str>, tenant: &str, url: &str, credential: &str) -> String {
    let name = name.map_or_else(String::new, |name| format!("name: \"{name}\", "));
    let credential = if credential.is_empty() { String::new() } else { format!("{credential}, ") };
    format!(
        "  - {{ {name}tenant_id: {tenant}, client_id: {CLIENT_ID}, {credential}cloud: custom, \
         api_base_url: \"{url}\", login_base_url: \"{url}\" }}\n"
    )
}

/// Returns the indented lines of the instructions: an address, and for a device code the code.
fn instructions(screen: &Screen) -> Option<Vec<String>> {
    let (before, _) = screen.written().split_once("Waiting")?;
    Some(before.lines().filter_map(|line| line.strip_prefix("    ").map(str::to_owned)).collect())
}

/// Returns the lines of the screen that show the progress.
fn progress(screen: &Screen) -> Vec<String> {
    screen.lines().into_iter().filter(|line| line.contains(WAITING)).collect()
}

fn assert_contains(screen: &Screen, texts: &[&str]) {
    let shown = screen.lines().join("\n");
    for text in texts {
        assert!(shown.contains(text), "no {text:?} in:\n{shown}");
    }
    assert_eq!(screen.column(), 0, "the cursor is not at the beginning of a line:\n{shown}");
    assert!(progress(screen).len() <= 1, "the progress takes more than one line:\n{shown}");
}

fn decide(url: &str, user_code: &str, decision: &str) -> u16 {
    let form = [("user_code", user_code), ("decision", decision)];
    agent().post(&format!("{url}/simulator/device")).send_form(form).unwrap().status().as_u16()
}

// === device code ===

#[test]
fn a_login_with_a_device_code_stores_a_refresh_token_and_counts_down_in_one_line() {
    let setup = Setup::new("device: { interval: 1s, polls: 2 }");
    let started = Instant::now();
    let terminal = setup.login(&[]);
    let shown = terminal.wait_for("code", instructions);
    assert_eq!(shown[0], format!("{}/simulator/device", setup.simulator.url));
    assert_eq!(shown[1].len(), 9, "{shown:?}");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0);
    assert!(started.elapsed() >= Duration::from_secs(3), "polls faster than once a second");
    let file = setup.token_file(TENANT);
    let stored_in = format!("The refresh token is stored in {}.", file.display());
    assert_contains(
        &screen,
        &[
            "Signed in as agent@simulated.example, with multi-factor authentication, as Partner Center demands.",
        ],
    );
    assert!(screen.written().contains(&stored_in), "{}", screen.written());
    assert!(screen.written().contains("A running exporter finds it there within seconds."));
    let steps: Vec<_> = screen.written().match_indices(&format!("\r{WAITING}14:")).collect();
    assert!((3..=20).contains(&steps.len()), "{}", screen.written());
    assert_eq!(progress(&screen).len(), 1);
    assert!(setup.stored(TENANT).unwrap().starts_with("simulated-refresh-token-"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!((setup.simulator.count("device_code"), setup.simulator.count("token")), (1, 3));
}

#[test]
fn slow_down_lengthens_the_interval_by_five_seconds() {
    let slow_down = r#"token: { skip: 1, times: 1, body: '{"error": "slow_down"}' }"#;
    let setup = Setup::new(&format!("device: {{ interval: 1s, polls: 2 }}\n{slow_down}"));
    let started = Instant::now();
    let (code, _) = setup.login(&[]).end();
    assert_eq!((code, setup.simulator.count("token")), (0, 3));
    assert!(started.elapsed() >= Duration::from_secs(1 + 1 + 6), "{:?}", started.elapsed());
}

#[test]
fn a_failed_login_prints_its_cause_and_a_remedy_and_stores_nothing() {
    let again = "What to do: run the command again, and sign in.";
    let table = [
        ("decline", "15m", "Not signed in: the sign-in was declined", again),
        ("pending", "2s", "Not signed in: nobody signed in before the code expired", again),
        ("blocked", "15m", "AADSTS53003", "use `partner-license-exporter login --browser --config.file=/"),
    ];
    thread::scope(|scope| {
        for (answer, expires_in, why, remedy) in table {
            scope.spawn(move || {
                let device = format!("answer: {answer}, interval: 1s, polls: 0, expires_in: {expires_in}");
                let setup = Setup::new(&format!("device: {{ {device} }}"));
                let (code, screen) = setup.login(&[]).end();
                assert_eq!(code, 1, "{answer}");
                assert_contains(&screen, &[why]);
                assert!(screen.written().contains(remedy), "{}", screen.written());
                assert_eq!(setup.stored(TENANT), None);
            });
        }
    });
}

#[test]
fn a_remedy_within_login_does_not_say_to_run_login() {
    let no_refresh_token = "token: { merge: { refresh_token: null } }";
    let table = [
        ("token: { answer: refresh_token_revoked }", "AADSTS50173", "sign in again, using multi-factor"),
        (
            "token: { answer: consent_revoked }",
            "AADSTS65001",
            "to the application, then run the command again",
        ),
        (
            no_refresh_token,
            "the sign-in service issued no refresh token",
            "offline_access of Microsoft Graph",
        ),
        (no_refresh_token, "the sign-in service issued no refresh token", "policy of the tenant"),
        (
            r#"token: { merge: { refresh_token: "two words" } }"#,
            "the sign-in service issued a malformed refresh token",
            "did not come from Entra ID",
        ),
    ];
    thread::scope(|scope| {
        for (scenario, why, remedy) in table {
            scope.spawn(move || {
                let device = "device: { interval: 1s, polls: 0 }";
                let setup = Setup::new(&format!("{device}\n{scenario}"));
                let (code, screen) = setup.login(&[]).end();
                let text = screen.written();
                assert_eq!((code, setup.stored(TENANT)), (1, None), "{text}");
                let remedies = text.split_once("What to do: ").map(|(_, remedy)| remedy).unwrap_or_default();
                assert!(text.contains(why) && !remedies.contains("exporter login"), "{text}");
                assert!(remedies.contains(remedy) && !text.contains("Partner Center\n"), "{text}");
                assert!(scenario != no_refresh_token || !text.contains("prox"), "{text}");
            });
        }
    });
}

#[test]
fn the_command_of_a_remedy_can_be_pasted_into_a_shell_and_mends_the_account() {
    let mut setup = Setup::new("device: { interval: 1s, polls: 0 }");
    let secret = format!("client_secret: {CLIENT_SECRET}");
    let items = [("it's north", TENANT), ("south", OTHER_TENANT)]
        .map(|(name, tenant)| item(Some(name), tenant, &setup.simulator.url, &secret));
    let directory = tempfile::Builder::new().prefix("the config (new) ").tempdir().unwrap();
    setup.directory = Arc::new(directory);
    setup.configure(format!("poll_interval: 6h\naccounts:\n{}", items.concat()));
    let exporter = setup.exporter();
    exporter.wait_for_polls(Some("it's north"), 1.0);
    let command = exporter.process.stderr.wait_for("remedy", |line| {
        let remedy = line.split_once(r#"account="it's north""#)?.1.split_once("sign in with `")?.1;
        Some(remedy.split_once('`')?.0.replace(r"\\", r"\"))
    });
    let flags = format!(r"--config.file='{}' --account 'it'\''s north'", setup.file().display());
    assert_eq!(command, format!("partner-license-exporter login {flags}"));
    let page = support::get(&exporter.url).replace("&amp;", "&");
    assert!(page.contains(&format!("<code>{command}</code>")), "{page}");

    let binaries = Path::new(env!("CARGO_BIN_EXE_partner-license-exporter")).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-c", &command]).env("PATH", path);
    let (code, screen) = Terminal::start(&shell).end();
    assert_eq!(code, 0, "{}", screen.written());
    exporter.wait_for("success", |metrics| {
        (metrics.of_usage("partner_license_up", &[("account", "it's north")])? > 0.0).then_some(())
    });
}

#[test]
fn a_person_accepts_or_declines_on_the_page_with_the_code_from_the_screen() {
    for (decision, expected) in [("approve", 0), ("decline", 1)] {
        let setup = Setup::new("device: { answer: pending, interval: 1s }");
        let terminal = setup.login(&[]);
        let shown = terminal.wait_for("code", instructions);
        assert!(support::get(&shown[0]).contains("user_code"), "the address is not that of the page");
        eventually("question", || (setup.simulator.count("token") > 0).then_some(()));
        assert_eq!(decide(&setup.simulator.url, &shown[1], decision), 200);
        let (code, screen) = terminal.end();
        assert_eq!(code, expected);
        let text = if expected == 0 { "Signed in as" } else { "Not signed in: the sign-in was declined" };
        assert_contains(&screen, &[text]);
        assert_eq!(setup.stored(TENANT).is_some(), expected == 0);
    }
}

#[test]
fn a_sign_in_without_mfa_is_stored_with_a_warning() {
    let setup = Setup::new("{ mfa: false, device: { interval: 1s, polls: 0 } }");
    let (code, screen) = setup.login(&[]).end();
    assert_eq!(code, 0);
    assert_contains(
        &screen,
        &["Signed in as agent@simulated.example.\nWARNING: the sign-in had no multi-factor authentication."],
    );
    assert!(setup.stored(TENANT).is_some());
}

#[test]
fn a_token_for_another_api_is_not_stored() {
    let claims = URL_SAFE_NO_PAD.encode(r#"{"aud": "https://graph.example/\u001b[2J", "scp": "x"}"#);
    let body = format!(r#"{{"access_token": "e30.{claims}.x", "refresh_token": "r", "expires_in": 3600}}"#);
    let setup = Setup::new(&format!("device: {{ interval: 1s, polls: 0 }}\ntoken: {{ body: '{body}' }}"));
    let (code, screen) = setup.login(&[]).end();
    assert_eq!(code, 1);
    let text = format!("the token is for https://graph.example/ [2J, not for {}.", setup.simulator.url);
    assert_contains(&screen, &[&text]);
    assert!(screen.written().contains("Nothing is stored."));
    assert_eq!(setup.stored(TENANT), None);
}

#[test]
fn the_account_flag_chooses_one_of_several_accounts() {
    let mut setup = Setup::new("device: { interval: 1s, polls: 0 }");
    let secret = format!("client_secret: {CLIENT_SECRET}");
    let items = [("north", TENANT), ("south", OTHER_TENANT)]
        .map(|(name, tenant)| item(Some(name), tenant, &setup.simulator.url, &secret));
    setup.configure(format!("accounts:\n{}", items.concat()));
    let (code, screen) = setup.login(&[]).end();
    assert_eq!(code, 2);
    assert_contains(&screen, &["error: there are several accounts; choose one with --account: north, south"]);
    let (code, screen) = setup.login(&["--account", "west"]).end();
    assert_eq!(code, 2);
    assert_contains(&screen, &[r#"error: there is no account "west"; known: north, south"#]);
    assert_eq!(setup.simulator.requests()["requests"], json!([]), "a server was contacted");
    let (code, _) = setup.login(&["--account", "south"]).end();
    assert_eq!(code, 0);
    assert_eq!((setup.stored(TENANT), setup.stored(OTHER_TENANT).is_some()), (None, true));
}

#[test]
fn an_outage_is_reported_once_and_login_keeps_waiting() {
    let outage = "token: { answer: server_error, skip: 1, times: 6 }";
    let setup = Setup::new(&format!("device: {{ interval: 1s, polls: 1 }}\n{outage}"));
    let (code, screen) = setup.login(&[]).end();
    assert_eq!(code, 0);
    let text = "Still waiting, although the sign-in service answered 503";
    assert_eq!(screen.written().matches(text).count(), 1, "{}", screen.written());
    assert_eq!(screen.column(), 0);
    assert!(setup.stored(TENANT).is_some());
}

#[test]
fn ctrl_c_ends_the_wait_and_stores_nothing() {
    let setup = Setup::new("device: { answer: pending, interval: 1s }");
    for flags in [&[][..], &["--browser"]] {
        let mut terminal = setup.login(flags);
        terminal.wait_for_text(WAITING);
        terminal.interrupt();
        let (code, screen) = terminal.end();
        assert_eq!(code, 1);
        assert_contains(&screen, &["Stopped. Nothing is stored."]);
        assert_eq!(setup.stored(TENANT), None);
    }
}

/// Signs in while another process has locked the stored token; returns the lock and the waiting `login`.
fn signed_in_behind_a_lock(setup: &Setup) -> (fs::File, Terminal) {
    let lock = setup.token_file(TENANT).with_extension("lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let file = fs::File::create(&lock).unwrap();
    file.lock().unwrap();
    let terminal = setup.login(&[]);
    terminal
        .wait_for_text(&format!("Signed in. Waiting for another process that has locked {}", lock.display()));
    assert_eq!(setup.stored(TENANT), None);
    (file, terminal)
}

#[test]
fn a_token_is_stored_when_the_other_process_releases_its_lock() {
    let setup = Setup::new("device: { interval: 1s, polls: 0 }");
    let (lock, terminal) = signed_in_behind_a_lock(&setup);
    lock.unlock().unwrap();
    let (code, screen) = terminal.end();
    assert_eq!(code, 0);
    assert_contains(&screen, &["The refresh token is stored in"]);
    assert!(setup.stored(TENANT).is_some());
}

#[test]
fn ctrl_c_ends_the_wait_for_another_process_and_loses_no_token() {
    let setup = Setup::new("device: { interval: 1s, polls: 0 }");
    let (_lock, mut terminal) = signed_in_behind_a_lock(&setup);
    terminal.interrupt();
    let (code, screen) = terminal.end();
    assert_eq!(code, 0);
    assert_contains(&screen, &["The refresh token is stored in"]);
    assert!(setup.stored(TENANT).is_some());
}

#[test]
fn a_token_is_stored_even_if_nothing_can_be_printed_after_the_sign_in() {
    let setup = Setup::new("device: { interval: 1s, polls: 0 }");
    let lock = setup.token_file(TENANT).with_extension("lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let lock = fs::File::create(lock).unwrap();
    lock.lock().unwrap();
    // Without its other end, writing to a terminal fails.
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let end = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    let mut child =
        setup.command(&[]).stdin(Stdio::null()).stdout(end).stderr(Stdio::null()).spawn().unwrap();
    eventually("the sign-in", || (setup.grants("device_code", 200) == 1).then_some(()));
    drop(terminal);
    // Longer than the silent part of the wait for the lock.
    let ended = Instant::now() + Duration::from_secs(3);
    eventually("the message", || {
        (Instant::now() > ended || child.try_wait().unwrap().is_some()).then_some(())
    });
    lock.unlock().unwrap();
    child.wait().unwrap();
    assert!(setup.stored(TENANT).is_some());
}

#[test]
fn login_keeps_the_interval_during_an_outage() {
    let setup = Setup::new("device: { interval: 2s, polls: 0 }\ntoken: { answer: server_error, times: 2 }");
    let started = Instant::now();
    assert_eq!(setup.login(&[]).end().0, 0);
    assert!(started.elapsed() >= Duration::from_secs(6), "polls faster than once every two seconds");
    assert_eq!(setup.simulator.count("token"), 3);
}

#[test]
fn without_a_terminal_login_prints_a_few_plain_lines() {
    let setup = Setup::new("device: { interval: 1s, polls: 2 }");
    let output = setup.command(&[]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((text.matches(WAITING).count(), text.contains('\r')), (1, false), "{text}");
    assert!(output.stderr.is_empty());
}

#[test]
fn an_account_in_environment_variables_signs_in_and_login_survives_a_closed_pipe() {
    let setup = Setup::new("device: { interval: 1s, polls: 0 }");
    let mut command = program(&["login"]);
    command.envs([("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", CLIENT_ID), ("AZURE_CLIENT_SECRET", "x")]);
    command.env("STATE_DIRECTORY", setup.directory.path().join("state"));
    // The command connects to the real address, which the proxy prevents.
    command.env("HTTPS_PROXY", "http://127.0.0.1:1");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("Not signed in: the request to the sign-in service failed"), "{text}");

    let mut child = setup.command(&[]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(setup.stored(TENANT).is_some(), "the token is not stored when the reader closes the pipe");
}

#[test]
fn login_exits_with_2_on_invalid_flags_or_configurations_before_it_contacts_a_server() {
    let setup = Setup::new("");
    let file = setup.file();
    let file = file.to_str().unwrap();
    fs::write(setup.directory.path().join("state"), "no directory").unwrap();
    for arguments in
        [&["login", "--config.file", "/nonexistent"][..], &["login", "--config.file", file], &["login"]]
    {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
    assert_eq!(setup.simulator.requests()["requests"], json!([]), "a server was contacted");
}

#[test]
fn a_token_that_cannot_be_stored_is_reported_as_a_failure() {
    let setup = Setup::new("device: { answer: pending, interval: 1s }");
    let terminal = setup.login(&[]);
    let shown = terminal.wait_for("code", instructions);
    let state = setup.directory.path().join("state");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "no directory").unwrap();
    decide(&setup.simulator.url, &shown[1], "approve");
    let (code, screen) = terminal.end();
    assert_eq!(code, 1);
    assert_contains(&screen, &["Signed in, but the refresh token cannot be stored: "]);
}

// === browser ===

/// Returns the address on the screen, and its redirect URI.
fn address(terminal: &Terminal) -> (String, String) {
    let shown = terminal.wait_for("address", instructions);
    let query = shown[0].split_once('?').unwrap().1;
    let pairs = form_urlencoded::parse(query.as_bytes());
    let back =
        pairs.into_owned().find_map(|(name, value)| (name == "redirect_uri").then_some(value)).unwrap();
    (shown[0].clone(), back)
}

#[test]
fn a_browser_login_completes_by_a_redirect_to_this_machine() {
    let setup = Setup::new("");
    let terminal = setup.login(&["--browser"]);
    let (url, _) = address(&terminal);
    assert!(support::get(&url).contains("Thank you"));
    let (code, screen) = terminal.end();
    assert_eq!(code, 0);
    assert_contains(&screen, &["Signed in as agent@simulated.example, with multi-factor authentication"]);
    assert!(setup.stored(TENANT).is_some());
    assert_eq!(setup.grants("authorization_code", 200), 1);
}

#[test]
fn a_login_that_is_declined_in_the_browser_is_reported() {
    let setup = Setup::new("authorize: { answer: decline }");
    let terminal = setup.login(&["--browser"]);
    let (url, _) = address(&terminal);
    assert!(support::get(&url).contains("The terminal shows the result"));
    let (code, screen) = terminal.end();
    assert_eq!(code, 1);
    let remedy = "What to do: run the command again and accept, or have an administrator";
    assert_contains(
        &screen,
        &["Not signed in: the sign-in service refused the sign-in, access_denied: AADSTS65004", remedy],
    );
    assert_eq!((setup.stored(TENANT), setup.simulator.count("token")), (None, 0));
}

#[test]
fn a_refusal_in_the_browser_that_quotes_what_was_sent_is_shown_without_it() {
    for (error, code, remedy) in [
        (
            "server_error",
            "AADSTS50020",
            "sign in as a user of the partner tenant, or have an administrator invite",
        ),
        // The code belongs to a family, and within `login --browser` it is no use to name that command.
        ("access_denied", "AADSTS530099", "change the policy to allow this user, application and network."),
        ("a_word_of_tomorrow", "AADSTS9", "https://login.microsoftonline.com/error"),
    ] {
        let setup = Setup::new("");
        let terminal = setup.login(&["--browser"]);
        let (url, back) = address(&terminal);
        let query = url.split_once('?').unwrap().1;
        let sent: Vec<_> = form_urlencoded::parse(query.as_bytes())
            .filter(|(name, _)| ["state", "code_challenge"].contains(&&**name))
            .map(|(_, value)| value.into_owned())
            .collect();
        let [state, challenge] = &sent[..] else { panic!("{url}") };
        let answer: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("state", state)
            .append_pair("error", error)
            .append_pair(
                "error_description",
                // A colon, since a space may stand for a `-` of the secret and would then be removed as well.
                &format!("{code}: {state} and:{}\nmore", challenge.split_at(9).1),
            )
            .finish();
        assert_eq!(agent().get(&format!("{back}/?{answer}")).call().unwrap().status(), 200);
        let (status, screen) = terminal.end();
        assert_eq!((status, setup.stored(TENANT)), (1, None));
        let said = format!(
            "Not signed in: the sign-in service refused the sign-in, {error}: {code}: (secret) and:(secret)"
        );
        assert_contains(&screen, &[&said]);
        assert!(screen.written().contains(remedy), "{}", screen.written());
    }
}

#[test]
fn a_redirect_of_another_sign_in_is_refused_and_login_keeps_waiting() {
    let setup = Setup::new("");
    let terminal = setup.login(&["--browser"]);
    let (url, back) = address(&terminal);
    for query in ["", "?code=x", "?code=x&state=forged", "?error=x&state=", "?code=a&code=b&state=c"] {
        let answer = agent().get(&format!("{back}/{query}")).call().unwrap();
        assert_eq!(answer.status(), 400, "{query}");
    }
    assert_eq!(setup.simulator.count("token"), 0);
    support::get(&url);
    assert_eq!(terminal.end().0, 0);
}

// === credentials ===

fn signs_in_and_polls(scenario: &str, credential: &str, sent: &str) {
    let scenario = format!("device: {{ interval: 1s, polls: 0 }}\n{scenario}");
    let setup = Setup::with(&scenario, credential);
    let (code, screen) = setup.login(&[]).end();
    assert_eq!(code, 0, "{}", screen.written());
    let exporter = setup.exporter();
    exporter.wait_for("rows", |metrics| (metrics.of_usage("partner_license_up", &[])? > 0.0).then_some(()));
    let requests = setup.simulator.requests();
    let credentials: Vec<_> = requests["requests"].as_array().unwrap().iter().collect();
    let tokens = credentials.iter().filter(|request| request["endpoint"] == "token");
    assert_eq!(tokens.clone().count(), 2, "not exactly one request of login and one of the exporter");
    assert!(tokens.into_iter().all(|request| request["credential"] == sent), "{requests}");
}

/// Returns the certificate of a fixture, without its key.
fn public_part(name: &str) -> String {
    let pem = fs::read_to_string(format!("{FIXTURES}/{name}.pem")).unwrap();
    let public = pem.split_once("-----BEGIN CERTIFICATE-----").unwrap().1;
    format!("-----BEGIN CERTIFICATE-----{public}")
}

fn certificate(name: &str) -> (String, String) {
    let scenario = format!("client_secret: null\nclient_certificate: {}", json!(public_part(name)));
    (scenario, format!("client_certificate_file: \"{FIXTURES}/{name}.pem\""))
}

#[test]
fn an_application_with_a_client_secret_signs_in_and_polls() {
    signs_in_and_polls("", &format!("client_secret: {CLIENT_SECRET}"), "secret");
}

#[test]
fn an_application_with_an_rsa_certificate_signs_in_and_polls() {
    let (scenario, credential) = certificate("rsa");
    signs_in_and_polls(&scenario, &credential, "assertion");
}

#[test]
fn an_application_with_an_ec_certificate_signs_in_and_polls() {
    let (scenario, credential) = certificate("ec");
    signs_in_and_polls(&scenario, &credential, "assertion");
}

#[test]
fn an_application_with_a_federated_token_signs_in_and_polls() {
    // An external issuer signs with this key.
    let issuer = ClientCertificate::read(format!("{FIXTURES}/ec.pem").as_ref()).unwrap();
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let (header, end) = (json!({"alg": issuer.algorithm(), "kid": "1"}), i64::from(u32::MAX));
    let claims =
        json!({"iss": "https://oidc.example", "sub": "exporter", "aud": "api://exchange", "exp": end});
    let message = format!("{}.{}", part(&header), part(&claims));
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(issuer.sign(message.as_bytes())));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(token.as_bytes()).unwrap();
    let trusted = json!({"certificate": public_part("ec"), "issuer": claims["iss"], "subject": claims["sub"],
        "audience": claims["aud"]});
    signs_in_and_polls(
        &format!("client_secret: null\nfederated_credential: {trusted}"),
        &format!("federated_token_file: \"{}\"", file.path().display()),
        "assertion",
    );
}

#[test]
fn a_public_client_signs_in_and_polls() {
    signs_in_and_polls("public_client: true", "", "none");
}

// === a running exporter ===

/// Waits until a poll succeeds after one refusal, without a reload.
fn wait_for_recovery(exporter: &Exporter) {
    exporter
        .wait_for("recovery", |metrics| (metrics.of_usage("partner_license_up", &[])? > 0.0).then_some(()));
    exporter
        .process
        .stderr
        .wait_for("the last line", |line| line.contains("Polling works again").then_some(()));
    let log = exporter.process.stderr.text();
    for line in ["The credentials have changed; polling now", "Polling works again"] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
    assert_eq!(exporter.metrics().of_usage("partner_license_scrapes_total", &[]), Some(2.0));
}

#[test]
fn a_running_exporter_with_a_refused_refresh_token_recovers_after_a_login() {
    let mut setup = Setup::new("{ refresh_token: another, device: { interval: 1s, polls: 0 } }");
    let account = setup.simulator.account(None, TENANT);
    setup.configure(format!("poll_interval: 6h\naccounts:\n{account}"));
    let exporter = setup.exporter();
    exporter.wait_for_polls(None, 1.0);
    assert_eq!(setup.grants("refresh_token", 400), 1);
    assert_eq!(setup.login(&[]).end().0, 0);
    wait_for_recovery(&exporter);
    assert_eq!((setup.grants("refresh_token", 400), setup.grants("refresh_token", 200)), (1, 1));
    assert_eq!(setup.grants("device_code", 200), 1);
}

#[test]
fn a_running_exporter_without_a_refresh_token_recovers_after_a_login() {
    let setup = Setup::new("device: { interval: 1s, polls: 0 }");
    let exporter = setup.exporter();
    exporter.wait_for_polls(None, 1.0);
    assert_eq!(setup.login(&[]).end().0, 0);
    wait_for_recovery(&exporter);
}

#[test]
fn a_running_exporter_with_a_refused_client_secret_recovers_with_a_new_file() {
    let mut setup = Setup::new("");
    let secret = setup.directory.path().join("secret");
    fs::write(&secret, "an old one").unwrap();
    let account = setup.simulator.account(None, TENANT);
    let file = format!("client_secret_file: \"{}\"", secret.display());
    let account = account.replace(&format!("client_secret: {CLIENT_SECRET}"), &file);
    setup.configure(format!("poll_interval: 6h\naccounts:\n{account}"));
    let exporter = setup.exporter();
    exporter.wait_for_polls(None, 1.0);
    replace(&secret, CLIENT_SECRET);
    wait_for_recovery(&exporter);
    assert_eq!((setup.grants("refresh_token", 401), setup.grants("refresh_token", 200)), (1, 1));
}

/// Replaces a file by a rename, so that no reader sees half of it.
fn replace(path: &Path, content: &str) {
    let new = path.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::rename(new, path).unwrap();
}
