//! Files that are pipes, at which a reader would wait for ever, stop neither other accounts nor scrapes nor the stop.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use partner_center_simulator::CLIENT_SECRET;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::support::{Exporter, OTHER_TENANT, Simulator, TENANT, run, write_config};

const POLLS: &str = "partner_license_scrapes_total";
const UP: &str = "partner_license_up";

/// Puts a pipe in the place of a file.
fn replace_by_pipe(path: &Path) {
    fs::remove_file(path).ok();
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// The file of the state directory whose name begins and ends like this.
fn state_file(exporter: &Exporter, prefix: &str, tenant: &str, suffix: &str) -> PathBuf {
    let directory = exporter.directory.path().join("state");
    let client = partner_center_simulator::CLIENT_ID;
    directory.join(format!("{prefix}-{tenant}-{client}.{suffix}"))
}

#[test]
fn an_account_whose_files_are_pipes_fails_with_their_names_and_the_others_are_polled() {
    let simulator = Simulator::start("access_token_lifetime: 1s\n");
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let secret = directory.path().join("secret");
    fs::write(&secret, CLIENT_SECRET).unwrap();
    let broken = simulator.account(Some("broken"), TENANT).replace(
        &format!("client_secret: {CLIENT_SECRET}"),
        &format!("client_secret_file: {}", secret.display()),
    );
    let works = simulator.account(Some("works"), OTHER_TENANT);
    let config = format!("poll_interval: 1s\naccounts:\n{broken}{works}");
    let mut exporter = Exporter::start_in(directory, &config, &[]);
    exporter.wait_for_polls(Some("broken"), 1.0);
    exporter.wait_for_polls(Some("works"), 1.0);
    replace_by_pipe(&secret);
    for (prefix, suffix) in [("refresh-token", "json"), ("refresh-token", "lock"), ("usage", "json")] {
        replace_by_pipe(&state_file(&exporter, prefix, TENANT, suffix));
    }
    exporter.wait_for("the failure of the account", |metrics| {
        (metrics.value(UP, &[("account", "broken")])? == 0.0).then_some(())
    });
    let text = exporter.process.stderr.wait_for("the error", |line| {
        line.contains("this is a pipe, not a regular file").then(|| line.to_owned())
    });
    assert!(text.contains(secret.to_str().unwrap()) || text.contains("refresh-token-"), "{text}");
    let polls = exporter.metrics().value(POLLS, &[("account", "works")]).unwrap();
    exporter.wait_for_polls(Some("works"), polls + 3.0);
    assert_eq!(exporter.metrics().value(UP, &[("account", "works")]), Some(1.0));
    exporter.process.signal(Signal::TERM);
    let (status, took) = exporter.process.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(5), "the stop took {took:?}");
}

#[test]
fn a_configuration_or_a_secret_that_is_a_pipe_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    replace_by_pipe(&pipe);
    let (code, _, text) = run(&["check", "--config.file", pipe.to_str().unwrap()]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("this is a pipe, not a regular file"), "{text}");

    for key in ["client_secret_file", "refresh_token_file", "ca_file", "client_certificate_file"] {
        let account = format!(
            "accounts:\n  - {{ tenant_id: {TENANT}, client_id: {TENANT}, {key}: {} }}\n",
            pipe.display()
        );
        let config = write_config(directory.path(), &account);
        let (code, _, text) = run(&["check", "--config.file", config.to_str().unwrap()]);
        assert_eq!(code, 1, "{key}: {text}");
        assert!(text.contains("this is a pipe, not a regular file"), "{key}: {text}");
    }
}
