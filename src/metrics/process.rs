//! The standard `process_*` metrics, read from `/proc` at most once a second.
//!
//! Values that cannot be read are omitted; on other systems most of them are.

use std::cell::LazyCell;
use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};
use tokio::time::Instant;

use super::family::Families;
use super::table::{
    CPU, MAX_FDS, OPEN_FDS, RECEIVED, RESIDENT, SENT, START_TIME, THREADS, VIRTUAL, VIRTUAL_MAX,
};

/// How long figures are served before they are read again.
const MAX_AGE: Duration = Duration::from_secs(1);
/// Enough for each file that is read, so that one call returns all of it.
const FILE_SIZE: usize = 16 * 1024;

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    /// The start time in seconds since 1970. It is read once, since reading /proc/stat is slow on large machines.
    started: Option<f64>,
    /// The figures that were read last, and when. Concurrent scrapes wait for one reading.
    latest: Mutex<Option<(Instant, Figures)>>,
}

/// What `/proc` says at one moment.
#[derive(Clone, Copy, Debug)]
struct Figures {
    stat: Option<Stat>,
    open_files: Option<u64>,
    /// Bytes received and sent.
    octets: Option<(u64, u64)>,
}

/// The fields of `/proc/self/stat` that are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// User and system time in clock ticks.
    ticks: u64,
    threads: u64,
    /// From the start of the system to that of the process, in clock ticks.
    started: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Process {
    pub(super) fn myself() -> Self {
        let started = || {
            let stat = Stat::parse(&read("/proc/self/stat")?)?;
            let system = read("/proc/stat")?;
            let boot = system.lines().find_map(|line| line.strip_prefix("btime "))?;
            Some(boot.parse::<f64>().ok()? + seconds(stat.started))
        };
        Self { started: started(), latest: Mutex::default() }
    }

    /// Adds the families in their order. Nothing is read unless one of them is selected.
    pub(super) fn collect(&self, out: &mut Families<'_>) -> fmt::Result {
        let figures = LazyCell::new(|| self.figures());
        let limit = |resource| Some(getrlimit(resource).current.unwrap_or(u64::MAX));
        out.add_one(&CPU, || Some(seconds(figures.stat?.ticks)))?;
        out.add_one(&OPEN_FDS, || figures.open_files)?;
        out.add_one(&MAX_FDS, || limit(Resource::Nofile))?;
        out.add_one(&VIRTUAL, || Some(figures.stat?.virtual_bytes))?;
        out.add_one(&VIRTUAL_MAX, || limit(Resource::As))?;
        out.add_one(&RESIDENT, || Some(figures.stat?.resident_pages * page_size() as u64))?;
        out.add_one(&START_TIME, || self.started)?;
        out.add_one(&THREADS, || Some(figures.stat?.threads))?;
        out.add_one(&RECEIVED, || Some(figures.octets?.0))?;
        out.add_one(&SENT, || Some(figures.octets?.1))
    }

    /// Returns figures that are younger than [`MAX_AGE`].
    fn figures(&self) -> Figures {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match *latest {
            Some((read_at, figures)) if now < read_at + MAX_AGE => figures,
            _ => latest.insert((now, Figures::read())).1,
        }
    }
}

impl Figures {
    fn read() -> Self {
        Self {
            stat: read("/proc/self/stat").and_then(|text| Stat::parse(&text)),
            open_files: open_files(),
            octets: read("/proc/self/net/netstat").and_then(|text| octets(&text)),
        }
    }
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program is in parentheses, and may contain anything.
        let (_, fields) = text.rsplit_once(") ")?;
        let mut fields = fields.split_ascii_whitespace();
        // The state is field 3 in proc_pid_stat(5), and each call continues after the one before.
        let mut skip = |count| fields.nth(count)?.parse::<u64>().ok();
        Some(Self {
            ticks: skip(11)? + skip(0)?,
            threads: skip(4)?,
            started: skip(1)?,
            virtual_bytes: skip(0)?,
            resident_pages: skip(0)?,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "ticks are below 2^53")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// Returns the text of a file of `/proc`, whose size is not known in advance.
fn read(path: &str) -> Option<String> {
    let mut text = String::with_capacity(FILE_SIZE);
    File::open(path).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// Returns the number of open files, which is the size of the directory from Linux 6.2 on.
fn open_files() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.len() {
        // One of them is that of the directory itself.
        0 => Some((fs::read_dir(DIRECTORY).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

/// Returns bytes received and sent, from the two lines about IP in the text of a netstat file: names, then numbers.
fn octets(netstat: &str) -> Option<(u64, u64)> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let of = |wanted: &str| {
        let column = names.split(' ').position(|name| name == wanted)?;
        numbers.split(' ').nth(column)?.parse().ok()
    };
    Some((of("InOctets")?, of("OutOctets")?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use exporter_toolkit::negotiation::Format;

    use super::super::family::{self, Collect, Selection};
    use super::*;

    impl Collect for Process {
        fn collect(&self, out: &mut Families<'_>) -> fmt::Result {
            Self::collect(self, out)
        }
    }

    #[test]
    fn nothing_is_read_unless_it_is_asked_for() {
        for (name, is_read) in [
            ("partner_license_up", false),
            (MAX_FDS.name, false),
            (VIRTUAL_MAX.name, false),
            (START_TIME.name, false),
            (CPU.name, true),
            (OPEN_FDS.name, true),
            (SENT.name, true),
        ] {
            let process = Arc::new(Process::myself());
            family::encode(Format::Classic, &Selection::of([name.to_owned()]), &process);
            assert_eq!(process.latest.lock().unwrap().is_some(), is_read, "{name}");
        }
    }

    #[test]
    fn bytes_of_the_network_are_found_by_their_names() {
        let text = "TcpExt: InOctets\nTcpExt: 1\nIpExt: InNoRoutes InOctets OutOctets InMcastOctets\n\
                    IpExt: 2 803385627 274329858 3\n";
        assert_eq!(octets(text), Some((803_385_627, 274_329_858)));
        for text in [
            "",
            "IpExt: InOctets OutOctets\n",
            "IpExt: InOctets OutOctets\nIpExt: 1\n",
            "IpExt: x\nIpExt: 1\n",
        ] {
            assert_eq!(octets(text), None, "{text}");
        }
    }

    #[test]
    fn fields_are_counted_from_the_end_of_the_name() {
        let rest =
            "S 1 4 5 6 7 8 9 10 11 12 200 30 15 16 17 18 9 20 4711 5000000 1234 18446744073709551615 24";
        let expected =
            Stat { ticks: 230, threads: 9, started: 4711, virtual_bytes: 5_000_000, resident_pages: 1234 };
        for name in ["partner-license", "a b", ") S 1 2", ""] {
            assert_eq!(Stat::parse(&format!("42 ({name}) {rest}\n")), Some(expected), "{name}");
        }
        for text in ["", "42 (x) S 1", "42 (x) S 1 4 5 6 7 8 9 10 11 12 x 30 15 16 17 18 9 20 4711 5 1"] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn figures_are_those_of_this_process() {
        let files: Vec<_> = (0..40).map(|_| File::open("/dev/null").unwrap()).collect();
        let memory = vec![1_u8; 32 << 20];
        let figures = Figures::read();
        let stat = figures.stat.unwrap();
        // Other tests open files and allocate memory meanwhile.
        assert!(figures.open_files.unwrap() > files.len() as u64, "{figures:?}");
        assert!(stat.resident_pages * page_size() as u64 > memory.len() as u64, "{figures:?}");
        assert!(stat.virtual_bytes > stat.resident_pages * page_size() as u64, "{figures:?}");
        assert!(stat.threads >= 1 && figures.octets.is_some(), "{figures:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn figures_are_read_again_after_a_second() {
        let process = Process::myself();
        let read_at = || process.latest.lock().unwrap().map(|(read_at, _)| read_at);
        assert_eq!(read_at(), None);
        let start = Instant::now();
        for (advance, read) in [(0, 0), (999, 0), (1, 1000), (500, 1000), (10_000, 11_500)] {
            tokio::time::advance(Duration::from_millis(advance)).await;
            process.figures();
            assert_eq!(read_at(), Some(start + Duration::from_millis(read)));
        }
    }
}
