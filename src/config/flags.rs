//! The flags with which a command is about one account of one configuration, ready to paste into a shell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

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

/// `text` as one word of a shell: as it is, in single quotes, or, where it has characters that a log or a page changes
/// (control characters, backticks, bytes that are not UTF-8), with these escaped as Bash, Ksh and Zsh read it.
fn quoted(text: &OsStr) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(byte);
    match text.to_str() {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| is_plain(&byte)) => text.to_owned(),
        Some(text) if !text.contains(|c: char| c.is_control() || c == '`') => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => {
            let escaped = text.as_bytes().iter().map(|byte| {
                if is_plain(byte) { char::from(*byte).to_string() } else { format!("\\x{byte:02x}") }
            });
            format!("$'{}'", escaped.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

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

    #[test]
    fn a_word_has_neither_backticks_nor_control_characters() {
        let plain = OsStr::from_bytes(b"/a/\xff`\n");
        assert_eq!(quoted(plain), r"$'/a/\xff\x60\x0a'");
        assert_eq!(quoted(OsStr::new("it's")), r"'it'\''s'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_shell_reads_the_same_word(text in "[^\0]{1,20}") {
            let script = format!("printf %s {}", quoted(OsStr::new(&text)));
            let output = Command::new("bash").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(output.stdout, text.as_bytes());
        }
    }
}
