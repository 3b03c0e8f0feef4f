//! What the operator wants: one YAML file, or the environment for one account.
//!
//! [`Config`] is valid by construction. Whatever is wrong is reported at once, each problem with its path
//! (`accounts[1].tenant_id`) and never with a secret. Knows files and the environment, no network.

mod account;
mod certificate;
mod credential;
pub mod exposure;
mod thresholds;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use exporter_toolkit::yaml::{Problems, Section};

pub use account::{Account, Cloud, trust_anchors};
pub use certificate::{CertificateError, ClientCertificate};
pub use credential::{ClientCredential, ClientProof, CredentialError};
pub use thresholds::Thresholds;

pub use exporter_toolkit::secret::{Secret, SecretError};
pub use exporter_toolkit::yaml::{ConfigError, Problem};

/// Where a configuration comes from. Loading it again is a reload.
#[derive(Clone, Debug)]
pub enum Source {
    /// `--config.file`.
    File(PathBuf),
    /// One unnamed account, from `AZURE_*` and `PARTNER_CENTER_*` variables.
    Environment,
}

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from, if it was.
    pub file: Option<PathBuf>,
    /// Pause between two good polls of an account; ≥ 1 s, default 6 h.
    pub poll_interval: Duration,
    /// How long one poll of one account may take, retries included; ≥ 1 s, default 2 min.
    pub poll_timeout: Duration,
    /// How long the last good rows are served without a success; `None` = for ever. Default 48 h.
    pub stale_after: Option<Duration>,
    /// Where refresh tokens are kept.
    pub state_directory: PathBuf,
    /// From which percentage on a row counts as low.
    pub thresholds: Thresholds,
    /// At least one; names are unique, and only a single account may be without.
    pub accounts: Vec<Account>,
}

/// The environment as a parameter: the value of a variable, if it is set and not empty.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The default of `state_directory` where systemd does not name one.
pub const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/partner-license-exporter";
/// Polling more often than this is worth a warning: the data changes about once a day.
pub const SENSIBLE_INTERVAL: Duration = Duration::from_mins(15);

/// A third of a refresh token's life.
const LONGEST_SAFE_INTERVAL: Duration = Duration::from_hours(30 * 24);

const DEFAULT_POLL_INTERVAL: Duration = Duration::from_hours(6);
const DEFAULT_POLL_TIMEOUT: Duration = Duration::from_mins(2);
const DEFAULT_STALE_AFTER: Duration = Duration::from_hours(48);
const LEAST: Duration = Duration::from_secs(1);
/// Longer than any of this program's durations has reason to be, and far from overflowing a timestamp.
/// A year as humantime counts it, so that a message says `1year`.
const MOST: Duration = Duration::from_hours(8766);

// === impl Source ===

impl Source {
    /// Reads and checks the configuration. Secret files are read too, so that a missing one is found here.
    ///
    /// # Errors
    /// [`ConfigError`], naming every problem there is.
    pub fn load(&self, environment: Environment<'_>) -> Result<Config, ConfigError> {
        match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|cause| ConfigError::Unreadable { path: path.clone(), cause })?;
                Config::parse(&text, environment).map(|config| Config { file: Some(path.clone()), ..config })
            }
            Self::Environment => Config::from_environment(environment),
        }
        .map_err(|problems| ConfigError::Invalid { origin: self.to_string(), problems })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Environment => f.write_str("environment"),
        }
    }
}

// === impl Config ===

impl Config {
    /// Checks the text of a configuration file.
    ///
    /// # Errors
    /// Every problem, in the order of the file's reference.
    pub fn parse(text: &str, environment: Environment<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let Some(mut root) = Section::parse(text, &mut problems) else { return Err(problems.into_vec()) };
        let poll_interval = root.duration("poll_interval", LEAST, MOST, &mut problems);
        let poll_timeout = root.duration("poll_timeout", LEAST, MOST, &mut problems);
        let stale_after = root.duration("stale_after", Duration::ZERO, MOST, &mut problems);
        let state_directory = root.text("state_directory", &mut problems).map(PathBuf::from);
        let thresholds = Thresholds::read(root.section("thresholds", &mut problems), &mut problems);
        let accounts = account::read_all(&mut root, &mut problems);
        root.finish(&mut problems);
        let config = Self {
            file: None,
            poll_interval: poll_interval.unwrap_or(DEFAULT_POLL_INTERVAL),
            poll_timeout: poll_timeout.unwrap_or(DEFAULT_POLL_TIMEOUT),
            stale_after: Some(stale_after.unwrap_or(DEFAULT_STALE_AFTER)).filter(|d| !d.is_zero()),
            state_directory: state_directory.unwrap_or_else(|| default_state_directory(environment)),
            thresholds,
            accounts,
        };
        problems.into_result(config)
    }

    /// One unnamed account from the environment, everything else at its default.
    fn from_environment(environment: Environment<'_>) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let account = account::from_environment(environment, &mut problems);
        let config = Self {
            file: None,
            poll_interval: DEFAULT_POLL_INTERVAL,
            poll_timeout: DEFAULT_POLL_TIMEOUT,
            stale_after: Some(DEFAULT_STALE_AFTER),
            state_directory: default_state_directory(environment),
            thresholds: Thresholds::default(),
            accounts: account.into_iter().collect(),
        };
        problems.into_result(config)
    }

    /// What is valid at `now` and yet worth a word at the start.
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        let simulated = |account: &Account| account.cloud.api_base_url.starts_with("http:");
        if self.poll_interval < SENSIBLE_INTERVAL && !self.accounts.iter().all(simulated) {
            warnings.push(format!(
                "poll_interval is {}: the data changes about once a day, and every call counts against the \
                 partner's request limits; 6h is a good value",
                humantime::format_duration(self.poll_interval)
            ));
        }
        if self.poll_interval > LONGEST_SAFE_INTERVAL {
            warnings.push(format!(
                "poll_interval is {}: a refresh token ends after 90 days without use, so two polls that fail would \
                 end the sign-in; 6h is a good value",
                humantime::format_duration(self.poll_interval)
            ));
        }
        if let Some(stale_after) = self.stale_after.filter(|stale_after| *stale_after <= self.poll_interval) {
            warnings.push(format!(
                "stale_after ({}) is not longer than poll_interval ({}): rows vanish between two good polls",
                humantime::format_duration(stale_after),
                humantime::format_duration(self.poll_interval)
            ));
        }
        for account in &self.accounts {
            let warning = account.client_credential.warning(now);
            warnings.extend(warning.map(|text| format!("account {}: {text}", account.display_name())));
        }
        // Several accounts may share one.
        let mut files: BTreeSet<&Path> = self.accounts.iter().flat_map(Account::secret_files).collect();
        // What a simulator knows is no secret.
        if self.accounts.iter().any(|account| !simulated(account) && account.has_inline_secret()) {
            files.extend(self.file.as_deref());
        }
        warnings.extend(files.into_iter().filter_map(exposure::warning));
        warnings
    }
}

/// systemd's `StateDirectory=` (the first, if there are several), else the usual place.
fn default_state_directory(environment: Environment<'_>) -> PathBuf {
    environment("STATE_DIRECTORY")
        .and_then(|list| list.split(':').next().map(PathBuf::from))
        .unwrap_or_else(|| Path::new(DEFAULT_STATE_DIRECTORY).to_path_buf())
}

// === impl ConfigError ===

#[cfg(test)]
mod tests;
