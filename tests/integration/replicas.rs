//! Two exporters with one state directory: they renew the same refresh token in turns.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use crate::support;
use crate::support::{Exporter, Simulator, TENANT, eventually};

const SIGN_INS: f64 = 20.0;

#[test]
fn two_replicas_with_one_state_directory_never_use_a_refresh_token_twice() {
    // Whoever uses a token again that has a successor ends them all.
    let simulator = Simulator::start("{rotation: family, access_token_lifetime: 1s}");
    let replicas = start_two(&simulator);
    replicas.iter().for_each(signs_in_often);
    let log = simulator.requests();
    let requests = log["requests"].as_array().unwrap();
    let tokens: Vec<_> = requests.iter().filter(|request| request["endpoint"] == "token").collect();
    assert!(tokens.iter().all(|request| request["status"] == 200), "{tokens:?}");
    println!("{} sign-ins, none refused", tokens.len());
    for replica in &replicas {
        nothing_to_complain_about(replica);
    }
}

#[test]
fn where_no_lock_can_be_taken_an_exporter_refuses_to_start() {
    let simulator = Simulator::start("");
    let directory = tempfile::tempdir().unwrap();
    let client = partner_center_simulator::CLIENT_ID;
    let lock = directory.path().join(format!("state/refresh-token-{TENANT}-{client}.lock"));
    // Not even root opens a directory for writing.
    std::fs::create_dir_all(&lock).unwrap();
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let file = support::write_config(directory.path(), &config);
    let config_flag = format!("--config.file={}", file.display());
    let (code, _, told) = support::run(&[&config_flag, "--web.listen-address=127.0.0.1:0"]);
    assert_eq!(code, 2, "{told}");
    let wanted = format!("cannot lock {}: Is a directory", lock.display());
    assert!(told.contains(&wanted) && told.contains("must be on a file system with locks"), "{told}");
    assert_eq!(simulator.count("token"), 0);
}

fn start_two(simulator: &Simulator) -> [Exporter; 2] {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let config = format!("poll_interval: 1s\naccounts:\n{}", simulator.account(None, TENANT));
    [(); 2].map(|()| Exporter::start_in(Arc::clone(&directory), &config, &[]))
}

fn signs_in_often(replica: &Exporter) {
    let labels = [("endpoint", "token"), ("code", "200")];
    let count = || replica.metrics().value("partner_license_api_requests_total", &labels);
    eventually("sign-ins", || (count()? >= SIGN_INS).then_some(()));
}

fn nothing_to_complain_about(replica: &Exporter) {
    let log = replica.process.stderr.text();
    let complaint = |line: &&str| line.contains("level=WARN") || line.contains("level=ERROR");
    assert_eq!(log.lines().find(complaint), None);
    assert_eq!(replica.metrics().value("partner_license_up", &[]), Some(1.0));
}
