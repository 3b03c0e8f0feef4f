//! Two exporters that share a state directory renew the same refresh token in turn.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use crate::support;
use crate::support::{Exporter, Simulator, TENANT, eventually};

const SIGN_INS: f64 = 20.0;

#[test]
fn two_replicas_with_one_state_directory_never_use_a_refresh_token_twice() {
    // With this rotation, the reuse of a token that has a successor invalidates all tokens.
    let simulator = Simulator::start("{rotation: family, access_token_lifetime: 1s}");
    let replicas = start_two(&simulator);
    replicas.iter().for_each(wait_for_many_sign_ins);
    let log = simulator.requests();
    let requests = log["requests"].as_array().unwrap();
    let tokens: Vec<_> = requests.iter().filter(|request| request["endpoint"] == "token").collect();
    assert!(tokens.iter().all(|request| request["status"] == 200), "{tokens:?}");
    println!("{} sign-ins, none refused", tokens.len());
    for replica in &replicas {
        assert_no_warnings(replica);
    }
}

#[test]
fn an_exporter_that_cannot_lock_the_state_directory_refuses_to_start() {
    let simulator = Simulator::start("");
    let directory = tempfile::tempdir().unwrap();
    let client = partner_center_simulator::CLIENT_ID;
    let lock = directory.path().join(format!("state/refresh-token-{TENANT}-{client}.lock"));
    // Not even root can open a directory for writing.
    std::fs::create_dir_all(&lock).unwrap();
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let file = support::write_config(directory.path(), &config);
    let config_flag = format!("--config.file={}", file.display());
    let (code, _, error) = support::run(&[&config_flag, "--web.listen-address=127.0.0.1:0"]);
    assert_eq!(code, 2, "{error}");
    let wanted = format!("{}: Is a directory", lock.display());
    assert!(error.contains(&wanted) && error.contains("refresh tokens are stored there"), "{error}");
    assert_eq!(simulator.count("token"), 0);
}

fn start_two(simulator: &Simulator) -> [Exporter; 2] {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    [(); 2].map(|()| Exporter::start_in(Arc::clone(&directory), &config, &[]))
}

fn wait_for_many_sign_ins(replica: &Exporter) {
    let labels = [("endpoint", "token"), ("code", "200")];
    let count = || replica.metrics().value("partner_license_api_requests_total", &labels);
    eventually("sign-ins", || (count()? >= SIGN_INS).then_some(()));
}

fn assert_no_warnings(replica: &Exporter) {
    let log = replica.process.stderr.text();
    let is_warning = |line: &&str| line.contains("level=WARN") || line.contains("level=ERROR");
    assert_eq!(log.lines().find(is_warning), None);
    assert_eq!(replica.metrics().of_usage("partner_license_up", &[]), Some(1.0));
}
