//! Finds what flags and environment refer to: the configuration, the web configuration and the account.

use std::path::Path;

use anyhow::Context as _;
use exporter_toolkit::web_config::WebConfig;

use crate::commands::cli::{AccessFlag, ConfigFlag};
use crate::config::{Account, Config, ConfigError, ConfigSource};
use crate::web::WEB_CONFIG_EXTENSION;

/// Returns a variable of the environment, where an empty one counts as absent.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// Returns the configuration file if one is named, and the environment otherwise.
pub(super) fn source(flag: &ConfigFlag) -> ConfigSource {
    flag.config_file.clone().map_or(ConfigSource::Environment, ConfigSource::File)
}

/// Reads the web configuration file, if one is named.
pub(super) fn web_config(flag: &AccessFlag) -> Result<Option<WebConfig>, ConfigError> {
    let path = Some(&flag.web_config_file).filter(|path| !path.is_empty());
    path.map(|path| WebConfig::open(Path::new(path), WEB_CONFIG_EXTENSION)).transpose()
}

/// Returns the account of that name, or the only one if no name is given.
///
/// # Errors
/// If there is no such account, or more than one to choose from.
pub(super) fn account<'a>(config: &'a Config, name: Option<&str>) -> anyhow::Result<&'a Account> {
    let names = || config.accounts.iter().map(Account::display_name).collect::<Vec<_>>().join(", ");
    match (name, &config.accounts[..]) {
        (None, [only]) => Ok(only),
        (None, _) => anyhow::bail!("there are several accounts; choose one with --account: {}", names()),
        (Some(name), accounts) => accounts
            .iter()
            .find(|account| account.display_name() == name)
            .with_context(|| format!("there is no account {name:?}; known: {}", names())),
    }
}
