//! Defines the command line: commands and flags, named as in other Prometheus exporters.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgAction, Args, Parser, Subcommand};
use jiff::civil::Date;

use crate::commands::logging::{LogFormat, LogLevel};
use crate::domain::shard::Shard;

/// The default address of `demo`, which the exported configuration of Prometheus scrapes.
pub const DEMO_ADDRESS: &str = "127.0.0.1:10365";

/// Prometheus exporter for Microsoft partners' licence usage, as Partner Center reports it.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "partner-license-exporter",
    disable_version_flag = true,
    args_conflicts_with_subcommands = true
)]
pub(super) struct Cli {
    /// The command; `serve` if absent.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) serve: ServeFlags,
    /// Print version, revision and build, and exit.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(super) version: bool,
}

/// The commands of the program.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Poll every account in the background and serve /metrics. The default.
    Serve(ServeFlags),
    /// Check the configuration and list every problem, without network.
    Check(CheckFlags),
    /// Sign in as a user and store the refresh token, which a running exporter picks up.
    Login(LoginFlags),
    /// Try each step of a poll for real and report whether it works, and if not, the cause and the remedy.
    Doctor(DoctorFlags),
    /// Poll a collection once and print its rows, without disturbing a running exporter.
    Fetch(FetchFlags),
    /// Write the figures of past days for promtool, which imports them into Prometheus.
    Backfill(BackfillFlags),
    /// Run the exporter on top of a simulated Partner Center: nothing to configure, no network.
    Demo(DemoFlags),
    /// Run the simulated Partner Center and Entra ID alone.
    Simulate(SimulateFlags),
    /// Write the bundled dashboards, or the alert rules with their runbooks and a configuration for Alertmanager.
    Export(ExportFlags),
    /// Ask the exporter on this machine whether it is alive, for containers without a shell.
    Healthcheck(HealthcheckFlags),
    /// Print the completions for a shell.
    Completions(CompletionsFlags),
    /// Print the manual page, or write a page for each command.
    Man(ManFlags),
}

/// Flags of `serve`.
#[derive(Args, Clone, Debug)]
pub(super) struct ServeFlags {
    #[command(flatten)]
    pub(super) config: ConfigFlag,
    /// Check the configuration, report every problem and exit.
    #[arg(long = "config.check")]
    pub(super) config_check: bool,
    #[command(flatten)]
    pub(super) listen: ListenFlags,
    #[command(flatten)]
    pub(super) web: WebFlags,
    #[command(flatten)]
    pub(super) shard: ShardFlags,
    #[command(flatten)]
    pub(super) log: LogFlags,
}

/// Flags about which accounts are polled.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct ShardFlags {
    /// Which of the shards this process is, counted from 0: it polls only the accounts that belong to it.
    #[arg(long = "shard", value_name = "N", default_value = "0")]
    number: u32,
    /// Number of shards, which divide the accounts among themselves; 1: no division.
    #[arg(long = "total-shards", value_name = "M", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    total: u32,
}

impl ShardFlags {
    /// The shard that this process is.
    ///
    /// # Errors
    /// If there is no such shard.
    pub(super) fn shard(self) -> anyhow::Result<Shard> {
        let Self { number, total } = self;
        Shard::new(number, total).with_context(|| {
            format!("there is no --shard={number} with --total-shards={total}: shards are counted from 0")
        })
    }
}

/// Flags of `check`.
#[derive(Args, Clone, Debug)]
pub(super) struct CheckFlags {
    #[command(flatten)]
    pub(super) config: ConfigFlag,
    #[command(flatten)]
    pub(super) access: AccessFlag,
}

/// Flags of `login`.
#[derive(Args, Clone, Debug)]
pub(super) struct LoginFlags {
    #[command(flatten)]
    pub(super) config: ConfigFlag,
    /// Account to sign in to; required if there are several.
    #[arg(long, value_name = "NAME")]
    pub(super) account: Option<String>,
    /// Sign in with a browser on this machine, for tenants that block the device-code flow.
    #[arg(long)]
    pub(super) browser: bool,
}

/// Flags of `doctor`.
#[derive(Args, Clone, Debug)]
pub(super) struct DoctorFlags {
    #[command(flatten)]
    pub(super) config: ConfigFlag,
    /// Account to examine; all accounts if absent.
    #[arg(long, value_name = "NAME")]
    pub(super) account: Option<String>,
    /// Format of the findings.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(super) format: ReportFormat,
}

/// The format of the findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ReportFormat {
    /// One line for each finding, for people.
    Text,
    /// One JSON document at the end, for programs.
    Json,
}

/// Flags of `fetch`.
#[derive(Args, Clone, Debug)]
pub(super) struct FetchFlags {
    /// What to poll.
    #[arg(value_name = "COLLECTION", default_value = "usage")]
    pub(super) collection: Fetchable,
    #[command(flatten)]
    pub(super) config: ConfigFlag,
    /// Account to poll; all accounts if absent.
    #[arg(long, value_name = "NAME")]
    pub(super) account: Option<String>,
    /// Format of the rows.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub(super) format: FetchFormat,
    /// What a row of a customer is about.
    #[arg(long, value_name = "WHAT", default_value = "workload")]
    pub(super) by: FetchBy,
    /// Write the series to a file for the textfile collector of `node_exporter` instead. Replaces the file.
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    pub(super) textfile: Option<PathBuf>,
}

/// What can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Fetchable {
    /// Licence usage by workload.
    Usage,
    /// Licences sold and assigned by service.
    Deployment,
    /// Both for each customer.
    Customers,
}

/// The format of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FetchFormat {
    /// Aligned columns for people.
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values with a line of keys.
    Csv,
    /// The series of the exporter.
    Openmetrics,
}

/// What a row of a customer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FetchBy {
    /// A workload of a service.
    Workload,
    /// A product, with what its unused licences cost.
    Product,
}

/// Flags of `backfill`.
#[derive(Args, Clone, Debug)]
pub(super) struct BackfillFlags {
    #[command(flatten)]
    pub(super) config: ConfigFlag,
    /// Account whose past to fetch; required if there are several.
    #[arg(long, value_name = "NAME")]
    pub(super) account: Option<String>,
    /// Collection whose past to fetch.
    #[arg(long, value_name = "COLLECTION", default_value = "usage")]
    pub(super) collection: WithPast,
    /// First day, such as 2026-01-01.
    #[arg(long, value_name = "DATE")]
    pub(super) from: Date,
    /// Last day; yesterday (UTC) if absent. It must be before the first sample of the exporter.
    #[arg(long, value_name = "DATE")]
    pub(super) to: Option<Date>,
    /// File to write, as OpenMetrics for `promtool tsdb create-blocks-from openmetrics`. Replaces the file.
    #[arg(long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Label to add to every series, as Prometheus adds job and instance to those that it scrapes. Repeatable.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub(super) labels: Vec<(String, String)>,
    /// Shortest time between two requests to Partner Center.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = pace)]
    pub(super) pace: Duration,
    /// Time between two samples of a day: --query.lookback-delta of Prometheus, which shows no older sample.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = lookback)]
    pub(super) lookback: Duration,
}

/// What has a past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum WithPast {
    /// Licence usage by workload.
    Usage,
    /// Licences sold and assigned by service.
    Deployment,
}

/// Flags of `demo`.
#[derive(Args, Clone, Debug)]
pub(super) struct DemoFlags {
    /// Address on which to expose metrics and web interface; loopback only.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = DEMO_ADDRESS)]
    pub(super) listen_address: String,
    /// Address of the simulated Partner Center and Entra ID; loopback only.
    #[arg(long = "simulator.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10366")]
    pub(super) simulator_address: String,
    /// Serve only the five rows of Microsoft's documentation, in an account without a name.
    #[arg(long)]
    pub(super) documented: bool,
    /// Pause between two polls.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = humantime::parse_duration)]
    pub(super) poll_interval: Duration,
    /// Write a made-up past of all series, as OpenMetrics for `promtool tsdb create-blocks-from openmetrics`. Replaces the file.
    #[arg(long, value_name = "FILE")]
    pub(super) history: Option<PathBuf>,
    #[command(flatten)]
    pub(super) web: WebFlags,
    #[command(flatten)]
    pub(super) log: LogFlags,
}

/// Flags of `simulate`.
#[derive(Args, Clone, Debug)]
pub(super) struct SimulateFlags {
    /// Address of the simulated Partner Center and Entra ID; loopback only.
    #[arg(long = "simulator.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:10366")]
    pub(super) simulator_address: String,
    /// File (YAML or JSON) with the scenario to begin with: how the simulator answers.
    #[arg(long, value_name = "FILE")]
    pub(super) scenario: Option<PathBuf>,
    #[command(flatten)]
    pub(super) log: LogFlags,
}

/// Flags of `export`.
#[derive(Args, Clone, Debug)]
pub(super) struct ExportFlags {
    /// What to write.
    #[arg(value_name = "WHAT")]
    pub(super) what: Exported,
    /// Directory to write to; created if missing.
    #[arg(long, value_name = "DIR")]
    pub(super) output: PathBuf,
    /// Replace existing files that differ.
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Address of Grafana, for the links in alerts.
    #[arg(long, value_name = "URL", value_parser = base_url)]
    pub(super) grafana_url: Option<String>,
    /// Address of the directory where you publish the runbooks, for the links in alerts.
    #[arg(long, value_name = "URL", value_parser = base_url)]
    pub(super) runbook_url: Option<String>,
    /// List of customers' ids and account managers' e-mail addresses, for their routes in Alertmanager.
    #[arg(long, value_name = "FILE.csv")]
    pub(super) routes: Option<PathBuf>,
    /// Shorten each day that rules wait to twenty seconds, and add a Prometheus configuration, to watch the alerts of `demo`.
    #[arg(long)]
    pub(super) demo: bool,
}

/// What can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Exported {
    /// Grafana dashboards.
    Dashboards,
    /// Rules for Prometheus, runbooks, and a configuration and templates for Alertmanager.
    Alerts,
}

/// Flags of `healthcheck`.
#[derive(Args, Clone, Debug)]
pub(super) struct HealthcheckFlags {
    /// Address of the exporter; without a host, or with that of all interfaces, on loopback. Of several, as the exporter
    /// has them, the first is asked.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":10365", value_parser = reachable)]
    pub(super) addresses: Vec<String>,
    #[command(flatten)]
    pub(super) access: AccessFlag,
}

/// Flags of `completions`.
#[derive(Args, Clone, Debug)]
pub(super) struct CompletionsFlags {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(super) shell: clap_complete::Shell,
}

/// Flags of `man`.
#[derive(Args, Clone, Debug)]
pub(super) struct ManFlags {
    /// Directory to write a page for each command to; created if missing. Without it, the page of the program is printed.
    #[arg(long, value_name = "DIR")]
    pub(super) output: Option<PathBuf>,
}

/// The flag that names the configuration.
#[derive(Args, Clone, Debug)]
pub(super) struct ConfigFlag {
    /// Configuration file. Without it, one account is read from `AZURE_*` and `PARTNER_CENTER_*` variables.
    #[arg(long = "config.file", value_name = "FILE")]
    pub(super) config_file: Option<PathBuf>,
}

/// Flags about listeners.
#[derive(Args, Clone, Debug)]
pub(super) struct ListenFlags {
    /// Addresses on which to expose metrics and web interface. Repeatable for multiple addresses. Examples: `:10365` or `[::1]:10365`.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = ":10365")]
    pub(super) listen_addresses: Vec<String>,
    /// Use systemd socket activation listeners instead of port listeners (Linux only).
    #[arg(long = "web.systemd-socket")]
    pub(super) systemd_socket: bool,
}

/// The flag that names the web configuration file.
#[derive(Args, Clone, Debug)]
pub(super) struct AccessFlag {
    /// The web configuration file; none if empty.
    #[arg(
        long = "web.config.file",
        value_name = "FILE",
        default_value = "",
        hide_default_value = true,
        help = "Path to configuration file that can enable TLS or authentication. \
                See: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md"
    )]
    pub(super) web_config_file: String,
}

/// Flags about HTTP.
#[derive(Args, Clone, Debug)]
pub(super) struct WebFlags {
    #[command(flatten)]
    pub(super) access: AccessFlag,
    /// Path under which to expose metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub(super) telemetry_path: String,
    /// Exclude metrics about the exporter itself (promhttp_*, process_*).
    #[arg(long = "web.disable-exporter-metrics")]
    pub(super) disable_exporter_metrics: bool,
    /// Maximum number of requests served at a time, without those below /-/; 0: no limit.
    #[arg(long = "web.max-requests", value_name = "COUNT", default_value = "40", value_parser = max_requests)]
    pub(super) max_requests: usize,
}

/// Flags about the log.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct LogFlags {
    /// Only log messages with the given severity or above.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub(super) level: LogLevel,
    /// Output format of log messages, which go to stderr.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub(super) format: LogFormat,
}

impl LogFlags {
    /// The log of commands whose output is for people: problems only.
    pub(super) fn for_people() -> Self {
        Self { level: LogLevel::Warn, format: LogFormat::Logfmt }
    }
}

/// Parses a label that no series of the exporter has by itself.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name || name.starts_with("__") {
        return Err(format!("{name:?} cannot be the name of a label"));
    }
    if ["account", "service", "workload", "channel"].contains(&name) {
        return Err(format!("the series have a label {name} of their own"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn pace(text: &str) -> Result<Duration, String> {
    between(text, Duration::ZERO, Duration::from_hours(1))
}

fn lookback(text: &str) -> Result<Duration, String> {
    let lookback = between(text, Duration::from_secs(1), Duration::from_hours(24))?;
    if lookback.subsec_nanos() == 0 { Ok(lookback) } else { Err("must be whole seconds".to_owned()) }
}

fn between(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let [from, to] = [least, most].map(humantime::format_duration);
    (least..=most)
        .contains(&duration)
        .then_some(duration)
        .ok_or_else(|| format!("must be from {from} to {to}"))
}

/// Returns an address at which a listener of this address can be reached. Takes a host name too.
fn reachable(listen_address: &str) -> Result<String, &'static str> {
    let wrong = "write it as :PORT, HOST:PORT, 127.0.0.1:PORT or [::1]:PORT";
    let (host, port) = listen_address.rsplit_once(':').ok_or(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong)?;
    let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    match listen_address.parse::<SocketAddr>() {
        Ok(address) if !address.ip().is_unspecified() => Ok(address.to_string()),
        Err(_) if !is_name => Err(wrong),
        Err(_) if !host.is_empty() => Ok(format!("{host}:{port}")),
        _ => Ok(format!("127.0.0.1:{port}")),
    }
}

fn max_requests(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "web max requests must be greater than or equal to zero".to_owned())
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let is_odd = |segment: &str| matches!(segment, "" | "." | "..");
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if text.is_empty() {
        Err("metrics path must not be empty".to_owned())
    } else if !text.starts_with('/') || !text.chars().all(plain) {
        Err("metrics path must begin with / and be a plain path".to_owned())
    } else if text != "/" && text.split('/').skip(1).any(is_odd) {
        Err("metrics path must have a name between any two slashes, and none at its end".to_owned())
    } else if ["/-", "/dashboards", "/runbooks", "/concepts", "/customers", "/customers.csv"]
        .iter()
        .any(|reserved| Path::new(text).starts_with(reserved))
    {
        Err(format!("{text} is reserved; choose another path"))
    } else {
        Ok(text.to_owned())
    }
}

/// Parses an address to which paths are appended, and removes the slash at its end.
fn base_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).map_err(|error| error.to_string())?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err("must begin with http:// or https://".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have neither ? nor #: paths are appended to it".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "must have no user and no password: everyone who reads an alert would see them".to_owned()
        );
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_without_a_command_are_those_of_serve() {
        let cli = Cli::try_parse_from([
            "x",
            "--config.file",
            "c.yml",
            "--web.listen-address=:1",
            "--web.listen-address=[::1]:2",
        ]);
        let serve = cli.unwrap().serve;
        assert_eq!(serve.listen.listen_addresses, [":1", "[::1]:2"]);
        assert_eq!(serve.web.max_requests, 40);
    }

    #[test]
    fn there_is_one_shard_unless_flags_say_more_and_no_shard_beyond_the_last() {
        let shard = |flags: &[&str]| {
            let cli = Cli::try_parse_from([&["x"], flags].concat()).map_err(anyhow::Error::new)?;
            cli.serve.shard.shard()
        };
        assert_eq!(shard(&[]).unwrap(), Shard::default());
        assert_eq!(shard(&["--shard=2", "--total-shards=3"]).unwrap().to_string(), "2 of 3");
        for flags in [&["--shard=3", "--total-shards=3"][..], &["--shard=1"], &["--total-shards=0"]] {
            assert!(shard(flags).is_err(), "{flags:?}");
        }
        let error = shard(&["--shard=1"]).unwrap_err().to_string();
        assert_eq!(error, "there is no --shard=1 with --total-shards=1: shards are counted from 0");
    }

    #[test]
    fn listeners_on_all_interfaces_are_asked_on_loopback() {
        for (listen_address, expected) in [
            (":10365", "127.0.0.1:10365"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "127.0.0.1:1"),
            ("[::1]:1", "[::1]:1"),
            ("192.0.2.1:1", "192.0.2.1:1"),
            ("localhost:1", "localhost:1"),
            ("licences-test.apps:1", "licences-test.apps:1"),
        ] {
            assert_eq!(reachable(listen_address).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_telemetry_path_that_cannot_be_routed_is_refused() {
        for path in [
            "",
            "metrics",
            "/-/ready",
            "/-/ready/",
            "/-/x",
            "/a b",
            "/{x}",
            "/:x",
            "/a/*b",
            "/a?b",
            "//",
            "/a//b",
            "/a/",
            "/../x",
            "/./m",
            "/runbooks/x",
            "/dashboards",
            "/concepts/the-numbers",
            "/customers",
            "/customers.csv",
        ] {
            assert!(telemetry_path(path).is_err(), "{path:?}");
        }
        for path in ["/stats/metrics", "/", "/-metrics", "/runbooks-of-mine"] {
            assert!(telemetry_path(path).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn a_label_to_add_has_a_name_that_prometheus_accepts_and_the_series_do_not_have() {
        let expected = ("instance".to_owned(), "exporter=1:10365".to_owned());
        assert_eq!(label("instance=exporter=1:10365"), Ok(expected));
        for text in ["", "job", "=x", "1a=x", "a-b=x", "__name__=x", "workload=x", "ü=x"] {
            assert!(label(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_time_between_samples_is_in_whole_seconds_and_at_most_a_day() {
        assert_eq!(lookback("5m"), Ok(Duration::from_mins(5)));
        for text in ["0s", "500ms", "1s500ms", "25h", "5"] {
            assert!(lookback(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_base_url_has_a_scheme_and_nothing_that_a_path_cannot_follow() {
        for (text, expected) in [
            ("https://grafana.example", "https://grafana.example"),
            ("https://grafana.example/sub/", "https://grafana.example/sub"),
            ("http://127.0.0.1:3000/{{ x }}", "http://127.0.0.1:3000/%7B%7B%20x%20%7D%7D"),
        ] {
            assert_eq!(base_url(text).unwrap(), expected);
        }
        for text in
            ["", "grafana.example", "ftp://x", "https://x/?y", "https://x/#y", "https://u:p@x/", "/d/"]
        {
            assert!(base_url(text).is_err(), "{text:?}");
        }
    }
}
