//! Hostile and faulty clients: ordinary scrapes succeed during every attack.
//!
//! An attack is a function and a row of a table below; a malformed request is a row in `hostile/malformed.rs`. The
//! attacks are made on an open server on several addresses, and on one with TLS and a user on sockets from systemd,
//! while others scrape them. The durations of the scrapes and the memory of the server are reported on stderr.

mod floods;
mod frames;
mod http1;
mod http2;
mod malformed;
mod scrapes;
mod target;

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::eventually;
use floods::Flood;
use scrapes::{Figures, Scrapes};
use target::Target;

/// The name of an attack, and its function.
type Attack = (&'static str, fn(&Target, &Scrapes));

/// Slow attacks, which run concurrently with each other and with the quick ones.
const SLOW: &[Attack] = &[
    ("silence", http1::silence),
    ("a head byte by byte", http1::a_head_byte_by_byte),
    ("a second head byte by byte", http1::a_second_head_byte_by_byte),
    ("a body byte by byte", http1::a_body_byte_by_byte),
];
const SLOW_WITH_TLS: &[Attack] = &[
    ("a handshake byte by byte", http1::a_handshake_byte_by_byte),
    ("no whole HTTP/2 request", http2::no_whole_request),
    ("streams without end", http2::streams_without_end),
];

/// Quick attacks, which run one after the other.
const QUICK: &[Attack] = &[
    ("malformed requests", http1::malformed_requests),
    ("oversized heads", http1::oversized_heads),
    ("half-closed connections", http1::half_closed_connections),
    ("the wrong protocol", http1::the_wrong_protocol),
];
const QUICK_WITH_TLS: &[Attack] = &[
    ("garbage instead of TLS", http1::garbage_instead_of_tls),
    ("wrong passwords", http1::wrong_passwords),
    ("invalid frames", http2::invalid_frames),
    ("rapid reset", http2::rapid_reset),
    ("floods of small frames", http2::floods_of_small_frames),
    ("endless heads", http2::endless_heads),
    ("streams beyond the limit", http2::streams_beyond_the_limit),
];

/// Attacks with so many connections or requests that others are evicted, which run after the slow ones.
const MANY: &[Attack] = &[
    ("pipelining", http1::pipelining),
    ("2,000 idle connections", http1::two_thousand_idle_connections),
    ("churn", http1::churn),
    ("readers that do not read", http1::readers_that_do_not_read),
];
const MANY_WITH_TLS: &[Attack] = &[("closed windows", http2::closed_windows)];

/// An attack is repeated until this number of scrapes has started and ended.
const MIN_SCRAPES: usize = 5;
/// The limit of the memory that all attackers together may use, in MiB.
const MAX_MEMORY: f64 = 100.0;

/// The time after a flood within which the server recovers.
const AFTER: Duration = Duration::from_secs(2);
/// The time that 99 of 100 scrapes must take less than during a flood.
const SLOW_SCRAPE: Duration = Duration::from_secs(3);
/// The same after the flood.
const QUICK_SCRAPE: Duration = Duration::from_millis(200);
/// The floods of one kind, of which one must end well.
const ATTEMPTS: usize = 3;

/// Raises the limit of open files, which is 1,024 by default; the attackers have more sockets than that.
fn allow_many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    assert!(maximum.is_none_or(|most| most >= 5000), "the hard limit of open files is {maximum:?}");
}

#[test]
fn an_open_server_answers_ordinary_scrapes_during_every_attack() {
    allow_many_files();
    every_attack("open, on addresses", &Target::open(None), SLOW, QUICK, MANY);
}

#[test]
fn a_server_with_tls_and_a_user_answers_ordinary_scrapes_during_every_attack() {
    allow_many_files();
    let [slow, quick, many] =
        [[SLOW, SLOW_WITH_TLS], [QUICK, QUICK_WITH_TLS], [MANY, MANY_WITH_TLS]].map(|tables| tables.concat());
    every_attack("TLS and user, from systemd", &Target::protected(), &slow, &quick, &many);
}

fn every_attack(name: &str, target: &Target, slow: &[Attack], quick: &[Attack], many: &[Attack]) {
    let scrapes = Scrapes::start(target);
    let mut report = Report::new(name);
    let begin = Instant::now();
    scrapes.more(40);
    let (files, memory) = (target.files(), target.memory("VmRSS"));
    report.line("before", begin, &scrapes, target);

    let attack_in_turn = |attacks: &[Attack], report: &mut Report| {
        for (name, attack) in attacks {
            let start = Instant::now();
            while scrapes.since(start).count < MIN_SCRAPES {
                attack(target, &scrapes);
                target.assert_healthy();
            }
            report.line(name, start, &scrapes, target);
        }
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (_, attack) in slow {
            scope.spawn(|| attack(target, &scrapes));
        }
        attack_in_turn(quick, &mut report);
    });
    report.line("slow attacks meanwhile", began, &scrapes, target);
    attack_in_turn(many, &mut report);

    let began = Instant::now();
    scrapes.more(40);
    target.assert_healthy();
    report.line("after", began, &scrapes, target);
    let all = scrapes.since(begin);
    report.line("all", begin, &scrapes, target);
    report.print();
    assert!(
        all.failures.is_empty(),
        "{} of {} scrapes failed: {:?}",
        all.failures.len(),
        all.count,
        all.failures
    );
    let peak = target.memory("VmHWM");
    assert!(peak < memory + MAX_MEMORY, "from {memory:.0} MiB of memory to {peak:.0}");
    eventually("the closing of all connections", || (target.files() <= files + 1).then_some(()));
}

/// The name of a flood, the server, and the flood.
type FloodCase = (&'static str, fn() -> Target, fn(&Target) -> Flood);

/// Each of these once kept ordinary scrapes from being answered.
const FLOODS: &[FloodCase] = &[
    ("700 missing bodies", Target::open_and_small, |target| floods::missing_bodies(target, 700)),
    ("2,000 missing bodies", Target::open_and_small, |target| floods::missing_bodies(target, 2000)),
    ("600 streams without end", Target::protected, |target| floods::streams_without_end(target, 600)),
    ("700 wrong passwords, 10", || Target::with_user(10), |target| floods::ever_new_passwords(target, 700)),
    ("700 wrong passwords, 12", || Target::with_user(12), |target| floods::ever_new_passwords(target, 700)),
];

#[test]
fn scrapes_take_less_than_three_seconds_during_a_flood_and_are_quick_two_seconds_after() {
    allow_many_files();
    let mut report = Report::new("floods");
    let mut wrong = String::new();
    for case in FLOODS {
        let mut flaws = flaws_of_a_flood(case, &mut report);
        // Other tests and programs run meanwhile, so one of several floods must end well.
        for _ in 1..ATTEMPTS {
            if !flaws.is_empty() {
                flaws = flaws_of_a_flood(case, &mut report);
            }
        }
        wrong += &flaws;
    }
    report.print();
    assert!(wrong.is_empty(), "{wrong}");
}

/// Floods a server, and says what was wrong with the scrapes meanwhile and afterwards.
fn flaws_of_a_flood((name, target, flood): &FloodCase, report: &mut Report) -> String {
    let target = target();
    let scrapes = Scrapes::start(&target);
    let began = Instant::now();
    let flood = flood(&target);
    std::thread::sleep(floods::DURATION);
    let during = scrapes.since(began);
    report.line(name, began, &scrapes, &target);
    let outcomes = flood.outcomes.load(Ordering::Relaxed);
    drop(flood);
    std::thread::sleep(AFTER);
    // One of several seconds must be calm.
    let calm = (0..10).find_map(|_| {
        let began = Instant::now();
        scrapes.more(40);
        report.line("  after", began, &scrapes, &target);
        Some(scrapes.since(began)).filter(|after| after.p99 < QUICK_SCRAPE && after.failures.is_empty())
    });
    let mut flaws = String::new();
    if calm.is_none() {
        writeln!(flaws, "{name}: scrapes stay slow after the flood").unwrap();
    }
    if during.p99 >= SLOW_SCRAPE || !during.failures.is_empty() || during.count < MIN_SCRAPES {
        let Figures { count, p99, failures, .. } = during;
        writeln!(flaws, "{name}: {count} scrapes, p99 {p99:?}, {failures:?}").unwrap();
    }
    if outcomes == 0 {
        writeln!(flaws, "{name}: the peers have noticed nothing").unwrap();
    }
    flaws
}

#[test]
fn logins_of_clients_that_have_hung_up_cost_next_to_no_processor_time() {
    allow_many_files();
    for cost in [10, 12] {
        let target = Target::with_user(cost);
        // The time of one check, at least.
        let before = target.processor_time();
        target.assert_healthy();
        let check = target.processor_time().saturating_sub(before);
        let before = target.processor_time();
        floods::hang_ups(&target, 450);
        target.example.process.wait_until_idle();
        let used = target.processor_time().saturating_sub(before);
        let line =
            format!("450 hang-ups, cost {cost}: {used:?} of processor time; a login costs {check:?}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        // The queue has 16 places.
        assert!(used < 17 * check + Duration::from_secs(2), "cost {cost}: {used:?}, a login costs {check:?}");
    }
}

#[test]
fn a_server_with_few_files_answers_ordinary_scrapes_though_there_are_more_connections() {
    allow_many_files();
    // In the second case the system refuses to accept connections.
    for (files, connections) in [(64, 200), (16, 100)] {
        let target = Target::open(Some(files));
        let scrapes = Scrapes::start(&target);
        let began = Instant::now();
        let idle = http1::idle_connections(&target, connections);
        scrapes.more(20);
        let all = scrapes.since(began);
        assert!(
            all.failures.is_empty(),
            "{} of {} scrapes failed: {:?}",
            all.failures.len(),
            all.count,
            all.failures
        );
        drop(scrapes);
        // The server pauses after each failure to accept a connection.
        target.example.process.wait_until_idle();
        let log = target.example.process.stderr.text();
        assert_eq!(log.matches("Cannot accept connections").count(), usize::from(files == 16), "{log}");
        drop(idle);
    }
}

#[test]
fn connections_without_a_response_do_not_keep_the_server_from_stopping_within_5_seconds() {
    for mut target in [Target::open(None), Target::protected()] {
        let connections = http1::connections_of_all_kinds(&target);
        target.example.process.terminate();
        let (status, took) = target.example.process.wait();
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(5), "took {took:?}");
        drop(connections);
    }
}

/// A table of the scrapes and the memory during each attack.
struct Report(String);

impl Report {
    fn new(name: &str) -> Self {
        Self(format!(
            "\n{name:<28} {:>7} {:>7} {:>9} {:>9} {:>9} {:>8} {:>8}\n",
            "took", "scrapes", "p50", "p99", "longest", "RSS", "peak RSS"
        ))
    }

    fn line(&mut self, name: &str, since: Instant, scrapes: &Scrapes, target: &Target) {
        let figures = scrapes.since(since);
        let Figures { count, p50, p99, max, failures } = &figures;
        let ms = |time: &Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
        writeln!(
            self.0,
            "{name:<28} {:>5.1} s {count:>7} {:>9} {:>9} {:>9} {:>6.1} M {:>6.1} M",
            since.elapsed().as_secs_f64(),
            ms(p50),
            ms(p99),
            ms(max),
            target.memory("VmRSS"),
            target.memory("VmHWM"),
        )
        .unwrap();
        for failure in failures {
            writeln!(self.0, "  FAILED: {failure}").unwrap();
        }
    }

    /// Prints it past the test harness, which shows the output of failed tests only.
    fn print(&self) {
        std::io::stderr().write_all(self.0.as_bytes()).unwrap();
    }
}
