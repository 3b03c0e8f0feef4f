//! The commands for packagers and containers: `man`, `completions` and `healthcheck`.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use crate::support::peers::refusing;
use crate::support::{Exporter, Simulator, not_run, program, run};

#[test]
fn man_writes_a_page_for_the_program_and_each_command() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("man1");
    let (code, said, errors) = run(&["man", "--output", target.to_str().unwrap()]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let (_, help, _) = run(&["--help"]);
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let page = target.join(format!("partner-license-exporter-{command}.1"));
        assert!(said.contains(page.to_str().unwrap()), "{said}");
        let page = fs::read_to_string(page).unwrap();
        let (name, _) = page.split_once(".SH SYNOPSIS").unwrap();
        let title = format!(".TH partner-license-exporter-{command} 1 \"\" \"partner-license-exporter ");
        assert!(name.contains(&title), "{name}");
        assert!(name.contains(&format!(r"partner\-license\-exporter\-{command} \- ")), "{name}");
        let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        let reads_configuration = page.contains(r"\-\-config.file");
        let of_configuration = ["ENVIRONMENT", "FILES"].into_iter().filter(|_| reads_configuration);
        let last = ["\"EXIT STATUS\""].into_iter().chain(of_configuration).chain(["\"SEE ALSO\""]);
        assert!(sections.ends_with(&last.collect::<Vec<&str>>()), "{sections:?}");
        for variable in
            ["AZURE_AUTHORITY_HOST", "PARTNER_CENTER_REFRESH_TOKEN_FILE", "HTTPS_PROXY", "SSL_CERT_FILE"]
        {
            assert_eq!(page.contains(variable), reads_configuration, "{command}: {variable}");
        }
        let usual = "It ran and failed, or the configuration";
        assert_eq!(page.contains(usual), command != "healthcheck", "{page}");
    }
    let (code, printed, errors) = run(&["man"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(printed, fs::read_to_string(target.join("partner-license-exporter.1")).unwrap());
}

#[test]
fn manual_pages_have_no_fault_that_mandoc_finds() {
    let mandoc = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bookworm/bin/mandoc");
    if !mandoc.exists() {
        return not_run("the manual pages: scripts/fetch-tools has not fetched mandoc");
    }
    let directory = tempfile::tempdir().unwrap();
    let man = program(&["man", "--output", directory.path().to_str().unwrap()])
        .env("SOURCE_DATE_EPOCH", "1795000000")
        .status();
    assert!(man.unwrap().success());
    for page in fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let lint = Command::new(&mandoc).args(["-T", "lint", "-W", "warning"]).arg(&page).output().unwrap();
        assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    }
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("completions.bash");
    let (code, text, errors) = run(&["completions", "bash"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    fs::write(&script, text).unwrap();
    for (words, expected) in [
        (&["partner-license-exporter", "doc"][..], "doctor"),
        (&["partner-license-exporter", "check", "--config"], "--config.file"),
        (&["partner-license-exporter", "fetch", "--format", "open"], "openmetrics"),
        // As bash divides the line: `=` is a word of its own.
        (&["partner-license-exporter", "--log.level", "=", "d"], "debug"),
        (&["partner-license-exporter", "export", "da"], "dashboards"),
    ] {
        let ask = "source \"$1\"; shift; COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)); \
                   f=$(complete -p \"$1\"); f=${f##*-F }; ${f%% *} \"$1\" \"${@: -1}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let bash = Command::new("bash")
            .args(["--norc", "-c", ask, "bash"])
            .arg(&script)
            .args(words)
            .output()
            .unwrap();
        let (replies, errors) =
            (String::from_utf8_lossy(&bash.stdout), String::from_utf8_lossy(&bash.stderr));
        assert!(replies.lines().any(|reply| reply == expected), "{words:?}: {replies:?}, {errors}");
    }
}

#[test]
fn completions_exist_for_the_shells_that_packages_support() {
    // `scripts/package --check` tries them out in fish and zsh.
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef "),
        ("fish", "string match --regex '^(?:serve|check|"),
        ("fish", "_using_subcommand export\" -f -a \"dashboards alerts\"\n"),
    ] {
        let (code, script, errors) = run(&["completions", shell]);
        assert_eq!((code, errors.as_str()), (0, ""));
        assert!(script.contains(part) && script.contains("healthcheck"), "{shell}: {script}");
    }
}

/// Starts an exporter with this web configuration, and returns it with what `healthcheck` says about it: exit code and errors.
fn health(web_config: Option<&str>) -> (Exporter, i32, String) {
    let simulator = Simulator::start("{}");
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let path = directory.path().join("web.yml");
    let pair = rcgen::generate_simple_self_signed(["exporter.example".to_owned()]).unwrap();
    fs::write(directory.path().join("server.crt"), pair.cert.pem()).unwrap();
    fs::write(directory.path().join("server.key"), pair.signing_key.serialize_pem()).unwrap();
    fs::write(&path, web_config.unwrap_or_default()).unwrap();
    let flag = format!("--web.config.file={}", path.display());
    let accounts = format!("accounts:\n{}", simulator.account(None, "contoso.example"));
    let exporter = Exporter::start_in(directory, &accounts, &[&flag]);
    let address = exporter.url.split("//").nth(1).unwrap().to_owned();
    // Of the addresses that the exporter may have, the first is asked.
    let more = "--web.listen-address=127.0.0.1:1";
    let (code, _, errors) = run(&["healthcheck", "--web.listen-address", &address, more, &flag]);
    (exporter, code, errors)
}

#[test]
fn a_running_exporter_is_healthy() {
    let (_exporter, code, errors) = health(None);
    assert_eq!((code, errors.as_str()), (0, ""));
}

#[test]
fn an_exporter_with_tls_is_healthy_whatever_name_its_certificate_has() {
    let (_exporter, code, errors) =
        health(Some("tls_server_config: { cert_file: server.crt, key_file: server.key }"));
    assert_eq!((code, errors.as_str()), (0, ""));
}

#[test]
fn an_exporter_that_wants_a_password_is_healthy() {
    let hash = bcrypt::hash("secret", 4).unwrap();
    let (_exporter, code, errors) = health(Some(&format!("basic_auth_users: {{ someone: {hash} }}")));
    assert_eq!((code, errors.as_str()), (0, ""));
}

#[test]
fn an_address_at_which_no_exporter_can_listen_is_asked_nothing_and_gives_status_2() {
    for address in [
        "",
        "10365",
        "localhost",
        "127.0.0.1",
        "::1",
        "127.0.0.1:99999",
        "127.0.0.1:",
        "someone@127.0.0.1:10365",
        "127.0.0.1:10365/x",
        "http://127.0.0.1:10365",
        "example?x:10365",
    ] {
        let (code, _, errors) = run(&["healthcheck", &format!("--web.listen-address={address}")]);
        assert!(code == 2 && errors.contains("write it as :PORT"), "{address:?}: {code}, {errors}");
    }
}

#[test]
fn where_nothing_listens_the_health_check_fails_with_status_1() {
    let (closed, _bound) = refusing();
    let (code, _, errors) = run(&["healthcheck", "--web.listen-address", &closed.to_string()]);
    assert_eq!(code, 1);
    assert!(errors.starts_with(&format!("error: no answer from http://{closed}/-/healthy: ")), "{errors}");
}
