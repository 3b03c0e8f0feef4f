//! The days that were fetched so far, in a file beside the output, so that a run that was stopped goes on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::day::Day;

/// Whose days they are: the first line of the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    pub(super) version: u32,
    pub(super) account: Option<String>,
    pub(super) tenant_id: String,
    pub(super) api: String,
    pub(super) collection: String,
}

/// A day with what the server has of it: each further line.
#[derive(Serialize, Deserialize)]
struct Entry {
    day: Date,
    #[serde(flatten)]
    content: Day,
}

/// The file, open and locked.
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the file beside `output`, or creates it, and returns the days in it. A line that is not complete, because the
    /// process was killed, is removed.
    ///
    /// # Errors
    /// If it cannot be written, is in use, or has the days of another owner.
    pub(super) fn open(output: &Path, owner: &Owner) -> anyhow::Result<(Self, BTreeMap<Date, Day>)> {
        let path = output.with_added_extension("partial");
        let failed = || format!("cannot write {}", path.display());
        let mut options = File::options();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).open(&path).with_context(failed)?;
        // Neither a pipe nor a device is read.
        ensure!(file.metadata().is_ok_and(|it| it.is_file()), "{} is not a regular file", path.display());
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => bail!("{}: another backfill is writing it", path.display()),
            Err(fs::TryLockError::Error(error)) => return Err(error).with_context(failed),
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content).with_context(|| format!("cannot read {}", path.display()))?;
        let (first, last) = (line_ends(&content).next(), line_ends(&content).next_back());
        // Nothing is written before it is certain whose file this is.
        match first.map(|end| serde_json::from_slice::<Owner>(&content[..end])) {
            None => ensure!(
                line(owner)?.as_bytes().starts_with(&content),
                "{} was not written by backfill; choose another --output",
                path.display()
            ),
            Some(Err(_)) => {
                bail!("{} was not written by backfill; choose another --output", path.display())
            }
            Some(Ok(found)) => ensure!(
                found == *owner,
                "{} is about another account or collection; remove it, or choose another --output",
                path.display()
            ),
        }
        content.truncate(last.unwrap_or(0));
        let set_length = file.set_len(content.len() as u64);
        set_length.and_then(|()| file.seek(SeekFrom::End(0))).with_context(failed)?;
        let mut journal = Self { path, file };
        if content.is_empty() {
            journal.append(owner)?;
        }
        let lines = content.split_inclusive(|byte| *byte == b'\n').skip(1);
        let entry = |line| serde_json::from_slice(line).map(|entry: Entry| (entry.day, entry.content));
        let days = lines.map(entry).collect::<Result<_, _>>();
        let days = days.with_context(|| format!("{} is damaged; remove it", journal.path.display()))?;
        Ok((journal, days))
    }

    /// Adds a day. On return it is on disk.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn add(&mut self, day: Date, content: &Day) -> anyhow::Result<()> {
        self.append(&Entry { day, content: content.clone() })
    }

    /// Removes the file, whose days are elsewhere.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }

    fn append(&mut self, content: &impl Serialize) -> anyhow::Result<()> {
        let line = line(content)?;
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// A line of the file.
fn line(content: &impl Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string(content)? + "\n")
}

/// Where the lines end.
fn line_ends(content: &[u8]) -> impl DoubleEndedIterator<Item = usize> {
    content.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(collection: &str) -> Owner {
        let (tenant_id, api) = ("t".to_owned(), "https://api.example".to_owned());
        Owner { version: 1, account: None, tenant_id, api, collection: collection.to_owned() }
    }

    fn day(sample: &str) -> Day {
        Day { samples: vec![sample.to_owned()], ..Day::default() }
    }

    /// Opens a journal. A process that another test starts has the lock, too, until it runs a program of its own.
    fn open(output: &Path, owner: &Owner) -> anyhow::Result<(Journal, BTreeMap<Date, Day>)> {
        for _ in 0..1_000 {
            match Journal::open(output, owner) {
                Err(error) if error.to_string().ends_with("another backfill is writing it") => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                opened => return opened,
            }
        }
        panic!("the lock was not released");
    }

    #[test]
    fn a_journal_that_was_cut_off_anywhere_has_the_days_of_its_whole_lines_and_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("past.om");
        let file = output.with_added_extension("partial");
        let dates: Vec<Date> =
            super::super::day::days(Date::constant(2026, 1, 1), Date::constant(2026, 1, 3)).collect();
        let (mut journal, found) = open(&output, &owner("usage")).unwrap();
        assert!(found.is_empty());
        for (n, date) in dates.iter().enumerate() {
            journal.add(*date, &day(&n.to_string())).unwrap();
        }
        drop(journal);
        let whole = fs::read(&file).unwrap();
        for length in 0..=whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            let lines = String::from_utf8_lossy(&whole[..length]).matches('\n').count();
            let (mut journal, found) = open(&output, &owner("usage")).unwrap();
            assert_eq!(found.len(), lines.saturating_sub(1), "after {length} bytes");
            journal.add(Date::constant(2026, 2, 1), &day("x")).unwrap();
            drop(journal);
            let (_, found) = open(&output, &owner("usage")).unwrap();
            assert_eq!(found.len(), lines.saturating_sub(1) + 1, "after {length} bytes");
            assert_eq!(found[&Date::constant(2026, 2, 1)], day("x"));
        }
    }

    #[test]
    fn a_file_that_is_no_journal_is_refused_and_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("past.om");
        let file = output.with_added_extension("partial");
        let begin_of_another = line(&owner("deployment")).unwrap();
        let begin_of_another = &begin_of_another.as_bytes()[..begin_of_another.len() - 1];
        for foreign in
            [&b"a letter"[..], b"a letter\nwith lines\nand an end", b"\xff\xfe", b"\n", begin_of_another]
        {
            fs::write(&file, foreign).unwrap();
            let error = Journal::open(&output, &owner("usage")).map(|_| ()).unwrap_err().to_string();
            assert!(error.ends_with("was not written by backfill; choose another --output"), "{error}");
            assert_eq!(fs::read(&file).unwrap(), foreign);
        }
    }

    #[test]
    fn a_journal_of_another_collection_or_in_use_or_damaged_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("past.om");
        let refused = |owner: &Owner| open(&output, owner).map(|_| ()).unwrap_err().to_string();
        let (journal, _) = Journal::open(&output, &owner("usage")).unwrap();
        let in_use = Journal::open(&output, &owner("usage")).map(|_| ()).unwrap_err().to_string();
        assert!(in_use.ends_with("another backfill is writing it"), "{in_use}");
        drop(journal);
        assert!(refused(&owner("deployment")).contains("about another account or collection; remove it"));
        let file = output.with_added_extension("partial");
        fs::write(&file, fs::read_to_string(&file).unwrap() + "{}\n").unwrap();
        assert!(refused(&owner("usage")).ends_with("is damaged; remove it"));
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert!(refused(&owner("usage")).ends_with("is not a regular file"));
    }
}
