//! Files at which a reader would wait for ever, pipes or on a file system that hangs, stop neither other accounts nor
//! scrapes nor the stop.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use partner_center_simulator::CLIENT_SECRET;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::faults::{NAMESPACES, Namespaces};
use crate::support::peers::Authority;
use crate::support::{
    Exporter, OTHER_TENANT, Process, STOP, Simulator, TENANT, account, eventually, not_run, program, run,
    write_config,
};

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
    let directory = Arc::new(tempfile::tempdir().unwrap());
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
        (metrics.of_usage(UP, &[("account", "broken")])? == 0.0).then_some(())
    });
    let text = exporter.process.stderr.wait_for("the error", |line| {
        line.contains("this is a pipe, not a regular file").then(|| line.to_owned())
    });
    assert!(text.contains(secret.to_str().unwrap()) || text.contains("refresh-token-"), "{text}");
    let polls = exporter.metrics().of_usage(POLLS, &[("account", "works")]).unwrap();
    exporter.wait_for_polls(Some("works"), polls + 3.0);
    assert_eq!(exporter.metrics().of_usage(UP, &[("account", "works")]), Some(1.0));
    exporter.process.signal(Signal::TERM);
    let (status, took) = exporter.process.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "the stop took {took:?}");
}

/// Mounts a file system at `directory`, in the namespaces of the exporter, that answers no request: FUSE without a
/// server. It ends with the returned process. `None` if this machine does not allow that.
fn mount_hanging(namespaces: &Namespaces, exporter: &Exporter, directory: &Path) -> Option<Process> {
    let mount = "exec 7<>/dev/fuse && mount -i -t fuse -o fd=7,rootmode=40000,user_id=0,group_id=0 hanging \"$0\" \
                 && echo mounted && exec sleep 600";
    let mut command = Command::new("nsenter");
    command.arg("--target").arg(exporter.process.id().to_string()).args(namespaces.nsenter);
    let mut server = Process::start(command.args(["--", "sh", "-c", mount]).arg(directory));
    let is_mounted = eventually("the mount or its failure", || {
        let is_mounted = server.stdout.text() == "mounted";
        (is_mounted || !server.is_running()).then_some(is_mounted)
    });
    is_mounted.then_some(server)
}

#[test]
fn a_file_system_that_hangs_stops_neither_other_accounts_nor_scrapes_nor_the_stop() {
    let simulator = Simulator::start("access_token_lifetime: 1s\n");
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let [secrets, scratch, certificates] =
        ["secrets", "scratch", "certificates"].map(|name| directory.path().join(name));
    for directory in [&secrets, &scratch, &certificates] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(secrets.join("secret"), CLIENT_SECRET).unwrap();
    let hanging = simulator.account(Some("hanging"), TENANT).replace(
        &format!("client_secret: {CLIENT_SECRET}"),
        &format!("client_secret_file: {}", secrets.join("secret").display()),
    );
    let works = simulator.account(Some("works"), OTHER_TENANT);
    let config = format!("poll_interval: 1s\naccounts:\n{hanging}{works}");
    let possible = |namespaces: &&Namespaces| {
        let probe = namespaces.enter(&scratch, &Command::new("true")).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let missing = "a file system that hangs, which cannot be mounted here (unshare --mount, /dev/fuse)";
    let Some(namespaces) = NAMESPACES.iter().find(possible) else { return not_run(missing) };
    let mut command = namespaces.enter(&scratch, &program(&[]));
    command.env("SSL_CERT_DIR", &certificates).env_remove("SSL_CERT_FILE");
    let mut exporter = Exporter::start_by(command, directory, &config);
    exporter.wait_for_polls(Some("hanging"), 1.0);
    exporter.wait_for_polls(Some("works"), 1.0);

    // The CA certificates, which the first account with TLS needs.
    let Some(_certificates) = mount_hanging(namespaces, &exporter, &certificates) else {
        return not_run(missing);
    };
    let url = "https://127.0.0.1:1";
    let tls = account(Some("tls"), "33333333-3333-3333-3333-333333333333", url, url, "");
    write_config(exporter.directory.path(), &format!("{config}{tls}"));
    assert_eq!(exporter.reload(), 500);
    let path = certificates.display();
    let expected = format!("SSL_CERT_DIR={path}: the file system did not answer within 2s");
    exporter.process.stderr.wait_for("the path", |line| line.contains(&expected).then_some(()));
    write_config(exporter.directory.path(), &config);

    let Some(_secrets) = mount_hanging(namespaces, &exporter, &secrets) else { return not_run(missing) };
    exporter.wait_for("the failure of the account", |metrics| {
        (metrics.of_usage(UP, &[("account", "hanging")])? == 0.0).then_some(())
    });
    let text = exporter
        .process
        .stderr
        .wait_for("the error", |line| line.contains("Polling failed").then(|| line.to_owned()));
    // The failure is that of the poll itself, or another part of the program was the first to wait for the file.
    let hangs = ["the file system did not answer within 2s", "an earlier access to this file still hangs"];
    assert!(hangs.iter().any(|hangs| text.contains(hangs)), "{text}");
    assert!(text.contains(secrets.join("secret").to_str().unwrap()), "{text}");
    let polls = exporter.metrics().of_usage(POLLS, &[("account", "works")]).unwrap();
    exporter.wait_for_polls(Some("works"), polls + 3.0);
    assert_eq!(exporter.metrics().of_usage(UP, &[("account", "works")]), Some(1.0));
    assert_eq!(exporter.reload(), 500);

    // Now the files that every account reads and writes: the tokens and rows in memory are used.
    let state = exporter.directory.path().join("state");
    let _state = mount_hanging(namespaces, &exporter, &state).unwrap();
    exporter.process.stderr.wait_for("a warning about a file of the other account", |line| {
        (line.contains("account=works") && line.contains(state.to_str().unwrap())).then_some(())
    });
    let polls = exporter.metrics().of_usage(POLLS, &[("account", "works")]).unwrap();
    exporter.wait_for_polls(Some("works"), polls + 2.0);
    assert_eq!(exporter.metrics().of_usage(UP, &[("account", "works")]), Some(1.0));
    exporter.process.signal(Signal::TERM);
    let (status, took) = exporter.process.wait();
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP, "the stop took {took:?}");
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

#[test]
fn ca_certificates_of_the_system_that_are_a_pipe_are_refused_at_once_with_their_path() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    replace_by_pipe(&pipe);
    let authority = Authority::new();
    let ca_file = directory.path().join("ca.pem");
    fs::write(&ca_file, authority.pem()).unwrap();
    for more in [String::new(), format!(", ca_file: \"{}\"", ca_file.display())] {
        let url = "https://127.0.0.1:1";
        let config = format!("accounts:\n{}", account(None, TENANT, url, url, &more));
        let config = write_config(directory.path(), &config);
        let flags = ["--config.file", config.to_str().unwrap()];
        for (command, code) in
            [(&["serve", "--web.listen-address", "127.0.0.1:0"][..], 2), (&["check"], 1), (&["doctor"], 1)]
        {
            let mut command = program(command);
            command.args(flags).env("SSL_CERT_FILE", &pipe).env_remove("SSL_CERT_DIR");
            let mut process = Process::start(&mut command);
            let (status, took) = process.wait();
            let text = eventually("the message", || {
                let text = format!("{}\n{}", process.stdout.text(), process.stderr.text());
                text.contains("SSL_CERT_FILE").then_some(text)
            });
            let expected = format!(
                "cannot read the CA certificates of SSL_CERT_FILE={}: this is a pipe, not a regular file; set \
                 SSL_CERT_FILE to a regular file with CA certificates",
                pipe.display()
            );
            assert!(text.contains(&expected), "{command:?}: {text}");
            assert_eq!(status.code(), Some(code), "{command:?}: {text}");
            assert!(took < Duration::from_secs(10), "{command:?} took {took:?}");
        }
        // An empty device ends, so it is one way to trust only `ca_file`.
        let mut command = program(&["check"]);
        command.args(flags).env("SSL_CERT_FILE", "/dev/null").env_remove("SSL_CERT_DIR");
        let output = command.output().unwrap();
        assert_eq!(output.status.success(), !more.is_empty(), "{output:?}");
    }
}
