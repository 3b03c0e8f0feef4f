//! What is observed of an account, as facts in the form in which a row states its expectations.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::row::{ALL_IDS, Counts, Facts, PRESENT, Row, listing, series};
use crate::support::exposition::Series;

/// What is observed of an account after its first poll.
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
        let mut add = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
        add("the simulator saw", self.requests());
        add("next poll", self.pause(row));
        if let Some(lifetime) = self.token_lifetime(row) {
            add("access token", lifetime);
        }
        if !self.lines.is_empty() {
            let lines: Vec<_> = self.lines.iter().map(|line| log_line(row, line)).collect();
            add("log", lines.join("; "));
        }
        if let Some(ids) = self.ids() {
            add("ids in the log", ids);
        }
        facts
    }

    /// Returns whether the poll succeeded but dropped some rows.
    pub(crate) fn rows_were_dropped(&self) -> bool {
        let dropped = |((name, _), count): (&Series, &f64)| {
            name == "partner_license_rows_rejected_total" && *count > 0.0
        };
        self.gauge("up") == Some(1.0) && self.series.iter().any(dropped)
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
            let is_time = differs && !name.starts_with("partner_license_usage_");
            let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let own = series(name, labels.filter(|(name, _)| *name != "account"));
            facts.insert(own, if is_time { PRESENT.to_owned() } else { value.to_string() });
        }
        facts
    }

    fn gauge(&self, name: &str) -> Option<f64> {
        let is_it = |((found, _), _): &(&Series, &f64)| found.strip_prefix("partner_license_") == Some(name);
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

    fn pause(&self, row: &Row) -> String {
        let between = |later, earlier| Some(self.gauge(later)? - self.gauge(earlier)?);
        let pause = between("next_scrape_timestamp_seconds", "last_scrape_timestamp_seconds");
        format!("in {} s", within(&row.pause(), pause.unwrap_or(f64::NAN), 1.0))
    }

    /// Returns the lifetime of the access token, which begins when the token is requested, at some time during the
    /// poll.
    fn token_lifetime(&self, row: &Row) -> Option<String> {
        let took = self.gauge("scrape_duration_seconds")?;
        let began = self.gauge("last_scrape_timestamp_seconds")? - took;
        let lifetime = self.gauge("access_token_expiry_timestamp_seconds")? - began;
        Some(format!("lives {} s", within(&row.token_lifetime(), lifetime, took.ceil())))
    }

    /// Returns the names of those ids of the last request to the API that the log contains.
    fn ids(&self) -> Option<String> {
        let error = self.lines.iter().find_map(|line| line["err"].as_str())?;
        error.contains("the API").then_some(())?;
        let request = self.requests.iter().rfind(|it| it["endpoint"] == "usage")?;
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

/// Returns the expected range if the found value is in it or at most `slack` above it, and otherwise the found value.
fn within(expected: &RangeInclusive<u64>, found: f64, slack: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let bounds = (*expected.start() as f64 - 0.001)..=(*expected.end() as f64 + slack);
    if bounds.contains(&found) { format!("{expected:?}") } else { found.to_string() }
}

/// Returns the text of a log line, without the ids at its end.
fn log_line(row: &Row, line: &Value) -> String {
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
    let expected = row.beginning().filter(|beginning| error.starts_with(beginning));
    let remedy = if text("remedy").is_empty() { ", and no remedy" } else { "" };
    format!("{level} {}: {}{remedy}", text("reason"), expected.unwrap_or(without_ids))
}

/// Returns whether a character is a control character, begins a new line or changes the direction of the text.
pub(crate) fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
