//! What was seen of an account, told in the words in which a row tells what it expects.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::row::{ALL_IDS, Counts, Facts, PRESENT, Row, listing, series};
use crate::support::exposition::Series;

/// What there was to see of an account after its first poll.
pub(crate) struct Seen {
    /// From the metrics.
    pub(crate) series: BTreeMap<Series, f64>,
    /// From the simulator's log.
    pub(crate) requests: Vec<Value>,
    /// Warnings and errors, from the program's log.
    pub(crate) lines: Vec<Value>,
}

impl Seen {
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

    /// Whether the poll succeeded without some of its rows.
    pub(crate) fn rows_were_dropped(&self) -> bool {
        let dropped = |((name, _), count): (&Series, &f64)| {
            name == "partner_license_usage_rows_rejected_total" && *count > 0.0
        };
        self.gauge("up") == Some(1.0) && self.series.iter().any(dropped)
    }

    fn series_facts(&self) -> Facts {
        let mut facts = Facts::new();
        for ((name, labels), value) in &self.series {
            // Those that are there from the start say nothing as long as nothing has happened.
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

    /// It begins when the token is asked for, some time in the poll.
    fn token_lifetime(&self, row: &Row) -> Option<String> {
        let took = self.gauge("scrape_duration_seconds")?;
        let began = self.gauge("last_scrape_timestamp_seconds")? - took;
        let lifetime = self.gauge("access_token_expiry_timestamp_seconds")? - began;
        Some(format!("lives {} s", within(&row.token_lifetime(), lifetime, took.ceil())))
    }

    /// Those ids of the last request to the API that the log has.
    fn ids(&self) -> Option<String> {
        let said = self.lines.iter().find_map(|line| line["err"].as_str())?;
        said.contains("the API").then_some(())?;
        let asked = self.requests.iter().rfind(|request| request["endpoint"] == "usage")?;
        let id = |name: &str| match name {
            "MS-RequestId" => asked["request_id"].as_str().unwrap_or("none"),
            "MS-CorrelationId" => asked["correlation_id"].as_str().unwrap_or("none"),
            "MS-ServerId" => "101112012",
            _ => "",
        };
        let told = ALL_IDS.iter().filter(|name| said.contains(&format!("{name} {}", id(name))));
        Some(told.copied().collect::<Vec<_>>().join(", "))
    }
}

/// What was expected if it was found, give or take `slack`, and otherwise what was found.
fn within(expected: &RangeInclusive<u64>, found: f64, slack: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let bounds = (*expected.start() as f64 - 0.001)..=(*expected.end() as f64 + slack);
    if bounds.contains(&found) { format!("{expected:?}") } else { found.to_string() }
}

/// What a line says, without the ids at its end.
fn log_line(row: &Row, line: &Value) -> String {
    let text = |name| line[name].as_str().unwrap_or_default();
    let (level, said) = (text("level"), text("err"));
    if said.is_empty() {
        return format!("{level} {}", text("msg"));
    }
    if said.contains(breaks_a_line) {
        return format!("a control character in {said:?}");
    }
    let ids = if said.contains("the API") { " (MS-RequestId " } else { " trace_id=" };
    let without_ids = said.rsplit_once(ids).map_or(said, |(before, _)| before);
    let expected = row.beginning().filter(|beginning| said.starts_with(beginning));
    let remedy = if text("remedy").is_empty() { ", and no remedy" } else { "" };
    format!("{level} {}: {}{remedy}", text("reason"), expected.unwrap_or(without_ids))
}

/// Control characters, and what else begins a new line or turns the direction of writing.
pub(crate) fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
