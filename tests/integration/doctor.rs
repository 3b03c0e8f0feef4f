//! `doctor`: each step that can fail fails in one test; the text output and the JSON output are both tested.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use partner_center_simulator::CLIENT_ID;
use serde_json::{Value, json};

use crate::support;
use crate::support::peers;
use crate::support::peers::{Authority, Peer, TlsSimulator};
use crate::support::terminal::Terminal;
use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, account, eventually, program, write_config};

/// The steps for an account whose steps all succeed.
const STEPS: [&str; 12] = [
    "state_directory",
    "resolve_sign_in",
    "reach_sign_in",
    "resolve_api",
    "reach_api",
    "sign_in",
    "audience",
    "user",
    "mfa_claim",
    "access_token",
    "usage",
    "mfa_compliance",
];

/// The parsed JSON output of the doctor for a configuration.
struct Examination {
    code: i32,
    document: Value,
}

impl Examination {
    fn of(accounts: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("state")).unwrap();
        Self::within(directory.path(), &format!("accounts:\n{accounts}"), &[])
    }

    fn within(directory: &Path, config: &str, flags: &[&str]) -> Self {
        let output = doctor(directory, config, &[&["--format", "json"], flags].concat()).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let code = output.status.code().unwrap();
        let keys: Vec<_> = document.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["well", "findings"]);
        assert_eq!(document["well"], code == 0);
        for finding in document["findings"].as_array().unwrap() {
            let texts: &[&str] = match finding["outcome"].as_str().unwrap() {
                "ok" | "skipped" => &["detail"],
                "failed" | "warning" => &["cause", "remedy"],
                other => panic!("{other}"),
            };
            for text in texts {
                assert!(finding[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {finding}");
            }
        }
        Self { code, document }
    }

    fn findings(&self) -> &Vec<Value> {
        self.document["findings"].as_array().unwrap()
    }

    fn step(&self, name: &str) -> &Value {
        self.findings().iter().find(|finding| finding["step"] == name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn failed(&self) -> Vec<&str> {
        let failed = self.findings().iter().filter(|finding| finding["outcome"] == "failed");
        failed.map(|finding| finding["step"].as_str().unwrap()).collect()
    }
}

fn doctor(directory: &Path, config: &str, flags: &[&str]) -> Command {
    let file = write_config(directory, config);
    let mut command = program(&["doctor", "--config.file", file.to_str().unwrap()]);
    // On a machine without a name server, resolution then fails within a second instead of half a minute.
    command.args(flags).env("RES_OPTIONS", "timeout:1 attempts:1");
    command
}

/// Returns a scenario in which every response of the token endpoint has an access token with these claims.
fn issuing(claims: &Value) -> String {
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!(r#"token: {{ body: '{{"access_token": "e30.{claims}.x", "expires_in": 3600}}' }}"#)
}

#[test]
fn the_text_output_lists_every_step_that_succeeds() {
    let simulator = Simulator::start("");
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let (code, screen) = Terminal::start(&doctor(directory.path(), &config, &[])).end();
    let text = screen.written().replace("\r\n", "\n");
    assert_eq!((code, screen.column()), (0, 0), "{text}");
    assert!(!state.exists(), "the doctor created the state directory");
    let url = &simulator.url;
    // Returns what is in parentheses at the end of a step.
    let ids = |step: &str| {
        let line = text.lines().find(|line| line.contains(&format!(" {step}: "))).unwrap();
        line.rsplit_once(" (").unwrap_or_else(|| panic!("{line}")).1.trim_end_matches(')').to_owned()
    };
    let expected = [
        format!("ok       configuration: {} is valid", directory.path().join("config.yml").display()),
        format!(
            "skipped  default: state_directory: {} does not exist yet; the exporter creates it",
            state.display()
        ),
        "ok       default: resolve_sign_in: 127.0.0.1 is an address".to_owned(),
        format!("ok       default: reach_sign_in: {url} answers, without TLS"),
        "ok       default: resolve_api: 127.0.0.1 is an address".to_owned(),
        format!("ok       default: reach_api: {url} answers, without TLS"),
        format!(
            "ok       default: sign_in: an access token was issued; the refresh token stays as it is ({})",
            ids("sign_in")
        ),
        format!("ok       default: audience: the token is for {url}"),
        format!(
            "ok       default: user: agent@simulated.example of tenant {TENANT}, with user_impersonation"
        ),
        "ok       default: mfa_claim: the user signed in with pwd mfa".to_owned(),
    ];
    assert!(text.starts_with(&expected.join("\n")), "{text}\ndoes not begin with\n{}", expected.join("\n"));
    let end = format!(
        "ok       default: usage: 5 rows, 0 dropped ({})\n\
         ok       default: mfa_compliance: Partner Center calls the sign-in compliant\n\nAll is well.\n",
        ids("usage")
    );
    assert!(text.ends_with(&end), "{text}");
    let of_sign_in = ids("sign_in");
    assert!(of_sign_in.starts_with("trace id ") && of_sign_in.contains(", timestamp "), "{of_sign_in}");
    let requests = simulator.requests();
    let of_usage =
        requests["requests"].as_array().unwrap().iter().find(|it| it["endpoint"] == "usage").unwrap();
    let id = |name: &str| of_usage[name].as_str().unwrap();
    let own = format!("MS-RequestId {}, MS-CorrelationId {}, MS-CV ", id("request_id"), id("correlation_id"));
    assert!(ids("usage").starts_with(&own), "{text}");
}

#[test]
fn the_text_output_describes_a_failure_with_its_cause_and_remedy() {
    let simulator = Simulator::start("usage: { answer: forbidden }");
    let directory = tempfile::tempdir().unwrap();
    let config = format!("accounts:\n{}", simulator.account(Some("north"), TENANT));
    let (code, screen) = Terminal::start(&doctor(directory.path(), &config, &[])).end();
    let text = screen.written().replace("\r\n", "\n");
    assert_eq!(code, 1);
    assert!(
        text.contains("\nFAILED   north: usage: forbidden: the API answered 403 Forbidden, code 900150: "),
        "{text}"
    );
    assert!(text.contains("\n         what to do: give the signed-in user a Partner Center role"), "{text}");
    assert!(text.ends_with("\n\n1 step failed.\n"), "{text}");
}

#[test]
fn the_json_output_has_every_step_of_every_account() {
    let simulator = Simulator::start("");
    let items = [("north", TENANT), ("south", OTHER_TENANT)]
        .map(|(name, tenant)| simulator.account(Some(name), tenant));
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("state")).unwrap();
    let config = format!("accounts:\n{}", items.concat());
    let all = Examination::within(directory.path(), &config, &[]);
    assert_eq!(all.code, 0);
    let steps: Vec<_> =
        all.findings().iter().map(|finding| (&finding["account"], &finding["step"])).collect();
    let mut expected = vec![(Value::Null, json!("configuration"))];
    expected
        .extend(["north", "south"].into_iter().flat_map(|name| STEPS.map(|step| (json!(name), json!(step)))));
    assert_eq!(steps, expected.iter().map(|(account, step)| (account, step)).collect::<Vec<_>>());
    let south = Examination::within(directory.path(), &config, &["--account", "south"]);
    assert_eq!(south.findings().len(), 1 + STEPS.len());
    let output = doctor(directory.path(), &config, &["--account", "west"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error, "error: there is no account \"west\"; known: north, south\n");
}

#[test]
fn each_refusal_fails_its_steps() {
    let claims = |simulator: &Simulator| json!({"aud": simulator.url, "tid": TENANT, "scp": "user_impersonation", "amr": ["pwd", "mfa"], "upn": "a"});
    let bad_secret = "token: { answer: bad_client_secret }";
    let table: [(&str, &[&str], &str, &str); 7] = [
        (bad_secret, &["sign_in"], "credentials: the sign-in service answered 401", "use the secret's value"),
        (
            "token: { answer: refresh_token_expired }",
            &["sign_in"],
            "AADSTS700082",
            "`partner-license-exporter login --config.file=/",
        ),
        ("mfa: false", &["mfa_claim", "mfa_compliance"], "the user signed in with pwd only", "login"),
        ("{ mfa: false, enforce_mfa: true }", &["mfa_claim", "usage", "mfa_compliance"], "pwd only", "login"),
        ("usage: { answer: forbidden }", &["usage"], "code 900150", "Admin agent"),
        ("usage: { answer: html }", &["usage"], "payload: the API answered 200 OK", "api_base_url"),
        ("usage: { answer: app_only }", &["usage"], "code 900329", "sign in as a user"),
    ];
    for (scenario, steps, cause, remedy) in table {
        let simulator = Simulator::start(scenario);
        let examination = Examination::of(&simulator.account(None, TENANT));
        assert_eq!((examination.code, examination.failed()), (1, steps.to_vec()), "{scenario}");
        let first = examination.step(steps[0]);
        assert!(first["cause"].as_str().unwrap().contains(cause), "{first}");
        assert!(first["remedy"].as_str().unwrap().contains(remedy), "{first}");
    }

    let simulator = Simulator::start("");
    let mut application = claims(&simulator);
    application["scp"] = Value::Null;
    application["roles"] = json!(["Reports.Read\u{1b}[2J"]);
    simulator.scenario(&issuing(&application));
    let examination = Examination::of(&simulator.account(None, TENANT));
    // The simulator knows no such token.
    assert_eq!(examination.failed(), ["user", "usage"]);
    let cause = "the token is the application's own, not a user's (roles: Reports.Read [2J)";
    assert_eq!(examination.step("user")["cause"], cause);

    let mut foreign = claims(&simulator);
    foreign["aud"] = json!("https://graph.example");
    simulator.scenario(&issuing(&foreign));
    let examination = Examination::of(&simulator.account(None, TENANT));
    assert_eq!(examination.failed(), ["audience", "usage"]);
    let cause = format!("the token is for https://graph.example, not for {}", simulator.url);
    assert_eq!(examination.step("audience")["cause"], cause);
}

#[test]
fn an_empty_collection_is_a_warning_that_says_what_to_check() {
    let simulator = Simulator::start("usage: { answer: empty }");
    let examination = Examination::of(&simulator.account(None, TENANT));
    assert_eq!((examination.code, examination.failed().len()), (0, 0));
    let usage = examination.step("usage");
    assert_eq!(usage["outcome"], "warning");
    let cause = usage["cause"].as_str().unwrap();
    assert!(cause.starts_with("the collection is empty (MS-RequestId "), "{cause}");
    assert!(usage["remedy"].as_str().unwrap().contains("the role of the signed-in user"), "{usage}");

    let directory = tempfile::tempdir().unwrap();
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let output = doctor(directory.path(), &config, &[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\nWARNING  default: usage: the collection is empty"), "{text}");
    assert!(text.ends_with("\n\nNo step failed; 1 warning.\n") && output.status.success(), "{text}");
}

#[test]
fn local_faults_are_found_before_any_server_is_contacted() {
    let directory = tempfile::tempdir().unwrap();
    let invalid = Examination::within(directory.path(), "accounts: 7", &[]);
    assert_eq!((invalid.code, invalid.failed()), (1, vec!["configuration"]));
    let check = format!(
        "correct it; `partner-license-exporter check --config.file={}` examines it alone",
        directory.path().join("config.yml").display()
    );
    assert_eq!(invalid.step("configuration")["remedy"], check);

    let simulator = Simulator::start("");
    let accounts = format!("accounts:\n{}", simulator.account(None, TENANT));
    fs::write(directory.path().join("state"), "no directory").unwrap();
    let unusable = Examination::within(directory.path(), &accounts, &[]);
    assert_eq!((unusable.code, unusable.failed()), (1, vec!["state_directory"]));
    let found = unusable.step("state_directory").to_string();
    assert!(found.contains("is no directory: remove what is there") && !found.contains("give it"), "{found}");

    // The exporter's user may not create the directory.
    let nowhere = directory.path().join("state/below");
    let file = directory.path().join("nowhere.yml");
    fs::write(&file, format!("state_directory: {}\n{accounts}", nowhere.display())).unwrap();
    let (code, out, _) = support::run(&["doctor", "--config.file", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("FAILED   default: state_directory:")
            && out.contains("cannot be written: Not a directory"),
        "{out}"
    );

    let authority = directory.path().join("ca.pem");
    let more = format!(", ca_file: \"{}\"", authority.display());
    fs::write(&authority, "nothing").unwrap();
    fs::remove_file(directory.path().join("state")).unwrap();
    let accounts = account(None, TENANT, "https://127.0.0.1:1", "https://127.0.0.1:1", &more);
    let client = Examination::within(directory.path(), &format!("accounts:\n{accounts}"), &[]);
    assert_eq!(client.code, 1);
    assert!(matches!(client.failed()[..], ["configuration" | "http_client"]), "{:?}", client.failed());
    assert_eq!(simulator.requests()["requests"], json!([]), "a server was contacted");
}

#[test]
fn a_damaged_stored_token_is_reported_and_not_changed() {
    let simulator = Simulator::start("");
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let file = state.join(format!("refresh-token-{TENANT}-{CLIENT_ID}.json"));
    fs::write(&file, "damaged").unwrap();
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let output = doctor(directory.path(), &config, &[]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let cause = format!("FAILED   default: state_directory: {} is damaged", file.display());
    assert!(text.contains(&cause) && text.contains("ok       default: usage: 5 rows"), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "damaged");
}

#[test]
fn an_unreachable_server_is_reported_with_the_reason() {
    let simulator = Simulator::start("");
    let (refusing, _bound) = peers::refusing();
    let (refused, nowhere) = (format!("http://{refusing}"), "https://partner-center.invalid");
    let unknown = Examination::of(&account(None, TENANT, &simulator.url, nowhere, ""));
    assert_eq!((unknown.code, unknown.failed()), (1, vec!["resolve_api"]));
    assert_eq!(unknown.step("reach_api")["outcome"], "skipped");
    assert_eq!(unknown.step("sign_in")["outcome"], "ok", "the other server is not checked");
    let unreached = Examination::of(&account(None, TENANT, &simulator.url, &refused, ""));
    assert_eq!((unreached.code, unreached.failed()), (1, vec!["reach_api"]));
    assert!(unreached.step("reach_api")["cause"].as_str().unwrap().contains("Connection refused"));
    assert_eq!(unreached.step("usage")["outcome"], "skipped");
    let no_sign_in = Examination::of(&account(None, TENANT, &refused, &simulator.url, ""));
    assert_eq!((no_sign_in.code, no_sign_in.failed()), (1, vec!["reach_sign_in"]));
    assert_eq!(no_sign_in.step("sign_in")["outcome"], "skipped");
}

#[test]
fn the_tls_steps_report_the_verdict_and_the_certificate() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let file = directory.path().join("ca.pem");
    fs::write(&file, authority.pem()).unwrap();
    let trusted = format!(", ca_file: \"{}\"", file.display());
    let front = TlsSimulator::new(authority.server("127.0.0.1", 2099), &["http/1.1"]);
    let well = Examination::of(&account(None, TENANT, &front.url, &front.url, &trusted));
    assert_eq!((well.code, well.failed()), (0, vec![]), "{}", well.document);
    for step in ["reach_sign_in", "reach_api"] {
        let detail = well.step(step)["detail"].as_str().unwrap();
        let parts = [
            "its certificate is trusted: subject CN=rcgen self signed cert",
            "issuer CN=rcgen self signed cert",
            "until 2099-12-31T00:00:00Z (",
            " days left)",
        ];
        assert!(parts.iter().all(|part| detail.contains(part)), "{detail}");
    }
    let anchors: Vec<_> = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| (name, "/nonexistent")).into();
    let config = format!("accounts:\n{}", account(None, TENANT, &front.url, &front.url, ""));
    let bare = doctor(directory.path(), &config, &[]).envs(anchors).output().unwrap();
    let text = String::from_utf8(bare.stdout).unwrap();
    for part in [
        "http_client: this system has no CA certificates",
        "/nonexistent",
        "; install the package ca-certificates, set SSL_CERT_FILE to a file that has them, or set ca_file",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    let honest = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let unknown = "is self-signed, or its issuer is not trusted";
    for (server, more, flaw, verdict) in [
        (authority.server("127.0.0.1", 2099), "", unknown, "invalid peer certificate: UnknownIssuer"),
        (
            authority.server("127.0.0.1", 2020),
            &*trusted,
            "expired at 2020-12-31T00:00:00Z",
            "invalid peer certificate: certificate expired",
        ),
        (
            authority.server_from("127.0.0.1", 2098, 2099),
            &trusted,
            "is not valid before 2098-01-01T00:00:00Z",
            "invalid peer certificate: certificate not valid yet",
        ),
        (
            authority.server("partner-center.invalid", 2099),
            &trusted,
            "is for partner-center.invalid",
            "invalid peer certificate: certificate not valid for name",
        ),
        (Authority::of("127.0.0.1").itself(), "", "is self-signed", "invalid peer certificate: "),
    ] {
        let peer = Peer::answering_tls(server, honest);
        let url = format!("https://{}", peer.address);
        let examination = Examination::of(&account(None, TENANT, &front.plain_url, &url, more));
        assert_eq!(examination.failed(), ["reach_api"], "{verdict}");
        let found = examination.step("reach_api");
        let cause = found["cause"].as_str().unwrap();
        let start = format!(
            "tls: the request to the API failed: {}: the server's certificate {flaw}: ",
            peer.address
        );
        assert!(cause.starts_with(&start) && cause.contains(verdict), "{cause}");
        assert!(found["remedy"].as_str().unwrap().contains("ca_file"), "{found}");
    }
}

#[test]
fn the_doctor_does_not_rotate_the_token_of_a_running_exporter() {
    let simulator = Simulator::start("{ rotation: family, access_token_lifetime: 2s }");
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    let exporter = Exporter::start(&config, &[]);
    exporter.wait_for_polls(None, 1.0);
    let stored = || {
        let file = format!("state/refresh-token-{TENANT}-{CLIENT_ID}.json");
        fs::read_to_string(exporter.directory.path().join(file)).unwrap()
    };
    for _ in 0..10 {
        let examination = Examination::within(exporter.directory.path(), &config, &[]);
        assert_eq!(examination.failed(), [""; 0]);
    }
    let before = stored();
    eventually("a new sign-in of the exporter", || (stored() != before).then_some(()));
    let polls = exporter.metrics().of_usage("partner_license_scrapes_total", &[]).unwrap();
    exporter.wait_for_polls(None, polls + 1.0);
    let metrics = exporter.metrics();
    assert_eq!(metrics.of_usage("partner_license_up", &[]).map(|up| up > 0.0), Some(true));
    let failures = metrics.named("partner_license_scrape_failures_total").map(|(_, value)| value);
    assert!(failures.sum::<f64>() < 0.5, "{}", exporter.process.stderr.text());
}

#[test]
fn the_doctor_does_not_change_the_state_directory() {
    let simulator = Simulator::start("");
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    assert_eq!(Examination::within(directory.path(), &config, &[]).failed(), [""; 0]);
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    // A damaged token is reported, and stays where it is; the configured one signs in.
    let token = state.join(format!("refresh-token-{TENANT}-{CLIENT_ID}.json"));
    fs::write(&token, "damaged").unwrap();
    let modified = fs::metadata(&state).unwrap().modified().unwrap();
    let output = doctor(directory.path(), &config, &["--format", "json"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("is damaged"), "{output:?}");
    assert_eq!(fs::read(&token).unwrap(), b"damaged");
    assert_eq!(fs::metadata(&state).unwrap().modified().unwrap(), modified);
    fs::remove_file(&token).unwrap();
    // The doctor finds what would keep the exporter from starting, and does not change it.
    let lock = state.join(format!("refresh-token-{TENANT}-{CLIENT_ID}.lock"));
    fs::create_dir(&lock).unwrap();
    let examination = Examination::within(directory.path(), &config, &[]);
    assert_eq!(examination.failed(), ["state_directory"]);
    let found = examination.step("state_directory").to_string();
    assert!(found.contains(".lock: Is a directory") && found.contains("remove it"), "{found}");
    assert!(lock.is_dir());
}

#[test]
fn the_doctor_says_where_a_token_is_that_was_stored_for_another_name_of_the_tenant() {
    let simulator = Simulator::start("");
    let directory = tempfile::tempdir().unwrap();
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let mut exporter = Exporter::start_in(std::sync::Arc::new(directory), &config, &[]);
    exporter.wait_for_polls(None, 1.0);
    exporter.process.signal(rustix::process::Signal::TERM);
    exporter.process.wait();
    let renamed = format!("accounts:\n{}", simulator.account(None, "contoso.example"));
    let examination = Examination::within(exporter.directory.path(), &renamed, &[]);
    let found = examination.step("state_directory").to_string();
    let file = exporter.directory.path().join(format!("state/refresh-token-{TENANT}-{CLIENT_ID}.json"));
    assert!(found.contains("warning") && found.contains(file.to_str().unwrap()), "{found}");
    assert!(found.contains(&format!("set tenant_id: {TENANT}")), "{found}");
    // The exporter says the same when it starts.
    let exporter = Exporter::start_in(std::sync::Arc::clone(&exporter.directory), &renamed, &[]);
    exporter.process.stderr.wait_for("the warning", |line| {
        (line.contains("level=WARN") && line.contains(&format!("set tenant_id: {TENANT}"))).then_some(())
    });
}

#[test]
fn the_doctor_succeeds_when_the_reader_closes_the_pipe() {
    let simulator = Simulator::start("");
    let directory = tempfile::tempdir().unwrap();
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    for format in ["text", "json"] {
        let mut command = doctor(directory.path(), &config, &["--format", format]);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}");
    }
}
