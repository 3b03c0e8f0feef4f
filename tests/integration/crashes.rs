//! SIGKILL at random moments of a poll, a thousand times: the state directory stays readable, and a refresh token whose
//! access token was used is never lost, even if it is the only valid one. Nor are the rows of a collection, once they
//! are there.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "real processes take real time")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::support::{Exporter, Process, Simulator, TENANT, account, eventually, program, write_config};
use serde_json::Value;

/// The collections of each account.
const COLLECTIONS: [&str; 3] = ["usage", "deployment", "customers"];

/// An account with every collection.
fn account_of(simulator: &Simulator) -> String {
    let collections = ", collections: { deployment: { enabled: true }, customers: { enabled: true } }";
    account(None, TENANT, &simulator.url, &simulator.url, collections)
}

const KILLS: u32 = 1000;
/// The number of exporters that are killed concurrently, each with its own simulator and directory.
const WORKERS: u32 = 4;

#[test]
fn the_state_directory_is_readable_and_has_the_newest_used_refresh_token_after_a_thousand_kills() {
    let mut reached = BTreeMap::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(kill_at_random)).collect();
        for worker in workers {
            for (moment, count) in worker.join().unwrap() {
                *reached.entry(moment).or_insert(0) += count;
            }
        }
    });
    println!("killed {KILLS} times: {reached:?}");
    for moment in [Moment::BeforeSignIn, Moment::BeforeUsage, Moment::AfterUsage] {
        assert!(
            reached.get(&moment).is_some_and(|count| *count > 10),
            "the kills missed {moment:?}: {reached:?}"
        );
    }
}

/// With these rotations, unlike with Entra ID, a refresh token becomes invalid as soon as its successor is issued. A
/// process that is killed before it has written the successor has lost both, and needs a new sign-in. So the successor
/// must be on the disk before the access token issued with it is used.
#[test]
fn a_kill_after_the_first_use_of_an_access_token_never_loses_the_only_valid_refresh_token() {
    thread::scope(|scope| {
        for rotation in ["strict", "family"] {
            scope.spawn(move || {
                // No poll completes, so every start signs in, and every kill comes after the sign-in.
                let scenario = format!(
                    "{{rotation: {rotation}, usage: {{delay: 1h}}, deployment: {{delay: 1h}}, \
                     commercial_usage: {{delay: 1h}}}}"
                );
                kill_after_every_sign_in(&Simulator::start(&scenario));
            });
        }
    });
}

fn kill_after_every_sign_in(simulator: &Simulator) {
    const KILLS: u64 = 100;
    let config = format!("accounts:\n{}", account_of(simulator));
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let file = write_config(directory.path(), &config);
    let arguments = ["--web.listen-address", "127.0.0.1:0", "--config.file", file.to_str().unwrap()];
    for number in 1..=KILLS {
        let exporter = Process::start(&mut program(&arguments));
        eventually("the use of a new access token", || (requests(simulator).used == number).then_some(()));
        exporter.kill();
        assert_eq!(stored_token(&files(&state)), number);
    }
    assert_eq!(requests(simulator).sign_ins, KILLS, "no sign-in was refused and repeated");
}

/// How far a poll had got when the process was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    BeforeSignIn,
    BeforeUsage,
    AfterUsage,
}

fn kill_at_random() -> BTreeMap<Moment, u32> {
    // In Entra ID the old token stays valid, which a start after a crash before the write relies on.
    let simulator = Simulator::start("rotation: lenient");
    // Rows with this lifetime are written and read, but never delay the first poll of a start.
    let config = format!("stale_after: 1ms\naccounts:\n{}", account_of(&simulator));
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let duration = {
        let started = Instant::now();
        let _exporter = Exporter::start_in(Arc::clone(&directory), &config, &[]);
        eventually("rows on the disk", || has_rows(&files(&state)).then_some(()));
        started.elapsed()
    };
    let file = directory.path().join("config.yml");
    let mut reached = BTreeMap::new();
    for _ in 0..KILLS / WORKERS {
        let before = requests(&simulator);
        let arguments = ["--web.listen-address", "127.0.0.1:0", "--config.file", file.to_str().unwrap()];
        let exporter = Process::start(&mut program(&arguments));
        // The kill must come at a random moment, so there is no condition to wait for.
        thread::sleep(duration.mul_f64(1.2 * fastrand::f64()));
        let stderr = exporter.stderr.clone();
        exporter.kill();

        let after = requests(&simulator);
        let moment = match (after.sign_ins > before.sign_ins, after.used > before.used) {
            (false, _) => Moment::BeforeSignIn,
            (true, false) => Moment::BeforeUsage,
            (true, true) => Moment::AfterUsage,
        };
        *reached.entry(moment).or_insert(0) += 1;
        let files = files(&state);
        assert!(has_rows(&files), "rows are lost: {:?}", files.keys());
        let stored = stored_token(&files);
        assert!(stored >= after.used, "token {stored} is on the disk, although {} was used", after.used);
        let log = stderr.text();
        let is_warning = |line: &&str| line.contains("level=WARN") || line.contains("level=ERROR");
        // The warning about the value of `stale_after` is expected.
        let warning = log.lines().filter(is_warning).find(|line| !line.contains("stale_after"));
        assert_eq!(warning, None);
    }
    let again = Exporter::start_in(directory, &config, &[]);
    again.wait_for("a good poll of each collection", |metrics| {
        let up = |name| metrics.value("partner_license_up", &[("collection", name)]) == Some(1.0);
        COLLECTIONS.into_iter().all(up).then_some(())
    });
    reached
}

/// What the simulator has received.
struct Requests {
    /// The number of requests to the sign-in service.
    sign_ins: u64,
    /// The sequence number of the latest sign-in whose access token was used.
    used: u64,
}

fn requests(simulator: &Simulator) -> Requests {
    let log = simulator.requests();
    let latest = log["requests"].as_array().unwrap();
    Requests {
        sign_ins: log["totals"]["token"].as_u64().unwrap(),
        used: latest.iter().filter_map(|request| request["sign_in"].as_u64()).max().unwrap_or(0),
    }
}

/// Returns the files of a state directory, each of which must be complete, without the remains of interrupted writes.
fn files(state: &Path) -> BTreeMap<String, Value> {
    let Ok(entries) = state.read_dir() else { return BTreeMap::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // These are incomplete files, lock files, and probes of the directory.
    let no_content = |name: &String| {
        name.starts_with(".tmp") || [".json.new", ".lock"].iter().any(|end| name.ends_with(end))
    };
    let files = names.filter(|name| !no_content(name));
    files
        .map(|name| {
            let text = std::fs::read_to_string(state.join(&name)).unwrap();
            let json =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text:?}"));
            (name, json)
        })
        .collect()
}

/// Returns whether there are rows of each collection.
fn has_rows(files: &BTreeMap<String, Value>) -> bool {
    let is_there = |collection: &str| files.keys().any(|name| name.starts_with(&format!("{collection}-")));
    COLLECTIONS.into_iter().all(is_there)
}

/// Returns the sequence number of the sign-in that issued the stored refresh token.
fn stored_token(files: &BTreeMap<String, Value>) -> u64 {
    let (_, file) =
        files.iter().find(|(name, _)| name.starts_with("refresh-token-")).expect("a token is stored");
    let token = file["refresh_token"].as_str().unwrap();
    token.strip_prefix("simulated-refresh-token-").unwrap().split('-').next().unwrap().parse().unwrap()
}
