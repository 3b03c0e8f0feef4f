//! `export` writes the files of the repository.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::run;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the content of the files below a directory, by relative path.
fn files(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(directory).unwrap().to_owned(), text);
            }
        }
    }
    found
}

/// Returns the files of a directory of the repository whose names end in `end`, with their paths below `below`.
fn shipped(directory: &str, end: &str, below: &str) -> BTreeMap<PathBuf, String> {
    let entries = fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| path.is_file() && path.to_str().unwrap().ends_with(end));
    let name = |path: &Path| Path::new(below).join(path.file_name().unwrap());
    entries.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

fn export(what: &str, directory: &Path, flags: &[&str]) -> (i32, String, String) {
    run(&[&["export", what, "--output", directory.to_str().unwrap()][..], flags].concat())
}

#[test]
fn exported_dashboards_equal_those_of_the_repository() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("not/there/yet");
    let (code, said, errors) = export("dashboards", &target, &[]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let written = files(&target);
    assert_eq!(written, shipped("dashboards", ".json", ""));
    assert_eq!(said.lines().count(), written.len());
    for path in written.keys() {
        assert!(said.contains(target.join(path).to_str().unwrap()), "{said}");
    }
}

#[test]
fn exported_alerts_runbooks_and_alertmanager_files_equal_those_of_the_repository() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, errors) = export("alerts", directory.path(), &[]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let mut expected = shipped("alerts", ".rules.yml", "");
    expected.extend(shipped("examples", "alertmanager.yml", ""));
    expected.extend(shipped("examples", "alertmanager-teams.yml", ""));
    expected.extend(shipped("examples/alertmanager", ".tmpl", "alertmanager"));
    expected.extend(shipped("docs/runbooks", ".md", "docs/runbooks"));
    expected.extend(shipped("docs/concepts", ".md", "docs/concepts"));
    assert_eq!(files(directory.path()), expected);
    // The documents exist where the rules link to them.
    let rules = &expected[Path::new("partner-license.rules.yml")];
    for key in ["runbook_url: ", "numbers_url: "] {
        let mut paths = rules.lines().filter_map(|line| line.trim().strip_prefix(key)).peekable();
        assert!(paths.peek().is_some(), "no {key}");
        for path in paths {
            assert!(directory.path().join(path).is_file() && root().join(path).is_file(), "{path}");
        }
    }
}

#[test]
fn the_flags_set_the_hosts_of_links_in_rules() {
    let directory = tempfile::tempdir().unwrap();
    let flags =
        ["--grafana-url=https://grafana.example/g/", "--runbook-url", "https://wiki.example/runbooks"];
    assert_eq!(export("alerts", directory.path(), &flags).0, 0);
    let rules = fs::read_to_string(directory.path().join("partner-license.rules.yml")).unwrap();
    let starts = |key: &str| -> Vec<String> {
        let urls = rules.lines().filter_map(|line| line.trim().strip_prefix(key));
        urls.map(|url| url.split("/d/partner").next().unwrap().split("/Partner").next().unwrap().to_owned())
            .collect()
    };
    for (key, start) in
        [("dashboard_url: ", "https://grafana.example/g"), ("runbook_url: ", "https://wiki.example/runbooks")]
    {
        let starts = starts(key);
        assert!(starts.len() > 12 && starts.iter().all(|found| found == start), "{key}{starts:?}");
    }
    assert_eq!(starts("numbers_url: "), ["https://wiki.example/concepts/the-numbers.md"]);
}

#[test]
fn customers_are_routed_to_their_account_managers_and_nothing_else_changes() {
    let directory = tempfile::tempdir().unwrap();
    let list = directory.path().join("managers.csv");
    let (bank, shop) = ("0112a436-9d8f-4d8c-9e0f-6b1f0c5a7d01", "7b1e5c5e-2f57-4f0a-8a35-1d2c3b4a5f02");
    fs::write(&list, format!("id,e-mail\n{bank},o'neill@partner.example\n{shop},O'Neill@partner.example\n"))
        .unwrap();
    let (plain, routed) = (directory.path().join("plain"), directory.path().join("routed"));
    assert_eq!(export("alerts", &plain, &[]).0, 0);
    assert_eq!(export("alerts", &routed, &["--routes", list.to_str().unwrap()]).0, 0);
    let (plain, routed) = (files(&plain), files(&routed));
    let differ: Vec<_> = plain.keys().filter(|path| plain[*path] != routed[*path]).collect();
    assert_eq!(differ, [Path::new("alertmanager.yml")]);
    assert_eq!(plain.len(), routed.len());
    let config = &routed[Path::new("alertmanager.yml")];
    let added: Vec<&str> = {
        let before = &plain[Path::new("alertmanager.yml")];
        config.lines().filter(|line| !before.contains(line) && !line.trim_start().starts_with('#')).collect()
    };
    assert_eq!(
        added,
        [
            "      routes:",
            "        - receiver: 'o''neill@partner.example'",
            "          matchers:",
            &format!("            - 'customer =~ \"{bank}|{shop}\"'"),
            "  - name: 'o''neill@partner.example'",
            "      - to: 'o''neill@partner.example'",
        ]
    );
    assert_eq!(config.matches("partner_license.email.html").count(), 2, "{config}");
}

#[test]
fn another_list_of_account_managers_changes_nothing_but_their_routes_and_receivers() {
    let directory = tempfile::tempdir().unwrap();
    let (list, output) = (directory.path().join("managers.csv"), directory.path().join("alerts"));
    let write = |manager: &str| {
        fs::write(&list, format!("id,e-mail\n0112a436-9d8f-4d8c-9e0f-6b1f0c5a7d01,{manager}\n")).unwrap();
    };
    let routes = ["--routes", list.to_str().unwrap()];
    write("anna@partner.example");
    let links = ["--grafana-url=https://grafana.example", "--runbook-url=https://wiki.example/runbooks"];
    assert_eq!(export("alerts", &output, &[&links[..], &routes[..]].concat()).0, 0);
    // The site's own settings.
    let config = output.join("alertmanager.yml");
    let own = fs::read_to_string(&config).unwrap();
    let own = own
        .replace("smtp_smarthost: 127.0.0.1:25", "smtp_smarthost: mail.partner.example:587")
        .replace("to: licence-owners@localhost", "to: sales@partner.example");
    fs::write(&config, &own).unwrap();
    fs::write(output.join("alertmanager/partner-license.tmpl"), "mine").unwrap();
    let before = files(&output);

    write("bob@partner.example");
    let (code, said, errors) = export("alerts", &output, &routes);
    assert_eq!((code, said.trim_end(), errors.as_str()), (0, config.to_str().unwrap(), ""));
    let mut expected = before.clone();
    expected.insert("alertmanager.yml".into(), own.replace("anna@partner.example", "bob@partner.example"));
    assert_eq!(files(&output), expected);

    let (code, _, errors) = export("alerts", &output, &[&links[..], &routes[..]].concat());
    assert_eq!(code, 2);
    assert!(errors.contains("--routes changes nothing but its routes"), "{errors}");
    fs::write(&config, "route: { receiver: mine }\n").unwrap();
    let (code, _, errors) = export("alerts", &output, &routes);
    assert_eq!(code, 2);
    assert!(errors.starts_with("error: cannot write routes into "), "{errors}");
}

#[test]
fn a_list_of_account_managers_with_problems_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (list, target) = (directory.path().join("managers.csv"), directory.path().join("alerts"));
    fs::write(&list, "id,e-mail\nContoso,anna\nFabrikam\n").unwrap();
    let routes = format!("--routes={}", list.display());
    let (code, said, errors) = export("alerts", &target, &[&routes]);
    assert_eq!((code, said.as_str()), (2, ""));
    let lines: Vec<&str> = errors.lines().collect();
    assert_eq!(lines[0], format!("error: {}:", list.display()));
    assert!(lines[1].starts_with("  line 2: ") && lines[2].starts_with("  line 3: "), "{errors}");
    assert!(lines.len() == 3 && !errors.contains("Contoso"), "{errors}");
    let (code, _, errors) = export("alerts", &target, &["--routes=/does/not/exist.csv"]);
    assert_eq!(code, 2);
    assert!(errors.starts_with("error: cannot read /does/not/exist.csv: "), "{errors}");
    let (code, _, errors) = export("dashboards", &target, &[&routes]);
    assert_eq!(
        (code, errors.as_str()),
        (2, "error: --routes is about alerts and has no effect on dashboards\n")
    );
    assert!(!target.exists());
}

#[test]
fn a_changed_file_is_overwritten_only_with_the_overwrite_flag() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(export("alerts", directory.path(), &[]).0, 0);
    assert_eq!(export("alerts", directory.path(), &[]).0, 0, "an export over equal files failed");
    let template = directory.path().join("alertmanager/partner-license.tmpl");
    fs::write(&template, "mine").unwrap();
    let runbook = directory.path().join("docs/runbooks/PartnerLicenseUsageLow.md");
    fs::remove_file(&runbook).unwrap();
    let (code, said, errors) = export("alerts", directory.path(), &[]);
    assert_eq!((code, said.as_str()), (1, ""));
    let expected = format!(
        "error: {} exists and differs; nothing was written (--overwrite replaces existing files)\n",
        template.display()
    );
    assert_eq!(errors, expected);
    assert!(!runbook.exists());
    assert_eq!(export("alerts", directory.path(), &["--overwrite"]).0, 0);
    assert!(runbook.exists() && fs::read_to_string(&template).unwrap() != "mine");
}

#[test]
fn a_directory_that_cannot_be_written_is_reported_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, said, errors) = export("dashboards", &file, &[]);
    assert_eq!((code, said.as_str(), errors.lines().count()), (1, "", 1), "{errors}");
    assert!(errors.contains(file.to_str().unwrap()), "{errors}");
}

#[test]
fn flags_without_effect_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (code, _, errors) = export("dashboards", directory.path(), &["--demo"]);
    assert_eq!(
        (code, errors.as_str()),
        (2, "error: --demo is about alerts and has no effect on dashboards\n")
    );
    let (code, _, errors) = export("alerts", directory.path(), &["--grafana-url", "grafana.example"]);
    assert_eq!(code, 2);
    assert!(errors.contains("--grafana-url"), "{errors}");
    assert_eq!(export("everything", directory.path(), &[]).0, 2);
    assert_eq!(run(&["export", "alerts"]).0, 2, "no directory");
    assert!(files(directory.path()).is_empty());
}
