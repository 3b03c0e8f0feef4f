//! The five steps of README.md, run in one shell session, lead to a running exporter.
//!
//! The simulator takes the place of Microsoft's servers. Only their addresses and the port are changed in the steps. A
//! script with the answers of `az` takes the place of `az`, which the machine may lack.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use partner_center_simulator::{CLIENT_ID, CLIENT_SECRET};

use crate::support::{Process, Simulator, program};

const HEADING: &str = "\n## Five steps to a running exporter\n";
const ADDRESS: &str = "127.0.0.1:10365";

#[test]
fn the_five_steps_lead_to_a_running_exporter() {
    let steps = steps();
    assert_eq!(steps.len(), 5, "{steps:#?}");
    let simulator = Simulator::start("device: { interval: 1s, polls: 1 }");
    let directory = tempfile::tempdir().unwrap();
    let path = commands(directory.path());

    let (before, serve) = steps.concat().split_once("\npartner-license-exporter --config.file=").map_or_else(
        || panic!("no step starts the exporter: {steps:#?}"),
        |(before, rest)| (before.to_owned(), format!("partner-license-exporter --config.file={rest}")),
    );
    let (serve, after) = serve.split_once(" &\n").expect("the exporter runs in the background");
    let secret = "    client_secret_file: client-secret\n";
    assert!(before.contains(secret), "{before}");
    let url = &simulator.url;
    let cloud = format!("{secret}    cloud: custom\n    api_base_url: {url}\n    login_base_url: {url}\n");
    let before = before.replace(secret, &cloud);
    assert!(serve.contains(ADDRESS) && after.contains(ADDRESS), "{serve}\n{after}");

    // The shell executes the exporter in its own process, so that the exporter ends with the test.
    let script = format!("set -e\n{before}\nexec {}", serve.replace(ADDRESS, "127.0.0.1:0"));
    let exporter = Process::start(&mut shell(&script, directory.path(), &path));
    let address = exporter.stderr.wait_for("address of the exporter", |line| {
        Some(line.split_once("msg=\"Listening on\"")?.1.split_once("address=")?.1.to_owned())
    });
    for said in ["The refresh token is stored in state/", "the refresh token stays as it is"] {
        exporter.stdout.wait_for(said, |line| line.contains(said).then_some(()));
    }

    let script = format!("set -e\n{}", after.replace(ADDRESS, &address));
    let output = shell(&script, directory.path(), &path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.matches("partner_license_usage_percent{").count(), 5, "{text}");

    for (file, mode) in [("client-secret", 0o600), ("state", 0o700)] {
        let metadata = fs::metadata(directory.path().join("partner-license").join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{file}");
    }
}

/// Returns the blocks of commands below the heading.
fn steps() -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, rest) = readme.split_once(HEADING).expect("README.md has the five steps");
    let (section, _) = rest.split_once("\n## ").unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks.map(|block| block.split_once("```").unwrap().0.to_owned()).collect()
}

/// Creates a directory with the program and with a script `az` that answers the commands of the steps.
fn commands(directory: &Path) -> PathBuf {
    let path = directory.join("bin");
    fs::create_dir(&path).unwrap();
    symlink(program(&[]).get_program(), path.join("partner-license-exporter")).unwrap();
    let az = path.join("az");
    let text = format!(
        "#!/bin/sh\ncase \"$1 $2 $3\" in\n'ad app create') echo {CLIENT_ID} ;;\n\
         'ad app credential') echo {CLIENT_SECRET} ;;\n\
         'login --tenant contoso.example' | 'ad sp create' | 'ad app permission') ;;\n\
         *) echo \"az: $*\" >&2; exit 1 ;;\nesac\n"
    );
    fs::write(&az, text).unwrap();
    fs::set_permissions(&az, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Returns a shell in `directory` that searches `path` for commands first, with the environment of [`program`].
fn shell(script: &str, directory: &Path, path: &Path) -> Command {
    let mut command = Command::new("bash");
    for (name, value) in program(&[]).get_envs() {
        if value.is_none() {
            command.env_remove(name);
        }
    }
    let others = std::env::var("PATH").unwrap_or_default();
    command.args(["-c", script]).current_dir(directory).env("PATH", format!("{}:{others}", path.display()));
    command
}
