//! Peers that mean harm, or do not know what they do: during every attack ordinary scrapes are answered.
//!
//! An attack is a function and a row of a table below; a malformed request is a row in `hostile/shapes.rs`. Both
//! kinds of exporters are attacked, one that is open to all and one with TLS and a password, while others scrape
//! them. What the scrapes took, and what memory, is told on stderr.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "real processes take real time")]

mod campaigns;
mod door;
mod http2;
mod multiplexed;
mod scrapes;
mod shapes;

use crate::support;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use door::{Door, simulator};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use scrapes::{Figures, Scrapes};

/// A name, and what is done.
type Attack = (&'static str, fn(&Door, &Scrapes));

/// What takes its time, all at the same time,
const SLOW: &[Attack] = &[
    ("nothing at all", campaigns::nothing_at_all),
    ("a head byte by byte", campaigns::a_head_byte_by_byte),
    ("a second head byte by byte", campaigns::a_second_head_byte_by_byte),
    ("a body byte by byte", campaigns::a_body_byte_by_byte),
];
const SLOW_WITH_TLS: &[Attack] = &[
    ("a handshake byte by byte", campaigns::a_handshake_byte_by_byte),
    ("no HTTP/2 request at all", multiplexed::no_request_at_all),
];

/// while these follow one another,
const FEW: &[Attack] = &[
    ("malformed requests", campaigns::malformed_requests),
    ("heads without measure", campaigns::heads_without_measure),
    ("half a connection", campaigns::half_a_connection),
    ("the wrong protocol", campaigns::the_wrong_protocol),
];
const FEW_WITH_TLS: &[Attack] = &[
    ("garbage instead of TLS", campaigns::garbage_instead_of_tls),
    ("wrong passwords", campaigns::wrong_passwords),
    ("frames that are not allowed", multiplexed::frames_that_are_not_allowed),
    ("rapid reset", multiplexed::rapid_reset),
    ("floods of small frames", multiplexed::floods_of_small_frames),
    ("heads without end", multiplexed::heads_without_end),
    ("streams beyond the limit", multiplexed::streams_beyond_the_limit),
];

/// and then these, before which others have to give way.
const MANY: &[Attack] = &[
    ("pipelining", campaigns::pipelining),
    ("2,000 idle connections", campaigns::two_thousand_idle_connections),
    ("connections come and go", campaigns::churn),
    ("readers that do not read", campaigns::readers_that_do_not_read),
];
const MANY_WITH_TLS: &[Attack] = &[("windows that stay shut", multiplexed::windows_that_stay_shut)];

/// An attack goes on until so many scrapes have begun and ended.
const FEWEST: usize = 5;
/// What all attackers together may cost, in MiB.
const MEMORY: f64 = 100.0;

/// The system lets a process have 1,024 files by default, and there are more sockets than that.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    assert!(maximum.is_none_or(|most| most >= 5000), "the hard limit of open files is {maximum:?}");
}

#[test]
fn an_open_exporter_answers_ordinary_scrapes_during_every_attack() {
    let simulator = simulator();
    every_attack("without TLS", &Door::plain(&simulator, None), SLOW, FEW, MANY);
}

#[test]
fn an_exporter_with_tls_and_a_password_answers_ordinary_scrapes_during_every_attack() {
    let simulator = simulator();
    let [slow, few, many] =
        [[SLOW, SLOW_WITH_TLS], [FEW, FEW_WITH_TLS], [MANY, MANY_WITH_TLS]].map(|tables| tables.concat());
    every_attack("with TLS and a password", &Door::guarded(&simulator), &slow, &few, &many);
}

fn every_attack(name: &str, door: &Door, slow: &[Attack], few: &[Attack], many: &[Attack]) {
    allow_many_files();
    door.wait_for_rows();
    let scrapes = Scrapes::begin(door);
    let mut report = Report::new(name);
    let begin = Instant::now();
    scrapes.more(40);
    let (files, memory) = (door.files(), door.memory("VmRSS"));
    report.line("before", begin, &scrapes, door);

    let one_after_the_other = |attacks: &[Attack], report: &mut Report| {
        for (name, attack) in attacks {
            let began = Instant::now();
            while scrapes.since(began).count < FEWEST {
                attack(door, &scrapes);
                door.is_well();
            }
            report.line(name, began, &scrapes, door);
        }
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (_, attack) in slow {
            scope.spawn(|| attack(door, &scrapes));
        }
        one_after_the_other(few, &mut report);
    });
    report.line("the slow ones beside these", began, &scrapes, door);
    one_after_the_other(many, &mut report);

    let began = Instant::now();
    scrapes.more(40);
    door.is_well();
    report.line("after", began, &scrapes, door);
    let all = scrapes.since(begin);
    report.line("altogether", begin, &scrapes, door);
    report.tell();
    assert!(
        all.failures.is_empty(),
        "{} scrapes of {} failed: {:?}",
        all.failures.len(),
        all.count,
        all.failures
    );
    let peak = door.memory("VmHWM");
    assert!(peak < memory + MEMORY, "from {memory:.0} MiB of memory to {peak:.0}");
    support::eventually("an end of all that was opened", || (door.files() <= files + 1).then_some(()));
}

#[test]
fn an_exporter_with_few_files_answers_ordinary_scrapes_though_more_connect_than_it_has_files() {
    allow_many_files();
    let simulator = simulator();
    // With the fewer ones it is the system that refuses.
    for (files, connections) in [(64, 200), (20, 100)] {
        let door = Door::plain(&simulator, Some(files));
        door.wait_for_rows();
        let scrapes = Scrapes::begin(&door);
        let began = Instant::now();
        let idle = campaigns::idle_connections(&door, connections);
        scrapes.more(20);
        let all = scrapes.since(began);
        assert!(
            all.failures.is_empty(),
            "{} scrapes of {} failed: {:?}",
            all.failures.len(),
            all.count,
            all.failures
        );
        drop(scrapes);
        // It does not try again and again without a pause.
        door.exporter.process.wait_until_idle();
        let log = door.exporter.process.stderr.text();
        let told = log.matches("Cannot accept connections").count();
        assert_eq!(told, usize::from(files == 20), "{log}");
        drop(idle);
    }
}

#[test]
fn whoever_is_still_connected_does_not_keep_it_from_stopping_within_5_seconds() {
    let simulator = simulator();
    for mut door in [Door::plain(&simulator, None), Door::guarded(&simulator)] {
        door.wait_for_rows();
        let connected = campaigns::of_all_kinds(&door);
        door.exporter.process.signal(Signal::TERM);
        let (status, took) = door.exporter.process.wait();
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(5), "took {took:?}");
        drop(connected);
    }
}

/// A table of what scrapes and memory did.
struct Report(String);

impl Report {
    fn new(name: &str) -> Self {
        Self(format!(
            "\n{name:<28} {:>7} {:>7} {:>9} {:>9} {:>9} {:>8} {:>8}\n",
            "took", "scrapes", "p50", "p99", "longest", "RSS", "peak RSS"
        ))
    }

    fn line(&mut self, name: &str, since: Instant, scrapes: &Scrapes, door: &Door) {
        let figures = scrapes.since(since);
        let Figures { count, p50, p99, most, failures } = &figures;
        let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        writeln!(
            self.0,
            "{name:<28} {:>5.1} s {count:>7} {:>9} {:>9} {:>9} {:>6.1} M {:>6.1} M",
            since.elapsed().as_secs_f64(),
            ms(p50),
            ms(p99),
            ms(most),
            door.memory("VmRSS"),
            door.memory("VmHWM"),
        )
        .unwrap();
        for failure in failures {
            writeln!(self.0, "  FAILED: {failure}").unwrap();
        }
    }

    /// Past the test harness, which keeps to itself what passing tests print.
    fn tell(&self) {
        std::io::stderr().write_all(self.0.as_bytes()).unwrap();
    }
}
