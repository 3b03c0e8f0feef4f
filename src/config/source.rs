//! Where a configuration comes from, and how it is loaded from there.

use std::fmt;
use std::path::PathBuf;

use exporter_toolkit::yaml::{self, ConfigError, Problems};

use super::environment::Environment;
use super::flags;
use super::provided;
use super::settings::Config;

/// The size in bytes of the largest configuration file.
const MAX_BYTES: u64 = 16 << 20;

/// Where a configuration comes from. Loading it again is a reload.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// The file of `--config.file`.
    File(PathBuf),
    /// The `AZURE_*` and `PARTNER_CENTER_*` variables, for a single unnamed account.
    Environment,
}

impl ConfigSource {
    /// The flags with which a command reads it.
    pub fn flags(&self) -> String {
        match self {
            Self::File(path) => flags::of(path, None),
            Self::Environment => String::new(),
        }
    }

    /// Reads and checks the configuration, including the files with secrets.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem that was found.
    pub fn load(&self, environment: Environment<'_>) -> Result<Config, ConfigError> {
        let config = self.examine(environment)?;
        let mut problems = Problems::default();
        for (n, account) in config.accounts.iter().enumerate() {
            for text in account.secret_files().filter_map(provided::problem) {
                problems.add(format!("accounts[{n}]"), text);
            }
        }
        problems
            .into_result(config)
            .map_err(|problems| ConfigError::Invalid { origin: self.to_string(), problems })
    }

    /// Like [`Self::load`], but a secret that systemd provides only while its service runs is no problem.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem that was found.
    pub fn examine(&self, environment: Environment<'_>) -> Result<Config, ConfigError> {
        match self {
            Self::File(path) => {
                let unreadable = |cause| ConfigError::Unreadable { path: path.clone(), cause };
                let text = yaml::read(path, MAX_BYTES).map_err(unreadable)?;
                Config::parse(&text, environment).map(|mut config| {
                    for account in &mut config.accounts {
                        account.command_flags = flags::of(path, account.name.as_ref());
                    }
                    Config { file: Some(path.clone()), ..config }
                })
            }
            Self::Environment => Config::from_environment(environment),
        }
        .map_err(|problems| ConfigError::Invalid { origin: self.to_string(), problems })
    }
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Environment => f.write_str("environment"),
        }
    }
}
