//! The flags with which a command is about one account of one configuration, ready to paste into a shell.

use std::ffi::OsStr;
use std::path::Path;

use exporter_toolkit::shell::quoted;

use crate::domain::account::AccountName;

/// The flags for an account of a configuration file. A relative path is made absolute, because the reader's directory
/// may be another one.
pub(super) fn of(file: &Path, account: Option<&AccountName>) -> String {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut flags = format!("--config.file={}", quoted(file.as_os_str()));
    if let Some(name) = account {
        // A name that begins with a hyphen would be taken for a flag.
        let separator = if name.as_str().starts_with('-') { '=' } else { ' ' };
        flags += &format!(" --account{separator}{}", quoted(OsStr::new(name.as_str())));
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_name_the_file_and_the_account_if_it_has_a_name() {
        let name = |name: &str| AccountName::new(name.to_owned());
        let file = Path::new("/etc/exporter/config.yml");
        for (account, expected) in [
            (None, "--config.file=/etc/exporter/config.yml"),
            (name("fabrikam"), "--config.file=/etc/exporter/config.yml --account fabrikam"),
            (name("Fabrikam, Inc."), "--config.file=/etc/exporter/config.yml --account 'Fabrikam, Inc.'"),
            (name("-x"), "--config.file=/etc/exporter/config.yml --account=-x"),
        ] {
            assert_eq!(of(file, account.as_ref()), expected);
        }
        let relative = of(Path::new("config.yml"), None);
        let directory = std::env::current_dir().unwrap();
        assert_eq!(relative, format!("--config.file={}", quoted(directory.join("config.yml").as_os_str())));
    }
}
