//! SIGKILL at any moment of a poll, a thousand times: the state directory is always readable, and a refresh
//! token that has been put to use is never lost, not even where it is the only one that is good.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "real processes take real time")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crate::support::{Exporter, Process, Simulator, TENANT, eventually, program, write_config};
use serde_json::Value;

const KILLS: u32 = 1000;
/// Exporters killed side by side, each with a tenant and a directory of its own.
const WORKERS: u32 = 4;

#[test]
fn a_thousand_kills_leave_a_readable_state_directory_with_the_newest_refresh_token_that_was_used() {
    // Entra ID leaves the old token valid beside its successor; a crash before the write relies on that.
    let simulator = Simulator::start("rotation: lenient");
    let mut reached = BTreeMap::new();
    thread::scope(|scope| {
        let simulator = &simulator;
        let workers: Vec<_> =
            (1..=WORKERS).map(|number| scope.spawn(move || kill_often(simulator, number))).collect();
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

/// Under these rotations a refresh token dies with the answer that has its successor, so whoever is killed before
/// that is on the disk has lost both, and nothing but a new sign-in helps. That is their nature, and not Entra ID's.
/// What must hold: once the access token that came with it is in use, a successor is on the disk.
#[test]
fn a_kill_after_the_access_token_was_used_never_loses_the_only_refresh_token() {
    thread::scope(|scope| {
        for rotation in ["strict", "family"] {
            scope.spawn(move || {
                // No poll comes to its end, so every start signs in, and every kill is behind that.
                let scenario = format!("{{rotation: {rotation}, usage: {{delay: 1h}}}}");
                kill_after_each_sign_in(&Simulator::start(&scenario));
            });
        }
    });
}

fn kill_after_each_sign_in(simulator: &Simulator) {
    const KILLS: u64 = 100;
    let config = format!("accounts:\n{}", simulator.account(None, TENANT));
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let file = write_config(directory.path(), &config);
    let arguments = ["--web.listen-address", "127.0.0.1:0", "--config.file", file.to_str().unwrap()];
    for number in 1..=KILLS {
        let exporter = Process::start(&mut program(&arguments));
        eventually("the use of a new access token", || {
            (requests(simulator, TENANT).used == number).then_some(())
        });
        exporter.kill();
        assert_eq!(stored_token(&files(&state)), number);
    }
    assert_eq!(requests(simulator, TENANT).sign_ins, usize::try_from(KILLS).unwrap(), "none was refused");
}

/// How far a process had come when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    BeforeSignIn,
    BeforeUsage,
    AfterUsage,
}

fn kill_often(simulator: &Simulator, worker: u32) -> BTreeMap<Moment, u32> {
    let tenant = format!("00000000-0000-0000-0000-{worker:012}");
    // Rows so short-lived are written and read, and never spare a start its poll.
    let config = format!("stale_after: 1ms\naccounts:\n{}", simulator.account(None, &tenant));
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let state = directory.path().join("state");
    let whole_life = {
        let started = Instant::now();
        let _exporter = Exporter::start_in(Arc::clone(&directory), &config, &[]);
        eventually("rows on the disk", || {
            files(&state).keys().any(|name| name.starts_with("usage-")).then_some(())
        });
        started.elapsed()
    };
    let file = directory.path().join("config.yml");
    let mut reached = BTreeMap::new();
    for _ in 0..KILLS / WORKERS {
        let before = requests(simulator, &tenant);
        let arguments = ["--web.listen-address", "127.0.0.1:0", "--config.file", file.to_str().unwrap()];
        let exporter = Process::start(&mut program(&arguments));
        // No condition to wait for: any moment will do, and all of them are meant.
        thread::sleep(whole_life.mul_f64(1.2 * fastrand::f64()));
        let stderr = exporter.stderr.clone();
        exporter.kill();

        let after = requests(simulator, &tenant);
        let moment = match (after.sign_ins > before.sign_ins, after.used > before.used) {
            (false, _) => Moment::BeforeSignIn,
            (true, false) => Moment::BeforeUsage,
            (true, true) => Moment::AfterUsage,
        };
        *reached.entry(moment).or_insert(0) += 1;
        let stored = stored_token(&files(&state));
        assert!(stored >= after.used, "token {stored} is on the disk, and {} was used", after.used);
        let log = stderr.text();
        let complaint = |line: &&str| line.contains("level=WARN") || line.contains("level=ERROR");
        // One warning is about the configuration, which is odd indeed.
        let complaints = log.lines().filter(complaint).find(|line| !line.contains("stale_after"));
        assert_eq!(complaints, None);
    }
    let again = Exporter::start_in(directory, &config, &[]);
    again.wait_for("a good poll", |metrics| {
        (metrics.value("partner_license_up", &[]) == Some(1.0)).then_some(())
    });
    reached
}

/// What the simulator saw of a tenant.
struct Requests {
    /// Requests to the sign-in service.
    sign_ins: usize,
    /// The number of the latest sign-in whose access token was put to use.
    used: u64,
}

fn requests(simulator: &Simulator, tenant: &str) -> Requests {
    let log = simulator.requests();
    let ours: Vec<_> =
        log["requests"].as_array().unwrap().iter().filter(|request| request["tenant"] == tenant).collect();
    Requests {
        sign_ins: ours.iter().filter(|request| request["endpoint"] == "token").count(),
        used: ours.iter().filter_map(|request| request["sign_in"].as_u64()).max().unwrap_or(0),
    }
}

/// The files of a state directory, each of them whole. What a write was cut off in is not one of them.
fn files(state: &Path) -> BTreeMap<String, Value> {
    let Ok(entries) = state.read_dir() else { return BTreeMap::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    // Half written, locked and tried out.
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

/// The number of the sign-in that the stored refresh token came from.
fn stored_token(files: &BTreeMap<String, Value>) -> u64 {
    let (_, file) =
        files.iter().find(|(name, _)| name.starts_with("refresh-token-")).expect("a token is stored");
    let token = file["refresh_token"].as_str().unwrap();
    token.strip_prefix("simulated-refresh-token-").unwrap().split('-').next().unwrap().parse().unwrap()
}
