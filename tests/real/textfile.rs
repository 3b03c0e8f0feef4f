//! `fetch --textfile` with the real `node_exporter`, whose textfile collector reads the files.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::process::Command;

use crate::support::real::tool;
use crate::support::{
    Process, Simulator, TENANT, account, agent, eventually, exposition, get, listening_on, program,
};

/// Files of several collections are collected together, and each says how its poll ended.
pub(crate) fn files_are_collected(suite: &'static str) {
    let simulator = Simulator::start("{rows: portfolio, customers: {count: 3, products: 1, workloads: 2}}");
    let directory = tempfile::tempdir().unwrap();
    let (config, files) = (directory.path().join("config.yml"), directory.path().join("files"));
    fs::create_dir(&files).unwrap();
    let state = directory.path().join("state");
    let account = account(Some("contoso"), TENANT, &simulator.url, &simulator.url, "");
    fs::write(&config, format!("state_directory: {}\naccounts:\n{account}", state.display())).unwrap();
    let fetch = |collection: &str| {
        let file = files.join(collection).with_extension("prom");
        let arguments = ["fetch", collection, "--config.file", config.to_str().unwrap(), "--textfile"];
        let output = program(&arguments).arg(&file).output().unwrap();
        (output.status.code(), exposition::parse(&fs::read_to_string(&file).unwrap()))
    };
    let node_exporter = Process::start(
        Command::new(tool(suite, "node_exporter"))
            .args([
                "--collector.disable-defaults",
                "--collector.textfile",
                "--web.listen-address=127.0.0.1:0",
            ])
            .arg(format!("--collector.textfile.directory={}", files.display())),
    );
    let url = format!("http://{}/metrics", listening_on(&node_exporter.stderr));
    eventually("node_exporter answers", || agent().get(&url).call().ok());

    let collections = ["usage", "deployment", "customers"];
    for succeeds in [true, false] {
        if !succeeds {
            let forbidden = ["usage", "deployment", "commercial_usage", "commercial_deployment"]
                .map(|endpoint| format!("{endpoint}: {{answer: forbidden}}\n"));
            simulator.scenario(&forbidden.concat());
        }
        let written = collections.map(|collection| {
            let (code, written) = fetch(collection);
            assert_eq!(code, Some(i32::from(!succeeds)), "{collection}");
            written
        });
        let collected = exposition::parse(&get(&url));
        assert_eq!(
            collected.value("node_textfile_scrape_error", &[]),
            Some(0.0),
            "{}",
            node_exporter.stderr.text()
        );
        for (collection, written) in collections.iter().zip(written) {
            let up =
                written.value("partner_license_up", &[("account", "contoso"), ("collection", collection)]);
            assert_eq!(up, Some(f64::from(u8::from(succeeds))), "{collection}");
            for (series, value) in &written.0 {
                assert_eq!(collected.0.get(series), Some(value), "{series:?}");
            }
        }
        let is_row = |name: &str| {
            name.starts_with("partner_license_")
                && (name.ends_with("_percent") || name.ends_with("_licenses"))
        };
        let has_rows = collected.0.keys().any(|(name, _)| is_row(name));
        assert_eq!(has_rows, succeeds, "a failed poll has no rows");
    }
}
