//! The name of an account.

use std::fmt;

/// An account's name: at most 64 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

impl AccountName {
    const MAX_CHARS: usize = 64;

    /// Accepts a valid name.
    pub fn new(name: String) -> Option<Self> {
        let valid = name.chars().count() <= Self::MAX_CHARS && !name.chars().any(char::is_control);
        valid.then_some(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
