//! `fetch`: one poll to stdout in every format, and what it leaves alone.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::exposition;
use crate::support::peers::refusing;
use crate::support::terminal::Terminal;
use crate::support::{
    Exporter, OTHER_TENANT, Simulator, TENANT, account, eventually, get, program, run, write_config,
};

/// Rows of two customers, of which one has a name that a spreadsheet would compute.
const CUSTOMERS: &str = r#"
commercial_deployment: { rows: [{ customerTenantId: b, serviceCode: o365, channel: reseller, licensesDeployed: 1, licensesSold: 2, processedDateTime: "2026-11-20" }] }
commercial_usage:
  rows:
    - { customerTenantId: a, customerName: "=1+1;-2", serviceCode: o365, workloadName: Teams, channel: reseller, licensesActive: 10, licensesQualified: 100, processedDateTime: "2026-11-20" }
    - { customerTenantId: b, customerName: "Contoso, \"Ltd\" \e[2J雲", serviceCode: o365, workloadName: Teams, channel: reseller, licensesActive: 80, licensesQualified: 300, processedDateTime: "2026-11-20" }
    - { customerTenantId: b, customerName: "Contoso, \"Ltd\" \e[2J雲", serviceCode: o365, workloadName: "+Exchange", channel: reseller, licensesActive: 8, licensesQualified: 9, processedDateTime: "2026-11-19" }
    - { customerTenantId: b, serviceCode: o365, channel: reseller, licensesActive: 8, licensesQualified: 9, processedDateTime: "2026-11-19" }
"#;

/// Runs `fetch` with a configuration of these accounts.
fn fetch(directory: &Path, accounts: &str, arguments: &[&str]) -> Output {
    let config = write_config(directory, &format!("accounts:\n{accounts}"));
    fs::create_dir_all(directory.join("state")).unwrap();
    program(&[&["fetch"], arguments, &["--config.file", config.to_str().unwrap()]].concat()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The output of a `fetch` that succeeds and says nothing else.
fn fetched(accounts: &str, arguments: &[&str]) -> String {
    let (out, said) = fetched_with_notes(accounts, arguments);
    assert_eq!(said, "");
    out
}

/// The output of a `fetch` that succeeds, and what it says besides.
fn fetched_with_notes(accounts: &str, arguments: &[&str]) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let output = fetch(directory.path(), accounts, arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(fs::read_dir(directory.path().join("state")).unwrap().count(), 0, "it has written something");
    (text(&output.stdout), said)
}

#[test]
fn the_documented_rows_are_a_table_with_the_lowest_first_and_the_age_of_the_figures() {
    let simulator = Simulator::start("");
    let shown = fetched(&simulator.account(None, TENANT), &[]);
    let lines: Vec<&str> = shown.lines().collect();
    let words = |line: &str| {
        line.split("  ").filter(|word| !word.is_empty()).map(str::trim).collect::<Vec<_>>().join("|")
    };
    assert_eq!(words(lines[0]), "Workload|Service|Channel|Usage|Active|Qualified|Threshold|Data of");
    assert_eq!(words(lines[1]), "Microsoft Dynamics CRM|crm|reseller|0.00 %|40.00 %|2017-03-10|low");
    assert_eq!(lines.len(), 8, "{shown}");
    assert!(lines[7].starts_with("what the numbers mean: docs/concepts/the-numbers.md"), "{shown}");
    assert!(lines[6].starts_with("5 rows from licenses, figures at most 3"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "there is no colour in a pipe: {shown}");
}

#[test]
fn a_terminal_gets_no_control_characters_of_the_api_and_no_colours_if_they_are_not_wanted() {
    let simulator = Simulator::start(CUSTOMERS);
    let directory = tempfile::tempdir().unwrap();
    let config = write_config(directory.path(), &format!("accounts:\n{}", simulator.account(None, TENANT)));
    let mut command = program(&["fetch", "customers", "--config.file", config.to_str().unwrap()]);
    // This terminal panics at control characters.
    let (code, screen) = Terminal::start(command.env("NO_COLOR", "1")).end();
    assert_eq!(code, 0);
    let shown = screen.written();
    assert!(shown.contains("3 rows, 2 customers from commercial, dropped: 1 missing_label"), "{shown}");
}

#[test]
fn a_long_poll_shows_on_a_terminal_how_many_pages_and_rows_have_come() {
    let scenario = CUSTOMERS.replace("commercial_usage:", "commercial_usage:\n  delay: 900ms");
    let simulator = Simulator::start(&format!("page_size: 1\n{scenario}"));
    let directory = tempfile::tempdir().unwrap();
    let config = write_config(directory.path(), &format!("accounts:\n{}", simulator.account(None, TENANT)));
    let mut command = program(&["fetch", "customers", "--config.file", config.to_str().unwrap()]);
    let (code, screen) = Terminal::start(command.env("NO_COLOR", "1")).end();
    assert_eq!(code, 0);
    let shown = screen.written();
    // Each page has a row, and neither the sign-in nor anything else is counted.
    let is_counted = |n: usize| {
        let s = if n == 1 { "" } else { "s" };
        shown.contains(&format!("\rcustomers: {n} page{s}, {n} row{s} so far "))
    };
    assert!((1..=4).any(is_counted), "{shown:?}");
    let other = shown.split("\rcustomers: ").skip(1).filter(|line| !line.contains(" so far ")).count();
    assert_eq!(other, 0, "{shown:?}");
    assert!(!screen.lines().iter().any(|line| line.contains("so far")), "the line is erased: {shown:?}");
}

#[test]
fn a_full_disk_is_reported_and_a_reader_that_closes_the_pipe_is_no_error() {
    // More rows than are written at a time.
    let simulator = Simulator::start("{ rows: portfolio, customers: { count: 100 } }");
    let directory = tempfile::tempdir().unwrap();
    let config = write_config(directory.path(), &format!("accounts:\n{}", simulator.account(None, TENANT)));
    for format in ["table", "csv", "json", "openmetrics"] {
        let flags = ["fetch", "customers", "--format", format, "--config.file", config.to_str().unwrap()];
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = program(&flags).stdout(full).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{format}: {said}");
        assert!(said.ends_with("error: No space left on device (os error 28)\n"), "{format}: {said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(&flags).stdout(writer).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{format}: {said}");
        assert!(!said.contains("error"), "{format}: {said}");
    }
}

#[test]
fn csv_can_be_opened_in_a_spreadsheet() {
    let simulator = Simulator::start(CUSTOMERS);
    let accounts = simulator.account(None, TENANT);
    let (csv, said) = fetched_with_notes(&accounts, &["customers", "--format", "csv"]);
    let notes = "3 rows, 2 customers from commercial, dropped: 1 missing_label, figures at most ";
    assert!(said.starts_with(notes), "{said}");
    assert!(said.ends_with("/concepts/the-numbers of an exporter\n") && said.lines().count() == 2, "{said}");
    assert!(csv.lines().count() == csv.matches("\r\n").count(), "{csv:?}");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().map(Result::unwrap).collect();
    let found: Vec<_> = rows
        .iter()
        .map(|row| [&row["customer_name"], &row["workload"], &row["unused"], &row["processed_at"]])
        .collect();
    let time = ["2026-11-19T00:00:00Z", "2026-11-20T00:00:00Z"].map(str::to_owned);
    let contoso = "Contoso, \"Ltd\" \u{1b}[2J雲".to_owned();
    assert_eq!(
        found,
        [
            [&contoso, &"Teams".to_owned(), &"220".to_owned(), &time[1]],
            [&"'=1+1;'-2".to_owned(), &"Teams".to_owned(), &"90".to_owned(), &time[1]],
            [&contoso, &"'+Exchange".to_owned(), &"1".to_owned(), &time[0]],
        ]
    );
}

#[test]
fn json_has_the_rows_and_what_there_is_to_know_about_them() {
    let simulator = Simulator::start(CUSTOMERS);
    let accounts = simulator.account(Some("contoso"), TENANT);
    let document: Value =
        serde_json::from_str(&fetched(&accounts, &["customers", "--format", "json"])).unwrap();
    assert_eq!(document["collection"], "customers");
    document["fetched_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let [only] = &document["accounts"].as_array().unwrap()[..] else { panic!("{document}") };
    assert_eq!((&only["account"], &only["source"]), (&json!("contoso"), &json!("commercial")));
    assert_eq!(only["rejected"], json!({"missing_label": 1}));
    assert_eq!(
        (&only["oldest_processed_at"], &only["withheld"], &document["explanation"]),
        (&json!("2026-11-19T00:00:00Z"), &json!(0), &json!("docs/concepts/the-numbers.md"))
    );
    let expected = json!({
        "customer_name": "=1+1;-2", "customer": "a", "workload": "Teams", "service": "o365", "channel": "reseller",
        "unused": 90, "active": 10, "qualified": 100, "percent": 10.0, "threshold": 40.0,
        "processed_at": "2026-11-20T00:00:00Z",
    });
    assert_eq!(only["rows"][1], expected);
}

/// Products of two customers, with prices of two of them.
const PRODUCTS: &str = "
commercial_deployment: { answer: not_found }
commercial_usage:
  rows:
    - { customerTenantId: a, customerName: Contoso, productName: E3, serviceCode: o365, workloadName: Teams, channel: reseller, licensesActive: 40, licensesQualified: 100, processedDateTime: 2026-11-20 }
    - { customerTenantId: a, customerName: Contoso, productName: E3, serviceCode: o365, workloadName: Exchange, channel: reseller, licensesActive: 60, licensesQualified: 90, processedDateTime: 2026-11-20 }
    - { customerTenantId: b, productName: Visio, serviceCode: o365, workloadName: Visio, channel: reseller, licensesActive: 1, licensesQualified: 4, processedDateTime: 2026-11-19 }
    - { customerTenantId: b, productName: '=Sway', serviceCode: o365, workloadName: Sway, channel: reseller, licensesActive: 0, licensesQualified: 7, processedDateTime: 2026-11-19 }
";
const PRICES: &str = "prices:
  - { product: e3, per_month: 0.10, currency: EUR }
  - { product: Visio, per_month: 15, currency: USD }
";

#[test]
fn products_of_customers_have_the_costs_of_their_unused_licences_in_every_format() {
    let simulator = Simulator::start(PRODUCTS);
    let accounts = simulator.account(None, TENANT);
    let by_product = |format: &str| {
        let directory = tempfile::tempdir().unwrap();
        let config = write_config(directory.path(), &format!("{PRICES}accounts:\n{accounts}"));
        let flags = ["fetch", "customers", "--by", "product", "--format", format, "--config.file"];
        run(&[&flags[..], &[config.to_str().unwrap()]].concat())
    };
    let (code, table, _) = by_product("table");
    assert_eq!(code, 0);
    let lines: Vec<_> =
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "Name Customer Product Channel Unused at most Active Qualified Price a month Unused cost a month Currency Data of",
        "Contoso a E3 reseller 40 60 100 0.10 4.00 EUR 2026-11-20",
        "b Visio reseller 3 1 4 15.00 45.00 USD 2026-11-19",
        "b =Sway reseller 7 0 7 2026-11-19",
    ];
    assert_eq!(lines[..4], expected);
    assert!(lines[4].starts_with("3 rows, 2 customers from commercial, figures at most "), "{table}");
    assert_eq!(
        lines[5..7],
        [
            "licences of which no workload is used cost at most 4.00 EUR, 45.00 USD a month",
            "without a price in the configuration: =Sway",
        ]
    );
    let (_, csv, _) = by_product("csv");
    let expected = "\r\nContoso,a,E3,reseller,40,60,100,0.10,4.00,EUR,2026-11-20T00:00:00Z\r\n\
                    ,b,Visio,reseller,3,1,4,15.00,45.00,USD,2026-11-19T00:00:00Z\r\n\
                    ,b,'=Sway,reseller,7,0,7,,,,2026-11-19T00:00:00Z\r\n";
    assert!(csv.ends_with(expected), "{csv}");
    let (_, json, _) = by_product("json");
    let document: Value = serde_json::from_str(&json).unwrap();
    let only = &document["accounts"][0];
    assert_eq!(only["costs_per_month"], json!({"EUR": "4.00", "USD": "45.00"}));
    assert_eq!(only["products_without_price"], json!(["=Sway"]));
    let row = &only["rows"][0];
    assert_eq!(
        (&row["unused"], &row["cost_per_month"], &row["currency"]),
        (&json!(40), &json!("4.00"), &json!("EUR"))
    );
    assert_eq!(only["rows"][2]["cost_per_month"], Value::Null);
}

#[test]
fn no_price_can_become_a_series() {
    let simulator = Simulator::start(PRODUCTS);
    let accounts = simulator.account(None, TENANT);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x.prom");
    for (arguments, text) in [
        (
            &["customers", "--by=product", "--format=openmetrics"][..],
            "--by=product has no series: use --format=table",
        ),
        (&["customers", "--by=product", "--textfile", file.to_str().unwrap()], "--by=product has no series"),
        (&["usage", "--by=product"], "--by=product is about customers: use fetch customers"),
    ] {
        let output = fetch(directory.path(), &accounts, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.contains(text)), (Some(2), true), "{said}");
        assert!(!file.exists() && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn openmetrics_has_the_series_of_the_exporter() {
    let simulator = Simulator::start("");
    let accounts = simulator.account(None, TENANT);
    let text = fetched(&accounts, &["--format", "openmetrics"]);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let exporter = Exporter::start(&format!("accounts:\n{accounts}"), &[]);
    exporter.wait_for_polls(None, 1.0);
    let of = |metrics: &exposition::Exposition| -> BTreeMap<_, _> {
        let rows = metrics.0.iter().filter(|((name, _), _)| name.starts_with("partner_license_usage_"));
        rows.map(|(series, value)| (series.clone(), value.to_bits())).collect()
    };
    let metrics = exposition::parse(&text);
    assert_eq!(of(&metrics), of(&exporter.metrics()));
    // What is about all collections belongs to an exporter.
    let others = metrics.0.keys().filter(|(name, labels)| {
        !name.starts_with("partner_license_usage_") && !labels.contains_key("collection")
    });
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&exposition::Series>::new());
    // The alert about overdue polls compares with it.
    assert_eq!(metrics.of_usage("partner_license_poll_interval_seconds", &[]), Some(6.0 * 3600.0));
}

#[test]
fn an_account_that_fails_does_not_stop_the_others_and_its_reason_is_said() {
    let simulator =
        Simulator::start(&format!("tenants: {{{OTHER_TENANT}: {{usage: {{answer: forbidden}}}}}}"));
    let accounts = simulator.account(Some("fails"), OTHER_TENANT) + &simulator.account(Some("works"), TENANT);
    let directory = tempfile::tempdir().unwrap();
    let output = fetch(directory.path(), &accounts, &["--format", "csv"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("\nworks: 5 rows from licenses, figures at most "), "{said}");
    assert!(said.starts_with("error: account fails: forbidden: the API answered 403"), "{said}");
    assert!(said.contains("what to do: give the signed-in user a Partner Center role"), "{said}");
    let rows = text(&output.stdout);
    assert_eq!(rows.lines().filter(|line| line.starts_with("works,")).count(), 5, "{rows}");
    let output = fetch(directory.path(), &accounts, &["--account", "works"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let output = fetch(directory.path(), &accounts, &["--account", "nobody"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("known: fails, works"), "{}", text(&output.stderr));
}

#[test]
fn a_server_that_does_not_answer_is_told_with_advice_for_somebody_without_an_exporter() {
    let simulator = Simulator::start("");
    let (address, _socket) = refusing();
    let accounts = account(None, TENANT, &simulator.url, &format!("http://{address}"), "");
    let directory = tempfile::tempdir().unwrap();
    let output = fetch(directory.path(), &accounts, &[]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    let said = text(&output.stderr);
    assert!(said.contains("network: "), "{said}");
    assert!(!said.contains("the exporter retries"), "{said}");
}

#[test]
fn a_running_exporter_keeps_its_sign_in_and_its_files() {
    let simulator = Simulator::start("");
    let exporter = Exporter::start(&format!("accounts:\n{}", simulator.account(None, TENANT)), &[]);
    exporter.wait_for_polls(None, 1.0);
    let state = exporter.directory.path().join("state");
    let files = || -> BTreeMap<_, _> {
        let files = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
        files.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    };
    exporter.wait_for_stored_rows(&["usage"]);
    let before = files();
    let config = exporter.directory.path().join("config.yml");
    let output = program(&["fetch", "--config.file", config.to_str().unwrap()]).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert_eq!(files(), before);
}

#[test]
fn a_pause_that_the_server_asked_the_exporter_for_is_kept_by_commands_and_by_a_restart() {
    let simulator = Simulator::start("usage: {answer: throttled, retry_after: 600}");
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let accounts = simulator.account(None, TENANT);
    let mut exporter = Exporter::start_in(Arc::clone(&directory), &format!("accounts:\n{accounts}"), &[]);
    exporter.wait_for_polls(None, 1.0);
    let state = directory.path().join("state");
    eventually("the pause is on disk", || {
        let mut files = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path());
        let is_it = |path: &Path| {
            let starts = path.file_name().is_some_and(|it| it.to_string_lossy().starts_with("pause-"));
            starts && path.extension().is_some_and(|it| it == "json")
        };
        files.any(|path| is_it(&path)).then_some(())
    });
    let sent = || (simulator.count("token"), simulator.count("usage"));
    let before = sent();
    let output = fetch(directory.path(), &accounts, &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("throttled: the server asked the exporter for a pause until 20"), "{said}");
    assert!(said.contains("what to do: wait ") && said.contains(", then run the command again"), "{said}");
    exporter.process.signal(Signal::TERM);
    exporter.process.wait();
    let exporter = Exporter::start_in(directory, &format!("accounts:\n{accounts}"), &[]);
    exporter.process.stderr.wait_for("the pause", |line| {
        line.contains("Keeping the pause that the server asked for before the start").then_some(())
    });
    let (next, start) = exporter.wait_for("the time of the first poll", |metrics| {
        let next = metrics.of_usage("partner_license_next_scrape_timestamp_seconds", &[])?;
        Some((next, metrics.value("process_start_time_seconds", &[])?))
    });
    assert!(next > start + 400.0, "{next}, started at {start}");
    assert_eq!(get(&format!("{}/-/ready", exporter.url)), "partner-license-exporter is Ready.\n");
    assert_eq!(sent(), before, "nobody has asked meanwhile");
}

#[test]
fn a_file_for_the_textfile_collector_says_whether_the_poll_succeeded_and_a_failed_one_has_no_rows() {
    let simulator = Simulator::start("");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("licences.prom");
    let read = || exposition::parse(&fs::read_to_string(&file).unwrap());
    let arguments = ["--textfile", file.to_str().unwrap()];
    for (scenario, code, up, rows) in [("", 0, 1.0, 5), ("usage: {answer: server_error}", 1, 0.0, 0)] {
        simulator.scenario(scenario);
        let output = fetch(directory.path(), &simulator.account(None, TENANT), &arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(code), String::new()));
        let metrics = read();
        assert_eq!(metrics.of_usage("partner_license_up", &[]), Some(up));
        assert!(metrics.of_usage("partner_license_last_scrape_timestamp_seconds", &[]).is_some());
        assert_eq!(metrics.named("partner_license_usage_percent").count(), rows);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    }
    let others: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(others.len(), 3, "the configuration, the state and the file: {others:?}");
    // Of a symbolic link, the file that it leads to is replaced.
    let link = directory.path().join("link.prom");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    simulator.scenario("");
    let through = ["--textfile", link.to_str().unwrap()];
    assert_eq!(fetch(directory.path(), &simulator.account(None, TENANT), &through).status.code(), Some(0));
    assert!(link.is_symlink());
    assert_eq!(read().named("partner_license_usage_percent").count(), 5);
    let device_link = directory.path().join("device.prom");
    std::os::unix::fs::symlink("/dev/null", &device_link).unwrap();
    let device = ["--textfile", device_link.to_str().unwrap()];
    let output = fetch(directory.path(), &simulator.account(None, TENANT), &device);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("it is no regular file; use --format"), "{}", text(&output.stderr));
    let unread = fetch(directory.path(), &simulator.account(None, TENANT), &["--textfile", "/tmp/usage.txt"]);
    assert_eq!(unread.status.code(), Some(2));
    let better =
        "error: --textfile: node_exporter reads files *.prom alone; use --textfile=/tmp/usage.prom\n";
    assert_eq!(text(&unread.stderr), better);
    let missing = ["--textfile", "/nonexistent/x.prom"];
    let output = fetch(directory.path(), &simulator.account(None, TENANT), &missing);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write /nonexistent/x.prom"), "{}", text(&output.stderr));
}
