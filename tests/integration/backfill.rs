//! `backfill`: past days as samples for promtool, what interrupts it, and how it goes on.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use jiff::tz::TimeZone;
use partner_license_exporter::domain::clock::Clock;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::terminal::Terminal;
use crate::support::{Exporter, OTHER_TENANT, Process, Simulator, TENANT, eventually, program, write_config};

/// Rows of two days, with one between them that has none.
const TWO_DAYS: &str = r#"
commercial_usage:
  rows:
    - { customerTenantId: a, productId: p, serviceCode: o365, workloadName: Teams, channel: reseller, licensesActive: 10, licensesQualified: 100, processedDateTime: "2026-01-01T00:00:00" }
    - { customerTenantId: b, productId: p, serviceCode: o365, workloadName: Teams, channel: reseller, licensesActive: 20, licensesQualified: 100, processedDateTime: "2026-01-01T00:00:00" }
    - { customerTenantId: a, productId: p, serviceCode: o365, workloadName: Teams, channel: reseller, licensesActive: 40, licensesQualified: 100, processedDateTime: "2026-01-03T00:00:00" }
commercial_deployment:
  rows:
    - { customerTenantId: a, productId: p, serviceCode: o365, channel: reseller, licensesDeployed: 3, licensesSold: 4, processedDateTime: "2026-01-02T00:00:00" }
"#;
/// What it says on standard error if it gets no label.
const WITHOUT_LABEL: &str = "warning: without --label, these are other series than those that Prometheus scrapes, which have job and instance\n";
const THREE_DAYS: [&str; 4] = ["--from", "2026-01-01", "--to", "2026-01-03"];

/// A directory with a configuration of these accounts, and the file that `backfill` writes there.
struct Place(tempfile::TempDir);

impl Place {
    fn new(accounts: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_config(directory.path(), &format!("poll_timeout: 5s\naccounts:\n{accounts}"));
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// The command, without pauses between requests unless the arguments say otherwise.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(&["backfill", "--config.file", &self.path("config.yml")]);
        command.args(["--output", &self.path("past.om")]).args(arguments);
        if !arguments.contains(&"--pace") {
            command.args(["--pace", "0s"]);
        }
        command
    }

    /// Runs the command, and returns its exit status, standard output and standard error, without the warning that it must
    /// begin with if the arguments have no label.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let [said, complained] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        if status.code() == Some(2) || arguments.contains(&"--label") {
            return (status.code(), said, complained);
        }
        let complained = complained.strip_prefix(WITHOUT_LABEL).unwrap_or_else(|| panic!("{complained}"));
        (status.code(), said, complained.to_owned())
    }

    /// The days in the journal.
    fn journal(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("past.om.partial")).unwrap();
        let entries = text.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
        entries.map(|entry| entry["day"].as_str().unwrap().to_owned()).collect()
    }

    /// The samples of the file.
    fn samples(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("past.om")).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The day so many days before today.
fn days_ago(days: i64) -> String {
    let today = Clock::system().now().to_zoned(TimeZone::UTC).date();
    (0..days).fold(today, |day, _| day.yesterday().unwrap()).to_string()
}

/// The number of days that the simulator was asked for, each once for its rows and once for its date.
fn asked(simulator: &Simulator) -> usize {
    let requests = simulator.requests();
    let queries = requests["requests"].as_array().unwrap().iter().filter_map(|it| it["query"].as_str());
    queries.filter(|query| query.contains("groupby") && query.contains("processedDateTime")).count()
}

#[test]
fn each_day_has_the_sums_of_its_rows_and_a_day_without_rows_is_said_and_not_filled() {
    let simulator = Simulator::start(TWO_DAYS);
    let place = Place::new(&simulator.account(Some("contoso"), TENANT));
    let labels = ["--label", "job=licences", "--label", "instance=exporter:10365", "--lookback", "12h"];
    let (code, said, complained) = place.run(&[&THREE_DAYS[..], &labels].concat());
    assert_eq!((code, complained.as_str()), (Some(0), ""));
    let row = r#"{account="contoso",service="o365",workload="Teams",channel="reseller",job="licences",instance="exporter:10365"}"#;
    let sample = |name: &str, value: &str, at: u64| format!("partner_license_usage_{name}{row} {value} {at}");
    let expected: Vec<String> = [
        ("percent", "15", "40"),
        ("processed_timestamp_seconds", "1767225600", "1767398400"),
        ("active_licenses", "30", "40"),
        ("qualified_licenses", "200", "100"),
    ]
    .into_iter()
    .flat_map(|(name, first, last)| {
        let times =
            [(first, 1_767_225_600), (first, 1_767_268_800), (last, 1_767_398_400), (last, 1_767_441_600)];
        times.map(|(value, at)| sample(name, value, at))
    })
    .collect();
    assert_eq!(place.samples(), expected);
    let file = place.path("past.om");
    assert_eq!(
        said,
        format!("Days without data: 2026-01-02\n16 samples of 4 series on 2 days are in {file}\n")
    );
    assert_eq!(place.files(), ["config.yml", "past.om"], "neither a journal nor a state directory is left");
}

#[test]
fn deployment_has_a_past_as_well() {
    let simulator = Simulator::start(TWO_DAYS);
    let place = Place::new(&simulator.account(None, TENANT));
    let (code, said, _) =
        place.run(&[&THREE_DAYS[..], &["--collection", "deployment", "--lookback", "24h"]].concat());
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("Days without data: 2026-01-01, 2026-01-03\n4 samples of 4 series on a day"),
        "{said}"
    );
    let percent = r#"partner_license_deployment_percent{service="o365",channel="reseller"} 75 1767312000"#;
    assert_eq!(place.samples()[0], percent);
}

#[test]
fn the_series_are_those_of_the_running_exporter_which_keeps_its_sign_in_and_its_files() {
    let simulator = Simulator::start("rows: portfolio");
    let account = simulator.account(Some("contoso"), TENANT);
    let exporter = Exporter::start(
        &format!("accounts:\n{}", account.replace("source: licenses", "source: commercial")),
        &[],
    );
    exporter.wait_for_polls(Some("contoso"), 1.0);
    let place = Place::new(&account);
    let state = exporter.directory.path().join("state");
    fs::remove_file(place.path("config.yml")).unwrap();
    fs::copy(exporter.directory.path().join("config.yml"), place.path("config.yml")).unwrap();
    let files = || -> BTreeSet<_> {
        fs::read_dir(&state)
            .unwrap()
            .map(|it| it.unwrap().path())
            .map(|it| (it.clone(), fs::read(it).unwrap()))
            .collect()
    };
    exporter.wait_for_stored_rows(&["usage"]);
    let before = files();
    let (code, _, complained) =
        place.run(&["--from", "2026-01-01", "--to", "2026-01-02", "--lookback", "24h"]);
    assert_eq!((code, complained.as_str()), (Some(0), ""));
    assert_eq!(files(), before);
    let past: BTreeSet<String> =
        place.samples().iter().map(|it| it.rsplitn(3, ' ').last().unwrap().to_owned()).collect();
    let page = crate::support::get(&format!("{}/metrics", exporter.url));
    let live = page.lines().filter(|line| line.starts_with("partner_license_usage_"));
    let live = live.filter(|line| !line.contains("threshold") && !line.contains("source_info"));
    let live: BTreeSet<String> = live.map(|it| it.rsplit_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(past, live);
}

#[test]
fn a_run_that_is_killed_at_any_time_goes_on_and_loses_one_day_at_most() {
    let simulator = Simulator::start("{ rows: portfolio, customers: { workloads: 1 } }");
    let place = Place::new(&simulator.account(None, TENANT));
    let days = ["--from", "2026-01-01", "--to", "2026-02-09", "--lookback", "24h"];
    let mut kills = 0;
    for (n, stop) in [Signal::KILL, Signal::TERM, Signal::KILL, Signal::INT].into_iter().enumerate() {
        let mut process = Process::start(&mut place.command(&[&days[..], &["--pace", "100ms"]].concat()));
        let wanted = 5 * (n + 1) + kills;
        eventually("some days", || (asked(&simulator) >= wanted).then_some(()));
        process.signal(stop);
        let (status, _) = process.wait();
        kills += 1;
        if stop != Signal::KILL {
            assert_eq!(status.code(), Some(0));
            process.stderr.wait_for("how many days there are", |line| {
                let is_it = line.starts_with("stopped: ")
                    && line.ends_with(" of 40 days are fetched; the same command goes on from there");
                is_it.then_some(())
            });
        }
        assert_eq!(place.files(), ["config.yml", "past.om.partial"]);
    }
    let (code, said, complained) = place.run(&days);
    assert_eq!((code, complained.as_str()), (Some(0), ""));
    assert!(said.starts_with("160 samples of 4 series on 40 days"), "{said}");
    assert!(asked(&simulator) <= 40 + kills, "{} days were asked for", asked(&simulator));
    assert_eq!(place.files(), ["config.yml", "past.om"]);
    let whole = place.samples();
    assert_eq!(place.run(&days).0, Some(0));
    assert_eq!(place.samples(), whole, "an uninterrupted run writes the same");
}

#[test]
fn requests_start_one_after_the_other_and_no_faster_than_the_pace() {
    let simulator = Simulator::start(TWO_DAYS);
    let place = Place::new(&simulator.account(None, TENANT));
    let began = tokio::time::Instant::now();
    let (code, _, _) = place.run(&[&THREE_DAYS[..], &["--lookback", "24h", "--pace", "300ms"]].concat());
    assert_eq!((code, simulator.count("commercial_usage")), (Some(0), 5));
    assert!(began.elapsed().as_millis() >= 4 * 300, "{:?}", began.elapsed());
}

#[test]
fn a_pause_that_the_server_asks_for_is_kept_and_the_run_goes_on() {
    let throttled = TWO_DAYS.replace(
        "commercial_usage:\n",
        "commercial_usage:\n  answer: throttled\n  retry_after: 1\n  times: 7\n",
    );
    let simulator = Simulator::start(&throttled);
    let place = Place::new(&simulator.account(None, TENANT));
    let began = tokio::time::Instant::now();
    let (code, said, _) = place.run(&[&THREE_DAYS[..], &["--lookback", "24h"]].concat());
    assert_eq!(code, Some(0));
    assert!(
        said.ends_with(&format!("8 samples of 4 series on 2 days are in {}\n", place.path("past.om"))),
        "{said}"
    );
    assert!(began.elapsed().as_secs() >= 7, "{:?}", began.elapsed());
}

#[test]
fn the_days_of_another_range_are_kept_whether_the_run_succeeds_or_fails() {
    let simulator = Simulator::start(TWO_DAYS);
    let place = Place::new(&simulator.account(None, TENANT));
    let mut process = Process::start(&mut place.command(&[&THREE_DAYS[..], &["--pace", "2s"]].concat()));
    let journal = place.path("past.om.partial");
    eventually("a day", || (fs::read_to_string(&journal).ok()?.lines().count() > 1).then_some(()));
    process.signal(Signal::KILL);
    process.wait();
    let kept = place.journal();
    assert!(kept.contains(&"2026-01-03".to_owned()) && !kept.contains(&"2026-01-01".to_owned()), "{kept:?}");

    let first = ["--from", "2026-01-01", "--to", "2026-01-01", "--lookback", "24h"];
    assert_eq!(place.run(&first).0, Some(0));
    assert_eq!(place.samples().len(), 4, "the file has the days of the range alone");
    simulator.scenario("token: { answer: refresh_token_expired }");
    assert_eq!(place.run(&["--from", "2025-01-01", "--to", "2025-01-02"]).0, Some(1));
    assert_eq!(place.journal(), [&kept[..], &["2026-01-01".to_owned()]].concat());

    simulator.scenario(TWO_DAYS);
    let before = asked(&simulator);
    assert_eq!(place.run(&[&THREE_DAYS[..], &["--lookback", "24h"]].concat()).0, Some(0));
    assert_eq!(asked(&simulator) - before, 3 - kept.len() - 1, "only the days that are missing");
    assert_eq!(place.samples().len(), 8);
    assert_eq!(place.files(), ["config.yml", "past.om"]);
}

#[test]
fn a_file_of_someone_else_beside_the_output_is_neither_changed_nor_removed() {
    let simulator = Simulator::start(TWO_DAYS);
    let place = Place::new(&simulator.account(None, TENANT));
    fs::write(place.path("past.om.partial"), "a letter").unwrap();
    let (code, _, complained) = place.run(&THREE_DAYS);
    assert_eq!(code, Some(2));
    assert!(complained.ends_with("was not written by backfill; choose another --output\n"), "{complained}");
    assert_eq!(fs::read_to_string(place.path("past.om.partial")).unwrap(), "a letter");
    assert_eq!(simulator.requests()["requests"], Value::Array(Vec::new()));

    fs::remove_file(place.path("past.om.partial")).unwrap();
    let letter = place.path("past.om.new");
    fs::write(&letter, "a letter").unwrap();
    let mut process = Process::start(&mut place.command(&[&THREE_DAYS[..], &["--pace", "2s"]].concat()));
    let journal = place.path("past.om.partial");
    eventually("a day", || (fs::read_to_string(&journal).ok()?.lines().count() > 1).then_some(()));
    process.signal(Signal::INT);
    assert_eq!(process.wait().0.code(), Some(0));
    assert_eq!(place.run(&THREE_DAYS).0, Some(0));
    assert_eq!(fs::read_to_string(&letter).unwrap(), "a letter");
    assert_eq!(place.files(), ["config.yml", "past.om", "past.om.new"]);
}

#[test]
fn refused_credentials_are_sent_once() {
    let simulator = Simulator::start("token: { answer: refresh_token_expired }");
    let place = Place::new(&simulator.account(None, TENANT));
    let (code, _, complained) = place.run(&THREE_DAYS);
    assert_eq!(code, Some(1));
    assert!(complained.contains(": credentials: "), "{complained}");
    assert_eq!(simulator.count("token"), 1);
}

#[test]
fn the_latest_days_may_be_refused_until_an_older_one_is_answered() {
    let refused =
        TWO_DAYS.replace("commercial_usage:\n", "commercial_usage:\n  status: 404\n  body: ''\n  times: 4\n");
    let simulator = Simulator::start(&refused);
    let place = Place::new(&simulator.account(None, TENANT));
    let (code, said, _) = place.run(&["--from", "2026-01-01", "--to", "2026-01-05", "--lookback", "24h"]);
    assert_eq!(code, Some(0));
    let expected =
        "Days that the server refuses: 2026-01-04 to 2026-01-05\nDays without data: 2026-01-02\n8 samples";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn a_server_that_refuses_a_fortnight_is_not_asked_further() {
    let simulator = Simulator::start("commercial_usage: { status: 404, body: '' }");
    let place = Place::new(&simulator.account(None, TENANT));
    let (code, _, complained) = place.run(&["--from", "2025-01-01", "--to", "2026-01-31"]);
    assert_eq!(code, Some(1));
    assert!(complained.starts_with("error: 2026-01-18: account default: server: "), "{complained}");
    assert_eq!(simulator.count("commercial_usage"), 14 * 2, "each day by both paths");
    assert_eq!(place.files(), ["config.yml"], "no day was fetched");
}

#[test]
fn a_recent_day_without_data_is_asked_for_again_when_a_run_goes_on() {
    let [first, last] = [2, 1].map(days_ago);
    let simulator = Simulator::start("commercial_usage: { rows: [], answer: forbidden, skip: 1 }");
    let place = Place::new(&simulator.account(None, TENANT));
    let range = ["--from", &first, "--to", &last, "--lookback", "24h"];
    let (code, _, complained) = place.run(&range);
    assert_eq!(code, Some(1));
    assert!(
        complained.ends_with("1 of 2 days are fetched; the same command goes on from there\n"),
        "{complained}"
    );
    assert_eq!(place.journal(), [&*last]);
    let later = TWO_DAYS.replace("2026-01-01", &first).replace("2026-01-03", &last);
    simulator.scenario(&later);
    let (code, said, _) = place.run(&range);
    assert_eq!(code, Some(0));
    assert!(said.starts_with("8 samples of 4 series on 2 days"), "{said}");
}

#[test]
fn a_refusal_ends_the_run_with_its_reason_and_leaves_no_file() {
    let simulator = Simulator::start("commercial_usage: { answer: forbidden }");
    let place = Place::new(&simulator.account(Some("contoso"), TENANT));
    let (code, said, complained) = place.run(&THREE_DAYS);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    let expected = "error: 2026-01-03: account contoso: forbidden: the API answered 403";
    assert!(complained.starts_with(expected), "{complained}");
    assert!(complained.contains("what to do: give the signed-in user a Partner Center role"), "{complained}");
    assert_eq!(place.files(), ["config.yml"], "no day was fetched");
}

#[test]
fn days_before_those_that_the_server_still_has_are_said() {
    let simulator = Simulator::start("{ rows: portfolio, commercial: { history_days: 30 } }");
    let place = Place::new(&simulator.account(None, TENANT));
    let (ends, said) = eventually("a run that does not last beyond midnight", || {
        let ends = [34, 31, 1].map(days_ago);
        let (code, said, _) = place.run(&["--from", &ends[0], "--lookback", "24h"]);
        assert_eq!(code, Some(0));
        (days_ago(1) == ends[2]).then_some((ends, said))
    });
    let [first, last, yesterday] = ends;
    let expected = format!("Days without data: {first} to {last}, {yesterday}\n");
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn a_server_that_ignores_the_day_fills_no_past() {
    let body = r#"{"Value": [{"serviceCode": "o365", "workloadName": "Teams", "channel": "reseller", "licensesActive": 1, "licensesQualified": 2, "processedDateTime": "2026-01-02"}], "TotalCount": 1}"#;
    let simulator = Simulator::start(&format!("commercial_usage: {{ body: '{body}' }}"));
    let place = Place::new(&simulator.account(None, TENANT));
    let (code, said, _) = place.run(&[&THREE_DAYS[..], &["--lookback", "24h"]].concat());
    assert_eq!(code, Some(0));
    let expected = "Days for which the server sends another day: 2026-01-01, 2026-01-03\nDropped rows: 2 of_another_day\n4 samples of 4 series on a day";
    assert!(said.starts_with(expected), "{said}");
    let (code, _, complained) = place.run(&["--from", "2026-01-05", "--to", "2026-01-06"]);
    assert_eq!((code, complained.as_str()), (Some(1), "error: none of these days has data\n"));
}

#[test]
fn what_cannot_be_asked_for_or_written_is_refused_before_the_first_request() {
    let simulator = Simulator::start("");
    let accounts = simulator.account(Some("one"), TENANT) + &simulator.account(Some("two"), OTHER_TENANT);
    let place = Place::new(&accounts);
    let (one, today) = (["--account", "one"], days_ago(0));
    for (arguments, why) in [
        ([&one[..], &["--from", "2026-01-01", "--to", &today]].concat(), "--to must be before today"),
        (vec!["--from", "2026-01-01"], "there are several accounts; choose one with --account: one, two"),
        ([&one[..], &["--from", "2026-02-30"]].concat(), "invalid value '2026-02-30' for '--from <DATE>'"),
        (
            [&one[..], &["--from", "2026-01-02", "--to", "2026-01-01"]].concat(),
            "--from must not be after --to",
        ),
        ([&one[..], &["--from", "1990-01-01"]].concat(), "--from must be within 20 years before --to"),
        (
            [&one[..], &["--from", "2026-01-01", "--output", "/dev/null"]].concat(),
            "it exists and is not a regular file",
        ),
        ([&one[..], &["--from", "2026-01-01", "--label", "workload=x"]].concat(), "of their own"),
        (
            [&one[..], &["--from", "2026-01-01", "--label", "a=1", "--label", "b=2", "--label", "a=2"]]
                .concat(),
            "error: there are two values for --label a",
        ),
    ] {
        let mut command = program(&["backfill", "--config.file", &place.path("config.yml")]);
        if !arguments.contains(&"--output") {
            command.args(["--output", &place.path("past.om")]);
        }
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(why), "{said}");
        assert_eq!(output.status.code(), Some(2), "{said}");
    }
    assert_eq!(simulator.requests()["requests"], Value::Array(Vec::new()));
    assert_eq!(place.files(), ["config.yml"]);
}

#[test]
fn the_days_of_another_account_are_not_continued() {
    let simulator = Simulator::start(TWO_DAYS);
    let accounts = simulator.account(Some("one"), TENANT) + &simulator.account(Some("two"), OTHER_TENANT);
    let place = Place::new(&accounts);
    let of = |account: &'static str| [&THREE_DAYS[..], &["--account", account, "--pace", "1h"]].concat();
    let mut process = Process::start(&mut place.command(&of("one")));
    // Its first line says whose days it has.
    let journal = place.path("past.om.partial");
    eventually("a journal", || fs::read_to_string(&journal).ok()?.ends_with('\n').then_some(()));
    process.signal(Signal::KILL);
    process.wait();
    let (code, _, complained) = place.run(&of("two"));
    assert_eq!(code, Some(2));
    assert!(
        complained.contains("past.om.partial is about another account or collection; remove it"),
        "{complained}"
    );
}

#[test]
fn a_terminal_shows_how_many_days_are_left() {
    let simulator = Simulator::start(TWO_DAYS);
    let place = Place::new(&simulator.account(None, TENANT));
    let command = place.command(&[&THREE_DAYS[..], &["--lookback", "24h"]].concat());
    let (code, screen) = Terminal::start(&command).end();
    assert_eq!(code, 0);
    let shown = screen.written();
    let bar = |filled: usize| "#".repeat(filled) + &"-".repeat(30 - filled);
    assert!(shown.contains(&format!("[{}] 0 of 3 days", bar(0))), "{shown}");
    assert!(shown.contains(&format!("[{}] 2 of 3 days, ", bar(20))), "{shown}");
}
