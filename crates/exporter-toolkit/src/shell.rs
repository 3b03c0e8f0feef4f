//! Quotes what is part of a command that people paste into a shell.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// Returns `text` as one word of a shell: as it is, in single quotes, or, where it has characters that a log or a page changes
/// (control characters, backticks, bytes that are not UTF-8), with these escaped as Bash, Ksh and Zsh read it.
pub fn quoted(text: &OsStr) -> String {
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
