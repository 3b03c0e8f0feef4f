//! The state directory in the hands of an operator: backup, restore, and files of older versions.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;

use crate::support::{self, Exporter, Simulator, TENANT, program};

/// The commands of the document below a marker.
fn documented(marker: &str) -> String {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/start/systemd.md")).unwrap();
    let (_, rest) = document.split_once(&format!("<!-- {marker} -->\n```sh\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// Runs documented commands, without root and systemd, with the directories of a test.
fn run_documented(marker: &str, state: &Path, home: &Path) {
    let commands: String = documented(marker)
        .lines()
        .filter(|line| !line.starts_with("sudo systemctl "))
        .map(|line| line.replacen("sudo ", "", 1) + "\n")
        .collect();
    assert!(commands.contains("tar -") && !commands.contains("sudo"), "{commands}");
    let commands = commands
        .replace("/var/lib/partner-license-exporter", state.to_str().unwrap())
        .replace("/root", home.to_str().unwrap());
    let output = Command::new("sh").args(["-euc", &commands]).output().unwrap();
    assert!(output.status.success(), "{commands}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_backup_that_is_restored_elsewhere_has_the_rows_and_a_token_that_works() {
    let simulator = Simulator::start("");
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let home = tempfile::tempdir().unwrap();
    let mut before = Exporter::start(&config, &[]);
    before.wait_for_polls(None, 1.0);
    let rows = format!("state/usage-{TENANT}-{}.json", partner_center_simulator::CLIENT_ID);
    support::eventually("the rows on disk", || before.directory.path().join(&rows).exists().then_some(()));
    // While the exporter runs.
    run_documented("backup", &before.directory.path().join("state"), home.path());
    let archive = home.path().join("partner-license-exporter-state.tar.gz");
    assert_eq!(fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    before.process.signal(Signal::TERM);
    before.process.wait();

    // On a machine whose configuration has no refresh token.
    let config = config.replace(&format!("refresh_token: {}, ", partner_center_simulator::REFRESH_TOKEN), "");
    assert!(!config.contains("refresh_token"), "{config}");
    let elsewhere = Arc::new(tempfile::tempdir().unwrap());
    run_documented("restore", &elsewhere.path().join("state"), home.path());
    let after = Exporter::start_in(elsewhere, &config, &[]);
    let metrics = after.metrics();
    assert_eq!(metrics.of_usage("partner_license_rows", &[]), Some(5.0), "served from the first scrape on");
    assert_eq!(after.reload(), 200);
    after.wait_for("successful poll", |metrics| {
        (metrics.of_usage("partner_license_up", &[])? > 0.0).then_some(())
    });
}

#[test]
fn the_files_of_version_1_are_read() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state-1");
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let names = ["usage", "refresh-token"]
        .map(|what| format!("{what}-contoso.example-{}.json", partner_center_simulator::CLIENT_ID));
    for name in &names {
        fs::copy(fixtures.join(name), state.join(name)).unwrap();
    }
    // Nobody answers there.
    let nobody = "http://127.0.0.1:9";
    let account = support::account(None, "contoso.example", nobody, nobody, "");
    let account =
        account.replace(&format!("refresh_token: {}, ", partner_center_simulator::REFRESH_TOKEN), "");
    let exporter = Exporter::start_in(directory, &format!("stale_after: 0s\naccounts:\n{account}"), &[]);
    let metrics = exporter.metrics();
    assert_eq!(metrics.of_usage("partner_license_rows", &[]), Some(5.0));
    let written = Some(1_717_391_488.0);
    assert_eq!(metrics.of_usage("partner_license_last_success_timestamp_seconds", &[]), written);
    assert_eq!(metrics.value("partner_license_refresh_token_issued_timestamp_seconds", &[]), written);
    // The poll that brought these rows was long ago, so the start polls at once.
    exporter.wait_for_polls(None, 1.0);
    for name in &names {
        assert!(!state.join(format!("{name}.set-aside")).exists(), "{name} was set aside");
    }
}

#[test]
fn the_document_lists_the_files_of_the_state_directory_and_what_sets_them_aside() {
    let document =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/state-directory.md"))
            .unwrap();
    let (_, table) = document.split_once("<!-- files:begin -->").unwrap();
    let (table, _) = table.split_once("<!-- files:end -->").unwrap();
    let documented = |name: &str| {
        let name =
            name.replace(TENANT, "<tenant_id>").replace(partner_center_simulator::CLIENT_ID, "<client_id>");
        let suffix = name.split_once(".json.").map(|(_, suffix)| format!("….json.{suffix}"));
        table.contains(&format!("`{}`", suffix.unwrap_or(name)))
    };
    let simulator = Simulator::start("");
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let client = partner_center_simulator::CLIENT_ID;
    let (token, rows) =
        (format!("refresh-token-{TENANT}-{client}.json"), format!("usage-{TENANT}-{client}.json"));
    for name in [&token, &rows] {
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join(name), "damaged").unwrap();
        fs::write(state.join(format!("{name}.set-aside")), "damaged before").unwrap();
        fs::write(state.join(format!("{name}.new")), "left by a killed process").unwrap();
    }
    let mut exporter = Exporter::start_in(directory, &config, &[]);
    exporter.wait_for_polls(None, 1.0);
    exporter.process.signal(Signal::TERM);
    exporter.process.wait();
    let found: Vec<String> = fs::read_dir(&state)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found.len(), 7, "{found:?}");
    for name in &found {
        assert!(documented(name), "{name} is not in the document");
    }
    for name in [token, rows] {
        let mode = fs::metadata(state.join(&name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
        assert_eq!(fs::read_to_string(state.join(format!("{name}.set-aside-2"))).unwrap(), "damaged");
    }
}

#[test]
fn check_succeeds_before_the_service_has_provided_its_secrets() {
    let unit = "/run/credentials/no-such-unit.service";
    let directory = tempfile::tempdir().unwrap();
    let config = |key: &str| {
        format!(
            "accounts:\n  - {{ tenant_id: contoso.example, client_id: {}, {key} }}\n",
            partner_center_simulator::CLIENT_ID
        )
    };
    for key in ["client_secret_file", "client_certificate_file", "federated_token_file", "refresh_token_file"]
    {
        let check = |path: &str| {
            let file = support::write_config(directory.path(), &config(&format!("{key}: {path}")));
            let output = program(&["check"]).arg("--config.file").arg(file).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, errors) = check(&format!("{unit}/secret_x"));
        let warning = format!("warning: {unit}/secret_x is not examined, because {unit} does not exist");
        assert!(code == Some(0) && errors.contains(&warning), "{key}: {errors}");
        // Every other command needs the secret, `login` before a person has signed in for nothing.
        let file = directory.path().join("config.yml");
        for command in [&["login"][..], &["doctor"], &["serve", "--web.listen-address=127.0.0.1:0"]] {
            let output = program(command).arg("--config.file").arg(&file).output().unwrap();
            let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
            assert!(text.contains("so start the service first") && !output.status.success(), "{text}");
        }
        let (code, errors) = check("/run/no-such-directory/secret_x");
        assert!(code == Some(1) && errors.contains(key), "{key}: {errors}");
    }
}

#[test]
fn the_unit_passes_every_secret_that_the_documents_and_the_example_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let (unit, document) = (read("examples/partner-license-exporter.service"), read("docs/start/systemd.md"));
    let credentials: Vec<&str> = unit.lines().filter(|line| line.starts_with("LoadCredential")).collect();
    let directory = "/etc/partner-license-exporter/secrets";
    // A missing file would keep the unit from starting; an empty directory does not.
    assert_eq!(credentials, [format!("LoadCredential=secret:{directory}")]);
    assert!(document.contains(&format!("sudo install -d -m 0700 {directory}\n")));
    assert!(document.contains(&format!("sudo install -m 0600 client-secret {directory}/\n")));
    for text in [read("examples/config.yml"), document] {
        let named: Vec<&str> = text.split("/run/credentials/").skip(1).collect();
        assert!(!named.is_empty());
        for name in named {
            assert!(name.starts_with("partner-license-exporter.service/secret_"), "{name:.60}");
        }
    }
}
