//! The pause that Partner Center asked an account for, on disk, so that a restart and a command beside a running
//! exporter keep it.

use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config::Account;
use crate::domain::schedule::Schedule;
use crate::domain::status::Ledger;
use crate::state::file::StateFile;

/// The file with the end of the last pause of one account.
#[derive(Clone, Debug)]
pub struct PauseFile(StateFile);

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    owner: String,
    until: Timestamp,
}

const VERSION: u32 = 1;
/// The size in bytes of the largest file that is read.
const MAX_BYTES: u64 = 4096;
/// The longest pause: what a server can ask for, and the tenth by which a schedule may exceed it.
const LONGEST_PAUSE: Duration = Duration::from_secs(Schedule::MAX_RETRY_AFTER.as_secs() * 11 / 10);

impl PauseFile {
    /// The file of `account`. Nothing is read or written yet.
    pub fn new(directory: &Path, account: &Account) -> Self {
        Self(StateFile::new(directory, "pause", account, MAX_BYTES))
    }

    /// Writes the end of a pause.
    ///
    /// # Errors
    /// If that fails; then the pause before remains.
    pub fn save(&self, until: Timestamp) -> io::Result<()> {
        let record = Record { version: VERSION, owner: self.0.owner().to_owned(), until };
        self.0.replace(serde_json::to_vec(&record)?)
    }

    /// The end of the pause, if it has not passed at `now`. What cannot be read, or is longer than a pause can be, is
    /// none.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let content = self.0.read().ok()??;
        let record: Record = serde_json::from_slice(&content).ok()?;
        let longest = now.saturating_add(LONGEST_PAUSE).ok()?;
        let is_ours = record.version == VERSION && record.owner == self.0.owner();
        (is_ours && now < record.until && record.until <= longest).then_some(record.until)
    }

    /// Lets an account that knows of no pause keep this one until it has passed, and returns its end.
    pub fn resume(&self, ledger: &Ledger, now: Timestamp) -> Option<Timestamp> {
        if ledger.read().hold_until.is_some_and(|until| until > Instant::now()) {
            return None;
        }
        let end = self.until(now)?;
        let until = Instant::now() + Duration::try_from(end.duration_since(now)).unwrap_or_default();
        ledger.write(|status| status.hold_until = Some(until));
        Some(end)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    const NOW: Timestamp = Timestamp::constant(1_795_410_800, 0);

    #[test]
    fn a_pause_is_kept_until_it_ends_and_what_is_no_pause_of_the_account_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let account = |tenant: &str| {
            let text = format!(
                "accounts: [{{tenant_id: {tenant}, client_id: 8a1c8a1c-0000-4000-8000-000000000000, client_secret: x, \
                 refresh_token: x}}]"
            );
            Config::parse(&text, &|_| None).unwrap().accounts.remove(0)
        };
        let one = account("contoso.onmicrosoft.com");
        let file = PauseFile::new(directory.path(), &one);
        let after = |seconds: i64| NOW + jiff::SignedDuration::from_secs(seconds);
        assert_eq!(file.until(NOW), None);
        file.save(after(600)).unwrap();
        assert_eq!(file.until(NOW), Some(after(600)));
        assert_eq!(file.until(after(600)), None, "it has ended");
        assert_eq!(file.until(after(-90_000)), Some(after(600)), "a day and a tenth is possible");
        assert_eq!(file.until(after(-95_000)), None, "the clock was wrong, then or now");
        assert_eq!(PauseFile::new(directory.path(), &account("fabrikam.onmicrosoft.com")).until(NOW), None);
        for content in ["", "{}", "{\"version\": 2}"] {
            fs::write(file.0.path(), content).unwrap();
            assert_eq!(file.until(NOW), None, "{content}");
        }
    }
}
