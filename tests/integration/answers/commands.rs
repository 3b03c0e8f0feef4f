//! The same tables for the commands that ask once: `fetch` for every collection, and `backfill` for a day of usage.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::thread;

use jiff::{Timestamp, tz::TimeZone};

use super::row::{Facts, Poll, Row, listing, series};
use super::{SECRETS, breaks_a_line, config, scenario};
use crate::support::exposition::{self, Exposition};
use crate::support::{Simulator, program, run_until_it_waits, write_config};

/// A row whose answer is 200 without a body, which is as good as 204 about a past day.
const EMPTY: &str = "an empty page of zero bytes";
/// The number of commands that run at a time.
const AT_A_TIME: usize = 8;

/// Checks that `fetch` brings the series of each poll of each row, or fails as the poll does.
pub(crate) fn check_fetch(table: impl FnOnce(&str) -> Vec<Row>) {
    check(table, |config, row| {
        row.polls
            .iter()
            .filter_map(|poll| {
                let arguments = ["fetch", poll.collection, "--format", "openmetrics", "--account", row.name];
                let output = program(&arguments).args(["--config.file", config]).output().unwrap();
                let (text, said) = texts(&output);
                let found = match output.status.code() {
                    Some(0) => Ok(rows_of(&exposition::parse(&text))),
                    _ => Err(said.as_str()),
                };
                difference(row, poll, found)
            })
            .collect()
    });
}

/// Checks that `backfill` brings the series of the row's day, or fails as the poll does.
pub(crate) fn check_backfill(table: impl FnOnce(&str) -> Vec<Row>) {
    check(table, |config, row| {
        let [poll] = &row.polls[..] else { panic!("{} has several polls", row.name) };
        let (day, expected) = of_one_day(poll);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("past.om");
        let mut command = program(&["backfill", "--config.file", config, "--account", row.name]);
        command
            .args(["--from", &day, "--to", &day, "--pace", "0s", "--lookback", "24h", "--output"])
            .arg(&file);
        let (code, said, complained) = run_until_it_waits(&mut command);
        assert_clean(&said, &complained);
        let left = fs::read_dir(directory.path()).unwrap().count();
        let is_good = code == Some(0) && !complained.contains("\nstopped: ");
        let difference = match poll.expected() {
            Err(("throttled", _)) if complained.contains("the server asked for a pause") => None,
            // It asks again after failures that end by themselves.
            Err(_) if row.scenario.contains("times:") => (!is_good).then_some(complained),
            // Asked again, it gets the later answer first, which may be that there is nothing.
            Err((reason, _)) if row.scenario.contains("skip:") => {
                let ends = [format!("account {}: {reason}: ", row.name), "none of these days".to_owned()];
                (is_good || !ends.iter().any(|end| complained.contains(end))).then_some(complained)
            }
            Ok(_) if expected.is_empty() => {
                (!complained.contains("none of these days has data")).then_some(complained)
            }
            Ok(_) if is_good => {
                let found = rows_of(&exposition::parse(&without_times(&fs::read_to_string(&file).unwrap())));
                (found != expected).then(|| format!("expected {expected:?}\n  found {found:?}"))
            }
            Ok(_) => Some(complained),
            // A day of which no row can be used, or whose answer is empty, is said, and does not end a run.
            Err(("payload", text))
                if said.contains("Days without data")
                    && (!poll.rejected().is_empty() || text.contains("204") || row.name == EMPTY) =>
            {
                let dropped = format!("Dropped rows: {}\n", counted(poll));
                let is_said = poll.rejected().is_empty() || said.contains(&dropped);
                (!is_said).then(|| format!("expected {dropped:?}\n  found {said:?}"))
            }
            Err(_) => difference(row, poll, Err(&complained)),
        };
        let wanted = usize::from(is_good);
        let more = (left != wanted).then(|| format!("{left} files are left, not {wanted}"));
        difference.into_iter().chain(more).collect()
    });
}

/// Runs a check for each row, some at a time.
fn check(table: impl FnOnce(&str) -> Vec<Row>, differences_of: impl Fn(&str, &Row) -> Vec<String> + Sync) {
    let simulator = Simulator::start("");
    let table = table(&simulator.url);
    simulator.scenario(&scenario(&table));
    let directory = tempfile::tempdir().unwrap();
    let file = write_config(directory.path(), &config(&simulator, &table));
    let (differences, rows) = (Mutex::new(Vec::new()), Mutex::new(table.iter()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                let next = || rows.lock().unwrap().next();
                while let Some(row) = next() {
                    for difference in differences_of(file.to_str().unwrap(), row) {
                        differences.lock().unwrap().push(format!("{}\n  {difference}", row.name));
                    }
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(!Path::new(&directory.path().join("state")).exists(), "something is in the state directory");
}

/// The two outputs of a command.
fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_clean(&out, &error);
    (out, error)
}

/// Asserts that neither output contains a secret, and that a message contains no control characters.
fn assert_clean(out: &str, error: &str) {
    for secret in SECRETS {
        assert!(!out.contains(secret) && !error.contains(secret), "{secret} leaked");
    }
    for line in error.lines() {
        assert!(!line.contains(breaks_a_line), "a control character in {line:?}");
    }
}

/// What differs between a poll as the row expects it, and the series or the message that were found.
fn difference(row: &Row, poll: &Poll, found: Result<Facts, &str>) -> Option<String> {
    match (poll.expected(), found) {
        (Ok(expected), Ok(found)) if *expected == found => None,
        (Ok(expected), found) => Some(format!("expected {expected:?}\n  found {found:?}")),
        (Err((reason, text)), Err(said))
            if said.contains(&format!("account {}: {reason}: {text}", row.name)) =>
        {
            None
        }
        (Err(expected), found) => Some(format!("expected {expected:?}\n  found {found:?}")),
    }
}

/// The series that come from rows, without the account.
fn rows_of(Exposition(found): &Exposition) -> Facts {
    let is_of_rows = |name: &str| {
        ["usage", "deployment", "customer"]
            .iter()
            .any(|of| name.starts_with(&format!("partner_license_{of}")))
    };
    let rows = found.iter().filter(|((name, _), _)| is_of_rows(name));
    let fact = |((name, labels), value): (&(String, std::collections::BTreeMap<String, String>), &f64)| {
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        (series(name, labels.filter(|(name, _)| *name != "account")), value.to_string())
    };
    rows.map(fact).collect()
}

/// The first day of the rows that a poll yields, and the series of the rows of that day.
fn of_one_day(poll: &Poll) -> (String, Facts) {
    const PROCESSED: &str = "partner_license_usage_processed_timestamp_seconds";
    let Ok(series) = poll.expected() else { return ("2026-11-20".to_owned(), Facts::new()) };
    let day = |seconds: &str| {
        Timestamp::from_second(seconds.parse().unwrap()).unwrap().to_zoned(TimeZone::UTC).date().to_string()
    };
    let days = series.iter().filter_map(|(name, value)| Some((name.strip_prefix(PROCESSED)?, day(value))));
    let Some((_, first)) = days.clone().next() else { return ("2026-11-20".to_owned(), Facts::new()) };
    let of_day: Vec<&str> = days.filter(|(_, day)| *day == first).map(|(labels, _)| labels).collect();
    let is_past = |name: &str| {
        let (name, labels) = name.split_at(name.find('{').unwrap_or(name.len()));
        !name.ends_with("threshold_percent") && of_day.contains(&labels)
    };
    let facts = series.iter().filter(|(name, _)| is_past(name));
    (first, facts.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// The exposition without the times of the samples, of which each series has one.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(_) => format!("{line}\n"),
        None => format!("{}\n", line.rsplit_once(' ').unwrap().0),
    };
    text.lines().map(line).collect()
}

fn counted(poll: &Poll) -> String {
    let counts = listing(poll.rejected());
    let swap = |part: &str| part.split_once(": ").map(|(why, count)| format!("{count} {why}"));
    counts.split(", ").filter_map(swap).collect::<Vec<_>>().join(", ")
}
