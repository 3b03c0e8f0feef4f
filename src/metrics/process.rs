//! The standard `process_*` metrics, read from `/proc`.
//!
//! Values that cannot be read are omitted; on other systems all of them are.

#[cfg(target_os = "linux")]
use std::cell::LazyCell;
use std::fmt;

use super::family::Families;
#[cfg(target_os = "linux")]
use super::table::{
    CPU, MAX_FDS, OPEN_FDS, RECEIVED, RESIDENT, SENT, START_TIME, THREADS, VIRTUAL, VIRTUAL_MAX,
};

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    /// The number of clock ticks per second.
    #[cfg(target_os = "linux")]
    ticks: f64,
    /// The start time in seconds since 1970. It is read once, since reading /proc/stat is slow on large machines.
    #[cfg(target_os = "linux")]
    started: Option<f64>,
}

#[cfg(not(target_os = "linux"))]
impl Process {
    pub(super) const fn myself() -> Self {
        Self {}
    }

    pub(super) const fn collect(&self, _out: &mut Families<'_>) -> fmt::Result {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
#[expect(clippy::cast_precision_loss, reason = "ticks and seconds are below 2^53")]
impl Process {
    pub(super) fn myself() -> Self {
        let ticks = procfs::ticks_per_second() as f64;
        let started = || {
            let stat = procfs::process::Process::myself().ok()?.stat().ok()?;
            Some(procfs::boot_time_secs().ok()? as f64 + stat.starttime as f64 / ticks)
        };
        Self { ticks, started: started() }
    }

    /// Adds the families in their order. A file of /proc is read if a selected family needs it.
    pub(super) fn collect(&self, out: &mut Families<'_>) -> fmt::Result {
        use procfs::WithCurrentSystemInfo as _;
        use procfs::process::LimitValue;

        let me = LazyCell::new(|| procfs::process::Process::myself().ok());
        let stat = LazyCell::new(|| me.as_ref()?.stat().ok());
        let limits = LazyCell::new(|| me.as_ref()?.limits().ok());
        let octets = LazyCell::new(|| octets(&std::fs::read_to_string("/proc/self/net/netstat").ok()?));
        let soft = |limit: procfs::process::Limit| match limit.soft_limit {
            LimitValue::Value(most) => most,
            LimitValue::Unlimited => u64::MAX,
        };

        out.add_one(&CPU, || stat.as_ref().map(|stat| (stat.utime + stat.stime) as f64 / self.ticks))?;
        out.add_one(&OPEN_FDS, || Some(me.as_ref()?.fd_count().ok()? as u64))?;
        out.add_one(&MAX_FDS, || limits.as_ref().map(|limits| soft(limits.max_open_files)))?;
        out.add_one(&VIRTUAL, || stat.as_ref().map(|stat| stat.vsize))?;
        out.add_one(&VIRTUAL_MAX, || limits.as_ref().map(|limits| soft(limits.max_address_space)))?;
        out.add_one(&RESIDENT, || stat.as_ref().map(|stat| stat.rss_bytes().get()))?;
        out.add_one(&START_TIME, || self.started)?;
        out.add_one(&THREADS, || u64::try_from(stat.as_ref()?.num_threads).ok())?;
        out.add_one(&RECEIVED, || octets.map(|(received, _)| received))?;
        out.add_one(&SENT, || octets.map(|(_, sent)| sent))
    }
}

/// Bytes received and sent, from the two lines about IP in the text of a netstat file: names, then numbers.
#[cfg(target_os = "linux")]
fn octets(netstat: &str) -> Option<(u64, u64)> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let of = |wanted: &str| {
        let column = names.split(' ').position(|name| name == wanted)?;
        numbers.split(' ').nth(column)?.parse().ok()
    };
    Some((of("InOctets")?, of("OutOctets")?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

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
}
