//! The commands of the guide for licence managers, run in a shell beside an exporter of made-up customers, answer the
//! questions of the guide.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{Exporter, Simulator, TENANT, account, eventually, get, program};

const ADDRESS: &str = "http://127.0.0.1:10365";

/// The blocks of a language in the guide.
fn blocks(language: &str) -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/licence-manager.md");
    let guide = fs::read_to_string(path).unwrap();
    let start = format!("```{language}\n");
    guide.split(&start).skip(1).map(|block| block.split_once("```").unwrap().0.to_owned()).collect()
}

#[test]
fn every_command_of_the_guide_answers_its_question() {
    let simulator = Simulator::start("rows: portfolio");
    let [prices] = &blocks("yaml")[..] else { panic!("the guide has one configuration") };
    let collections = ", collections: { customers: { enabled: true } }";
    let account = account(None, TENANT, &simulator.url, &simulator.url, collections);
    let exporter = Exporter::start(&format!("{prices}accounts:\n{account}"), &[]);
    let page = eventually("customers by product", || {
        let page = get_if_ok(&format!("{}/customers?by=product", exporter.url))?;
        page.contains("a month").then_some(page)
    });
    let directory = exporter.directory.path();
    symlink(program(&[]).get_program(), directory.join("partner-license-exporter")).unwrap();
    let others = std::env::var("PATH").unwrap_or_default();
    let run = |script: &str| {
        let script = format!("set -eo pipefail\n{}", script.replace(ADDRESS, &exporter.url));
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(directory);
        let output = command.env("PATH", format!("{}:{others}", directory.display())).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let expected: [&[&str]; 7] = [
        &["customer_name,customer,workload,", "\r\nFictitious "],
        &["rows, 40 customers from commercial, figures at most ", "what the numbers mean: docs/concepts/"],
        &[
            "Unused at most",
            "licences of which no workload is used cost at most ",
            "without a price in the configuration: DYNAMICS 365 PLAN 2, OFFICE 365 PLAN E2",
        ],
        &[" Bakery ", "OFFICE 365 PLAN E1,"],
        &["partner_license_customer_processed_timestamp_seconds{service=\"o365\"} "],
        &["usage"],
        &[],
    ];
    let commands = blocks("sh");
    assert_eq!(commands.len(), expected.len(), "{commands:#?}");
    for (block, expected) in commands.iter().zip(expected) {
        let answer = run(block);
        for text in expected {
            assert!(answer.contains(text), "{block}: {text:?} is not in {answer}");
        }
    }

    // The last command has written a file, whose amounts add up to those of the page.
    let mut reader = csv::Reader::from_path(directory.join("unused.csv")).unwrap();
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let [cost, currency] = ["cost_per_month", "currency"].map(column);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let sums = ["EUR", "USD"].map(|code| {
        let costs = rows.iter().filter(|row| &row[currency] == code);
        let hundredths = costs.map(|row| row[cost].replace('.', "").parse::<u64>().unwrap()).sum::<u64>();
        format!("{}.{:02} {code}", hundredths / 100, hundredths % 100)
    });
    assert!(page.contains(&format!("<strong>{}</strong>", sums.join(", "))), "{sums:?}: {page}");
}

fn get_if_ok(url: &str) -> Option<String> {
    let status = crate::support::agent().get(url).call().unwrap().status();
    (status == 200).then(|| get(url))
}
