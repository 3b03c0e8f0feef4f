//! Two exporters with one state directory: they renew the same refresh token in turns.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::sync::Arc;

use support::{Exporter, Simulator, TENANT, eventually};

const SIGN_INS: f64 = 20.0;

#[test]
fn two_replicas_with_one_state_directory_never_use_a_refresh_token_twice() {
    // Whoever uses a token again that has a successor ends them all.
    let simulator = Simulator::start("{rotation: family, access_token_lifetime: 1s}");
    let replicas = start_two(&simulator, |_| {});
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
fn where_no_lock_can_be_taken_replicas_go_on_without_and_say_so_once() {
    // As it is with Entra ID, which leaves the old token valid beside the new one.
    let simulator = Simulator::start("{rotation: lenient, access_token_lifetime: 1s}");
    let replicas = start_two(&simulator, |state| {
        let client = partner_license_exporter::simulator::CLIENT_ID;
        std::fs::create_dir_all(state.join(format!("refresh-token-{TENANT}-{client}.lock"))).unwrap();
    });
    for replica in &replicas {
        replica.wait_for_polls(None, 3.0);
        let log = replica.process.stderr.text();
        let warnings: Vec<_> = log.lines().filter(|line| line.contains("level=WARN")).collect();
        assert!(
            matches!(&warnings[..], [line] if line.contains("Cannot lock the stored refresh token")),
            "{warnings:?}"
        );
    }
}

fn start_two(simulator: &Simulator, prepare: impl Fn(&std::path::Path)) -> [Exporter; 2] {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    prepare(&directory.path().join("state"));
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
