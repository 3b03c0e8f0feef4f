//! What an account is called.

use std::fmt;

/// An account's name: 1–64 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

impl AccountName {
    const MAX_CHARS: usize = 64;

    /// The name as it is written.
    pub fn new(name: String) -> Self {
        Self(name)
    }

    /// Whether it is short enough and holds no control character.
    pub fn is_valid(&self) -> bool {
        self.0.chars().count() <= Self::MAX_CHARS && !self.0.chars().any(char::is_control)
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
