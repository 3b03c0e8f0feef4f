//! What is observed of an account, as facts in the form in which a row states its expectations.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::row::{ALL_IDS, Counts, Facts, PRESENT, Poll, Row, listing, series};
use crate::support::exposition::Series;

/// What is observed of an account after its first polls.
pub(crate) struct Observed {
    /// The series of the account in the metrics.
    pub(crate) series: BTreeMap<Series, f64>,
    /// The requests for the account in the simulator's log.
    pub(crate) requests: Vec<Value>,
    /// The warnings and errors about the account in the program's log.
    pub(crate) lines: Vec<Value>,
}

impl Observed {
    pub(crate) fn facts(&self, row: &Row) -> Facts {
        let mut facts = self.series_facts();
        let mut add = |name: String, value: String| drop(facts.insert(name, value));
        add("the simulator saw".to_owned(), self.requests());
        if let Some(lifetime) = self.token_lifetime(row) {
            add("access token".to_owned(), lifetime);
        }
        for poll in &row.polls {
            let collection = poll.collection;
            add(format!("next poll of {collection}"), self.pause(poll));
            let lines: Vec<_> = self.lines_of(poll).map(|line| log_line(poll, line)).collect();
            if !lines.is_empty() {
                add(format!("log of {collection}"), lines.join("; "));
            }
            if let Some(ids) = self.ids(poll) {
                add(format!("ids in the log of {collection}"), ids);
            }
        }
        let of_none = |line: &&Value| !row.polls.iter().any(|poll| is_about(poll.collection, line));
        for line in self.lines.iter().filter(of_none) {
            add("another line".to_owned(), line.to_string());
        }
        facts
    }

    /// Returns whether the poll of a collection succeeded but dropped some rows.
    pub(crate) fn rows_were_dropped(&self, collection: &str) -> bool {
        let dropped = |((name, labels), count): (&Series, &f64)| {
            name == "partner_license_rows_rejected_total"
                && labels["collection"] == collection
                && *count > 0.0
        };
        self.gauge("up", collection) == Some(1.0) && self.series.iter().any(dropped)
    }

    fn series_facts(&self) -> Facts {
        let mut facts = Facts::new();
        for ((name, labels), value) in &self.series {
            // Counters that are exported from the start are not facts while they are 0.
            let counts = name.ends_with("_total") || name.ends_with("_count");
            if name.ends_with("_bucket") || name.ends_with("_sum") || counts && *value == 0.0 {
                continue;
            }
            let differs = name.ends_with("_timestamp_seconds") || name.ends_with("_scrape_duration_seconds");
            let is_time = differs && !name.ends_with("_processed_timestamp_seconds");
            let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let own = series(name, labels.filter(|(name, _)| *name != "account"));
            facts.insert(own, if is_time { PRESENT.to_owned() } else { value.to_string() });
        }
        facts
    }

    /// Returns the value of a series of the account, or of one of its collections.
    fn gauge(&self, name: &str, collection: &str) -> Option<f64> {
        let is_it = |((found, labels), _): &(&Series, &f64)| {
            found.strip_prefix("partner_license_") == Some(name)
                && labels.get("collection").is_none_or(|of| of == collection)
        };
        self.series.iter().find(is_it).map(|(_, value)| *value)
    }

    fn requests(&self) -> String {
        let mut requests = Counts::new();
        for request in &self.requests {
            let endpoint = request["endpoint"].as_str().unwrap_or_default();
            *requests.entry(format!("{endpoint} {}", request["status"])).or_default() += 1;
        }
        listing(&requests)
    }

    fn pause(&self, poll: &Poll) -> String {
        let time = |name| self.gauge(name, poll.collection);
        let between = |later, earlier| Some(time(later)? - time(earlier)?);
        let pause = between("next_scrape_timestamp_seconds", "last_scrape_timestamp_seconds");
        format!("in {} s", within(&poll.pause(), pause.unwrap_or(f64::NAN), 1.0))
    }

    /// Returns the lifetime of the access token, which begins when the token is requested, at some time during the
    /// polls.
    fn token_lifetime(&self, row: &Row) -> Option<String> {
        let (mut began, mut ended) = (f64::INFINITY, 0_f64);
        for poll in &row.polls {
            let end = self.gauge("last_scrape_timestamp_seconds", poll.collection)?;
            began = began.min(end - self.gauge("scrape_duration_seconds", poll.collection)?);
            ended = ended.max(end);
        }
        let lifetime = self.gauge("access_token_expiry_timestamp_seconds", "")? - began;
        Some(format!("lives {} s", within(&row.token_lifetime(), lifetime, (ended - began).ceil())))
    }

    fn lines_of(&self, poll: &Poll) -> impl Iterator<Item = &Value> {
        let collection = poll.collection;
        self.lines.iter().filter(move |line| is_about(collection, line))
    }

    /// Returns the names of those ids of the last request to the API that the log of a failed poll contains.
    fn ids(&self, poll: &Poll) -> Option<String> {
        let failure = self.lines_of(poll).find(|line| line["msg"] == "Polling failed")?;
        let error = failure["err"].as_str()?;
        error.contains("the API").then_some(())?;
        let mut requests = self.requests.iter().rev().filter(|it| it["endpoint"] == poll.answered_by);
        let request = requests.nth(poll.then)?;
        let id = |name: &str| match name {
            "MS-RequestId" => request["request_id"].as_str().unwrap_or("none"),
            "MS-CorrelationId" => request["correlation_id"].as_str().unwrap_or("none"),
            "MS-ServerId" => "101112012",
            _ => "",
        };
        let logged = ALL_IDS.iter().filter(|name| error.contains(&format!("{name} {}", id(name))));
        Some(logged.copied().collect::<Vec<_>>().join(", "))
    }
}

/// Returns whether a line is about a collection. What is about the sign-in is attributed to the usage collection.
fn is_about(collection: &str, line: &Value) -> bool {
    line["collection"].as_str().unwrap_or("usage") == collection
}

/// Returns the expected range if the found value is in it or at most `slack` above it, and otherwise the found value.
fn within(expected: &RangeInclusive<u64>, found: f64, slack: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let bounds = (*expected.start() as f64 - 0.001)..=(*expected.end() as f64 + slack);
    if bounds.contains(&found) { format!("{expected:?}") } else { found.to_string() }
}

/// Returns the text of a log line, without the ids at its end.
fn log_line(poll: &Poll, line: &Value) -> String {
    let text = |name| line[name].as_str().unwrap_or_default();
    let (level, error) = (text("level"), text("err"));
    if error.is_empty() {
        return format!("{level} {}", text("msg"));
    }
    if error.contains(breaks_a_line) {
        return format!("a control character in {error:?}");
    }
    let ids = if error.contains("the API") { " (MS-RequestId " } else { " trace_id=" };
    let without_ids = error.rsplit_once(ids).map_or(error, |(before, _)| before);
    let expected = poll.beginning().filter(|beginning| error.starts_with(beginning));
    let remedy = if text("remedy").is_empty() { ", and no remedy" } else { "" };
    // The failure of the second source is told by a line of its own.
    let source = if text("msg") == "Polling failed" { "" } else { "second source: " };
    format!("{level} {source}{}: {}{remedy}", text("reason"), expected.unwrap_or(without_ids))
}

/// Returns whether a character is a control character, begins a new line or changes the direction of the text.
pub(crate) fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
