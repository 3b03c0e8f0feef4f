//! What the system says of this process: the standard `process_*` families, as exporters in Go have them.
//!
//! From /proc. What cannot be read there is left out, and on other systems all of it is.

use crate::exposition::Exposition;
#[cfg(target_os = "linux")]
use crate::exposition::{Labels, Value};

#[cfg(target_os = "linux")]
use super::{
    CPU, MAX_FDS, OPEN_FDS, RECEIVED, RESIDENT, SENT, START_TIME, THREADS, VIRTUAL, VIRTUAL_MAX, float,
};

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    /// Clock ticks per second.
    #[cfg(target_os = "linux")]
    ticks: f64,
    /// In seconds since 1970. It is asked for once: the whole of /proc/stat is slow to make on large machines.
    #[cfg(target_os = "linux")]
    started: Option<f64>,
}

#[cfg(not(target_os = "linux"))]
impl Process {
    pub(super) const fn myself() -> Self {
        Self {}
    }

    pub(super) const fn write(&self, _out: &mut Exposition<'_>) {}
}

#[cfg(target_os = "linux")]
#[expect(
    clippy::cast_precision_loss,
    reason = "ticks, bytes and limits are below 2^53, or as good as infinite"
)]
impl Process {
    pub(super) fn myself() -> Self {
        let ticks = procfs::ticks_per_second() as f64;
        let started = || {
            let stat = procfs::process::Process::myself().ok()?.stat().ok()?;
            Some(procfs::boot_time_secs().ok()? as f64 + stat.starttime as f64 / ticks)
        };
        Self { ticks, started: started() }
    }

    /// Writes the families in their order.
    pub(super) fn write(&self, out: &mut Exposition<'_>) {
        use procfs::WithCurrentSystemInfo as _;
        use procfs::process::LimitValue;

        let me = procfs::process::Process::myself().ok();
        let stat = me.as_ref().and_then(|me| me.stat().ok());
        let limits = me.as_ref().and_then(|me| me.limits().ok());
        let limit = |limit: LimitValue| match limit {
            LimitValue::Value(most) => most as f64,
            LimitValue::Unlimited => u64::MAX as f64,
        };
        let netstat = std::fs::read_to_string("/proc/self/net/netstat").unwrap_or_default();
        let (received, sent) = octets(&netstat).unzip();

        let (stat, limits) = (stat.as_ref(), limits.as_ref());
        let seconds = stat.map(|stat| (stat.utime + stat.stime) as f64 / self.ticks);
        for (family, value) in [
            (&CPU, seconds.map(Value::Sum)),
            (&OPEN_FDS, me.as_ref().and_then(|me| Some(Value::Gauge(float(me.fd_count().ok()?))))),
            (&MAX_FDS, limits.map(|of| Value::Gauge(limit(of.max_open_files.soft_limit)))),
            (&VIRTUAL, stat.map(|stat| Value::Gauge(stat.vsize as f64))),
            (&VIRTUAL_MAX, limits.map(|of| Value::Gauge(limit(of.max_address_space.soft_limit)))),
            (&RESIDENT, stat.map(|stat| Value::Gauge(stat.rss_bytes().get() as f64))),
            (&START_TIME, self.started.map(Value::Gauge)),
            (&THREADS, stat.map(|stat| Value::Gauge(stat.num_threads as f64))),
            (&RECEIVED, received.map(Value::Count)),
            (&SENT, sent.map(Value::Count)),
        ] {
            out.add(family, || value.map(|value| (Labels::new(), value)).into_iter().collect());
        }
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
