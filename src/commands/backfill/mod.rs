//! `backfill`: asks the commercial source for past days, one by one, and writes their samples for promtool.
//!
//! A running exporter is not disturbed, as by `fetch`. A run that is stopped goes on where it was.

mod day;
mod journal;
mod past;
mod progress;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, ensure};
use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::cli::{BackfillFlags, WithPast};
use crate::commands::lifecycle::EXIT_FAILED;
use crate::commands::{new_file, output, settings};
use crate::config::{Account, Config};
use crate::domain::clock::Clock;
use crate::domain::collection::Collection;
use crate::domain::failure::Failure;
use crate::domain::status::Ledger;
use crate::partner::{FetchError, PartnerCenter, TokenStore, TrustAnchors, Turns, remedy};
use crate::state::pause::PauseFile;

use day::{Day, is_about_a_day};
pub(super) use day::{Past, days};
use journal::{Journal, Owner};
use past::Written;
use progress::Bar;

/// More days than Partner Center has existed.
const MOST_DAYS: usize = 20 * 366;
/// How many days, from the latest one on, the server may refuse before it has answered for any.
const MOST_REFUSED: usize = 14;
/// A day younger than this may have no data because Microsoft has not processed it yet.
const PROCESSED_WITHIN_DAYS: i64 = 16;

/// The samples of some days.
type Days = BTreeMap<Date, Day>;

pub(super) async fn run(flags: BackfillFlags) -> anyhow::Result<ExitCode> {
    let config = settings::source(&flags.config).load(&settings::environment)?;
    let account = settings::account(&config, flags.account.as_deref())?;
    let today = Clock::system().now().to_zoned(TimeZone::UTC).date();
    let to = check_range(&flags, today)?;
    check_labels(&flags.labels)?;
    let cannot_write = || format!("cannot write {}", flags.output.display());
    new_file::prepare(&flags.output).with_context(cannot_write)?;
    let collection = match flags.collection {
        WithPast::Usage => Collection::Usage,
        WithPast::Deployment => Collection::Deployment,
    };
    let owner = Owner {
        version: 1,
        account: account.name.as_ref().map(ToString::to_string),
        tenant_id: account.tenant_id.clone(),
        api: account.cloud.api_base_url.clone(),
        collection: collection.as_str().to_owned(),
    };
    let (mut journal, found) = Journal::open(&flags.output, &owner)?;
    let (mut known, others): (Days, Days) =
        found.into_iter().partition(|(day, _)| (flags.from..=to).contains(day));
    let young = today.saturating_sub(SignedDuration::from_hours(24 * PROCESSED_WITHIN_DAYS));
    known.retain(|day, content| !content.samples.is_empty() || *day < young);
    let all = days(flags.from, to).count();
    if flags.labels.is_empty() {
        output::print_warning(
            "without --label, these are other series than those that Prometheus scrapes, which have job and instance",
        );
    }

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let work = async {
        fetch(&config, account, &flags, (collection, to), &mut journal, &mut known).await?;
        write(&flags, known.clone()).await.with_context(cannot_write)
    };
    let outcome = tokio::select! { biased;
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        outcome = work => Some(outcome),
    };
    let is_written = matches!(outcome, Some(Ok(_)));
    // The days of another range are not in the output.
    if others.is_empty() && (is_written || known.is_empty()) {
        journal.remove()?;
    }
    let known_days = known.len();
    let progress = format!("{known_days} of {all} days are fetched; the same command goes on from there");
    match outcome {
        Some(Ok(written)) => {
            output::print_document(&summary(&known, written, &flags.output))?;
            if written.samples > 0 {
                return Ok(ExitCode::SUCCESS);
            }
            output::print_error(&anyhow!("none of these days has data"));
        }
        Some(Err(error)) if known.is_empty() => output::print_error(&error),
        Some(Err(error)) => output::print_error(&anyhow!("{error:#}\n{progress}")),
        None => {
            output::print_notice(format_args!("stopped: {progress}"));
            return Ok(ExitCode::SUCCESS);
        }
    }
    Ok(ExitCode::from(EXIT_FAILED))
}

/// Refuses a name that two labels have: promtool would refuse the file, after all days were fetched.
fn check_labels(labels: &[(String, String)]) -> anyhow::Result<()> {
    let mut names = BTreeSet::new();
    for (name, _) in labels {
        ensure!(names.insert(name), "there are two values for --label {name}");
    }
    Ok(())
}

/// Returns the last day, if the days from the first to that one can be asked for.
fn check_range(flags: &BackfillFlags, today: Date) -> anyhow::Result<Date> {
    let to = flags.to.map_or_else(|| today.yesterday(), Ok)?;
    ensure!(to < today, "--to must be before today, which is {today} (UTC)");
    ensure!(flags.from <= to, "--from must not be after --to, which is {to}");
    ensure!(days(flags.from, to).count() <= MOST_DAYS, "--from must be within 20 years before --to");
    Ok(to)
}

/// Asks for the days that are not known yet, the latest first: these exist most likely. A refusal is about a day only if
/// the server answers for another one; Microsoft processes the latest days late.
async fn fetch(
    config: &Config,
    account: &Account,
    flags: &BackfillFlags,
    (collection, to): (Collection, Date),
    journal: &mut Journal,
    known: &mut Days,
) -> anyhow::Result<()> {
    let store = TokenStore::read_only(&config.state_directory, account);
    let (ledger, clock) = (Ledger::new(account.name.clone(), Arc::default()), Clock::system());
    PauseFile::new(&config.state_directory, account).resume(&ledger, clock.now());
    let anchors = TrustAnchors::default();
    let times = (config.poll_timeout, flags.pace);
    let center = PartnerCenter::with_pace(account, store, &ledger, &clock, times, &anchors)
        .map_err(|error| failed(account, error.into()))?
        .without_rotation();
    let (name, pace) = (account.name.as_ref(), flags.pace);
    let past = Past { center: &center, ledger: &ledger, account: name, collection, pace };
    let mut turn = Turns::default().take().await;
    let bar = Bar::new(days(flags.from, to).count(), known.len());
    let mut has_answered = known.values().any(|day| !day.is_refused);
    let (mut refused, mut refusal) = (Vec::new(), None);
    for day in days(flags.from, to).rev() {
        bar.show(known.len());
        if known.contains_key(&day) {
            continue;
        }
        let mut answered = Vec::new();
        match past.day(day, &mut turn).await {
            Ok(content) => {
                has_answered = true;
                answered.push((day, content));
            }
            Err(error) if is_about_a_day(&error) && (has_answered || refused.len() + 1 < MOST_REFUSED) => {
                refused.push(day);
                refusal = Some((day, error));
            }
            Err(error) => return Err(failed(account, error).context(day)),
        }
        if has_answered {
            answered.extend(refused.drain(..).map(|day| (day, Day::refused())));
        }
        for (day, content) in answered {
            journal.add(day, &content)?;
            known.insert(day, content);
        }
    }
    match refusal.filter(|_| !has_answered) {
        Some((day, error)) => Err(failed(account, error).context(day)),
        None => Ok(()),
    }
}

/// A failure with its reason and what to do.
fn failed(account: &Account, error: FetchError) -> anyhow::Error {
    let (name, failure) = (account.display_name(), Failure::from(error));
    let remedy = remedy::of_failed_attempt(&failure, &account.command_flags);
    let reason = failure.reason.as_str();
    anyhow!("account {name}: {reason}: {}\n  what to do: {remedy}", failure.text)
}

/// Writes the file, if there is anything to write. Many days take a while, in which a signal counts.
async fn write(flags: &BackfillFlags, known: Days) -> anyhow::Result<Written> {
    if known.values().all(|day| day.samples.is_empty()) {
        return Ok(Written::default());
    }
    let (labels, lookback) = (flags.labels.clone(), flags.lookback);
    let written =
        new_file::replace(&flags.output, move |out| past::write(out, &known, &labels, lookback)).await?;
    Ok(written)
}

/// How much was written, and what is missing.
fn summary(known: &Days, written: Written, output: &Path) -> String {
    let of = |wanted: &dyn Fn(&Day) -> bool| {
        known.iter().filter(|(_, it)| wanted(it)).map(|(day, _)| *day).collect()
    };
    let without: [(&str, Vec<Date>); 3] = [
        ("Days that the server refuses", of(&|day| day.is_refused)),
        ("Days for which the server sends another day", of(&Day::is_of_another_day)),
        (
            "Days without data",
            of(&|day| day.samples.is_empty() && !day.is_refused && !day.is_of_another_day()),
        ),
    ];
    let mut text = String::new();
    for (what, days) in without.iter().filter(|(_, days)| !days.is_empty()) {
        text += &format!("{what}: {}\n", ranges(days));
    }
    let mut dropped = BTreeMap::<_, u64>::new();
    for (why, count) in known.values().flat_map(|day| &day.dropped) {
        *dropped.entry(why).or_default() += count;
    }
    if !dropped.is_empty() {
        let dropped: Vec<_> = dropped.iter().map(|(why, count)| format!("{count} {why}")).collect();
        text += &format!("Dropped rows: {}\n", dropped.join(", "));
    }
    let days = known.values().filter(|day| !day.samples.is_empty()).count();
    let Written { series, samples } = written;
    if samples > 0 {
        let days = if days == 1 { "a day".to_owned() } else { format!("{days} days") };
        text += &format!("{samples} samples of {series} series on {days} are in {}\n", output.display());
    }
    text
}

/// The days, with consecutive ones as a range.
fn ranges(days: &[Date]) -> String {
    let chunks = days.chunk_by(|one, next| one.tomorrow().is_ok_and(|tomorrow| tomorrow == *next));
    let range = |chunk: &[Date]| match chunk {
        [first, .., last] => format!("{first} to {last}"),
        chunk => chunk.iter().map(ToString::to_string).collect(),
    };
    chunks.map(range).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_days_are_a_range_also_across_months() {
        let date = |month, day| Date::constant(2026, month, day);
        let days = [date(1, 30), date(1, 31), date(2, 1), date(2, 3), date(3, 1), date(3, 2)];
        assert_eq!(ranges(&days), "2026-01-30 to 2026-02-01, 2026-02-03, 2026-03-01 to 2026-03-02");
        assert_eq!(ranges(&[]), "");
    }
}
